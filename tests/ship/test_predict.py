import csv
import errno
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import LABELS
from PIL import Image

from bear_classifier.cli import predict as predict_command
from bear_classifier.cli.main import main
from bear_classifier.errors import PhotoError
from bear_classifier.images import decoder
from bear_classifier.ship import bundle, golden, predict
from bear_classifier.ship.predict import Model

SHARED = Path(__file__).resolve().parents[3] / "shared"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Good and bad files with awkward names, in folders."""
    root = tmp_path_factory.mktemp("pictures")
    (root / "inner folder").mkdir()
    for i, name in enumerate(["a b.jpg", "ü.png", "inner folder/z.webp", "=cmd.jpg"]):
        (root / name).write_bytes(golden.draw_picture(i * 8)[1])
    (root / "broken.jpg").write_bytes(golden.draw_picture(0)[1][:500])
    (root / "page.jpg").write_text("<html>not here</html>", encoding="utf-8")
    (root / "empty.png").write_bytes(b"")
    return root


def bears(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "bear_classifier", *map(str, words)],
        capture_output=True, encoding="utf-8", **options,
    )  # fmt: skip


def test_one_line_per_file_in_order(model_dir, pictures):
    done = bears("predict", "--json", "--model", model_dir, pictures / "ü.png", pictures)
    assert done.returncode == 1, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    expected = [pictures / "ü.png", *sorted(p for p in pictures.rglob("*") if p.is_file())]
    assert [row["path"] for row in rows] == [str(p) for p in expected]
    for row in rows:
        if "error" in row:
            assert set(row) == {"path", "error"}
            assert set(row["error"]) == {"code", "message"}
        else:
            assert list(row) == [
                "path",
                "label",
                "confidence",
                "probabilities",
                "accepted",
                "reason",
            ]
            assert list(row["probabilities"]) == LABELS
            assert sum(row["probabilities"].values()) == pytest.approx(1)
            assert row["confidence"] == max(row["probabilities"].values())
            assert row["probabilities"][row["label"]] == row["confidence"]
            assert row["accepted"] is True
            assert row["reason"] == "ok"
    codes = {Path(r["path"]).name: r["error"]["code"] for r in rows if "error" in r}
    assert codes == {
        "broken.jpg": "TRUNCATED", "page.jpg": "NOT_AN_IMAGE", "empty.png": "EMPTY_FILE",
    }  # fmt: skip


def test_all_good_is_exit_code_0_and_words(model_dir, pictures):
    done = bears("predict", "--model", model_dir, pictures / "a b.jpg")
    assert done.returncode == 0
    assert done.stdout.startswith(f"{pictures / 'a b.jpg'}: ")
    assert done.stdout.rstrip().endswith("%")


def test_a_file_that_is_not_there(model_dir, tmp_path):
    done = bears("predict", "--json", "--model", model_dir, tmp_path / "no.jpg")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "UNREADABLE"


def test_the_table_has_every_row_and_no_formula(model_dir, pictures, tmp_path):
    bears("predict", "--csv", tmp_path / "t.csv", "--model", model_dir, ".", cwd=pictures)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text(encoding="utf-8-sig"))))
    assert len(rows) == 7
    assert {"path", "label", "confidence", *LABELS, "error"} <= set(rows[0])
    assert not any(row["path"].startswith("=") for row in rows)
    assert {row["error"] for row in rows} == {"", "TRUNCATED", "NOT_AN_IMAGE", "EMPTY_FILE"}


def test_no_model_is_one_line_with_the_next_step(tmp_path):
    done = bears("predict", "--model", tmp_path / "none", "x.jpg")
    assert done.returncode == 2
    assert done.stderr.startswith("bears: NO_MODEL: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_changed_model_is_refused(model_dir, pictures, tmp_path):
    place = shutil.copytree(model_dir, tmp_path / "tiny")
    with (place / "model.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"!")
    done = bears("predict", "--model", place, pictures / "ü.png")
    assert done.returncode == 2
    assert "MODEL_CORRUPT: model.onnx" in done.stderr


def test_upright_however_it_is_stored(model_dir, tmp_path):
    """The same picture turned by EXIF gives the same answer as the upright one."""
    upright = Image.open(io.BytesIO(golden.draw_picture(1)[1])).convert("RGB")
    upright.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    model = Model(bundle.load(model_dir))
    one, two = (model.predict(tmp_path / f"{name}.png") for name in ("upright", "turned"))
    assert one.probabilities == pytest.approx(two.probabilities, abs=1e-6)


def test_bytes_and_path_answer_alike(model_dir):
    model = Model(bundle.load(model_dir))
    pictures, _ = model.bundle.golden()
    assert model.predict(pictures[0]) == model.predict(pictures[0].read_bytes())
    with pytest.raises(PhotoError, match="EMPTY_FILE"):
        model.predict(b"")


def test_predict_imports_nothing_heavy(model_dir, pictures):
    code = (
        "import sys; from bear_classifier.cli.main import main; "
        f"main(['predict', '--json', '--model', {str(model_dir)!r}, {str(pictures)!r}]); "
        "print(sorted({'torch', 'fastai', 'torchvision', 'gradio', 'sklearn', 'scipy', 'onnx', "
        "'matplotlib'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.long
@pytest.mark.real
def test_broken_files_of_the_world(model_dir):
    """One line per file, no crash, and little memory, over valid, odd and malicious files."""
    folders = [SHARED / "photos" / "originals", SHARED / "broken"]
    words = ["predict", "--json", "--model", str(model_dir), *map(str, folders)]
    # a small process in between: a child's peak begins with the size of the one that forked it
    code = (
        "import resource, subprocess, sys; "
        f"done = subprocess.run([sys.executable, '-m', 'bear_classifier', *{words!r}]); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); "
        "sys.exit(done.returncode)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert done.returncode == 1
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == sum(p.is_file() for folder in folders for p in folder.rglob("*"))
    assert all(("label" in row) != ("error" in row) for row in rows)
    assert int(done.stderr.splitlines()[-1]) < 500_000  # kilobytes


def test_many_photos_are_answered_in_order_as_one_by_one(model_dir, tmp_path):
    """Side by side in threads; what cannot be read is told in its place."""
    for number in range(24):
        data = b"no photo" if number % 5 == 0 else golden.draw_picture(number)[1]
        (tmp_path / f"{number:02}").write_bytes(data)
    loaded = bundle.load(model_dir)
    alone = Model(loaded)
    found = list(predict.answers(loaded, [tmp_path / "03", tmp_path]))
    assert [path.name for path, _ in found] == ["03", *(f"{n:02}" for n in range(24))]
    for path, said in found:
        if int(path.name) % 5 == 0:
            assert isinstance(said, PhotoError)
            assert said.code == "NOT_AN_IMAGE"
        else:
            want = alone.predict(path)
            assert said.probabilities == pytest.approx(want.probabilities, abs=1e-5)
            assert (said.label, said.reason) == (want.label, want.reason)
    ((path, said),) = predict.answers(loaded, [tmp_path / "03"])
    assert said == alone.predict(path)
    assert list(predict.answers(loaded, [])) == []


def test_a_folder_without_what_systems_leave_in_it(tmp_path):
    for name in ("b/000.jpg", "a.png", ".hidden.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for name in (".DS_Store", "b/Thumbs.db", "b/desktop.ini", "__MACOSX/._000.jpg", "b/._000.jpg",
                 "b/.ipynb_checkpoints/000-checkpoint.jpg", "@eaDir/b/000.jpg"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    names = [tmp_path / name for name in (".hidden.jpg", "a.png", "b/000.jpg")]
    assert list(predict.files_of([tmp_path])) == names
    assert list(predict.files_of([tmp_path / ".DS_Store"])) == [tmp_path / ".DS_Store"]
    inside = tmp_path / "b" / ".ipynb_checkpoints"  # named by the user: so it is meant
    assert list(predict.files_of([inside])) == [inside / "000-checkpoint.jpg"]


def test_what_the_system_refuses_is_a_row_and_the_others_are_answered(model_dir, tmp_path):
    """Names and files of every kind; nothing is waited for, and nothing left out silently."""
    album = tmp_path / "album"
    album.mkdir()
    (album / "good.jpg").write_bytes(golden.draw_picture(1)[1])
    (album / "two\nlines.jpg").write_bytes(golden.draw_picture(1)[1])
    odd = os.fsdecode(os.fsencode(album) + b"/latin-\xe9.jpg")
    Path(odd).write_bytes(golden.draw_picture(1)[1])
    (album / "gone.jpg").symlink_to(tmp_path / "nothing")
    (album / "loop").symlink_to(album / "loop2")
    (album / "loop2").symlink_to(album / "loop")
    (album / "round").symlink_to(album)
    os.mkfifo(album / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(album / "socket"))
    for path in (album / ("a" * 300), album / "a\0b", Path("/dev/zero"), album / "good.jpg" / "x"):
        (row,) = predict.answers(bundle.load(model_dir), [path])
        assert row[1].code == "UNREADABLE", path
    found = dict(predict.answers(bundle.load(model_dir), [album]))
    why = {path.name: said.sentence for path, said in found.items() if hasattr(said, "sentence")}
    assert {path.name for path in found} - set(why) == {
        "good.jpg", "two\nlines.jpg", Path(odd).name,
    }  # fmt: skip
    assert re.search("cannot be opened: No such file", why.pop("gone.jpg"))
    assert re.search("symbolic links", why.pop("loop"))
    assert re.search("symbolic links", why.pop("loop2"))
    assert re.search("a link to a folder, which is not followed; name that", why.pop("round"))
    assert re.search("is not a file$", why.pop("pipe"))
    assert re.search("is not a file$", why.pop("socket"))
    assert why == {}


def test_names_that_are_no_utf_8_are_valid_in_json(model_dir, tmp_path, capsys):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.jpg"))
    odd.write_bytes(golden.draw_picture(1)[1])
    Path(f"{odd}2").write_bytes(b"")
    words = ["predict", "--json", "--model", str(model_dir), str(tmp_path)]
    assert main([*words, "--csv", str(tmp_path / "t.csv")]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["path"] for row in rows] == [f"{tmp_path}/\\xe9.jpg", f"{tmp_path}/\\xe9.jpg2"]
    for row in rows:
        json.dumps(row, ensure_ascii=False).encode()
    assert "\\xe9.jpg2" in (tmp_path / "t.csv").read_text(encoding="utf-8-sig")


def test_a_folder_that_may_not_be_opened_is_a_row(model_dir, tmp_path, monkeypatch):
    """Where the tests run as root, permissions refuse nothing: so the system's answer is played."""
    (tmp_path / "private").mkdir()
    (tmp_path / "good.jpg").write_bytes(golden.draw_picture(1)[1])
    scandir = os.scandir

    def refusing(path):
        if Path(path).name == "private":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = list(predict.answers(bundle.load(model_dir), [tmp_path]))
    assert [path.name for path, _ in found] == ["good.jpg", "private"]
    assert found[1][1].sentence == (
        f"{tmp_path / 'private'} is a folder that cannot be opened: Permission denied"
    )


def test_a_file_that_becomes_a_pipe_is_not_waited_for(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "photo.jpg")
    (tmp_path / "file").write_bytes(b"x")
    facts = (tmp_path / "file").stat()
    monkeypatch.setattr(Path, "stat", lambda *_, **__: facts)
    assert decoder.read_file(tmp_path / "photo.jpg") == b""


# -- tables of many photos -----------------------------------------------------------------------


@pytest.fixture
def many(tmp_path):
    """Nine photos in folders, and one that is none."""
    for number in range(9):
        path = tmp_path / "photos" / f"{number % 3}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(golden.draw_picture(number)[1])
    (tmp_path / "photos" / "1" / "empty.png").write_bytes(b"")
    return tmp_path / "photos"


def lines(path):
    return path.read_bytes().split(b"\r\n")


def test_a_stopped_table_is_gone_on_with(model_dir, many, tmp_path, monkeypatch, capsys):
    words = ["predict", "--json", "--model", str(model_dir), str(many), "--csv"]
    assert main([*words, str(tmp_path / "whole.csv")]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 10
    asked = []
    honest = predict.answer_of

    def stopped(model, path):
        asked.append(path)
        return honest(model, path)

    monkeypatch.setattr(predict, "answer_of", stopped)
    printed = predict_command.print_json

    def stop_after_five(row):
        printed(row)
        if row["path"].endswith("empty.png"):
            raise KeyboardInterrupt

    monkeypatch.setattr(predict_command, "print_json", stop_after_five)
    assert main([*words, str(tmp_path / "t.csv")]) == 130
    first = [json.loads(line)["path"] for line in capsys.readouterr().out.splitlines()]
    assert not (tmp_path / "t.csv").exists()
    monkeypatch.setattr(predict_command, "print_json", printed)
    asked.clear()
    assert main([*words, str(tmp_path / "t.csv")]) == 1  # the file that failed is in the table
    captured = capsys.readouterr()
    second = [json.loads(line)["path"] for line in captured.out.splitlines()]
    assert (len(first), len(second)) == (7, 3) and not set(first) & set(second)
    assert {str(path) for path in asked} == set(second)
    assert "going on after 7 photos of a run that was stopped" in captured.err
    assert lines(tmp_path / "t.csv") == lines(tmp_path / "whole.csv")
    assert {path.name for path in tmp_path.glob("*.csv*")} == {"t.csv", "whole.csv"}


def test_a_table_of_another_model_is_not_gone_on_with(model_dir, many, tmp_path):
    begun = tmp_path / "t.csv.00000000.begun"
    begun.write_text("path,label\r\nx,y\r\n", encoding="utf-8")
    words = ["predict", "--quiet", "--model", str(model_dir), str(many)]
    assert main([*words, "--csv", str(tmp_path / "t.csv")]) == 1
    assert len(lines(tmp_path / "t.csv")) == 12 and begun.is_file()


def test_parts_hold_every_photo_once(model_dir, many, tmp_path, capsys):
    words = ["predict", "--json", "--model", str(model_dir), str(many)]
    main([*words, "--csv", str(tmp_path / "t.csv")])
    capsys.readouterr()
    for number in (1, 2, 3):
        main([*words, "--csv", str(tmp_path / "t.csv"), "--shard", f"{number}/3"])
    assert len(capsys.readouterr().out.splitlines()) == 10
    names = [f"t-0000{number}-of-00003.csv" for number in (1, 2, 3)]
    parts = [line for name in names for line in lines(tmp_path / name)[1:-1]]
    assert sorted(parts) == sorted(lines(tmp_path / "t.csv")[1:-1])
    (many / "0" / "new.png").write_bytes(golden.draw_picture(3)[1])
    for number, name in enumerate(names, 1):  # one more photo moves no other
        before = lines(tmp_path / name)
        main([*words, "--csv", str(tmp_path / "t.csv"), "--shard", f"{number}/3"])
        assert set(before) <= set(lines(tmp_path / name))


def test_a_table_below_an_address_has_the_same_bytes(model_dir, many, tmp_path, capsys):
    words = ["predict", "--json", "--model", str(model_dir), str(many)]
    there = tmp_path / "there"
    for shard in ([], ["--shard", "2/3"]):
        for folder in (str(tmp_path), there.as_uri()):
            main([*words, *shard, "--csv", f"{folder}/t.csv"])
    assert {path.name for path in there.iterdir()} == {"t.csv", "t-00002-of-00003.csv"}
    for path in there.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()
    capsys.readouterr()
    assert main([*words, "--csv", "nosuch://bucket/t.csv"]) == 2
    assert "NO_STORAGE: the place of the table, 'nosuch://bucket', can" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["0/3", "4/3", "3", "1/0", "a/b", "1/2/3", "-1/2", "", "²/3"])
def test_a_part_that_is_none_is_refused(part, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["predict", "x.jpg", f"--shard={part}"])
    assert stopped.value.code == 2
    assert "is not K/N with K from 1 to N, such as 3/64" in capsys.readouterr().err


def test_files_come_in_the_order_of_their_paths(tmp_path):
    names = ["b.jpg", "a/2.jpg", "a/1/x.jpg", "a.jpg", "B.jpg", "a-1.jpg", "a/é.jpg"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(predict.files_of([tmp_path])) == sorted(tmp_path / name for name in names)
