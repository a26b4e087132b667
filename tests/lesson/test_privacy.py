"""Membership by loss: the kernels by numbers worked out by hand, and claims that can fail."""

from __future__ import annotations

import dataclasses
import functools
import io
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import LABELS, tiny_config, trained_dataset
from PIL import Image
from training import dataset

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.judge import membership_inference
from bear_classifier.judge.membership_inference import Membership, attack, auc, resampled
from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.lesson.photos import memorisation as traces
from bear_classifier.lesson.photos import privacy
from bear_classifier.lesson.photos.privacy import ProbedPhotos
from bear_classifier.lesson.trained_model import NetworkOutputs, Subject
from bear_classifier.runtime.npz import as_npz
from bear_classifier.ship import golden
from bear_classifier.ship.example_pictures import drawn_picture
from bear_classifier.ship.export import export
from bear_classifier.stats.intervals import wilson
from bear_classifier.stats.metrics import ANY_PROBABILITY, log_losses
from bear_classifier.stats.ood import make_reference


def floats(*values: float) -> Any:
    return np.array(values, dtype=float)


# the attack


def test_losses_are_of_each_photos_own_class() -> None:
    found = log_losses(
        floats(0.5, 0.5, 0.1, 0.9, 1.0, 0.0).reshape(3, 2), np.array([0, 1, 1]), ANY_PROBABILITY
    )
    assert found[:2] == pytest.approx([math.log(2), -math.log(0.9)])
    assert np.isfinite(found[2]) and found[2] > 600


@pytest.mark.parametrize(
    ("members", "others", "chance"),
    [
        ([1, 2], [3, 4], 1.0),
        ([3, 4], [1, 2], 0.0),
        ([1, 1], [1], 0.5),
        ([1, 3], [2], 0.5),
        ([0, 1, 2], [1, 3], 4.5 / 6),  # three before both, a tie, and 2 before 3
    ],
)
def test_the_auc_counts_pairs(members: list[float], others: list[float], chance: float) -> None:
    assert auc(floats(*members), floats(*others)) == pytest.approx(chance)


def test_samples_draw_whole_groups() -> None:
    """The same draws taken apart by hand: every row as often as its group was drawn."""
    members, others = floats(0.1, 0.4, 0.4, 0.9), floats(0.4, 0.2, 1.0)
    found = resampled(
        members, others, np.array([7, 7, 1, 2]), np.array(["b", "a", "a"]), 50, seed=3
    )
    dice = np.random.default_rng(3)
    for sample in found:
        a = np.bincount(dice.integers(3, size=3), minlength=3)[[2, 2, 0, 1]]
        b = np.bincount(dice.integers(2, size=2), minlength=2)[[1, 0, 0]]
        assert sample == pytest.approx(auc(np.repeat(members, a), np.repeat(others, b)))


def test_copies_make_the_interval_wider_and_no_narrower() -> None:
    """Ten near-copies of each photo say no more than the photos alone."""
    dice = np.random.default_rng(0)
    members, others = dice.normal(0, 1, 30), dice.normal(0.5, 1, 30)
    plain = attack(members, others, np.arange(30), np.arange(30))
    many = [np.repeat(side, 10) for side in (members, others)]
    copies = np.repeat(np.arange(30), 10)
    grouped, careless = attack(*many, copies, copies), attack(*many, np.arange(300), np.arange(300))
    width = [x.interval[1] - x.interval[0] for x in (plain, grouped, careless)]
    assert width[1] == pytest.approx(width[0], rel=1e-6)
    assert width[2] < 0.5 * width[0]
    assert plain.auc == pytest.approx(grouped.auc)


def test_all_pairs_that_agree_are_no_certainty() -> None:
    members, others = np.arange(40.0), np.arange(100.0, 160.0)
    twos = np.arange(60) // 2
    found = attack(members, others, np.arange(40), twos)
    assert (found.auc, *found.interval) == pytest.approx((1.0, *wilson(30, 30)))
    found = attack(others, members, twos, np.arange(40))
    assert (found.auc, *found.interval) == pytest.approx((0.0, *wilson(0, 30)))


def test_the_same_seed_gives_the_same_interval() -> None:
    dice = np.random.default_rng(0)
    sides = dice.normal(0, 1, 40), dice.normal(0, 1, 30), np.arange(40), np.arange(30)
    assert attack(*sides) == attack(*sides)
    assert attack(*sides) != attack(*sides, seed=1)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Normal losses a standard deviation apart: the AUC of all is Phi(1 / sqrt 2) = 0.7602."""
    held = 0
    for seed in range(100):
        dice = np.random.default_rng(seed)
        sides = dice.normal(0, 1, 80), dice.normal(1, 1, 60), np.arange(80), np.arange(60)
        low, high = attack(*sides, draws=200, seed=seed).interval
        held += low <= 0.7602 <= high
    assert 88 <= held <= 99


def test_halves_of_members_cannot_be_told_apart() -> None:
    losses = np.random.default_rng(1).exponential(1, 90)
    member = np.arange(90) < 60
    groups = np.arange(90) // 2
    cuts = membership_inference.halves(Membership(member, groups), losses, times=200, draws=100)
    assert np.mean([cut.auc for cut in cuts]) == pytest.approx(0.5, abs=0.02)
    assert {cut.members for cut in cuts} == {30}  # groups of two stay together
    assert len({cut.auc for cut in cuts}) > 100


def test_a_head_that_never_saw_a_class_gives_it_nothing() -> None:
    features = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    targets = np.array([0, 1, 2] * 3)
    found = membership_inference.head_losses(features, targets, targets < 2, 1.0)
    assert (found[targets == 2] > 600).all()
    assert (found[targets < 2] < 10).all()


def test_shuffled_labels_are_learned_by_heart() -> None:
    features = np.random.default_rng(0).normal(size=(300, 100)).astype(np.float32)
    targets = np.arange(300) % 3
    found = membership_inference.attack_shuffled_labels(features, targets, np.arange(300), 100.0)
    assert (found.members, found.others) == (100, 100)  # as many as there are features
    assert found.auc > 0.9


def test_exchanged_heads_ask_every_photo_both_ways() -> None:
    dice = np.random.default_rng(0)
    features, targets = dice.normal(size=(120, 90)).astype(np.float32), np.arange(120) % 3
    groups = np.arange(120) // 2
    inside, outside = membership_inference.exchanged(features, targets, groups, 100.0)
    assert (inside < outside).mean() > 0.8
    half = inside < outside
    one = membership_inference.head_losses(
        features, targets, membership_inference._half(groups, np.random.default_rng(0)), 100.0
    )
    two = np.minimum(abs(one - inside), abs(one - outside))
    assert two.max() == 0  # of either head each photo is asked once
    assert half.any()


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((0.52, 0.6), "gives something away"),
        ((0.48, 0.6), "may be chance"),
        ((0.3, 0.4), "less often than by chance"),
    ],
)
def test_the_sentence_for_the_card(interval: tuple[float, float], words: str) -> None:
    leak = {"auc": sum(interval) / 2, "interval": interval, "members": 834, "others": 193}
    said = membership_inference.card_sentence(leak)
    assert words in said
    assert f"{interval[0]:.2f} to {interval[1]:.2f}, 834 and 193 photos" in said
    assert "guessing would have 0.50" in said and said.endswith(".")


# the search


@pytest.mark.parametrize("block", [7, 64, 2**22])
def test_occurrences_are_those_that_a_plain_search_finds(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(traces, "_BLOCK", block)
    dice = np.random.default_rng(0)
    data = dice.integers(0, 3, 600, dtype=np.uint8).tobytes()
    needles = {
        dice.integers(0, 3, n, dtype=np.uint8).tobytes() for n in (4, 5, 6, 7) for _ in range(60)
    }
    expected = {needle for needle in needles if needle in data}
    assert 20 < len(expected) < len(needles)
    assert traces.occurrences(data, needles) == expected
    for short in (b"", b"a", b"abc"):
        assert traces.occurrences(short, needles) == set()


def jpeg(gps: bool = False, format: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 1
    if gps:
        exif.get_ifd(traces._GPS).update({1: "N", 2: (52.0, 31.0, 12.0)})
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, format, exif=exif.tobytes())
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_pictures_and_positions_in_the_middle_of_other_bytes(format: str) -> None:
    around = np.random.default_rng(1).integers(0, 255, 5000, dtype=np.uint8).tobytes()
    assert traces.count_picture_files(around + jpeg(format=format) + around) == 1
    assert traces.has_gps(around + jpeg(gps=True, format=format) + around)
    assert not traces.has_gps(around + jpeg(format=format) + around)
    assert traces.has_gps(b"<exif:GPSLatitude>52,31.2N</exif:GPSLatitude>")


def test_three_bytes_are_no_picture() -> None:
    assert traces.count_picture_files(b"\xff\xd8\xff" + bytes(100)) == 0
    assert traces.count_picture_files(b"\xff\xd8\xff") == 0
    assert not traces.has_gps(b"II*\0\xff\xff\xff\xff")
    assert not traces.has_gps(b"MM\0*")


def test_drawings_are_known_by_their_number_at_any_size() -> None:
    for number in (0, 5):
        name = f"golden/{number:02}.jpeg"
        assert traces.is_drawing(name, golden.draw_picture(number)[1])
        assert traces.is_drawing(name, golden.draw_picture(number, least=420)[1])
        assert not traces.is_drawing(name, golden.draw_picture(number + 32)[1])
    assert not traces.is_drawing("golden/00.jpeg", b"no picture")
    assert traces.is_drawing("model.onnx", b"no picture") is None


def test_pictures_to_try_are_drawings_too() -> None:
    for data in (drawn_picture("teddy", 3), drawn_picture("black", 0)):
        assert traces.is_drawing("example-00.jpeg", data)
        assert not traces.traces({"example-00.jpeg": data}, {}, [], False)
    found = traces.traces({"example-00.jpeg": jpeg()}, {}, [], False)
    assert found == ["example-00.jpeg is not drawn"]


def test_names_that_say_nothing_are_not_looked_for(make: Callable[..., Photo]) -> None:
    origins = ["/home/me/bears/IMG_0042.jpg", "https://a.org/x/teddy?w=3", "p7", "photo.jpg"]
    found = [make(n, origin=origin) for n, origin in enumerate(origins)]
    needles = traces.search_terms(found, "bears predict photo.jpg")
    assert {b"/home/me/bears/IMG_0042.jpg", b"IMG_0042.jpg", b"https://a.org/x/teddy?w=3"} <= set(
        needles
    )
    assert "IMG_0042.jpg".encode("utf-32-le") in needles
    assert not {b"p7", b"photo.jpg", b"teddy"} & set(needles)
    assert bytes.fromhex(found[3].sha256) in needles
    assert found[3].sha256.encode() in needles


# the page


N, F = 300, 400  # photos and features


def known(suspected: Any = None, noise: float = 0.2) -> ProbedPhotos:
    """200 members and 100 others; some labels are wrong, and suspected."""
    dice = np.random.default_rng(5)
    truth = np.arange(N) % 3
    features = dice.normal(size=(N, F)) + 1.2 * np.eye(3)[truth] @ dice.normal(size=(3, F)) / 3
    wrong = dice.random(N) < noise
    targets = np.where(wrong, (truth + 1) % 3, truth)
    return ProbedPhotos(
        photos_of(N), features.astype(np.float32), targets, np.arange(N).astype(str),
        dice.exponential(1, N), wrong if suspected is None else suspected,
    )  # fmt: skip


def photos_of(n: int) -> list[Photo]:
    """Two thirds of training, the others of test."""
    return [
        Photo(f"{i:064x}", f"/p/{i}", LABELS[i % 3], "png", 9, 9, 9, "00", 9.0, f"{i}",
              "train" if i < 2 * n // 3 else "test")
        for i in range(n)
    ]  # fmt: skip


def said(root: Path, leak: float = 0.3) -> NetworkOutputs:
    """Logits of 200 photos of training and 100 of test; those of the former are surer by `leak`."""
    dice = np.random.default_rng(2)
    targets = np.arange(300) % 3
    sure = dice.normal(1.0, 1.0, 300) + leak * (np.arange(300) < 200)
    logits = (np.eye(3)[targets] * sure[:, None]).astype(np.float32)
    pooled = dice.normal(size=(300, 20)).astype(np.float32)
    made = make_reference(pooled[:200], np.arange(200), None, seed=0)
    (root / "evaluate" / "reference.npz").write_bytes(made.as_bytes())
    return NetworkOutputs(photos_of(300), logits, pooled, targets)


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    root = tmp_path_factory.mktemp("privacy")
    config = tiny_config(export={"parity": 1, "precision": "fp32", "decode": "full"})
    with trained_dataset(root / "data", config) as catalog:
        with catalog.transaction():
            catalog.put_photos(
                dataclasses.replace(p, origin=f"/home/me/bears/IMG_{n:04}.jpg")
                for n, p in enumerate(catalog.photos())
            )
        export(catalog, config, root / "tiny")
        yield Subject(catalog, config, root / "tiny")


@pytest.fixture
def make_page(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Page]:
    def made(
        other: Subject | None = None, first: ProbedPhotos | None = None, leak: float = 0.3,
        whole: bool = False,
    ) -> Page:  # fmt: skip
        found, asked = first or known(), said(subject.catalog.root, leak)
        monkeypatch.setattr(privacy, "probed_photos", lambda _: found)
        monkeypatch.setattr(privacy, "network_outputs", lambda _: asked)
        for slow, instead in {"draw_attacks": b"GIF8", "curves": b"GIF8", "_bundle": None}.items():
            if not whole:
                monkeypatch.setattr(privacy, "HALVES", 30)
                monkeypatch.setattr(privacy, "LEAST", 25)
                monkeypatch.setattr(privacy, slow, lambda *_, value=instead: value)
        return privacy.page(other or subject)

    return made


def failed(page: Page) -> list[str]:
    return [claim.said for claim in page.claims if not claim.holds]


@pytest.mark.long
def test_every_claim_holds_of_a_model_that_hardly_leaks(make_page: Callable[..., Page]) -> None:
    page = make_page(whole=True)
    assert failed(page) == []
    assert len(page.claims) == 8
    assert "guessing would have 0.50" in page.body
    found = next(claim.found for claim in page.claims if "the bundle holds" in claim.said)
    assert "40 files" in found and "48 paths and names and 24 checksums: none" in found


blind = np.random.default_rng(0)
right_auc, right_exchanged, right_resampled = auc, membership_inference.exchanged, resampled
FAULTS: list[tuple[Any, str, Any, str]] = [
    (membership_inference, "auc", lambda a, b: right_auc(a, b) + 0.05, "finds nothing where"),
    (membership_inference, "auc", lambda a, b: float((a[:, None] <= b).mean()) * 0.9,
    "finds nothing"),
    (membership_inference, "resampled", lambda *a, **k: 0.52 + 0 * right_resampled(*a, **k),
    "finds nothing"),
    (membership_inference, "log_losses", lambda p, t, _: blind.random(len(t)),
    "the attack works where"),
    (membership_inference, "log_losses", lambda p, t, _: p[np.arange(len(t)), t],
    "the attack works where"),
    (membership_inference, "exchanged", lambda f, t, *_: blind.random((2, len(t))),
    "the attack works"),
    (privacy, "exchanged", lambda f, t, g, c, s: right_exchanged(f, t, g, 1.0, s), "as they are"),
    (privacy, "exchanged", lambda f, t, g, c, s: right_exchanged(f, t, g, 1e-3 / c, s), "as they"),
    (privacy, "exchanged", lambda f, t, g, c, s: blind.random((2, len(t))), "weaker penalty"),
    (traces, "likeness", lambda one, _: blind.random(len(one)).astype("f4"), "reference.npz"),
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(("module", "name", "instead", "words"), FAULTS)
def test_a_broken_kernel_turns_its_claim_red(
    make_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch,
    module: Any, name: str, instead: Any, words: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(module, name, instead)
    assert any(words in claim for claim in failed(make_page()))


def test_a_model_that_knows_its_photos_by_heart_is_told(make_page: Callable[..., Page]) -> None:
    assert any("gives away less" in claim for claim in failed(make_page(leak=30.0)))


@pytest.mark.long
def test_suspects_that_are_no_such_are_noticed(make_page: Callable[..., Page]) -> None:
    """Photos that a head knows as well when it did not learn them are not given away."""
    plain = known()
    inside, outside = membership_inference.exchanged(
        plain.features, plain.targets, plain.groups, 100.0
    )
    page = make_page(first=known(suspected=outside - inside < np.median(outside - inside)))
    assert any("suspected photos that a weak penalty" in claim for claim in failed(page))


def test_without_suspects_the_page_says_so(make_page: Callable[..., Page]) -> None:
    page = make_page(first=known(suspected=np.zeros(N, dtype=bool)))
    assert "suspects too few" in page.body
    assert not any("suspected photos" in claim.said for claim in page.claims)


DRAW = functools.cache(golden.draw_picture)


def searched(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> Page:
    """The part of the page that is about the bundle."""
    monkeypatch.setattr(golden, "draw_picture", DRAW)
    sheet = Sheet("privacy")
    privacy._bundle(sheet, subject)
    return sheet.page()


def test_without_a_bundle_the_page_says_so(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = searched(dataclasses.replace(subject, model=subject.model / "none"), monkeypatch)
    assert "No bundle is published yet" in page.body
    assert page.claims == ()


def planted(folder: Path, catalog: Catalog, kind: str) -> None:
    photo = catalog.photos("ok")[0]
    data = catalog.file(photo).read_bytes()
    name = Path(photo.origin).name
    weights = folder / "weights.safetensors"

    def added(path: Path, more: bytes) -> None:
        path.write_bytes(path.read_bytes() + more)

    if kind == "origin":
        added(folder / "README.md", photo.origin.encode())
    elif kind == "file name":
        added(folder / "bundle.json", name.encode())
    elif kind == "in an array":
        (folder / "reference.npz").write_bytes(as_npz(names=np.array([name])))
    elif kind == "checksum":
        added(folder / "model.onnx", photo.sha256.encode())
    elif kind == "raw checksum":
        added(weights, bytes.fromhex(photo.sha256))
    elif kind == "photo":
        (folder / "golden" / "32.jpeg").write_bytes(data)
    elif kind == "re-encoded":
        (folder / "golden" / "00.jpeg").write_bytes(jpeg())
    elif kind == "jpeg":
        added(weights, jpeg())
    elif kind == "png":
        added(folder / "model.onnx", jpeg(format="PNG"))
    elif kind == "pictures":
        (folder / "pictures.npz").write_bytes(as_npz(jpegs=np.frombuffer(jpeg(), np.uint8)))
    else:
        (folder / "golden" / "32.webp").write_bytes(jpeg(gps=True, format="WEBP"))


@pytest.mark.series
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("origin", "the origin /home/me/bears/IMG_"),
        ("file name", "the file name IMG_"),
        ("in an array", "in reference.npz/names.npy"),
        ("checksum", "in model.onnx"),
        ("raw checksum", "in weights.safetensors"),
        ("photo", "is a photo"),
        ("re-encoded", "golden/00.jpeg is not drawn"),
        ("jpeg", "1 pictures in weights.safetensors"),
        ("png", "1 pictures in model.onnx"),
        ("pictures", "1 pictures in pictures.npz"),
        ("gps", "a GPS position in golden/32.webp"),
    ],
)
def test_whatever_is_planted_in_a_bundle_is_found(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, words: str
) -> None:
    shutil.copytree(subject.model, tmp_path / "tiny")
    planted(tmp_path / "tiny", subject.catalog, kind)
    page = searched(dataclasses.replace(subject, model=tmp_path / "tiny"), monkeypatch)
    (claim,) = page.claims
    assert not claim.holds
    assert words in claim.found


def test_small_copies_that_were_asked_for_are_no_leak(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(subject.model, tmp_path / "tiny")
    planted(tmp_path / "tiny", subject.catalog, "pictures")
    shown = dataclasses.replace(subject.config.export, pictures="all")
    config = dataclasses.replace(subject.config, export=shown)
    page = searched(Subject(subject.catalog, config, tmp_path / "tiny"), monkeypatch)
    assert failed(page) == []
    assert "Small copies were asked for" in page.body


# what the page reads of a dataset


def test_what_the_first_model_knows(tmp_path: Path) -> None:
    from bear_classifier.learn.probe import probe

    config = tiny_config(probe={"folds": 2})
    with dataset(tmp_path, config) as catalog:
        probe(catalog, config)
        found = privacy.probed_photos(Subject(catalog, config, tmp_path / "none"))
        kept = catalog.photos("ok")
        rows, sides = privacy.membership_of(found.photos)
        assert [kept[row].split for row in rows].count("valid") == 0
        assert sides.member.tolist() == [kept[row].split == "train" for row in rows]
        assert found.targets.tolist() == [LABELS.index(p.label) for p in kept]
        assert found.features.shape == (24, 512)
        assert (found.unseen > 0).all()
        assert privacy.temperature(Subject(catalog, config, tmp_path)) == 1.0
        (tmp_path / "evaluate" / "report.json").write_text('{"temperature": 1.5}', encoding="utf-8")
        assert privacy.temperature(Subject(catalog, config, tmp_path)) == 1.5
