"""How fast stages were, and what more photos would take."""

import pytest

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo, StageRun
from bear_classifier.report.throughput import StageRate, forecast, stage_rates

AT = "2026-05-01T10:00:{:02}+00:00"
SCREENED = {"ok": 90, "unlabelled": 4, "duplicate": 3, "unusable": {"BLANK": 2, "SMALL": 1}}
RUNS = [
    ("search", 1, 2.0, {"found": 120}),
    ("download", 2, 40.0, {"fetched": 110, "photos": 100}),
    ("screen", 3, 5.0, SCREENED),
    ("split", 4, 1.0, {"photos": {"train": {"a": 50, "b": 10}, "valid": {"a": 20}, "test": {}}}),
    ("probe", 5, 30.0, {"photos": 80}),
    ("clean", 6, 4.0, {"photos": 80}),
    ("train", 7, 90.0, {"epochs": 3}),
    ("evaluate", 8, 2.0, {"n": 10}),
    ("export", 9, 9.0, {"photos": 5}),
    ("download", 10, 0.1, {"fetched": 0, "photos": 100}),  # later, with nothing to do
]


@pytest.fixture
def catalog(tmp_path):
    with Catalog(tmp_path) as opened:
        splits = ["train"] * 60 + ["valid"] * 20 + ["test"] * 10 + [None] * 5
        with opened.transaction():
            opened.put_photos(
                Photo(f"{n:064x}", f"{n}.jpg", "a", "jpeg", 9, 9, 9, "0", 9.0, f"{n}", split)
                for n, split in enumerate(splits)
            )
        for stage, at, seconds, outcome in RUNS:
            opened.add_run(StageRun(stage, AT.format(at), seconds, "", outcome))
        yield opened


def test_every_stage_by_the_last_run_that_had_work(catalog):
    found = {rate.stage: (rate.photos, rate.seconds) for rate in stage_rates(catalog)}
    assert found == {
        "search": (120, 2.0), "download": (110, 40.0), "screen": (100, 5.0), "split": (80, 1.0),
        "probe": (80, 30.0), "clean": (80, 4.0), "train": (80, 90.0), "evaluate": (10, 2.0),
    }  # fmt: skip
    assert stage_rates(catalog)[1].per_second == 110 / 40


@pytest.mark.parametrize(("at", "left"), [(5, 10.0), (4, 30.0)])
def test_features_have_a_row_of_their_own(catalog, at, left):
    """Within the probe's run their seconds are taken off it; computed before, they are not."""
    text = f'{{"at": "{AT.format(at)}", "photos": 70, "seconds": 20.0}}'
    (catalog.root / "features.json").write_text(text, encoding="utf-8")
    rates = {rate.stage: rate for rate in stage_rates(catalog)}
    assert list(rates)[4:6] == ["features", "probe"]
    assert (rates["features"].photos, rates["features"].seconds) == (70, 20.0)
    assert rates["probe"].seconds == left


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"at": 1, "photos": null, "seconds": 2}'])
def test_a_damaged_note_on_features_is_passed_over(catalog, text):
    (catalog.root / "features.json").write_text(text, encoding="utf-8")
    assert "features" not in [rate.stage for rate in stage_rates(catalog)]


def test_machines_divide_what_can_be_divided(catalog):
    rates = [StageRate("features", "", 50, 5.0), StageRate("clean", "", 100, 1.0)]
    assert forecast(rates, 1000, 1) == [100.0, 10.0]
    assert forecast(rates, 1000, 4) == [25.0, 10.0]
