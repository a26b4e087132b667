"""The bear model that the repository brings: whole, small, and as good as it says."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from corpus import ROOT, drawn, saved

from bear_classifier.config.project_file import STARTER, read_project
from bear_classifier.config.settings import SHIPPED
from bear_classifier.learn import backbone
from bear_classifier.ship import bundle
from bear_classifier.ship.model_card import card
from bear_classifier.ship.predict import Model, answers

SHARED = ROOT.parent / "shared" / "photos"


@pytest.fixture(scope="module")
def shipped() -> bundle.Bundle:
    return bundle.load(SHIPPED)


def test_it_answers_as_when_it_was_published(shipped: bundle.Bundle) -> None:
    assert shipped.labels == ["black", "grizzly", "teddy"]
    Model(shipped).self_test()


def test_it_is_small_and_holds_nobodys_photo(shipped: bundle.Bundle) -> None:
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) < 30_000_000
    assert shipped.about["data"]["pictures"] == 0
    text = (SHIPPED / "bundle.json").read_text(encoding="utf-8")
    assert "/tmp" not in text
    assert ".jpg" not in text


def test_its_card_says_what_it_is_not_for(shipped: bundle.Bundle) -> None:
    card = (SHIPPED / "README.md").read_text(encoding="utf-8")
    low, high = shipped.about["metrics"]["test"]["error_interval"]
    assert f"{low:.1%} to {high:.1%}" in card
    for words in ("no decision about safety", "Asian black bears", "EfficientNet-Lite2"):
        assert words in card
    assert (ROOT / "docs" / "bears-note.md").read_text(encoding="utf-8").strip() in card


def test_its_card_is_made_from_what_it_says_of_itself(shipped: bundle.Bundle) -> None:
    text = (SHIPPED / "README.md").read_text(encoding="utf-8")
    assert text == card(shipped.about)
    assert "whoever has one of these very photos can tell by them that it was used" in text


def test_the_report_in_the_documentation_is_its_own(shipped: bundle.Bundle) -> None:
    report = json.loads((ROOT / "docs" / "bears-report.json").read_text(encoding="utf-8"))
    assert report["test"]["error"] == shipped.about["metrics"]["test"]["error"]
    assert report["model"]["created"] == shipped.about["created"]
    measured = report["rejection"]["measured"]["weights"]
    assert measured == shipped.about["files"]["weights.safetensors"]["sha256"]


def test_the_starter_set_trains_on_from_it() -> None:
    settings = read_project(STARTER).learn
    assert settings.place == SHIPPED
    body = backbone.build_body(settings, 0)
    assert backbone.weights_digest(body) != backbone.weights_digest(
        backbone.bare_body(settings.arch)
    )


def test_every_decision_names_a_photo_and_a_reason() -> None:
    with (ROOT / "docs" / "bears-decisions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["sha256"] for row in rows}) == len(rows) == 72
    assert all(row["why"] and row["origin"].partition(": ")[2] for row in rows)
    assert {row["action"] for row in rows} == {"drop", "relabel"}
    assert all(bool(row["new_label"]) == (row["action"] == "relabel") for row in rows)


def refused(shipped: bundle.Bundle, folder: Path) -> float:
    said = [one for _, one in answers(shipped, [folder])]
    return sum(not getattr(one, "accepted", False) for one in said) / len(said)


def test_it_refuses_pictures_of_nothing(shipped: bundle.Bundle, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(saved(drawn(300, 200, seed=number), "PNG"))
    assert refused(shipped, tmp_path) == 1


@pytest.mark.long
@pytest.mark.real
def test_it_refuses_what_is_no_bear_and_hardly_a_bear(shipped: bundle.Bundle) -> None:
    assert refused(shipped, SHARED / "not_bears") >= 0.9
    assert refused(shipped, SHARED / "bears") <= 0.05
