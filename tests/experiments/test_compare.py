"""bears compare: who is better, what is inside the noise, and that the dataset stays as it is."""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import LABELS, tiny_config
from corpus import ROOT
from PIL import Image
from scipy.stats import ttest_1samp
from training import changed, probed, same

from bear_classifier import pipeline
from bear_classifier.cli import compare
from bear_classifier.cli import project as cli_project
from bear_classifier.cli.options import parser
from bear_classifier.config.settings import Config, EngineConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import StageRun
from bear_classifier.errors import ConfigError, DataError, TrainError
from bear_classifier.experiments.compare import analysis as judge
from bear_classifier.experiments.compare import runs as learn
from bear_classifier.experiments.compare import study
from bear_classifier.experiments.compare.plot import draw
from bear_classifier.learn import fit as cycle
from bear_classifier.learn.train import start

# -- kernels ---------------------------------------------------------------------------------------


def test_loss_and_error_of_a_photo_by_hand() -> None:
    logits = np.log(np.array([[[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [1.0, 1e-12, 1e-12]]]))
    losses, wrong = judge.losses_and_errors(logits, np.array([0, 1, 2]))
    assert losses == pytest.approx(np.array([[-np.log(0.7), -np.log(0.2), judge.MOST_LOSS]]))
    assert wrong.tolist() == [[False, True, True]]


def test_the_macro_error_counts_classes_alike() -> None:
    targets = np.array([0, 0, 0, 2])  # nobody of class 1
    assert judge.shares("macro", targets) == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])
    assert judge.shares("error", targets) == pytest.approx([1 / 4] * 4)


def test_a_temperature_is_no_merit_of_a_recipe() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 60)
    logits = rng.normal(0, 1, (1, 1, 60, 3)) + np.eye(3)[targets]  # with more than ten wrong
    both = np.concatenate([logits, 3 * logits])
    got = compared(both, targets, seeds=1)
    assert got["rows"][0]["loss"]["mean"] == pytest.approx(got["rows"][1]["loss"]["mean"], abs=1e-3)


def names(n: int) -> list[str]:
    return [f"r{i}" for i in range(n)]


def compared(
    logits: np.ndarray, targets: np.ndarray, by: Any = "loss", groups: Any = None, seeds: int = 3
) -> dict[str, Any]:
    assert logits.shape[1] == seeds
    groups = [str(i) for i in range(len(targets))] if groups is None else groups
    return judge.compare_alternatives(names(len(logits)), logits, targets, groups, LABELS, by)


def test_a_difference_is_paired_over_photos_and_over_seeds() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(0, 5, (4, 30))  # what both share must not matter
    targets, groups = np.zeros(30, dtype=int), np.arange(30).astype(str)
    seeds = np.tile(rng.normal(0.1, 1, 4)[:, None], (1, 30))  # all photos say the same
    found = judge.difference(base, base + seeds, targets, groups, "loss")
    theirs = ttest_1samp(seeds[:, 0], 0).confidence_interval(0.99)
    assert found.mean == pytest.approx(seeds.mean())
    assert found.half(0.01) >= (theirs.high - theirs.low) / 2
    photos = np.tile(rng.normal(0.0, 1, 30), (4, 1))  # all seeds say the same
    found = judge.difference(base, base + photos, targets, groups, "loss")
    theirs = ttest_1samp(photos[0], 0).confidence_interval(0.95)
    assert found.half(0.05) == pytest.approx((theirs.high - theirs.low) / 2, rel=0.05)
    assert judge.difference(base[:1], base[:1] + 1, targets, groups, "loss").half(0.05) is None


def test_near_copies_count_as_one() -> None:
    rng = np.random.default_rng(2)
    apart = np.repeat(rng.normal(0, 1, 20), 4)[None].repeat(3, 0)
    targets, zero = np.zeros(80, dtype=int), np.zeros((3, 80))
    alone = judge.difference(zero, apart, targets, np.arange(80).astype(str), "loss")
    tied = judge.difference(zero, apart, targets, (np.arange(80) // 4).astype(str), "loss")
    assert tied.of_photos == pytest.approx(2 * alone.of_photos, rel=0.05)


@pytest.mark.parametrize(("better", "claimed"), [(5, False), (6, True)])
def test_a_few_photos_are_no_proof_though_all_seeds_agree(better: int, claimed: bool) -> None:
    """k photos turn right and none wrong, for every seed: by the exact sign test 2 * 0.5**k."""
    one, two = np.zeros((3, 40)), np.zeros((3, 40))
    one[:, :better] = 1
    found = judge.difference(one, two, np.zeros(40, int), np.arange(40).astype(str), "error")
    assert (found.half(0.05) < abs(found.mean)) is claimed


def simulated(
    rng: np.random.Generator, alternatives: int, photos: int, seed: float, own: float, gain: float
) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose margin for the truth differs by photo, seed, and photo of an alternative; the
    last alternative gains. A tenth of the photos is of a small class."""
    targets = rng.choice(3, photos, p=[0.5, 0.4, 0.1])
    shape = (alternatives, 3, photos)
    margin = rng.normal(2.0, 2.0, photos) + rng.normal(0, seed, (alternatives, 3, 1))
    margin = margin + rng.normal(0, own, shape) + rng.normal(0, own, (alternatives, 1, photos))
    margin[-1] += gain
    logits = np.zeros((*shape, 3))
    place = np.broadcast_to(targets[:, None], (*shape, 1))
    np.put_along_axis(logits, place, margin[..., None], -1)
    return logits, targets


@pytest.mark.series
@pytest.mark.parametrize(("seed", "own"), [(0.5, 0.0), (0.0, 0.7), (0.3, 0.5)])
def test_nothing_is_better_inside_the_noise(
    seed: float, own: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """80 comparisons of four equal recipes: of one measure at most one in twenty claims anything,
    and a binomial of 80 stays below 10 then (p = 0.997)."""
    rng = np.random.default_rng(3)
    monkeypatch.setattr(judge, "calibrated", lambda logits, targets: logits)  # takes long
    claims = dict.fromkeys(judge.MEASURES, 0)
    for _ in range(80):
        got = compared(*simulated(rng, 4, 60, seed, own, 0.0))
        for measure in judge.MEASURES:
            verdicts = [row[measure]["verdict"] for row in got["rows"][1:]]
            claims[measure] += any(word != "no difference" for word in verdicts)
    assert max(claims.values()) < 10


def test_more_alternatives_widen_the_intervals() -> None:
    logits, targets = simulated(np.random.default_rng(4), 5, 80, 0.1, 0.3, 0.0)
    few, many = compared(logits[:2], targets), compared(logits, targets)
    wide = [
        found["rows"][1]["loss"]["high"] - found["rows"][1]["loss"]["low"] for found in (few, many)
    ]
    assert wide[1] > 1.3 * wide[0]
    assert many["sure"] == pytest.approx(0.05 / 4)


def test_a_planted_difference_is_found() -> None:
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(20):
        got = compared(*simulated(rng, 3, 200, 0.05, 0.3, 1.5))
        found += got["rows"][2]["verdict"] == "better"
        assert got["rows"][0]["verdict"] == "first"
    assert found >= 18


def test_what_decides_was_chosen_before() -> None:
    """A small class is helped, the large one hurt a little: by macro error, not by error."""
    targets = np.array([0] * 150 + [1] * 20)
    wrong = np.zeros((2, 3, 170, 3))
    wrong[..., 0] = 1.0  # all answer the large class
    wrong[1, :, 150:, 1] = 2.0
    wrong[1, :, :20, 1] = 2.0
    macro, error = (compared(wrong, targets, by) for by in ("macro", "error"))
    assert macro["rows"][1]["verdict"] == "better"
    assert error["rows"][1]["verdict"] == "no difference"
    assert macro["rows"][1]["recall"] == {"black": 130 / 150, "grizzly": 1.0, "teddy": None}


# -- words -----------------------------------------------------------------------------------------


def test_a_claim_says_by_how_much() -> None:
    got = compared(*simulated(np.random.default_rng(6), 2, 200, 0.0, 0.2, 1.5), by="error")
    row = got["rows"][1]["error"]
    (words,) = judge.alternative_verdicts(got)
    near, far = -100 * row["high"], -100 * row["low"]
    amount = -100 * row["difference"]
    assert words == f"r1 does better than r0 by {amount:.1f} points ({near:.1f} to {far:.1f})"
    got["rows"].reverse()
    logits, targets = simulated(np.random.default_rng(6), 2, 200, 0.0, 0.2, -2.5)
    assert judge.alternative_verdicts(compared(logits, targets))[0].startswith(
        "r1 does worse than r0 by "
    )


def test_no_claim_says_what_it_would_take() -> None:
    logits, targets = simulated(np.random.default_rng(7), 2, 100, 0.5, 0.0, 1.0)
    got = compared(logits, targets)
    (words,) = judge.alternative_verdicts(got)
    assert words.startswith("no difference is shown between r1 and r0: r1 has 0.")
    needed = got["rows"][1]["loss"]["seeds_needed"]
    assert 3 < needed <= 20
    assert words.endswith(f"to show such a difference: about --seeds {needed}")
    assert "better" not in words
    alone = compared(logits[:, :1], targets, seeds=1)
    assert judge.alternative_verdicts(alone)[0].endswith("give --seeds 3 or more")
    equal = compared(logits[[0, 0]], targets)
    assert judge.alternative_verdicts(equal)[0].endswith(
        "so small a difference can hardly be measured"
    )
    photos = simulated(np.random.default_rng(8), 2, 60, 0.0, 0.6, 0.4)
    (words,) = judge.alternative_verdicts(compared(*photos))
    wanted = compared(*photos)["rows"][1]["loss"]["photos_needed"]
    assert words.endswith(f"about {wanted} validation photos instead of 60, and more seeds")


def test_seeds_needed_by_hand() -> None:
    """Student's t (0.975) is 2.776, 2.571 and 2.447 with 5, 6 and 7 seeds; a standard error of 0.5
    from 4 seeds is 0.447, 0.408 and 0.378 with so many: 1.24, 1.05 and 0.93 against 1."""
    found = judge.Difference(mean=-1.0, of_seeds=0.5, of_photos=0.0, seeds=4, groups=1000)
    assert found.seeds_needed(0.05) == 7
    with_photos = judge.Difference(mean=-1.0, of_seeds=0.5, of_photos=0.3, seeds=4, groups=10**6)
    assert with_photos.seeds_needed(0.05) == 9  # 1.96 * 0.3 = 0.59 at right angles: below 0.81
    hopeless = judge.Difference(mean=-1.0, of_seeds=0.5, of_photos=0.6, seeds=4, groups=10**6)
    assert hopeless.seeds_needed(0.05) is None


def test_a_class_of_few_photos_is_a_remark() -> None:
    targets = np.array([0] * 12 + [1] * 3)
    got = compared(np.zeros((2, 3, 15, 3)), targets)
    few, none = judge.remarks(got)
    assert few.startswith('class "grizzly" has 3 photos on validation, each counted once')
    assert "never oversampled" in few
    assert none == 'class "teddy" has no photo on validation: nothing is said of it'


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_picture_is_one(seeds: int) -> None:
    logits, targets = simulated(np.random.default_rng(6), 4, 60, 0.1, 0.2, 1.0)
    got = compared(logits[:, :seeds], targets, seeds=seeds)
    picture = Image.open(io.BytesIO(draw(got, judge.alternative_verdicts(got))))
    assert picture.format == "PNG"
    assert picture.size[0] > picture.size[1] > 300


# -- real trainings --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalog, Config]:
    config = tiny_config(train={"epochs": 2, "batch_size": 4, "lr": 0.003})
    catalog = probed(tmp_path_factory.mktemp("compare"), config)
    return catalog, config


def project_of(catalog: Catalog, config: Config) -> pipeline.Project:
    """A project whose probe is up to date."""
    project = pipeline.Project(config, catalog.root, catalog.root / "model")
    stage = pipeline.STAGES[pipeline.NAMES.index("probe")]
    inputs = pipeline.stage_digest(project, catalog, stage)
    catalog.add_run(StageRun("probe", "2026-01-01T00:00:00+00:00", 1.0, inputs, {}))
    return project


def arguments(*words: str) -> argparse.Namespace:
    return parser().parse_args(["compare", *words])


def tree(root: Path) -> dict[str, bytes]:
    """Everything but the catalog's journal, kept hashes of files, and what this command leaves."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] != "compare"
        if not path.name.startswith("catalog.") and path.name != "hashes.json"
    }


def counted(monkeypatch: pytest.MonkeyPatch, stop: int = 10**6) -> list[Any]:
    """Every training from now on; the one after `stop` of them is broken off."""
    done: list[Any] = []

    def fit(dls: Any, model: Any, plan: Any, *words: Any, **more: Any) -> Any:
        if len(done) == stop:
            raise KeyboardInterrupt
        done.append(plan)
        return cycle.fit(dls, model, plan, *words, **more)

    monkeypatch.setattr(learn, "fit", fit)
    return done


def test_a_comparison_from_the_command_line(
    prepared: tuple[Catalog, Config],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Broken off after three trainings it goes on with the fourth; all else stays as it was."""
    catalog, config = prepared
    project = project_of(catalog, config)
    before, state = tree(catalog.root), torch.get_rng_state()
    words = arguments("balance", "--seeds", "2", "--epochs", "1", "--json")
    monkeypatch.setattr(cli_project, "named_project", lambda _: project)
    done = counted(monkeypatch, stop=3)
    with pytest.raises(KeyboardInterrupt):
        compare.run(words)
    assert len(done) == 3
    done = counted(monkeypatch)
    compare.run(words)
    assert len(done) == 3
    found = json.loads(capsys.readouterr().out)
    done = counted(monkeypatch)
    again = study.compare_recipes(project, ["balance"], 2, 1)
    assert done == []
    assert again["rows"] == found["rows"]
    assert tree(catalog.root) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert [row["name"] for row in found["rows"]] == ["none", "oversample", "weighted-loss"]
    assert found["by"] == "macro"
    assert (found["seeds"], found["photos"]) == (2, 6)
    assert Image.open(found["figure"]).format == "PNG"
    assert found["figure"] == str(catalog.root / "compare" / "balance.png")
    saved = json.loads((catalog.root / "compare" / "balance.json").read_text(encoding="utf-8"))
    assert saved == {**again}
    assert len(found["verdicts"]) == 2
    lines = study.text(found)
    assert any(line.startswith("oversample ") for line in lines)
    assert lines[-1] == f"The picture: {found['figure']}"


@pytest.mark.long
@pytest.mark.ray
def test_workers_of_ray_train_what_this_process_trains(
    prepared: tuple[Catalog, Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rate of the LR finder, each logit; and nothing is left to train here."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
    catalog, config = prepared
    what = ["train.lr=find", "train.dropout=0.3"]
    rows, orders = [], []
    for name in ("ray", "local"):
        engine = dataclasses.replace(config, engine=EngineConfig(name))
        done = counted(monkeypatch)
        found = study.compare_recipes(project_of(catalog, engine), what, 2, 1)
        orders.append(len(done))
        rows.append([{**row, "seconds": 0} for row in found["rows"]])
        shutil.rmtree(catalog.root / "compare")
    assert rows[0] == rows[1]
    assert orders == [0, 5], "what workers had trained was trained again"
    assert not list(catalog.root.glob("*.partial"))


@pytest.mark.long
def test_a_training_is_the_one_of_train(prepared: tuple[Catalog, Config], tmp_path: Path) -> None:
    """Same seed, same settings: the logits on validation are those that training leaves."""
    from bear_classifier.learn.train import train

    catalog, config = prepared
    shop = learn.TrainingRuns(catalog, tmp_path)
    (done,) = shop.trained(learn.Alternative("x", config, "y"), [config.train.seed], Bar())
    record = train(catalog, config)
    assert done.facts["history"] == record["history"]
    one, other = shop.trained(learn.Alternative("x", config, "z"), [5, 6], Bar())
    (again,) = shop.trained(learn.Alternative("x", config, "other place"), [5], Bar())
    assert np.array_equal(one.logits, again.logits)
    assert not np.array_equal(one.logits, other.logits)
    assert same(start(catalog, config).state_dict(), start(catalog, config).state_dict())


class Bar:
    """As much of tqdm as is needed."""

    n = 0

    def update(self, steps: int) -> None:
        self.n += steps


def test_the_bar_ends_where_it_should(prepared: tuple[Catalog, Config], tmp_path: Path) -> None:
    catalog, config = prepared
    shop, bar = learn.TrainingRuns(catalog, tmp_path), Bar()
    for lr in (0.003, 0.003, 1e30):  # the second time it is there already, the last diverges
        one = learn.Alternative("x", changed(config, lr=lr), "y")
        before = bar.n
        (done,) = shop.trained(one, [1], bar)
        assert bar.n - before == shop.steps(one, 1) == 2 * 3
    assert done.facts["diverged"]
    assert np.isfinite(done.logits).all()


@pytest.mark.long
def test_all_alternatives_see_the_same_photos_in_the_same_order(
    prepared: tuple[Catalog, Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the one whose rate the finder was asked for, once."""
    catalog, config = prepared
    orders: list[Any] = []
    plans: list[Any] = []

    def fit(dls: Any, model: Any, plan: Any, *words: Any, **more: Any) -> Any:
        plans.append(plan)
        if plan.epochs:
            state = dls.train.rng.getstate()
            orders.append(dls.train.get_idxs())
            dls.train.rng.setstate(state)
        return cycle.fit(dls, model, plan, *words, **more)

    monkeypatch.setattr(learn, "fit", fit)
    shop = learn.TrainingRuns(catalog, tmp_path)
    for lr, frozen in ((0.003, 0), ("find", 1)):
        one = learn.Alternative("x", changed(config, lr=lr, frozen=frozen), "y")
        random.seed(frozen)  # the random state of others must not matter
        shop.trained(one, [1, 2], Bar())
    assert orders[0] == orders[2] != orders[1] == orders[3]
    assert [plan.epochs for plan in plans] == [2, 2, 0, 2, 2]
    assert plans[3].lr == plans[4].lr != 0.003
    (tmp_path / "alone").mkdir()
    alone = learn.TrainingRuns(catalog, tmp_path / "alone")
    alone.trained(learn.Alternative("x", changed(config, lr=0.003), "y"), [2], Bar())
    assert orders[4] == orders[1]  # by the seed, not by what ran before


def test_other_weights_get_a_probe_and_a_rate_of_their_own(
    prepared: tuple[Catalog, Config], tmp_path: Path
) -> None:
    catalog, config = prepared
    project = project_of(catalog, config)
    before = tree(catalog.root)
    found = study.compare_recipes(project, ["learn.size=96", "train.epochs=1"], 1)
    assert [row["epochs"] for row in found["rows"]] == [2, 1]
    assert found["notes"][-1] == "the budgets differ: 1, 2 passes over the training photos"
    assert found["what"] == "learn.size-train.epochs"
    assert all(np.isfinite(row["loss"]["mean"]) for row in found["rows"])
    assert tree(catalog.root) == before


def test_presets_are_named_lists(prepared: tuple[Catalog, Config]) -> None:
    catalog, config = prepared
    config = changed(config, epochs=4, balance="oversample")
    project = project_of(catalog, config)

    def configs(preset: str) -> list[Config]:
        named = study.PRESETS[preset](config, lambda: 0.001)
        return [study._alternative(project, catalog, config, *one).config for one in named]

    balance = [one.train.balance for one in configs("balance")]
    assert balance == ["oversample", "none", "weighted-loss"]  # the present settings first
    method = [(one.train.head, one.train.frozen) for one in configs("method")]
    assert method == [("probe", 0), ("new", 1), ("new", 4), ("new", 0)]
    assert [one.train.layers for one in configs("layers")] == ["last-stage", "all"]
    assert [one.train.cycles for one in configs("cycles")] == [1, 2, 3]
    rates = [one.train.lr for one in configs("rates")]
    assert rates == pytest.approx([0.001, 0.0001, 0.0003, 0.003])
    assert [one.train.resize for one in configs("crops")][0] == "random-crop"
    assert len({one.train.resize for one in configs("crops")}) == 5
    assert all(one.train.epochs == 4 for preset in study.PRESETS for one in configs(preset))


def test_settings_are_split_at_commas_before_a_setting() -> None:
    named = study._given(["train.crop=0.9, train.dropout=0.2"])
    assert [settings for _, settings in named] == [[], ["train.crop=0.9", "train.dropout=0.2"]]
    assert study._given(["learn.weights=a,b.pth", "train.epochs=2"])[0][1] == [
        "learn.weights=a,b.pth"
    ]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (
            ["train.source_validation=false"],
            "BAD_SETTING: train.source_validation cannot be compared",
        ),
        (["train.rehearse=false"], "BAD_SETTING: train.source_validation cannot be compared"),
        (["balanse"], "UNKNOWN_COMPARISON: 'balanse' is no comparison: name one of balance, "),
        (["balance", "method"], "UNKNOWN_COMPARISON: 'balance method' is no comparison"),
        (["split.seed=3"], "BAD_SETTING: split.seed cannot be compared"),
        (["train.seed=3"], "BAD_SETTING: train.seed cannot be compared"),
        (["train.crop=7"], "BAD_SETTING: compare: train.crop = 7.0 must be between"),
        (["train.epochs=2"], "BAD_SETTING: present settings and train.epochs=2 are the same"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    prepared: tuple[Catalog, Config], what: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        study.compare_recipes(project_of(*prepared), what, 2)


def test_errors_name_the_remedy(prepared: tuple[Catalog, Config], tmp_path: Path) -> None:
    catalog, config = prepared
    project = project_of(catalog, config)
    with pytest.raises(ConfigError, match="BAD_SETTING: --seeds 0: give 1 or more"):
        study.compare_recipes(project, ["balance"], 0)
    with pytest.raises(ConfigError, match="--epochs 1: method needs 2 or more"):
        study.compare_recipes(project, ["method"], 2, 1)
    with pytest.raises(DataError, match="NO_DATA"):
        study.compare_recipes(pipeline.Project(config, tmp_path / "none", tmp_path), ["balance"])
    other = pipeline.Project(tiny_config(learn={"size": 96}), catalog.root, tmp_path)
    with pytest.raises(DataError, match="STAGE_MISSING: compare needs probe, .* --until probe"):
        study.compare_recipes(other, ["balance"], 2)
    gone = f"learn.weights={tmp_path / 'gone.pth'}"
    with pytest.raises(TrainError, match=r"WEIGHTS_UNAVAILABLE: .*gone\.pth"):
        study.compare_recipes(project, [gone], 2)
    assert not list((catalog.root / "compare" / "trainings").glob("*gone*"))


def test_help_says_what_can_be_compared(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments("--help")
    printed = capsys.readouterr().out
    for preset in study.PRESETS:
        assert f"\n  {preset} " in printed
