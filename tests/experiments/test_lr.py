"""bears lr: what the finder's runs say, how far it may be believed, and that it changes nothing."""

import inspect
import io
import json
import random
import shutil
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from bundles import tiny_config
from fastai.callback.core import CancelFitException
from PIL import Image
from tqdm import tqdm
from training import dataset, loaders_of, probed, same, weights

from bear_classifier import pipeline
from bear_classifier.cli import lr as lr_command
from bear_classifier.cli import project as cli_project
from bear_classifier.cli.options import parser
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import StageRun
from bear_classifier.errors import ConfigError, DataError, TrainError
from bear_classifier.experiments.lr import analysis, plot, study
from bear_classifier.experiments.lr import runs as lr
from bear_classifier.experiments.lr.analysis import Rival
from bear_classifier.learn import fit, lr_finder
from bear_classifier.learn import train as training

# -- kernels ---------------------------------------------------------------------------------------


def found(valley=1e-3, slide=1e-3, steep=1e-3, minimum=1e-3):
    return {"valley": valley, "slide": slide, "steep": steep, "minimum": minimum}


def test_smoothing_takes_as_much_from_both_sides():
    assert analysis.smoothed(np.array([1.0, 2, 3, 4, 9]), 3).tolist() == [1.5, 2, 3, 16 / 3, 6.5]
    assert analysis.smoothed(np.array([5.0, 1]), 5).tolist() == [3, 3]


def test_the_band_ends_where_most_runs_have_ended():
    runs = [np.array(run, dtype=float) for run in ([1, 2, 3], [3, 4], [5, 9])]
    middle, low, high = analysis.band(runs)
    assert (middle.tolist(), low.tolist(), high.tolist()) == ([3, 5], [1, 2], [5, 9])


def test_the_middle_of_rates_is_that_of_their_magnitudes():
    rows = analysis.summarise_suggestions(
        [found(valley=1e-4), found(valley=None), found(valley=1e-2)]
    )
    assert rows["valley"]["rate"] == pytest.approx(1e-3)
    assert (rows["valley"]["low"], rows["valley"]["high"], rows["valley"]["runs"]) == (
        1e-4,
        1e-2,
        2,
    )
    nothing = analysis.summarise_suggestions([found(steep=None)])["steep"]
    assert (nothing["rate"], nothing["low"], nothing["runs"]) == (None, None, 0)


def test_suggestions_further_apart_than_threefold_are_a_warning():
    near = analysis.summarise_suggestions([found(slide=2.9e-3)])
    assert analysis.doubts(near, 1) == []
    (note,) = analysis.doubts(analysis.summarise_suggestions([found(slide=3.2e-3)]), 1)
    assert note.startswith("the suggestions disagree 3-fold: valley says 1.0e-03, slide 3.2e-03")


def test_seeds_further_apart_than_threefold_are_a_warning():
    assert (
        analysis.doubts(analysis.summarise_suggestions([found(), found(steep=2.9e-3), found()]), 3)
        == []
    )
    (note,) = analysis.doubts(
        analysis.summarise_suggestions([found(), found(steep=1e-2), found()]), 3
    )
    assert note.startswith("steep differs 10-fold from seed to seed (1.0e-03 to 1.0e-02)")
    (note,) = analysis.doubts(analysis.summarise_suggestions([found(), found(slide=None)]), 2)
    assert note == "slide was given by 1 of 2 runs; try --steps 80"


def test_a_loss_that_never_falls_is_a_warning():
    noise = np.random.default_rng(0).normal(1, 0.2, (3, 40))
    (note,) = analysis.flatness(list(noise))
    assert "does not fall" in note
    assert analysis.flatness(list(noise - np.linspace(0, 0.8, 40))) == []
    (note,) = analysis.flatness([noise[0, :4]])
    assert "diverged after 4 steps" in note


def test_rivals_are_the_suggestions_and_ten_times_less_and_more():
    rows = analysis.summarise_suggestions(
        [found(valley=1e-3, slide=1.9e-3, steep=None, minimum=1e-2)]
    )
    (least, valley, minimum, most) = analysis.rivals(rows, 0.09)
    assert least.rate == pytest.approx(1e-4)
    assert least.names == ["valley / 10", "slide / 10"]
    assert valley.names == ["valley", "slide", "minimum / 10"]
    assert valley.rate == pytest.approx(1e-3)
    assert minimum.names == ["minimum", "valley x 10", "slide x 10"]
    assert (most.rate, most.names) == (0.09, ["lowest point", "minimum x 10"])


def test_the_lowest_point_is_that_of_all_runs_and_does_not_lag():
    fall = np.array([3.0, 3, 3, 2, 1, 0, 1, 2, 9, 9])
    other = fall + np.array([0, 0, 0, 0, 0, 0, 0, 0, -9, -9])  # alone it would end lowest
    assert analysis.lowest(np.arange(10.0), [fall, fall, other]) == 5
    assert analysis.lowest(np.arange(10.0), [fall[:9], fall[:9], other]) == 5


ALONE = [str(n) for n in range(60)]  # photos without copies


def entries(n):
    return [Rival(10.0**-i, [f"r{i}"]) for i in range(n)]


@pytest.mark.parametrize("of_photo", [0.0, 1.0])
def test_nothing_is_better_inside_the_noise(of_photo):
    """200 comparisons of five equal rates. A seed moves all photos of a training together."""
    rng = np.random.default_rng(2)
    claims = 0
    for _ in range(200):
        losses = rng.normal(0, 0.3, (5, 3, 1)) + of_photo * rng.normal(0, 1, (5, 3, 40))
        got = analysis.compare_rates(
            entries(5), losses, losses > 1, losses.mean((0, 1)), ALONE[:40]
        )
        claims += any(row["verdict"] == "worse" for row in got["rows"])
    assert claims <= 0.06 * 200


def test_a_clear_winner_is_named_and_by_how_much():
    rng = np.random.default_rng(3)
    losses = rng.exponential(0.3, (3, 3, 60)) + np.array([0.0, 1.0, 2.0])[:, None, None]
    got = analysis.compare_rates(entries(3), losses, losses > 1, losses[1].mean(0), ALONE[:60])
    assert [row["verdict"] for row in got["rows"]] == ["best", "worse", "worse"]
    assert got["clear"]
    assert got["gain"]["sure"]
    words = analysis.comparison_verdict(got)
    assert words.startswith("1.0e+00 (r0) did best: the next, 1.0e-01 (r1), lost ")
    assert "None is shown" not in words


def test_the_verdict_refuses_what_it_cannot_know():
    losses = np.random.default_rng(4).exponential(0.3, (3, 3, 20))
    losses[2] += 5
    got = analysis.compare_rates(entries(3), losses, losses > 1, losses[0].mean(0), ALONE[:20])
    words = analysis.comparison_verdict(got)
    assert "had the least loss, but this may be chance against" in words
    assert "certainly worse: 1.0e-02 (r2)" in words
    assert "did best" not in words
    assert words.endswith("None is shown to beat the probe that all began from.")
    one = losses[:, :1]
    alone = analysis.compare_rates(entries(3), one, one > 1, losses[0].mean(0), ALONE[:20])
    assert "with one seed that may be chance" in analysis.comparison_verdict(alone)
    assert not alone["clear"]


def test_the_table_of_a_comparison_says_how_far_behind_and_who_diverged():
    losses = np.random.default_rng(5).exponential(0.3, (2, 3, 20)) + np.array([[[0.0]], [[5.0]]])
    got = analysis.compare_rates(entries(2), losses, losses > 1, losses[0].mean(0), ALONE[:20])
    for row, times in zip(got["rows"], (0, 2), strict=True):
        row["diverged"] = times
    made = {**got, "steps": 21, "start_wrong": 4, "verdict": "Said."}
    head, _, best, other, verdict = study._compared(made)
    assert head.startswith("21 steps of training at each rate with 3 seeds, judged on 20 ")
    assert best.split()[0] == "1.0e+00"
    assert best.split()[3:] == ["best", "r0"]
    row = got["rows"][1]
    assert f"{row['behind']:.3f} ({row['low']:.3f} to {row['high']:.3f}), diverged 2 times" in other
    assert verdict == "Said."


def curve(steps=60):
    """Level, then falling from step 15, fastest at 30, lowest at 45, then rising steeply."""
    x = np.arange(steps)
    y = 2 - 1 / (1 + np.exp(-(x - 30) / 3.0)) + np.where(x > 45, (x - 45) ** 2 / 20.0, 0)
    return np.geomspace(lr_finder.FIRST, lr_finder.LAST, steps), y


def test_the_four_suggestions_of_a_curve_by_hand():
    x, y = curve()
    got = lr_finder.suggest(x, y, 60)
    assert got["steep"] == pytest.approx(x[30], rel=0.3)
    assert got["minimum"] == pytest.approx(x[46] / 10, rel=0.3)
    assert x[15] < got["valley"] < x[45]
    assert got["slide"] < x[46]


def test_a_run_that_was_too_short_gives_no_suggestion_where_none_can_be():
    x, y = curve()
    assert lr_finder.suggest(x[:12], y[:12], 60) == found(None, None, None, None)
    assert lr_finder.suggest(x[:22], y[:22], 60)["slide"] is None
    assert lr_finder.suggest(x[:22], y[:22], 60)["valley"] is not None


def sweeps(*arrays):
    return [lr_finder.Curve(*run, len(run[0])) for run in zip(*arrays, strict=True)]


@pytest.mark.parametrize("slide", [None, 2e-3])
def test_the_picture_is_one(slide):
    x, y = curve()
    rows = analysis.summarise_suggestions([found(slide=slide)])
    raw = y + np.random.default_rng(0).normal(0, 0.1, 60)
    data = plot.draw(sweeps([x, x[:50]], [raw, raw[:50]], [y, y[:50]]), rows, ["so so"])
    picture = Image.open(io.BytesIO(data))
    assert picture.format == "PNG"
    assert picture.size[0] > picture.size[1] > 400


# -- a real network --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("lr")
    config = tiny_config(train={"epochs": 1, "batch_size": 4, "lr": 0.003})
    catalog = probed(root, config)
    return catalog, config


def random_states():
    return (
        random.getstate(),
        [part.tolist() if hasattr(part, "tolist") else part for part in np.random.get_state()],
        torch.get_rng_state().tolist(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
    )


def project_of(prepared, tmp_path):
    """A project whose probe is up to date."""
    catalog, config = prepared
    project = pipeline.Project(config, catalog.root, tmp_path / "model")
    stage = pipeline.STAGES[pipeline.NAMES.index("probe")]
    inputs = pipeline.stage_digest(project, catalog, stage)
    catalog.add_run(StageRun("probe", "2026-01-01T00:00:00+00:00", 1.0, inputs, {}))
    return project


def options(*words):
    return parser().parse_args(["lr", "--seeds", "2", "--steps", "25", *words])


def run_lr(arguments, project):
    """`bears lr` on a project that is given."""
    with mock.patch.object(cli_project, "named_project", lambda _: project):
        lr_command.run(arguments)


def tree(root):
    """Everything a dataset holds but for the catalog's journal, kept hashes of files, and what this
    command leaves."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.parent.name != "lr"
        if not path.name.startswith("catalog.") and path.name != "hashes.json"
    }


@pytest.mark.long
def test_a_training_is_the_same_with_and_without_it_before(prepared, tmp_path, capsys, monkeypatch):
    catalog, config = prepared
    monkeypatch.setattr(lr, "TRIAL", 3)
    training.train(catalog, config)
    before = weights(catalog)
    project = project_of(prepared, tmp_path)
    files, states, rows = tree(catalog.root), random_states(), catalog.photos()
    run_lr(options("--compare", "--json"), project)
    assert random_states() == states
    assert tree(catalog.root) == files
    assert catalog.photos() == rows
    training.train(catalog, config)
    assert same(before, weights(catalog))
    got = json.loads(capsys.readouterr().out)
    assert got == json.loads((catalog.root / "lr" / "lr.json").read_text(encoding="utf-8"))
    assert got["figure"] == str(catalog.root / "lr" / "lr.png")
    assert Image.open(got["figure"]).format == "PNG"
    assert got["trained_with"] == {"lr": 0.003, "lr_reason": "given in the settings"}
    first = config.train.seed
    assert [run["seed"] for run in got["runs"]] == [first, first + 1]
    assert got["comparison"]["photos"] == 6
    assert sorted(r["rate"] for r in got["comparison"]["rows"])


@pytest.mark.long
def test_a_run_is_repeatable_and_another_seed_is_another_run(prepared):
    made = lr.finder_setup(*prepared)
    one, again, other = lr.run_finder(made, [5, 5, 6], 25)
    assert np.array_equal(one.losses, again.losses)
    assert one.suggestions() == again.suggestions()
    assert not np.array_equal(one.losses, other.losses)
    steps = np.arange(25) / 25
    assert one.rates == pytest.approx(
        lr_finder.FIRST * (lr_finder.LAST / lr_finder.FIRST) ** steps[: len(one.rates)]
    )
    by_hand = [(0.02 * 0.98 ** np.arange(i + 1)[::-1] @ one.losses[: i + 1]) / (1 - 0.98 ** (i + 1))
               for i in range(len(one.losses))]  # fmt: skip
    assert one.smoothed == pytest.approx(by_hand, rel=1e-3)


def test_one_lucky_batch_ends_no_run_and_an_explosion_does():
    def steps(losses, calm):
        watch = lr_finder.Watch(tqdm(disable=True), calm)
        for number, loss in enumerate(losses):
            watch.learn = SimpleNamespace(loss=torch.tensor(loss), smooth_loss=torch.tensor(loss))
            try:
                watch.after_batch()
            except CancelFitException:
                return number + 1
        return None

    assert steps([0.001, 0.9, 0.3, 0.3, 0.3], 3) is None
    assert steps([0.3, 0.3, 0.3, 1.1, 1.3, 0.1], 3) == 5
    assert steps([0.3, 0.3, 9.0], 0) is None
    assert steps([0.3, float("nan"), 0.3], 3) == 2


def test_it_runs_as_training_does():
    """One finder, same steps, same spread; else it would answer another question."""
    assert lr.find_lr is fit.find_lr
    assert lr.STEPS == fit.STEPS == inspect.signature(lr.find_lr).parameters["steps"].default
    assert lr.lr_ratio_of is training.lr_ratio_of


def test_a_trial_moves_weights_by_its_rate(prepared):
    """A step of Adam is about as long as the rate, whatever the photos and the gradient."""
    made, steps = lr.finder_setup(*prepared), 6
    for rate in (1e-6, 1e-3):
        lr.trials(made, [rate], [1], steps)
        moved = max(
            float((value.detach() - made.first[name]).abs().max())
            for name, value in made.model.named_parameters()
        )
        assert rate / 10 < moved < 10 * rate * steps


def test_each_trial_is_judged_photo_by_photo(prepared, monkeypatch):
    """Heads that give every photo the same known answer, one at each rate and seed."""
    made, labels = lr.finder_setup(*prepared), ["black", "grizzly", "teddy"]
    answers = {(1e-2, 1): (9.0, 0.0, 0.0), (1e-2, 2): (0.0, 0.0, 0.0),
               (1e-3, 1): (0.0, 9.0, 0.0), (1e-3, 2): (0.0, 0.0, 9.0)}  # fmt: skip

    def known(made, rate, seed, *_):
        with torch.no_grad():
            made.model.head[-1].weight.zero_()
            made.model.head[-1].bias.copy_(torch.tensor(answers[rate, seed]))
        return rate == 1e-3 and seed == 2

    monkeypatch.setattr(lr, "_trial", known)
    tried = lr.trials(made, [1e-2, 1e-3], [1, 2], 30)
    targets = [labels.index(photo.label) for photo in made.valid]
    odds = np.array([[answers[rate, seed] for seed in (1, 2)] for rate in (1e-2, 1e-3)])
    expected = np.log(np.exp(odds).sum(-1, keepdims=True)) - odds  # (rates, seeds, classes)
    assert tried.losses == pytest.approx(expected[..., targets], abs=1e-5)
    assert (tried.wrong == (odds.argmax(-1)[..., None] != targets)).all()
    assert tried.diverged.tolist() == [[False, False], [False, True]]


def test_every_trial_begins_from_the_same_start(prepared):
    made = lr.finder_setup(*prepared)
    twice = lr.trials(made, [1e-2, 1e-3, 1e-2], [1], 4)
    assert np.array_equal(twice.losses[0], twice.losses[2])
    assert not np.array_equal(twice.losses[0], twice.losses[1])
    assert same(made.first, training.start(*prepared).state_dict())


def test_equal_rates_are_not_told_apart(prepared):
    tried = lr.trials(lr.finder_setup(*prepared), [1e-3, 1e-3], [1, 2], 6)
    got = analysis.compare_rates(
        entries(2), tried.losses, tried.wrong, tried.start_losses, tried.groups
    )
    assert sorted(row["verdict"] for row in got["rows"]) == ["best", "no difference"]


def test_a_rate_that_explodes_is_the_worst_and_no_crash(prepared):
    made = lr.finder_setup(*prepared)
    tried = lr.trials(made, [1e30, 1e-3], [1], 6)
    assert tried.diverged.tolist() == [[True], [False]]
    assert np.isfinite(tried.losses).all()
    assert tried.wrong[0].all()
    assert tried.losses[0].mean() > tried.losses[1].mean()


def test_a_photo_that_broke_is_left_out(prepared, tmp_path):
    catalog, config = prepared
    shutil.copytree(catalog.root, tmp_path / "copy")
    with Catalog(tmp_path / "copy") as copy:
        made = lr.finder_setup(copy, config)
        copy.file(made.valid[2]).write_bytes(b"no picture")
    made.part.unreadable.total = 100
    tried = lr.trials(made, [1e-3], [1], 3)
    assert tried.losses.shape == (1, 1, 5)


def test_too_little_memory_is_said(prepared, monkeypatch):
    made = lr.finder_setup(*prepared)

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(made.model, "forward", full)
    with pytest.raises(TrainError, match=r"OUT_OF_MEMORY: 4 photos .* --set train.batch_size=2,"):
        lr.run_finder(made, [1], 25)


@pytest.mark.long
def test_words_say_why_not_the_lowest_point(prepared, tmp_path, capsys):
    run_lr(options(), project_of(prepared, tmp_path))
    printed = capsys.readouterr().out
    for name, about in analysis.ABOUT.items():
        assert f"\n{name} " in printed
        assert about in printed
    assert "Why not the lowest point itself?" in printed
    assert "--set train.lr=RATE" in printed


def test_errors_name_the_remedy(prepared, tmp_path):
    catalog, config = prepared
    with pytest.raises(DataError, match="NO_DATA"):
        run_lr(options(), pipeline.Project(config, tmp_path / "none", tmp_path))
    fresh = dataset(tmp_path / "data", config)
    with pytest.raises(DataError, match="NO_PROBE: .* run: bears probe"):
        run_lr(options(), pipeline.Project(config, fresh.root, tmp_path))
    other = tiny_config(learn={"size": 96})
    with pytest.raises(DataError, match="STAGE_MISSING: .* run: bears run --until probe"):
        run_lr(options(), pipeline.Project(other, catalog.root, tmp_path))
    for words, what in ((["--seeds", "0"], "--seeds 0"), (["--steps", "5"], "--steps 5")):
        with pytest.raises(ConfigError, match=f"BAD_SETTING: {what}: give"):
            run_lr(options(*words), pipeline.Project(config, catalog.root, tmp_path))
    with pytest.raises(DataError, match="run: bears split"):
        lr.finder_setup(Catalog(tmp_path / "empty"), config)


# -- what a run that hardly falls is worth


def curve_of(losses: np.ndarray) -> lr_finder.Curve:
    rates_ = np.geomspace(1e-6, 1, len(losses))
    return lr_finder.Curve(rates_, losses, losses, len(losses))


def test_noise_alone_is_no_fall_and_a_fall_is_seen_through_noise():
    rng = np.random.default_rng(0)
    flat = [curve_of(0.2 + 0.1 * rng.normal(size=40)).falls() for _ in range(200)]
    assert sum(flat) <= 4
    shape = np.concatenate([np.zeros(10), np.linspace(0, -0.5, 20), np.linspace(-0.5, 2, 10)])
    clear = [curve_of(1 + shape + 0.05 * rng.normal(size=40)).falls() for _ in range(200)]
    assert sum(clear) == 200


def test_training_believes_no_finder_that_saw_only_noise(prepared, monkeypatch, tmp_path):
    catalog, config = prepared
    losses = 0.2 + 0.1 * np.resize([1.0, -1.0, -0.5, 0.5], 40)
    monkeypatch.setattr(fit, "find_lr", lambda *_: curve_of(losses))
    plan = fit.Plan(1, "find", 1.0)
    learn = fit.make_learner(loaders_of(catalog), training.start(catalog, config), tmp_path, plan)
    rate, why, kept = fit.choose_lr(learn, "find")
    assert rate == 1e-3
    assert "never falls by more than its noise" in why
    assert kept["losses"] == losses.tolist()
