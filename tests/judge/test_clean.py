import dataclasses
import io
import json

import numpy as np
import pytest
from judging import judged, scores_of, suspects

from bear_classifier.config.project_file import build
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import AUTO, GONE, decide, decided, undo
from bear_classifier.dataset.schema import Decision
from bear_classifier.errors import DataError
from bear_classifier.judge import clean as module
from bear_classifier.judge.clean import (
    atypical,
    clean,
    distance,
    nearest,
    outlier,
    quality,
    tail,
)
from bear_classifier.judge.learned_order import LIKE_FAULTS, combined, conflict, excess
from bear_classifier.stats import linear_probe
from bear_classifier.stats.fault_model import expit, logit

LABELS = ["black", "grizzly", "teddy"]
CONFIG = build({"name": "tiny", "classes": {label: [label] for label in LABELS}}, where="test")
DULL = (np.zeros((2, 5), np.float32), np.zeros(2, np.float32))  # weights that see the same in all


def save(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.write_bytes(buffer.getvalue())


def leave_probe(root, hashes, second, features, light=None, sharpness=None, own=None):
    """What the first model leaves in a dataset. The cache holds one more photo, and another order:
    rows are to be found by hash."""
    n = len(hashes)
    turn = np.roll(np.arange(n), 3)
    light = np.full(n, 120) if light is None else light
    sharpness = np.full(n, 20) if sharpness is None else sharpness
    save(
        root / "features" / "cache.npz",
        sha256=np.array([*np.array(hashes)[turn], "f" * 64]),
        features=np.concatenate([features[turn], features[:1]]).astype(np.float32),
        light=np.append(light[turn], 1).astype(np.float32),
        sharpness=np.append(sharpness[turn], 1).astype(np.float32),
    )
    save(
        root / "probe" / "probabilities.npz",
        sha256=np.array(hashes),
        probabilities=np.full_like(second, 1 / second.shape[1]),  # the first round, not to be used
        second=second,
        features=np.array("cache.npz"),
    )
    if own:
        save(root / "probe" / "pretrained.npz", weight=own[0], bias=own[1])


def every(n):
    return np.ones(n, dtype=bool)


# -- kernels ---------------------------------------------------------------------------------------


def test_chances_of_independent_faults_combine():
    found = combined([np.array([0.5, 0.0, 1.0, 0.9]), np.array([0.5, 0.0, 0.3, 0.2])])
    assert found.tolist() == pytest.approx([0.75, 0.0, 1.0, 0.92])


@pytest.fixture
def seen():
    """100 photos of one class: 98 show kind 0, the last two kind 1; 50 of another: all kind 1."""
    kinds = np.array([0] * 98 + [1] * 2 + [1] * 50)
    return np.eye(3)[kinds], np.array([0] * 100 + [1] * 50)


def test_what_its_class_hardly_shows_is_atypical(seen):
    shares, targets = seen
    found, apart = atypical(shares, targets, np.arange(150), every(150))
    assert apart[0] == pytest.approx(np.log(99 / 97), abs=1e-4)
    assert apart[98] == pytest.approx(np.log(99), abs=0.01)
    assert found[0] == pytest.approx(1 - (97 / 99) / (97 / 99 + 0.005))
    assert found[98] == found[99] == pytest.approx(1 - (1 / 99) / (1 / 99 + 0.005))
    assert found[100:].max() < 0.006  # what the other class shows is no matter


def test_a_photo_alone_with_its_kind_is_atypical_whatever_other_classes_show(seen):
    shares, targets = seen
    alone = np.delete(np.arange(150), 99)
    found, apart = atypical(shares[alone], targets[alone], np.arange(149), every(149))
    assert found[98] == 1.0
    assert apart[98] == pytest.approx(np.log(1e5), abs=0.01)
    assert found[:98].max() < 0.006


def test_near_copies_are_no_other_photos(seen):
    shares, targets = seen
    groups = np.arange(150)
    groups[99] = groups[98]
    found, _ = atypical(shares, targets, groups, every(150))
    assert found[98:100].tolist() == [1.0, 1.0]
    assert found[0] == pytest.approx(1 - (97 / 99) / (97 / 99 + 0.005))


def test_a_class_of_one_group_has_nothing_to_be_compared_with():
    """So nothing speaks against its photos: frames of one film are not dropped all at once."""
    frames = np.eye(2)[[0, 0]], np.array([0, 0]), np.array([4, 4])
    assert np.array(atypical(*frames, every(2))).tolist() == [[0.0, 0.0]] * 2


def test_outliers_by_what_the_weights_see(seen):
    shares, targets = seen
    features = (30 * shares).astype(np.float32)
    weight = np.eye(3, dtype=np.float32)[::-1]  # kinds in another order
    own, known = np.arange(150), every(150)
    alike = np.ones((150, 2), np.float32)  # as far from one another as all others
    layer = (weight, np.zeros(3, np.float32))
    found = outlier(features, alike, targets, own, known, layer)
    rare, apart = atypical(shares, targets, own, known)
    more = 0.3 * (tail(apart, known) - 1) - 0.7
    assert found == pytest.approx(expit(logit(rare**3) + more), abs=1e-5)
    layer = (weight, np.float32([900, 0, 0]))
    same = outlier(features, alike, targets, own, known, layer)
    assert same.max() < 1e-3  # such a bias makes all of them the same kind


def test_a_photo_far_from_all_others_of_its_class_is_more_of_an_outlier(seen):
    shares, targets = seen
    features = (30 * shares).astype(np.float32)
    layer = (np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
    turned = around(150)
    turned[:100] = [1, 0]
    turned[98] = [-1, 0]
    found = outlier(features, turned, targets, np.arange(150), every(150), layer)
    assert found[98] > 2 * found[99]


def test_outliers_by_their_order_within_the_class():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(60, 4)).astype(np.float32)
    targets, groups = np.repeat([0, 1], [40, 20]), np.arange(60)
    points[:40, 0] += 9
    points[7] = [-9, 0, 0, 0]
    found = outlier(points, points, targets, groups, every(60), None)
    order = np.sort(found[:40])[::-1]
    assert found[7] == 0.7
    assert order == pytest.approx(0.7 * np.exp(-np.arange(40) / 40 / 0.06))
    assert found[40:].max() == 0.7  # the worst of every class is looked at
    far = distance(points, targets, groups, every(60))
    assert (np.argsort(-found[40:]) == np.argsort(-far[40:])).all()


@pytest.mark.parametrize("block", [1024, 7])
def test_the_distance_is_that_from_the_nearest_of_the_class(monkeypatch, block):
    """Worked by hand: on a circle of 8, with the two nearest."""
    monkeypatch.setattr(module, "_BLOCK", block)
    monkeypatch.setattr(module, "_OWN_NEIGHBOURS", 2)
    targets, groups = np.array([0] * 8 + [1]), np.arange(9)
    points = np.concatenate([3 * around(8), [[1, 0]]]).astype(np.float32)
    one, two = 1 - np.cos(np.pi / 4), 1.0
    found = distance(points, targets, groups, every(9))
    assert found == pytest.approx([one] * 8 + [0], abs=1e-6)  # the last one has no others
    groups[1] = groups[0]  # a near-copy is no other photo
    known = every(9)
    known[4] = False  # nor is one of the test split, which is compared with the others
    found = distance(points, targets, groups, known)
    assert found[0] == pytest.approx((one + two) / 2, abs=1e-6)
    assert found[3] == pytest.approx((one + two) / 2, abs=1e-6)
    assert found[4] == pytest.approx(one, abs=1e-6)


def test_of_a_large_class_a_sample_is_compared(monkeypatch):
    points = np.random.default_rng(1).normal(size=(90, 3)).astype(np.float32)
    whole = distance(points, np.zeros(90, int), np.arange(90), every(90))
    monkeypatch.setattr(module, "_MOST_COMPARED", 45)
    half = distance(points, np.zeros(90, int), np.arange(90), every(90))
    assert (half >= whole - 1e-6).all()  # the nearest of fewer are farther
    assert (half > whole + 1e-3).any()


def test_what_is_asked_of_known_photos_only():
    """Worked by hand: two known photos of kind 0, one of kind 1; the others are judged by these."""
    kinds = np.eye(2)[[0, 0, 1, 1, 0]]
    known, one = np.array([True, True, True, False, False]), np.zeros(5, int)
    found, _ = atypical(kinds, one, np.arange(5), known)
    half, third = (share / (share + 0.005) for share in (1 / 2, 1 / 3))
    two_thirds = (2 / 3) / (2 / 3 + 0.005)
    assert found == pytest.approx([1 - half, 1 - half, 1, 1 - third, 1 - two_thirds])
    near = nearest(around(5), np.arange(5), np.arange(5), known)
    assert [set(row) for row in near] == [{1, 2}, {0, 2}, {0, 1}, {0, 1, 2}, {0, 1, 2}]
    values = np.array([5.0, 3.0, 1.0, 4.0, 0.0])
    assert module._ranks(values, one, known) == pytest.approx([0, 1 / 3, 2 / 3, 1 / 3, 1])
    none = np.zeros(5, bool)
    assert np.array(atypical(kinds, one, np.arange(5), none)).tolist() == [[0.0] * 5] * 2
    assert tail(values, known).tolist() == pytest.approx(
        [np.log(3), np.log(3 / 2), 0, np.log(3), 0]
    )


def test_photos_of_the_test_side_change_nothing_about_others():
    rng = np.random.default_rng(3)
    features, targets = rng.normal(size=(60, 6)).astype(np.float32), np.arange(60) % 2
    known, groups = np.arange(60) < 45, np.arange(60)
    layer = rng.normal(size=(4, 6)).astype(np.float32), np.zeros(4, np.float32)
    other, turned = features.copy(), targets.copy()
    other[~known] = 9 * rng.normal(size=(15, 6))
    turned[~known] = rng.integers(0, 2, 15)
    for own in (layer, None):
        one, two = (outlier(x, x, y, groups, known, own)[known].tolist()
                    for x, y in ((features, targets), (other, turned)))  # fmt: skip
        assert one == two
    one, two = (nearest(x, groups, groups[known], known) for x in (features, other))
    assert one == two


def test_conflicts_are_counted_in_the_group():
    targets, groups = np.array([0, 0, 1, 2, 2, 1]), np.array([0, 0, 0, 1, 1, 2])
    used = np.ones(6, bool)
    found = conflict(targets, groups, used).tolist()
    assert found == pytest.approx([1 / 3, 1 / 3, 2 / 3, 0, 0, 0])
    used[2] = False  # the one that was wrong is dropped: the others are right again
    found = conflict(targets, groups, used).tolist()
    assert found == pytest.approx([0, 0, 2 / 3, 0, 0, 0])


def test_dark_and_blurred_photos():
    light = np.array([11.9, 12.0, 100, 100, 0], np.float32)
    sharpness = np.array([9, 9, 1.9, 2.0, 0], np.float32)
    assert quality(light, sharpness, np.zeros(5)).tolist() == [0.9, 0.0, 0.9, 0.0, 0.9]
    assert quality(light[[1] * 3], sharpness[[1] * 3], np.float32([0, 0.19, 0.2])).tolist() == [
        *(0.0, 0.0, 0.9)
    ]


def around(n):
    """Points on a circle, so that the likeness of two is that of their numbers."""
    angle = 2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


@pytest.mark.parametrize("block", [1024, 7, 1])
def test_the_most_alike_come_first(monkeypatch, block):
    monkeypatch.setattr(module, "_BLOCK", block)
    groups = np.arange(40)
    groups[1] = groups[0] = 99
    near = nearest(around(40), groups, np.arange(40), every(40))
    assert nearest(around(40), groups, np.array([20, 3]), every(40)) == [near[20], near[3]]
    assert [len(row) for row in near] == [8] * 40
    for i, row in enumerate(near):
        steps = [min((i - j) % 40, (j - i) % 40) for j in row]
        assert steps == sorted(steps)
        assert i not in row
    assert set(near[20]) == {16, 17, 18, 19, 21, 22, 23, 24}
    assert set(near[0]) == {36, 37, 38, 39, 2, 3, 4} | {near[0][-1]}  # 1 is a near-copy of it
    assert 1 not in near[0]
    assert 0 not in near[1]


def test_fewer_photos_than_are_shown():
    near = nearest(around(4), np.array([0, 0, 1, 2]), np.arange(4), every(4))
    assert [sorted(row) for row in near] == [[2, 3], [2, 3], [0, 1, 3], [0, 1, 2]]
    assert nearest(around(1), np.array([0]), np.array([0]), every(1)) == [[]]
    assert nearest(around(3), np.zeros(3, int), np.arange(3), every(3)) == [[], [], []]


# -- a dataset -------------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path, make):
    """30 photos in three clear clouds, number i under label i % 3, and nothing wrong with them."""
    rng = np.random.default_rng(5)
    targets = np.arange(30) % 3
    rows = [
        make(i, label=LABELS[i % 3], split=("train", "train", "valid", "test")[i // 3 % 4])
        for i in range(30)
    ]
    second = np.full((30, 3), 0.05)
    second[np.arange(30), targets] = 0.9
    features = (6 * np.eye(5)[targets] + rng.normal(size=(30, 5))).astype(np.float32)
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos(rows)
        yield catalog, rows, second, features


def change(catalog, photo, **facts):
    with catalog.transaction():
        catalog.put_photos([dataclasses.replace(photo, **facts)])


def test_what_is_wrong_comes_first_and_says_why(dataset, monkeypatch):
    catalog, rows, second, features = dataset
    light, sharpness = np.full(30, 120.0), np.full(30, 20.0)
    second[4] = 0.02, 0.01, 0.97  # a grizzly that looks like a teddy
    second[7] = 0.35, 0.6, 0.05
    second[5], light[5] = (0.7, 0.1, 0.2), 3  # dark, and perhaps a black bear
    sharpness[8] = 0.5
    change(catalog, rows[10], group=rows[9].group)  # a grizzly and a black bear
    leave_probe(catalog.root, [p.sha256 for p in rows], second, features, light, sharpness, DULL)
    found = suspects(catalog, CONFIG)
    assert len(found) == 30
    order = [int(s.sha256, 16) for s in found]
    assert order[:3] == [4, 5, 8]
    assert set(order[3:5]) == {9, 10}
    assert order[5] == 7
    reasons = {int(s.sha256, 16): s.reasons for s in found}
    assert reasons[4] == ["looks like teddy (97%)"]
    assert reasons[5] == ["very dark", "looks like black (70%)"]
    assert reasons[8] == ["blurred or empty"]
    assert reasons[9] == reasons[10] == ["a near-copy of it stands under another class"]
    assert reasons[7] == ["looks like black (35%)"]  # the strongest doubt, though it is weak
    assert reasons[0] == []
    first, dark = found[0], found[1]
    assert (first.label, first.suggested, first.split) == ("grizzly", "teddy", rows[4].split)
    assert first.origin == rows[4].origin
    assert first.probabilities == pytest.approx({"black": 0.02, "grizzly": 0.01, "teddy": 0.97})
    assert first.scores == pytest.approx(
        {"label": 0.99, "outlier": 0.0, "duplicate": 0.0, "quality": 0.0}, abs=2e-3
    )
    assert dark.score == pytest.approx(1 - 0.1 * 0.2, abs=1e-3)
    assert [s.score for s in found] == sorted((s.score for s in found), reverse=True)
    assert rows[4].sha256 not in first.neighbours
    assert len(first.neighbours) == 8
    near = [int(sha, 16) for sha in first.neighbours]  # it does look like a grizzly,
    assert [i % 3 for i in near[:7]] == [1] * 7  # of which there are eight outside the test split
    monkeypatch.setattr(module, "MOST_SHOWN", 5)
    for on_test in (False, True):  # counted apart
        some = [s for s in suspects(catalog, CONFIG) if (s.split == "test") == on_test]
        assert [len(s.neighbours) for s in some] == [8] * 5 + [0] * (len(some) - 5)


def test_outliers_with_and_without_what_the_weights_see(dataset):
    catalog, rows, second, features = dataset
    hashes = [p.sha256 for p in rows]
    features[12] = 6 * np.eye(5)[4]  # neither
    own = (20 * np.eye(5, dtype=np.float32)), np.zeros(5, np.float32)
    leave_probe(catalog.root, hashes, second, features, own=own)
    first = suspects(catalog, CONFIG)[0]
    assert (first.sha256, first.scores["outlier"]) == (hashes[12], pytest.approx(1.0, abs=0.01))
    assert first.reasons == ["shows what photos of black hardly ever show"]
    assert first.suggested == "black"
    (catalog.root / "probe" / "pretrained.npz").unlink()
    without = {s.sha256: s for s in suspects(catalog, CONFIG)}
    assert sorted(s.scores["outlier"] for s in without.values())[-3:] == [0.7] * 3


def test_dropped_photos_stay_and_a_new_label_is_judged_anew(dataset):
    catalog, rows, second, features = dataset
    second[4] = 0.02, 0.01, 0.97
    leave_probe(catalog.root, [p.sha256 for p in rows], second, features, own=DULL)
    assert suspects(catalog, CONFIG)[0].scores["label"] == pytest.approx(0.99)
    wanted = [Decision(rows[4].sha256, "relabel", "teddy"), Decision(rows[6].sha256, "drop")]
    decide(catalog, LABELS, wanted, "ann", "1")
    found = {s.sha256: s for s in suspects(catalog, CONFIG)}
    assert found.keys() == {p.sha256 for p in rows}
    assert found[rows[4].sha256].label == "teddy"
    assert found[rows[4].sha256].scores["label"] == pytest.approx(0.03)
    assert found[rows[4].sha256].reasons == []


def test_photos_that_the_model_does_not_know_are_left_out(dataset, make):
    catalog, rows, second, features = dataset
    leave_probe(catalog.root, [p.sha256 for p in rows], second, features)
    change(catalog, make(77), label="teddy")  # came later
    change(catalog, rows[3], label="panda")  # of a class that the project no longer has
    change(catalog, rows[6], group=None, split=None)
    found = {s.sha256: s for s in suspects(catalog, CONFIG)}
    assert found.keys() == {p.sha256 for p in rows} - {rows[3].sha256}
    assert found[rows[6].sha256].split == ""


def test_planted_wrong_labels_are_found_first(dataset):
    catalog, rows, _, features = dataset
    planted = [2, 9, 16, 25]
    labels = np.arange(30) % 3
    labels[planted] = (labels[planted] + 1) % 3
    groups = np.array([p.sha256 for p in rows])
    first = linear_probe.out_of_fold(features, labels, groups, 5, 0.1)
    learned = linear_probe.trusted(first, labels)
    second = linear_probe.out_of_fold(features, labels, groups, 5, 0.1, learned)
    for i in planted:
        change(catalog, rows[i], label=LABELS[labels[i]])
    leave_probe(catalog.root, list(groups), second, features, own=DULL)
    found = suspects(catalog, CONFIG)
    assert sorted(int(s.sha256, 16) for s in found[:4]) == planted
    assert [s.suggested for s in found[:4]] == [LABELS[int(s.sha256, 16) % 3] for s in found[:4]]
    assert found[3].score > found[4].score + 0.1


def test_the_same_evidence_gives_the_same_list(dataset):
    catalog, rows, second, features = dataset
    second[:] = np.random.default_rng(2).dirichlet(np.ones(3), 30)
    leave_probe(catalog.root, [p.sha256 for p in rows], second, features)
    once = suspects(catalog, CONFIG)
    assert suspects(catalog, CONFIG) == once
    back = slice(None, None, -1)  # rows of the files in another order
    hashes = [p.sha256 for p in rows]
    leave_probe(catalog.root, hashes[back], second[back], features[back])
    again = suspects(catalog, CONFIG)
    assert [s.sha256 for s in again] == [s.sha256 for s in once]
    assert [s.probabilities for s in again] == [s.probabilities for s in once]


def test_the_stage_counts_and_changes_nothing(dataset):
    catalog, rows, second, features = dataset
    sharpness = np.full(30, 20.0)
    second[4] = 0.02, 0.01, 0.97
    second[8], sharpness[8] = (0.8, 0.1, 0.1), 0
    leave_probe(
        catalog.root, [p.sha256 for p in rows], second, features, sharpness=sharpness, own=DULL
    )
    outcome = clean(catalog, CONFIG)
    assert outcome["expected"] == pytest.approx(28 * 0.1 + 0.99 + 0.99, abs=0.06)
    assert outcome == {
        "photos": 30, "suspects": 2, "expected": outcome["expected"],
        "kinds": {"label": 2, "quality": 1}, "looks": 1,
        "can_look_again": True,
    }  # fmt: skip
    left = json.loads((catalog.root / "clean" / "summary.json").read_text(encoding="utf-8"))
    assert left == outcome | {"likely": [rows[4].sha256, rows[8].sha256], "look": ""}
    assert catalog.photos() == rows
    assert catalog.revision() == 0


def refused(catalog):
    with pytest.raises(DataError, match="run: bears probe") as caught:
        suspects(catalog, CONFIG)
    return caught.value.code == "NOT_PROBED"


def test_without_the_files_of_the_first_model(dataset):
    catalog, rows, second, features = dataset
    hashes = [p.sha256 for p in rows]
    assert refused(catalog)
    leave_probe(catalog.root, hashes, second, features)
    (catalog.root / "features" / "cache.npz").unlink()
    assert refused(catalog)
    leave_probe(catalog.root, hashes, second[:, :2], features)  # of two classes
    assert refused(catalog)
    leave_probe(catalog.root, [f"{i:064x}" for i in range(100, 130)], second, features)
    assert refused(catalog)
    for missing in ("second", "features"):  # left by an older version
        leave_probe(catalog.root, hashes, second, features)
        path = catalog.root / "probe" / "probabilities.npz"
        with np.load(path) as file:
            save(path, **{name: value for name, value in file.items() if name != missing})
        assert refused(catalog)


EMPTY = b""


@pytest.mark.parametrize("damage", [b"PK\x03\x04noise", b"half", EMPTY])
@pytest.mark.parametrize(
    "name", ["probe/probabilities.npz", "features/cache.npz", "probe/pretrained.npz"]
)
def test_damaged_files_of_the_first_model(dataset, name, damage):
    catalog, rows, second, features = dataset
    leave_probe(catalog.root, [p.sha256 for p in rows], second, features, own=DULL)
    path = catalog.root / name
    path.write_bytes(path.read_bytes()[:300] if damage == b"half" else damage)
    assert refused(catalog)


# -- what is learned from decisions ----------------------------------------------------------------


@pytest.fixture
def two_kinds(tmp_path, make):
    """120 photos of two classes, nothing suspicious about any; of each class every third photo
    lies in a direction of its own. Returns the catalog, its rows and the numbers of that kind."""
    rng = np.random.default_rng(7)
    targets = np.arange(120) % 2
    odd = np.arange(120) // 2 % 3 == 0
    rows = [
        make(i, label=LABELS[i % 2], split="test" if i % 10 > 7 else "train") for i in range(120)
    ]
    features = (8 * np.eye(8)[targets] + rng.normal(size=(120, 8))).astype(np.float32)
    features[odd, 2 + targets[odd]] += 5
    second = np.full((120, 3), 0.02)
    second[np.arange(120), targets] = 0.96
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos(rows)
        leave_probe(catalog.root, [p.sha256 for p in rows], second, features, own=(
            np.zeros((2, 8), np.float32), np.zeros(2, np.float32)))  # fmt: skip
        yield catalog, rows, odd & (targets == 0)


def decisions_on(rows, kind, numbers):
    return [Decision(rows[i].sha256, "drop" if kind[i] else "keep") for i in numbers]


def test_more_like_what_was_dropped_comes_first(two_kinds):
    catalog, rows, kind = two_kinds
    numbers = [i for i in range(60) if rows[i].split != "test"]
    before = [s.sha256 for s in suspects(catalog, CONFIG)]
    decide(catalog, LABELS, decisions_on(rows, kind, numbers), "ann", "1")
    found = [s for s in suspects(catalog, CONFIG) if int(s.sha256, 16) >= 60]
    wanted = {p.sha256 for p, odd in zip(rows[60:], kind[60:], strict=True) if odd}
    assert {s.sha256 for s in found[: len(wanted)]} == wanted
    assert {s.sha256 for s in found} == {p.sha256 for p in rows[60:]}
    assert [s.score for s in found] == sorted((s.score for s in found), reverse=True)
    assert found[0].reasons[0] == LIKE_FAULTS
    assert LIKE_FAULTS not in found[-1].reasons
    assert not wanted >= set(before[: len(wanted)])


def test_what_was_dropped_teaches_when_the_first_model_has_learned_without_it(two_kinds):
    catalog, rows, kind = two_kinds
    numbers = [i for i in range(60) if rows[i].split != "test"]
    decide(catalog, LABELS, decisions_on(rows, kind, numbers), "ann", "1")
    dropped = {rows[i].sha256 for i in numbers if kind[i]}
    left = [i for i in range(120) if rows[i].sha256 not in dropped]
    stored = np.load(catalog.root / "probe" / "probabilities.npz")
    second = stored["second"]
    save(catalog.root / "probe" / "probabilities.npz", **dict(stored) | {  # as `bears probe` leaves
        "sha256": stored["sha256"][left], "second": second[left],
        "probabilities": second[left]})  # fmt: skip
    head = {"mean": np.zeros(8), "var": np.ones(8), "weight": np.eye(3, 8), "bias": np.zeros(3)}
    save(catalog.root / "probe" / "head.npz", **head)
    found = [s for s in suspects(catalog, CONFIG) if int(s.sha256, 16) >= 60]
    wanted = {p.sha256 for p, odd in zip(rows[60:], kind[60:], strict=True) if odd}
    assert {s.sha256 for s in found[: len(wanted)]} == wanted
    assert {s.sha256 for s in suspects(catalog, CONFIG)} == {p.sha256 for p in rows}
    assert clean(catalog, CONFIG)["photos"] == len(left)
    (catalog.root / "probe" / "head.npz").unlink()
    with pytest.raises(DataError, match="NOT_PROBED"):
        suspects(catalog, CONFIG)


def test_what_was_dropped_is_no_part_of_its_class(two_kinds):
    """The evidence of before anybody decided is that of a dataset that never had it."""
    catalog, rows, kind = two_kinds
    gone = [i for i in range(60) if kind[i] and rows[i].split != "test"]
    made = [Decision(rows[i].sha256, "drop") for i in gone]
    stored = dict(np.load(catalog.root / "probe" / "probabilities.npz"))
    left = [i for i in range(120) if i not in gone]
    names = ("sha256", "second", "probabilities")
    save(catalog.root / "probe" / "probabilities.npz",
         **stored | {name: stored[name][left] for name in names})  # fmt: skip
    head = {"mean": np.zeros(8), "var": np.ones(8), "weight": np.eye(3, 8), "bias": np.zeros(3)}
    save(catalog.root / "probe" / "head.npz", **head)
    without = scores_of(catalog, CONFIG, {})
    decide(catalog, LABELS, made, "ann", "1")
    found = scores_of(catalog, CONFIG, decided(catalog))
    assert {sha: found[sha] for sha in without} == without
    assert found.keys() - without.keys() == {rows[i].sha256 for i in gone}


def test_faults_that_were_found_elsewhere_do_not_say_how_many_there_are(two_kinds):
    """A table of nothing but faults, without the chances of a list of suspects."""
    catalog, rows, kind = two_kinds
    made = [Decision(rows[i].sha256, "drop") for i in range(60) if kind[i]]
    taken = {one.sha256 for one in made}
    static = sum(s.score for s in suspects(catalog, CONFIG) if s.sha256 not in taken)
    decide(catalog, LABELS, made, "ann", "1")
    left = [s for s in suspects(catalog, CONFIG) if s.sha256 not in taken]
    assert sum(s.score for s in left) <= static * (1 + 1e-6)
    odd = {p.sha256 for p, one in zip(rows, kind, strict=True) if one} - taken
    assert {s.sha256 for s in left[: len(odd)]} == odd  # what they look like they do say
    undo(catalog, "ann")
    listed = [dataclasses.replace(one, score=0.1) for one in made]
    decide(catalog, LABELS, listed, "ann", "2")
    left = [s for s in suspects(catalog, CONFIG) if s.sha256 not in taken]
    assert sum(s.score for s in left) > 2 * static


def test_an_excess_of_chances_is_taken_off():
    odds = np.array([-1.0, 0.0, 3.0])
    assert excess(odds, 3.0) == 0.0
    assert expit(odds - excess(odds, 0.5)).sum() == pytest.approx(0.5)


def test_the_same_decisions_give_the_same_order(two_kinds):
    catalog, rows, kind = two_kinds
    numbers = [i for i in range(40) if rows[i].split != "test"]
    made = decisions_on(rows, kind, numbers)
    made[3] = Decision(
        made[3].sha256, "relabel", "grizzly" if rows[3].label == "black" else "black"
    )
    first = judged(catalog, CONFIG, {})
    decide(catalog, LABELS, made, "ann", "1")
    once = [(s.sha256, s.score) for s in suspects(catalog, CONFIG)]
    undo(catalog, "ann")
    assert [s.sha256 for s in suspects(catalog, CONFIG)] == first.hashes.some(first.after({}).rows)
    for n, one in enumerate(reversed(made)):
        if n % 3 == 0:  # something else first, taken back
            decide(catalog, LABELS, [Decision(one.sha256, "drop")], "bob", f"x{n}")
            undo(catalog, "bob")
        decide(catalog, LABELS, [one], "bob", f"b{n}")
    assert [(s.sha256, s.score) for s in suspects(catalog, CONFIG)] == once
    order = first.after(decided(catalog))  # what was read before anybody decided
    page = [(first.hashes.at(row), order.chances[row]) for row in order.rows]
    assert [pair for pair in page if int(pair[0], 16) >= 40] == [
        pair for pair in once if int(pair[0], 16) >= 40
    ]


def test_decisions_on_the_test_split_teach_only_its_own_order(two_kinds):
    catalog, rows, kind = two_kinds
    before = {s.sha256: s for s in suspects(catalog, CONFIG)}
    tests = [i for i in range(60) if rows[i].split == "test"]
    decide(catalog, LABELS, decisions_on(rows, kind, tests), "ann", "1")
    after = {s.sha256: s for s in suspects(catalog, CONFIG)}
    taught = {rows[i].sha256 for i in tests}
    changed = {sha for sha in before if after[sha].score != before[sha].score}
    of_test = {p.sha256 for p in rows if p.split == "test"} - taught
    assert changed & of_test
    numbers = [i for i in range(60) if rows[i].split != "test"]
    decide(catalog, LABELS, decisions_on(rows, kind, numbers), "ann", "2")
    both = {s.sha256: s.score for s in suspects(catalog, CONFIG)}
    undo(catalog, "ann", event=None)
    undo(catalog, "ann", event=None)
    decide(catalog, LABELS, decisions_on(rows, kind, numbers), "ann", "3")
    alone = {s.sha256: s.score for s in suspects(catalog, CONFIG)}
    others = {p.sha256 for p in rows if p.split != "test"}
    assert {sha: both[sha] for sha in others} == {sha: alone[sha] for sha in others}


def test_nothing_is_learned_from_what_nobody_looked_at(two_kinds):
    catalog, rows, kind = two_kinds
    first = suspects(catalog, CONFIG)
    numbers = [i for i in range(60) if kind[i]]
    dropped = {rows[i].sha256 for i in numbers}
    decide(catalog, LABELS, decisions_on(rows, kind, numbers), AUTO, "1")
    assert [s.sha256 for s in suspects(catalog, CONFIG)] == [s.sha256 for s in first]
    undo(catalog, "ann")
    gone = [Decision(rows[i].sha256, "drop", why=GONE) for i in numbers]
    decide(catalog, LABELS, gone, "ann", "2")
    assert [s.sha256 for s in suspects(catalog, CONFIG)] == [s.sha256 for s in first]
    undo(catalog, "ann")
    decide(catalog, LABELS, decisions_on(rows, kind, numbers), "ann", "3")
    left = [s.sha256 for s in suspects(catalog, CONFIG) if s.sha256 not in dropped]
    assert left != [s.sha256 for s in first if s.sha256 not in dropped]


def test_a_near_copy_is_right_again_once_the_wrong_one_is_put_right(dataset):
    catalog, rows, second, features = dataset
    change(catalog, rows[10], group=rows[9].group)
    leave_probe(catalog.root, [p.sha256 for p in rows], second, features, own=DULL)
    before = {s.sha256: s.score for s in suspects(catalog, CONFIG)}
    decide(catalog, LABELS, [Decision(rows[10].sha256, "drop"), Decision(rows[3].sha256, "keep")],
           "ann", "1")  # fmt: skip
    after = {s.sha256: s.score for s in suspects(catalog, CONFIG)}
    assert after[rows[9].sha256] < 0.5 < before[rows[9].sha256]
