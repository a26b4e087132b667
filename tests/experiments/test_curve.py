import dataclasses
import json
import os

import numpy as np
import pytest
from corpus import ROOT
from test_clean import CONFIG, LABELS, leave_probe

from bear_classifier.cli.main import main
from bear_classifier.config.project_file import as_toml
from bear_classifier.config.settings import EngineConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import StageRun
from bear_classifier.engine.choice import close_engine
from bear_classifier.errors import BearsError, ConfigError
from bear_classifier.experiments.curve import power_law as law
from bear_classifier.experiments.curve.plot import spaced
from bear_classifier.experiments.curve.runs import growth
from bear_classifier.experiments.curve.text import check_sentence, headline, verdict_sentences
from bear_classifier.stats.intervals import percentile_interval, wilson

# -- which photos are learned from -----------------------------------------------------------------


@pytest.fixture
def pile():
    """60, 40 and 20 photos of three classes in groups of 1 to 4; one group is of two classes."""
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], [60, 40, 20])
    groups = np.array([f"{label}-{rng.integers(0, 20)}" for label in labels])
    groups[[0, 60, 61]] = "both"
    return labels, groups


def parts(labels, groups, seed, shares):
    place, home = law.order_of_photos(labels, groups, np.random.default_rng(seed))
    return [law.subset(place, home, np.full(3, share)) for share in shares]


def test_subsets_are_nested_and_of_whole_groups(pile):
    labels, groups = pile
    shares = law.fractions(20, 6)
    for seed in range(5):
        found = parts(labels, groups, seed, shares)
        for smaller, larger in zip(found, found[1:], strict=False):
            assert (smaller <= larger).all()
        for rows in found:
            assert set(groups[rows]) & set(groups[~rows]) == set()
        assert found[-1].all()
        assert found[0].sum() < 50


def test_a_group_of_two_classes_stays_whole_where_one_class_is_small(pile):
    labels, groups = pile
    for seed in range(20):
        place, home = law.order_of_photos(labels, groups, np.random.default_rng(seed))
        for share in ([0.1, 1, 1], [1, 0.1, 1]):
            rows = law.subset(place, home, np.array(share))
            assert len(set(rows[groups == "both"])) == 1


def test_subsets_keep_the_shares_of_the_classes(pile):
    labels, groups = pile
    largest = max(np.unique(groups, return_counts=True)[1])
    for rows, share in zip(parts(labels, groups, 0, [0.25, 0.5]), [0.25, 0.5], strict=True):
        counts = np.bincount(labels[rows])
        wanted = share * np.array([60, 40, 20])
        assert (counts >= wanted - 2).all()  # two of class 1 may be with class 0, or the reverse
        assert (counts <= wanted + largest).all()


def test_every_class_has_a_photo_in_the_smallest_part(pile):
    labels, groups = pile
    for seed in range(10):
        (rows,) = parts(labels, groups, seed, [0.001])
        assert set(labels[rows]) == {0, 1, 2}


def test_another_seed_takes_other_photos(pile):
    first, second = (parts(*pile, seed, [0.25])[0] for seed in (0, 1))
    assert (first != second).any()
    assert (first == parts(*pile, 0, [0.25])[0]).all()


def test_sizes_are_geometric_up_to_a_half_and_then_all():
    assert (32 * law.fractions(1000, 6)).tolist() == pytest.approx([1, 2, 4, 8, 16, 32])
    few = law.fractions(25, 6)
    assert few[0] == pytest.approx(5 / 25)
    assert few[-2:].tolist() == [0.5, 1]
    assert (few[1:5] / few[:4]).tolist() == pytest.approx([few[1] / few[0]] * 4)


def test_folds_in_a_row_test_every_photo_once_and_never_what_was_learned(pile):
    labels, groups = pile
    splits = law.splits(labels, groups, 5, range(10))
    for five in (splits[:5], splits[5:]):
        assert sorted(np.concatenate([test for _, test in five])) == list(range(120))
    for train, test in splits:
        assert set(groups[train]) & set(groups[test]) == set()
    assert sorted(splits[0][1]) != sorted(splits[5][1])


# -- errors and their chance -----------------------------------------------------------------------


def test_errors_count_only_what_was_tested():
    wrong = np.array([[[1, 1, 1, 0], [0, 1, 0, 0]], [[1, 1, 0, 1], [1, 1, 0, 0]]], dtype=bool)
    tested = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], dtype=bool)
    of_seed, of_photo = np.array([[1.0, 1], [2, 0]]), np.array([[1.0, 1, 1, 1], [3, 1, 1, 0]])
    found = law.errors(wrong, tested, of_seed, of_photo)
    assert found.tolist() == [[3 / 4, 1 / 4], [1.0, 1 / 4]]


def test_near_copies_are_drawn_together():
    groups = np.array(["a", "a", "b", "c", "c", "c"])
    of_seed, of_photo = law.weights(groups, 4, 200, np.random.default_rng(0))
    assert (of_photo[:, 0] == of_photo[:, 1]).all()
    assert (of_photo[:, 3] == of_photo[:, 5]).all()
    assert (of_photo[:, [0, 2, 3]].sum(1) == 3).all()
    assert (of_seed.sum(1) == 4).all()
    assert len(np.unique(of_photo, axis=0)) > 5
    assert len(np.unique(of_seed, axis=0)) > 20


@pytest.mark.parametrize("size", [1, 2, 5, 10])
def test_of_intervals_of_the_error_95_percent_hold_the_truth(size):
    """Two seeds test each photo, and mostly agree."""
    rng, held = np.random.default_rng(size), 0
    tested, groups = np.ones((2, 60 * size), dtype=bool), np.repeat(np.arange(60), size).astype(str)
    for _ in range(600):
        wrong = (rng.random(60) < 0.1).repeat(size)
        other = np.where(rng.random(len(wrong)) < 0.9, wrong, rng.random(len(wrong)) < 0.1)
        ((low, high),) = law.chance(np.stack([wrong, other])[:, None], tested, groups)
        held += low <= 0.1 <= high
    assert 0.93 <= held / 600 <= 0.98


def test_no_error_is_no_certainty():
    """60 photos of 30 pairs, each tested twice: 0 of 30."""
    tested, groups = np.ones((2, 60), dtype=bool), np.repeat(np.arange(30), 2).astype(str)
    ((low, high),) = law.chance(np.zeros((2, 1, 60), dtype=bool), tested, groups)
    assert (low, high) == pytest.approx(wilson(0, 30))
    assert law.unseen(np.array([0.0, 0.2]), 0.0, high).tolist() == [high, 0.2]
    assert law.unseen(np.array([0.0, 0.2]), 0.01, high).tolist() == [0.0, 0.2]


# -- the law ---------------------------------------------------------------------------------------

SIZES = np.array([25.0, 50, 100, 200, 400, 800])
EVEN = np.full(6, 0.01)


@pytest.mark.parametrize(("a", "b", "c"), [(0.04, 0.5, 0.02), (0.1, 0.25, 0.0), (0.02, 1.0, 0.1)])
def test_a_law_is_found_again(a, b, c):
    (found,) = law.fit_power_law(SIZES, (a * (SIZES / 800) ** -b + c)[None], EVEN)
    assert law.predicted(found[None], 800, np.array([1600.0]))[0, 0] == pytest.approx(
        a * 2**-b + c, abs=5e-4
    )
    assert found.tolist() == pytest.approx([a, b, c], rel=0.2, abs=0.01)


def test_no_gain_is_no_law():
    errors = np.array([[0.1] * 6, [0.05, 0.06, 0.07, 0.08, 0.09, 0.1]])
    flat, rising = law.fit_power_law(SIZES, errors, EVEN)
    assert flat[0] == pytest.approx(0, abs=1e-9)
    assert flat[2] == pytest.approx(0.1)
    assert rising[0] == 0
    assert rising[2] == pytest.approx(0.075)


def test_a_law_is_never_below_zero():
    (found,) = law.fit_power_law(SIZES, np.array([[0.5, 0.3, 0.15, 0.05, 0.0, 0.0]]), EVEN)
    assert (found >= 0).all()


def test_uncertain_sizes_count_less():
    error = np.array([[0.5, 0.05, 0.05, 0.05, 0.05, 0.05]])
    (sure,) = law.fit_power_law(SIZES, error, EVEN)
    (unsure,) = law.fit_power_law(SIZES, error, np.array([10, 0.01, 0.01, 0.01, 0.01, 0.01]))
    assert unsure[0] < 1e-4 < sure[0]


def might_have_been(error, rounds=400, noise=0.004):
    rng = np.random.default_rng(0)
    drawn = error + noise * rng.normal(size=(rounds, 6))
    return law.fit_power_law(SIZES, error[None], EVEN)[0], law.fit_power_law(SIZES, drawn, EVEN)


def test_the_band_never_rises():
    _, laws = might_have_been(0.04 * (SIZES / 800) ** -0.5 + 0.02)
    grid = np.geomspace(25, 2400, 50)
    for edge in percentile_interval(law.predicted(laws, 800, grid)):
        assert (np.diff(edge) <= 1e-12).all()
    low, high = percentile_interval(law.predicted(laws, 800, grid))
    assert (low < high).all()


def test_a_gain_and_its_interval():
    gain, low, high = law.gain(*might_have_been(0.04 * (SIZES / 800) ** -0.5 + 0.02), 800, 800)
    assert gain == pytest.approx(0.04 * (1 - 2**-0.5), abs=2e-4)
    assert low < gain < high
    assert law.worth(low, high) == "helps"
    gain, low, high = law.gain(*might_have_been(np.full(6, 0.1)), 800, 800)
    assert (gain, low) == (pytest.approx(0, abs=1e-9), pytest.approx(0, abs=1e-9))
    assert law.worth(low, high) == "hardly"
    gain, low, high = law.gain(*might_have_been(np.full(6, 0.1), noise=0.05), 800, 800)
    assert law.worth(low, high) == "unknown"


def test_no_gain_is_promised_beyond_what_the_last_step_brought():
    steps = np.random.default_rng(0).normal(0.004, 0.001, 10_000)
    gains = 0.005, 0.001, 0.02
    assert law.capped(gains, steps, 1) == pytest.approx((0.005, 0.001, 0.00596), abs=1e-4)
    assert law.capped(gains, steps, 0.5) == pytest.approx((0.00298, 0.001, 0.00298), abs=1e-4)
    assert law.capped(gains, -steps, 1) == (0, 0, 0)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.009, "helps"),
        (0.002, 0.003, "helps"),
        (0.0009, 0.0049, "hardly"),
        (0.0, 0.005, "unknown"),
        (0.0, 0.2, "unknown"),
    ],
)
def test_verdicts(low, high, verdict):
    assert law.worth(low, high) == verdict


def test_nobody_looks_further_than_three_times():
    laws = np.array([[0.04, 0.5, 0.02]])
    assert law.predicted(laws, 800, np.array([2400.0])).shape == (1, 1)
    with pytest.raises(
        ConfigError, match="2401 photos are more than 3 times the present 800"
    ) as no:
        law.predicted(laws, 800, np.array([100.0, 2401]))
    assert no.value.code == "TOO_FAR"
    with pytest.raises(ConfigError, match="ask for at most 1600 more"):
        law.gain(laws[0], laws, 800, 1601)


@pytest.mark.parametrize(("n", "found"), [(1, 1), (9, 5), (10, 10), (282, 200), (854, 500)])
def test_round_numbers(n, found):
    assert law.round_number(n) == found


# -- a dataset -------------------------------------------------------------------------------------

SPLITS = ["train"] * 13 + ["valid"] * 4 + ["test"] * 3


@pytest.fixture
def dataset(tmp_path, make):
    """dataset(features): rows of 20 photos each, 13 train, 4 valid, 3 test; pairs are copies."""

    def write(features, targets, root=tmp_path, strength=0.01):
        n = len(targets)
        rows = [
            make(i, label=LABELS[targets[i]], split=SPLITS[i // 2 % 20], group=f"{i // 2:064x}")
            for i in range(n)
        ]
        leave_probe(root, [p.sha256 for p in rows], np.full((n, 3), 1 / 3), features)
        with Catalog(root) as catalog:
            with catalog.transaction():
                catalog.put_photos(rows)
            if strength:
                catalog.add_run(StageRun("probe", "2026-01-01", 1.0, "", {"strength": strength}))
        return Catalog(root)

    return write


def learnable(n=600, seed=0):
    """Many weak features: the more photos, the fewer errors, for long. Copies are alike."""
    rng = np.random.default_rng(seed)
    targets = np.arange(n) // 2 % 3
    middles = rng.normal(size=(3, 60)) * 0.36
    return middles[targets] + rng.normal(size=(n // 2, 60)).repeat(2, 0), targets


def exhausted(n=600, seed=0):
    """Three clear clouds, and wrong labels of every seventh pair: nothing to learn after a few."""
    rng = np.random.default_rng(seed)
    targets = np.arange(n) // 2 % 3
    shown = np.where(np.arange(n) // 2 % 7 == 3, (targets + 1) % 3, targets)
    return 6 * np.eye(3)[shown] + 0.3 * rng.normal(size=(n, 3)), targets


@pytest.mark.long
def test_photos_that_help(dataset):
    with dataset(*learnable()) as catalog:
        found = growth(catalog, CONFIG)
    errors = found["all"]["error"]
    assert found["asked"] == 600 * 17 // 20
    assert errors[0] > errors[2] > errors[-1] + 0.03
    assert found["all"]["sizes"][-1] == pytest.approx(0.8 * 510, rel=0.02)
    assert found["all"]["worth"] == "helps"
    assert found["all"]["more"] == 200
    low, high = found["all"]["gain_interval"]
    assert 0.001 < low < found["all"]["gain"] < high < 0.2
    assert "would bring about" in verdict_sentences(found)[1]
    assert found["most"] is None  # the classes are alike
    for label in LABELS:  # 100 more of one are as many as 300 of all, of which 200 are `all`
        assert found["classes"][label]["gain"] < 1.5 * found["all"]["gain"]
    # the truth: twice the photos, of the same kind
    with dataset(*learnable(1200), root=catalog.root / "more") as larger:
        truth = growth(larger, CONFIG, seeds=5, half=True)["check"]["measured"]
    at = found["all"]["predictions"]
    near, far = (np.interp(816, at["n"], np.array(at["interval"])[:, edge]) for edge in (0, 1))
    assert near < truth < far


@pytest.mark.long
def test_photos_that_do_not_help(dataset):
    with dataset(*exhausted()) as catalog:
        found = growth(catalog, CONFIG)
    assert found["all"]["error"][-1] == pytest.approx(1 / 7, abs=0.02)
    assert found["all"]["worth"] != "helps"
    assert found["all"]["gain"] < 0.005
    assert found["most"] is None
    assert found["check"]["held"]
    assert json.loads((catalog.root / "curve" / "curve.json").read_text(encoding="utf-8")) == found


def test_nobody_wrong_is_not_sure_to_stay_so(dataset):
    """Three clear clouds, no error at the end: 204 photos in pairs do not prove that."""
    targets = np.arange(240) // 2 % 3
    with dataset(6 * np.eye(3)[targets], targets) as catalog:
        found = growth(catalog, CONFIG, seeds=5)
    assert found["all"]["error"][-2:] == [0, 0]
    end = wilson(0, 102)[1]
    assert found["all"]["error_interval"][-1] == pytest.approx([0, end], abs=1e-5)
    assert found["all"]["gain_interval"] == pytest.approx([0, end], abs=1e-5)
    assert found["all"]["worth"] == "unknown"
    assert {row["worth"] for row in found["classes"].values()} == {"unknown"}
    assert found["check"]["measured_interval"] == pytest.approx([0, end], abs=1e-5)
    assert found["check"]["off_interval"] == pytest.approx([-end, end], abs=1e-5)
    assert found["check"]["held"]


@pytest.mark.long
def test_the_class_that_needs_photos_most(dataset):
    """teddy is far from both; grizzly and black differ by many weak features, grizzlies are few."""
    features, targets = learnable(1200)
    features[:, 0] += 30 * (targets == 2)
    few = (targets != 1) | (np.arange(1200) // 2 % 4 == 1)
    with dataset(np.asarray(features)[few], targets[few]) as catalog:
        whole = growth(catalog, CONFIG)
    found = whole["classes"]
    assert whole["most"] == "grizzly"
    gains = {label: found[label]["gain"] / found[label]["more"] for label in LABELS}
    assert max(gains, key=gains.get) == "grizzly"
    assert found["grizzly"]["worth"] == "helps"
    assert found["teddy"]["worth"] != "helps"


@pytest.mark.long
def test_the_check_predicts_the_whole_from_a_half(dataset):
    with dataset(*learnable()) as catalog:
        found = growth(catalog, CONFIG, half=True)
        assert not (catalog.root / "curve").exists()
    row = found["check"]
    assert max(row["sizes"]) <= 0.52 * row["n"]
    assert row["held"]
    assert row["predicted"] == pytest.approx(row["measured"], abs=0.03)
    assert row["off"] == pytest.approx(row["predicted"] - row["measured"], abs=1e-5)
    assert row["predicted"] < row["error"][-1] - 0.003  # it predicts a further fall
    assert "the curve holds that far" in check_sentence(row)


def test_the_test_split_is_never_used(dataset):
    features, targets = learnable()
    test = np.array([SPLITS[i // 2 % 20] == "test" for i in range(600)])
    with dataset(features, targets) as catalog:
        once = growth(catalog, CONFIG, seeds=2)
    features[test] = 99
    with dataset(features, targets, root=catalog.root / "other") as catalog:
        assert growth(catalog, CONFIG, seeds=2) == once


@pytest.mark.long
@pytest.mark.ray
def test_workers_of_ray_measure_what_this_process_measures(dataset, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
    catalog = dataset(*learnable(200))
    try:
        found = [
            growth(catalog, dataclasses.replace(CONFIG, engine=EngineConfig(name)), seeds=3)
            for name in ("ray", "local")
        ]
    finally:
        close_engine()
    assert found[0] == found[1]


def test_without_a_record_of_the_probe_the_strength_is_chosen(dataset):
    with dataset(*learnable(300), strength=None) as catalog:
        assert growth(catalog, CONFIG, seeds=2, half=True)["strength"] <= 0.1


def refusal(catalog, **words):
    with pytest.raises(BearsError) as caught:
        growth(catalog, CONFIG, **words)
    return caught.value


def test_refusals(dataset):
    with dataset(*exhausted()) as catalog:
        assert refusal(catalog, seeds=1).code == "BAD_SETTING"
        assert refusal(catalog, more=0).code == "BAD_SETTING"
        assert refusal(catalog, more=781).code == "TOO_FAR"
        assert not (catalog.root / "curve").exists()
        (catalog.root / "probe" / "probabilities.npz").unlink()
        assert refusal(catalog).code == "NOT_PROBED"


def test_a_class_of_few_photos_is_named(dataset):
    features, targets = exhausted()
    kept = (targets != 1) | (np.cumsum(targets == 1) <= 58)  # 29 pairs, 19 of them on train
    with dataset(features[kept], targets[kept]) as catalog:
        few = refusal(catalog)
    assert few.code == "TOO_FEW_PHOTOS"
    assert "'grizzly' has 19 different photos in the train split" in few.sentence


# -- words and picture -----------------------------------------------------------------------------


def row(worth, gain, low, high, more=200):
    return {"worth": worth, "gain": gain, "gain_interval": [low, high], "more": more,
            "error": [0.2, 0.1], "error_interval": [[0.1, 0.3], [0.08, 0.12]]}  # fmt: skip


HELPS = row("helps", 0.004, 0.001, 0.009)
HARDLY = row("hardly", 0.0004, 0.0, 0.002)
UNKNOWN = row("unknown", 0.003, 0.0, 0.02)
CHECK = {"sizes": [50, 400], "n": 800.0, "predicted": 0.11, "predicted_interval": [0.09, 0.13],
         "measured": 0.1, "off": 0.01, "off_interval": [-0.01, 0.02], "held": True}  # fmt: skip


def sentences(whole, most=None, held=True, **classes):
    found = {"photos": 800, "asked": 1000, "all": whole, "classes": classes, "most": most}
    return verdict_sentences(found | {"check": CHECK | {"held": held}}), headline(found)


def test_words_where_photos_help():
    lines, head = sentences(HELPS, most="grizzly", grizzly=HELPS, black=HARDLY)
    assert lines[0] == (
        "error now  10.0% (8.0% to 12.0%) from 800 photos, measured on 1000 of train and valid"
    )
    assert lines[1] == "all        200 more photos would bring about 0.4 points (0.1 to 0.9)"
    assert "200 more grizzly photos would bring about 0.4 points (0.1 to 0.9)" in lines[2]
    assert head == "More photos would help"
    assert len(lines) == 4


def test_words_where_no_class_stands_out():
    lines, _ = sentences(HELPS, grizzly=HELPS, black=HELPS)
    assert lines[2] == "classes    no class stands out: photos of all of them would help alike"


def test_words_where_they_hardly_do():
    lines, head = sentences(HARDLY, grizzly=HARDLY, black=HARDLY)
    assert (
        "more photos would hardly help: 200 would bring about 0.0 points (0.0 to 0.2)" in lines[1]
    )
    assert "more photos of one class would hardly help: 0.2 points at most" in lines[2]
    assert "bears review" in lines[-1]
    assert head == "More photos would hardly help"


def test_words_where_nothing_can_be_said():
    lines, head = sentences(UNKNOWN, grizzly=UNKNOWN, black=HARDLY)
    assert "whether more photos would help is uncertain: 200 would bring 0.0 to 2.0" in lines[1]
    assert "no single class is sure to bring a gain; the likeliest is grizzly" in lines[2]
    assert head.endswith("cannot be said")


def test_words_on_the_check():
    lines, _ = sentences(HELPS, most="grizzly", grizzly=HELPS)
    assert (
        "from at most 400 photos, 11.0% (9.0% to 13.0%) was predicted for 800; measured 10.0%, off"
        " by 1.0 points (-1.0 to 2.0): the curve holds that far"
    ) in lines[3]
    lines, _ = sentences(HELPS, most="grizzly", held=False, grizzly=HELPS)
    assert "do not rely on its predictions" in lines[3]


def test_numbers_of_an_axis_do_not_run_into_each_other():
    assert spaced([10, 11, 100, 101, 1000], 100) == [10, 100, 1000]


@pytest.mark.long
def test_the_command(dataset, tmp_path, capsys):
    with dataset(*exhausted(), root=tmp_path / "tiny"):
        pass
    (tmp_path / "tiny.toml").write_text(as_toml(CONFIG), encoding="utf-8")
    words = ["--project", str(tmp_path / "tiny.toml"), "--data", str(tmp_path)]
    assert main(["curve", "--seeds", "2", "--json", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["classes"]) == set(LABELS)
    assert (tmp_path / "tiny/curve/curve.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "tiny/curve/curve.json").read_text(encoding="utf-8")) == found
    assert main(["curve", "--seeds", "2", "--quiet", "--more", "100", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["error", "all", "classes", "check"]
    assert "100" in lines[1]
    assert lines[-1].endswith("curve.png")
    assert main(["curve", "--seeds", "2", "--half", "--quiet", *words]) == 0
    assert "was predicted" in capsys.readouterr().out
    assert main(["curve", "--more", "9999", "--json", *words]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "TOO_FAR"
