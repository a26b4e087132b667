"""The map of photos: its kernels by hand, and each claim where what it claims is broken."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import sys
import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bundles import LABELS, tiny_config
from corpus import drawn, saved
from PIL import Image

from bear_classifier.cli import options
from bear_classifier.dataset.schema import Photo
from bear_classifier.judge import clean
from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.lesson.photos import embedding_map as photo_map
from bear_classifier.lesson.photos import neighbourhoods, scatter_plots, tensorboard_projector
from bear_classifier.lesson.trained_model import NetworkOutputs
from bear_classifier.stats import projections

Make = Callable[..., Photo]
DRAWN = {name: getattr(scatter_plots, name) for name in ("clouds", "widths", "neighbour_counts")}
CLUMPS, EACH, MIXED, WIDE = 8, 14, 8, 30
EVIL = '<img src=x onerror="alert(1)">\t\u2028.jpg'
right_principal, right_rebuilt = projections.principal, projections.rebuilt
right_tsne = projections.tsne
right_tensors, right_metadata = tensorboard_projector.tensors, tensorboard_projector.metadata


def told(make: Make) -> NetworkOutputs:
    """Eight clumps in 30 dimensions, of three classes in turn; and photos half way between two of
    different classes, which are answered wrongly."""
    dice = np.random.default_rng(3)
    middles = 4 * dice.standard_normal((CLUMPS, WIDE))
    clump = np.repeat(np.arange(CLUMPS), EACH)
    between = (middles[:MIXED] + np.roll(middles, 1, axis=0)[:MIXED]) / 2
    pooled = np.concatenate([middles[clump], between])
    pooled = (pooled + dice.standard_normal(pooled.shape)).astype(np.float32)
    targets = np.concatenate([clump, np.arange(MIXED)]) % 3
    answers = np.where(np.arange(len(targets)) < len(clump), targets, (targets + 1) % 3)
    sides = ("train", "train", "valid", "test")
    rows = [make(i, label=LABELS[t], split=sides[i % 4]) for i, t in enumerate(targets)]
    rows[0] = dataclasses.replace(rows[0], origin=f"http://a.example/{EVIL}")
    return NetworkOutputs(rows, np.eye(3, dtype=np.float32)[answers], pooled, targets)


@pytest.fixture
def asked(make: Make) -> NetworkOutputs:
    return told(make)


@pytest.fixture(scope="module")
def quick() -> Any:
    """t-SNE once for each number of dimensions, however many pages ask for it."""
    kept: dict[int, Any] = {}

    def found(at: Any, dims: int) -> Any:
        if dims not in kept:
            kept[dims] = right_tsne(at, dims)
        return kept[dims]

    return found


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take most of a page's time."""
    dot = tensorboard_projector.sprite([])
    for name in DRAWN:
        monkeypatch.setattr(scatter_plots, name, lambda *_: dot)


@pytest.fixture
def made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: Any, undrawn: None
) -> Callable[[NetworkOutputs], Page]:
    """The page of what is said; two photos are there, one is broken, the others are missing."""
    (tmp_path / f"{0:064x}").write_bytes(saved(drawn(seed=1), "PNG"))
    (tmp_path / f"{1:064x}").write_bytes(saved(drawn(seed=2), "JPEG"))
    (tmp_path / f"{2:064x}").write_bytes(b"no picture")
    catalog = SimpleNamespace(file=lambda photo: tmp_path / photo.sha256)
    subject: Any = SimpleNamespace(catalog=catalog, config=tiny_config())
    monkeypatch.setattr(projections, "tsne", quick)

    def page(what: NetworkOutputs) -> Page:
        monkeypatch.setattr(photo_map, "network_outputs", lambda _: what)
        return photo_map.page(subject)

    return page


def fallen(page: Page) -> list[str]:
    return [claim.said for claim in page.claims if not claim.holds]


def values(page: Page) -> Any:
    found = re.search(r'<script type="application/json">(.*?)</script>', page.body, re.S)
    assert found is not None
    return json.loads(found[1])


def kinds(page: Page) -> dict[str, int]:
    endings = [name.rpartition(".")[2] for name in page.files]
    return {ending: endings.count(ending) for ending in endings}


# the page


def test_all_its_claims_hold_where_they_should(
    made: Any, asked: NetworkOutputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, draw in DRAWN.items():
        monkeypatch.setattr(scatter_plots, name, draw)
    page = made(asked)
    assert [c for c in page.claims if not c.holds] == []
    assert len(page.claims) == 7
    assert kinds(page) == {"png": 4, "tsv": 2, "pbtxt": 1}
    shown = values(page)
    assert list(shown["maps"]) == [
        "PCA, 2 dimensions", "PCA, 3 dimensions", "t-SNE, 2 dimensions", "t-SNE, 3 dimensions"
    ]  # fmt: skip
    for name, at in shown["maps"].items():
        assert np.array(at).shape == (len(asked.photos), int(name.split()[1]))
        assert 0.9 < np.linalg.norm(at, axis=1).max() < 1.001
    assert [len(shown[name]) for name in ("label", "said", "side", "file", "sha", "thumb")] == (
        [len(asked.photos)] * 6
    )
    assert sum(map(bool, shown["thumb"])) == 2
    assert f"Of {len(asked.photos) - 2} of them the file is missing or broken" in page.body


def test_what_strangers_wrote_is_escaped(made: Any, asked: NetworkOutputs) -> None:
    page = made(asked)
    assert "<img src=x" not in page.html()
    assert values(page)["file"][0].startswith("<img src=x")
    static = Path(photo_map.__file__).parents[1] / "static"
    script = (static / "cloud.js").read_text(encoding="utf-8")
    assert not re.search("innerHTML|outerHTML|insertAdjacent|document.write", script)
    rows = tensorboard_projector.read_metadata(page.files["map-metadata.tsv"])
    assert [len(row) for row in rows] == [4] * len(asked.photos)


def test_a_photo_leads_to_its_review() -> None:
    port = options.parser().parse_args(["review"]).port
    assert f"http://127.0.0.1:{port}/#view=one&state=all&at=" == photo_map.REVIEW


def test_the_files_are_what_the_projector_asks_for(made: Any, asked: NetworkOutputs) -> None:
    page = made(asked)
    about = page.files[f"map-{tensorboard_projector.CONFIG}"].decode()
    named = re.findall(r'_path: "(.*?)"', about)
    assert named == ["map-tensors.tsv", "map-metadata.tsv", "map-sprite.png"]
    assert set(named) <= set(page.files)
    side = Image.open(io.BytesIO(page.files["map-sprite.png"])).size
    assert side == (
        11 * tensorboard_projector.SPRITE_PIXELS,
        11 * tensorboard_projector.SPRITE_PIXELS,
    ), "120 photos"


def test_few_mistakes_are_not_talked_about(made: Any, asked: NetworkOutputs) -> None:
    right = np.eye(3, dtype=np.float32)[asked.targets]
    page = made(dataclasses.replace(asked, logits=right))
    assert "There are no wrong answers" in page.body
    assert not any("mixed" in claim.said for claim in page.claims)
    right[:3] = np.roll(right[:3], 1, axis=1)
    assert "There are only 3 wrong answers" in made(dataclasses.replace(asked, logits=right)).body


def test_near_copies_do_not_speak_for_a_class(made: Any, asked: NetworkOutputs) -> None:
    """Six copies of each photo lie on one another; but for them neighbours are a lottery."""
    dice = np.random.default_rng(0)
    n = len(asked.photos)
    number = np.arange(n) // 6
    pooled = dice.standard_normal((n, WIDE)).astype(np.float32)[number]
    pooled += 1e-3 * dice.standard_normal(pooled.shape).astype(np.float32)
    rows = [
        dataclasses.replace(photo, group=str(group))
        for photo, group in zip(asked.photos, number, strict=True)
    ]
    page = made(dataclasses.replace(asked, photos=rows, pooled=pooled, targets=number % 3))
    assert any("far more often" in said for said in fallen(page))


def test_umap_has_a_map_where_it_is_installed(
    made: Any, asked: NetworkOutputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    class UMAP:
        def __init__(self, n_components: int, **_: Any) -> None:
            self.dims = n_components

        def fit_transform(self, at: Any) -> Any:
            return at[:, : self.dims]

    module = types.ModuleType("umap")
    module.__spec__ = ModuleSpec("umap", None)
    module.UMAP = UMAP  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", module)
    assert {"UMAP, 2 dimensions", "UMAP, 3 dimensions"} <= set(values(made(asked))["maps"])


# what it claims, broken on purpose


def mirrored(features: Any) -> projections.Principal:
    """An axis points to where the first photo lies."""
    found = right_principal(features)
    signs = np.sign(found.at[0]) + (found.at[0] == 0)
    return dataclasses.replace(found, axes=found.axes * signs[:, None], at=found.at * signs)


def not_centred(features: Any) -> projections.Principal:
    left, sizes, axes = np.linalg.svd(features.astype(float), full_matrices=False)
    shares = sizes**2 / (sizes @ sizes)
    return projections.Principal(np.zeros(len(axes[0])), axes, left * sizes, shares)


def by_lot(at: Any, dims: int) -> Any:
    return np.random.default_rng(0).standard_normal((len(at), dims))


def farthest(features: Any, groups: Any, rows: Any, among: Any = None) -> list[list[int]]:
    far = np.linalg.norm(features[:, None] - features[None], axis=2)
    return [np.argsort(-far[row])[:8].tolist() for row in rows]


def short(features: Any) -> bytes:
    file = io.BytesIO()
    np.savetxt(file, features, fmt="%.5g", delimiter="\t")
    return file.getvalue()


FAULTS: list[tuple[Any, str, Any, str]] = [
    (
        projections,
        "rebuilt",
        lambda found, k: right_rebuilt(found, k // 2),
        "give the features back",
    ),
    (projections, "rebuilt", lambda found, k: right_rebuilt(found, k + 1), "leave out is the rest"),
    (projections, "principal", not_centred, "leave out is the rest"),
    (projections, "principal", mirrored, "no axis is mirrored"),
    (projections, "tsne", by_lot, "t-SNE keeps neighbourhoods"),
    (projections, "tsne", lambda at, dims: at[:, :dims], "t-SNE keeps neighbourhoods"),
    (clean, "nearest", farthest, "far more often than chance"),
    (
        neighbourhoods,
        "class_shares",
        lambda near, rows, t: np.full(len(rows), 0.4),
        "far more often",
    ),
    (neighbourhoods, "class_shares", lambda near, rows, t: np.ones(len(rows)), "mixed neighbour"),
    (neighbourhoods, "permutation_p", lambda *_: 0.4, "mixed neighbourhoods"),
    (tensorboard_projector, "tensors", short, "are read back as the same numbers"),
    (tensorboard_projector, "tensors", lambda X: right_tensors(X[1:]), "have a row for each point"),
    (
        tensorboard_projector,
        "metadata",
        lambda rows: right_metadata(rows[::-1]),
        "numbers and words",
    ),
    (tensorboard_projector, "tsv_cell", lambda text: f"{text}\n", "have a row for each point"),
]


@pytest.mark.parametrize(
    ("module", "kernel", "fault", "claim"),
    FAULTS,
    ids=[f"{kernel}-{number}" for number, (_, kernel, *_rest) in enumerate(FAULTS)],
)
def test_a_broken_kernel_breaks_its_claim(
    monkeypatch: pytest.MonkeyPatch, made: Any, asked: NetworkOutputs,
    module: Any, kernel: str, fault: Any, claim: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(module, kernel, fault)
    monkeypatch.setattr(Sheet, "code", lambda *_: None)  # whose source a lambda has not
    page = made(asked)
    assert any(claim in said for said in fallen(page)), fallen(page)
    assert not page.holds


def test_features_of_other_photos_share_no_class(made: Any, asked: NetworkOutputs) -> None:
    mixed = np.random.default_rng(1).permutation(len(asked.photos))
    page = made(dataclasses.replace(asked, pooled=asked.pooled[mixed]))
    assert any("far more often than chance" in said for said in fallen(page))


def test_mistakes_in_the_midst_of_their_class_are_not_of_mixed_neighbourhoods(
    made: Any, asked: NetworkOutputs
) -> None:
    logits = np.eye(3, dtype=np.float32)[asked.targets]
    logits[:80:10] = np.roll(logits[:80:10], 1, axis=1)
    page = made(dataclasses.replace(asked, logits=logits))
    assert any("mixed neighbourhoods" in said for said in fallen(page))


def test_photos_that_were_not_learned_from_count_for_themselves(
    made: Any, asked: NetworkOutputs
) -> None:
    """Where only the training split lies well, the claim falls."""
    pooled = asked.pooled.copy()
    new = np.flatnonzero([photo.split != "train" for photo in asked.photos])
    dice = np.random.default_rng(2)
    pooled[new] = pooled[dice.permutation(new)]
    page = made(dataclasses.replace(asked, pooled=pooled))
    assert any("far more often than chance" in said for said in fallen(page))


# the kernels, by numbers worked out by hand


def test_principal_components_of_a_cross() -> None:
    """Around (1, 1): two points 2 along the second axis, two points 1 along the first."""
    X = np.array([[1, 3], [1, -1], [2, 1], [0, 1]], dtype=np.float32)
    found = projections.principal(X)
    assert found.centre.tolist() == [1, 1]
    assert found.shares == pytest.approx([0.8, 0.2])
    assert found.axes == pytest.approx(np.array([[0, 1], [1, 0]]), abs=1e-12)
    assert found.at == pytest.approx(np.array([[2, 0], [-2, 0], [0, 1], [0, -1]]), abs=1e-12)
    assert projections.rebuilt(found, 0) == pytest.approx(np.ones((4, 2)))
    one = projections.rebuilt(found, 1)
    assert one == pytest.approx(np.array([[1, 3], [1, -1], [1, 1], [1, 1]]), abs=1e-12)
    assert projections.rebuilt(found, 2) == pytest.approx(X, abs=1e-12)


@pytest.mark.parametrize("turn", [1, -1])
def test_the_largest_entry_of_an_axis_is_positive(turn: int) -> None:
    X = turn * np.random.default_rng(4).standard_normal((9, 5))
    axes = projections.principal(X).axes
    assert (axes[np.arange(5), np.abs(axes).argmax(axis=1)] > 0).all()
    assert axes @ axes.T == pytest.approx(np.eye(5), abs=1e-12)


def test_t_sne_is_the_same_each_time_and_throws_no_dice_of_others(asked: NetworkOutputs) -> None:
    np.random.seed(5)
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    at = projections.principal(asked.pooled[:40]).at
    one, two = projections.tsne(at, 2), projections.tsne(at, 2)
    assert one.shape == (40, 2)
    assert np.array_equal(one, two)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]


def test_shares_of_neighbours_by_hand() -> None:
    targets, rows = np.array([0, 0, 1, 1]), np.array([0, 2])
    assert neighbourhoods.class_shares([[1, 2], [0, 1, 3]], targets[rows], targets).tolist() == [
        1 / 2,
        1 / 3,
    ]
    assert neighbourhoods.class_shares([[1, 2]], np.array([2]), np.array([0, 2, 2])).tolist() == [1]
    groups = np.array([7, 7, 1, 2])
    assert neighbourhoods.expected_shares(rows, targets, groups).tolist() == [0, 1 / 3]
    assert neighbourhoods.expected_shares(rows, targets, np.arange(4)).tolist() == [1 / 3, 1 / 3]


def test_how_often_a_mean_is_so_low() -> None:
    shares = np.array([0.0, 1, 1, 1])
    first = np.array([True, False, False, False])
    assert neighbourhoods.permutation_p(shares, first) == pytest.approx(1 / 4, abs=0.05)
    assert neighbourhoods.permutation_p(shares, ~first) > 0.99


def test_the_mistakes_are_kept_and_others_drawn_by_lot() -> None:
    wrong = np.arange(1000) % 100 == 7
    rows = neighbourhoods.sample_photos(wrong, most=50)
    assert len(rows) == len(set(rows)) == 50
    assert set(np.flatnonzero(wrong)) < set(rows)
    assert rows.tolist() == sorted(rows)
    assert np.array_equal(neighbourhoods.sample_photos(wrong, most=50), rows)
    assert not np.array_equal(neighbourhoods.sample_photos(wrong, most=50, seed=1), rows)
    assert neighbourhoods.sample_photos(wrong, most=4000).tolist() == list(range(1000))
    assert wrong[neighbourhoods.sample_photos(wrong, most=6)].all()


def test_a_map_fits_into_a_ball() -> None:
    found = photo_map._scaled(np.array([[10.0, 0], [14, 0], [12, 1]]))
    assert found == pytest.approx(np.array([[-2, -0.5], [2, -0.5], [0, 0.5]]) / 4.25**0.5)


# the files


def test_single_precision_comes_back_exactly() -> None:
    dice = np.random.default_rng(0)
    X = (dice.standard_normal((50, 7)) * 10.0 ** dice.integers(-30, 30, (50, 7))).astype(np.float32)
    assert np.array_equal(tensorboard_projector.read_tensors(tensorboard_projector.tensors(X)), X)
    assert tensorboard_projector.read_tensors(tensorboard_projector.tensors(X[:1])).shape == (1, 7)
    assert tensorboard_projector.tensors(np.array([[0.5, 2]], dtype=np.float32)) == b"0.5\t2\n"


def test_words_stay_in_their_row() -> None:
    data = tensorboard_projector.metadata([["a\tb", "c\r\nd", "e\u2028f", "\u202eg\x00"]])
    assert data.decode() == "label\tsaid\tside\tfile\na b\tc  d\te f\t g \n"
    assert tensorboard_projector.read_metadata(data) == [["a b", "c  d", "e f", " g "]]


def test_a_sprite_is_filled_row_by_row() -> None:
    side = tensorboard_projector.SPRITE_PIXELS
    colours = ["red", "lime", "blue", None, "black"]
    pictures = [c and Image.new("RGB", (side, side), c) for c in colours]
    whole = Image.open(io.BytesIO(tensorboard_projector.sprite(pictures)))  # type: ignore[arg-type]
    assert whole.size == (3 * side, 3 * side)
    seen = [whole.getpixel((side * k + 9, side * j + 9)) for j in range(2) for k in range(3)]
    red, lime, blue, grey = (255, 0, 0), (0, 255, 0), (0, 0, 255), (204, 204, 204)
    assert seen == [red, lime, blue, grey, (0, 0, 0), (255, 255, 255)]


def test_a_broken_photo_has_no_small_copy(tmp_path: Path) -> None:
    whole, broken = tmp_path / "a.png", tmp_path / "b.png"
    whole.write_bytes(saved(drawn(seed=3), "PNG"))
    broken.write_bytes(whole.read_bytes()[:200])
    found = tensorboard_projector.middle_square(whole)
    assert found is not None
    assert found.size == (tensorboard_projector.SPRITE_PIXELS, tensorboard_projector.SPRITE_PIXELS)
    assert tensorboard_projector.middle_square(broken) is None
    assert tensorboard_projector.middle_square(tmp_path / "missing.png") is None


def test_classes_are_told_apart_by_colour_and_shape() -> None:
    n = len(scatter_plots.CLASS_COLOURS) * len(scatter_plots.SHAPES)
    pairs = {
        (k % len(scatter_plots.CLASS_COLOURS), k % len(scatter_plots.SHAPES)) for k in range(n)
    }
    assert len(pairs) == n


def test_odd_labels_can_be_drawn() -> None:
    at = np.random.default_rng(0).standard_normal((9, 2))
    data = scatter_plots.clouds(
        {"a": at, "b": at}, np.arange(9) % 2, np.zeros(9, dtype=bool), ["a$b^{", "<&>"]
    )
    assert data.startswith(b"\x89PNG")
