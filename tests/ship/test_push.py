"""A bundle as a model repository: all of it and nothing else, whole at every commit."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hub as hubs
import huggingface_hub
import pytest
import within
from bundles import rewrite
from hub import TOKEN, Hub
from huggingface_hub import constants

from bear_classifier.errors import ConfigError, ModelError
from bear_classifier.ship import bundle, push
from bear_classifier.ship.predict import Model

LARGE = 30_000  # bytes; of the tiny bundle model.onnx is larger


def at(monkeypatch: pytest.MonkeyPatch, url: str, token: str = TOKEN) -> None:
    """As HF_ENDPOINT, HF_TOKEN and HF_HUB_DISABLE_XET are read when the library is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", token)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub(LARGE) as made:
        at(monkeypatch, made.url)
        yield made


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def refused(model: Path, repo: str = "bears") -> str:
    with pytest.raises(ConfigError) as caught:
        push.push(model, repo)
    return str(caught.value)


def test_all_of_the_bundle_goes_up_and_nothing_else(
    hub: Hub, model_dir: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(model_dir, tmp_path / "tiny"))
    (model / ".DS_Store").write_bytes(b"/Users/ann/secret")
    done = push.push(model, "bears")
    repo = hub.repos["me/bears"]
    stored = dict(repo.files)
    assert stored.pop(".gitattributes")
    assert stored == contents(model_dir)
    assert {len(data) >= LARGE for data in stored.values()} == {True, False}
    assert repo.private and done.private
    assert repo.commits == ["tiny, version 1"]
    assert (done.repo, done.removed) == ("me/bears", [])
    sent = json.dumps([headers for _, _, headers in hub.asked]) + str(hub.repos)
    assert str(tmp_path) not in sent and "ann" not in sent


def test_a_downloaded_repository_is_a_bundle(hub: Hub, model_dir: Path, tmp_path: Path) -> None:
    """With what `hf download --local-dir` and git leave beside it."""
    push.push(model_dir, "ann/bears", public=True)
    assert not hub.repos["ann/bears"].private
    place = tmp_path / "bears"
    left = {".cache/huggingface/download/README.md.metadata": b"x", ".git/HEAD": b"ref"}
    for name, data in (hub.repos["ann/bears"].files | left).items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    Model(bundle.load(place)).self_test()
    (place / "golden" / ".gitattributes").write_bytes(b"x")
    with pytest.raises(ModelError, match="UNEXPECTED_FILE"):
        bundle.load(place)


def test_a_newer_model_takes_the_place_of_the_older(
    hub: Hub, model_dir: Path, tmp_path: Path
) -> None:
    """In one commit, without the files that only the older one had; what is the same stays."""
    push.push(model_dir, "bears")
    hub.repos["me/bears"].files["pictures.npz"] = b"of an earlier one"
    newer = Path(shutil.copytree(model_dir, tmp_path / "newer"))
    rewrite(newer, version=2)
    already = len(hub.store)
    done = push.push(newer, "bears", public=True)
    repo = hub.repos["me/bears"]
    assert repo.commits == ["tiny, version 1", "tiny, version 2"]
    assert done.removed == ["pictures.npz"] and "pictures.npz" not in repo.files
    assert repo.files["bundle.json"] == (newer / "bundle.json").read_bytes()
    assert len(hub.store) == already  # no large file was sent again
    assert repo.private and done.private  # as it was, whatever was asked for


def test_a_repository_with_other_files_is_left_alone(hub: Hub, model_dir: Path) -> None:
    hub.repos["me/bears"] = hubs.Repository(False, {"README.md": b"mine", "train.py": b"mine"})
    assert refused(model_dir).startswith("FOREIGN_REPO: me/bears holds train.py")
    assert hub.repos["me/bears"].commits == [] and len(hub.repos["me/bears"].files) == 2


def test_what_went_up_before_a_break_is_not_sent_again(
    hub: Hub, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.refuse["/commit/"] = (418, "no tea here")
    words = refused(model_dir)
    assert words.startswith("HUB_FAILED") and "error 418" in words and "not sent again" in words
    assert hub.repos["me/bears"].commits == [] and hub.store
    hub.refuse.clear()
    hub.asked.clear()
    push.push(model_dir, "bears")
    assert [path for method, path, _ in hub.asked if method == "PUT"] == []
    assert hub.repos["me/bears"].files.keys() > {"model.onnx", "bundle.json"}


@pytest.mark.parametrize(
    ("piece", "status", "words"),
    [
        ("/api/repos/create", 403, "HUB_REFUSED: the token may not write to bears"),
        ("/commit/", 403, "HUB_REFUSED: the token may not write to bears"),
        ("/api/models/", 404, "HUB_REFUSED: .* has no bears"),
        ("/preupload/", 413, "HUB_FAILED: .* answered with error 413: too much"),
    ],
)
def test_each_refusal_has_a_sentence(
    hub: Hub, model_dir: Path, piece: str, status: int, words: str
) -> None:
    hub.refuse[piece] = (status, "too much")
    with pytest.raises(ConfigError, match=words):
        push.push(model_dir, "bears")


def test_without_a_right_token(hub: Hub, model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    assert "HUB_REFUSED" in refused(model_dir) and "hf auth login" in refused(model_dir)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    hub.asked.clear()
    assert refused(model_dir).startswith("NO_TOKEN")
    assert refused(model_dir, "a/b/c").startswith("BAD_REPO")
    assert hub.asked == []


def test_without_a_network(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        at(monkeypatch, f"http://127.0.0.1:{free.getsockname()[1]}")
    words = refused(model_dir)
    assert words.startswith("HUB_UNREACHABLE") and "run the same command once more" in words


def test_a_model_that_was_changed_is_not_sent(hub: Hub, model_dir: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(model_dir, tmp_path / "tiny"))
    (model / "README.md").write_bytes(b"# Another")
    with pytest.raises(ModelError, match="MODEL_CORRUPT"):
        push.push(model, "bears")
    assert hub.asked == []


def test_a_model_that_is_replaced_meanwhile_is_reported(
    hub: Hub, model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Path(shutil.copytree(model_dir, tmp_path / "tiny"))
    commit = huggingface_hub.HfApi.create_commit

    def meanwhile(*words: object, **more: object) -> object:
        rewrite(model, version=2)
        return commit(*words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(huggingface_hub.HfApi, "create_commit", meanwhile)
    with pytest.raises(ModelError, match="MODEL_REPLACED"):
        push.push(model, "bears")


def test_by_the_command(hub: Hub, model_dir: Path, tmp_path: Path) -> None:
    dry = within.bears("push", model_dir, "bears", "--dry-run", cwd=tmp_path)
    assert dry.returncode == 0 and "would send tiny, version 1" in dry.stdout
    assert "model.onnx" in dry.stdout and hub.asked == []
    done = within.bears("push", model_dir, "bears", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "seen by    you alone" in done.stdout
    assert hub.repos["me/bears"].files["model.onnx"]


@pytest.mark.long
def test_by_a_process_of_its_own(model_dir: Path, tmp_path: Path) -> None:
    """What the environment says of the Hub counts."""
    with Hub(LARGE) as hub:
        more = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
        words = [sys.executable, "-m", "bear_classifier", "push", str(model_dir), "bears"]
        done = subprocess.run(words, cwd=tmp_path, env=os.environ | more, check=False)
        assert done.returncode == 0 and hub.repos["me/bears"].files["model.onnx"]
