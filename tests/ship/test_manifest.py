"""Every field of bundle.json that an answer is made of, in every way in which it can be wrong."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from bundles import rewrite
from corpus import drawn, saved

from bear_classifier.cli import main
from bear_classifier.errors import ModelError
from bear_classifier.serve import messages
from bear_classifier.serve.queue import served_models
from bear_classifier.ship import manifest

CODES = ("MODEL_VERSION", "MODEL_INCOMPLETE", "UNEXPECTED_FILE")
ABSENT = object()
ODD: list[Any] = [
    *(ABSENT, None, True, 0, -1, 7, 1.5, 1e-320, 1e300, float("nan"), float("inf"), 10**400),
    *("", "x" * 10_000, "<b>bold</b>", "a\x1b[31mred\nline", "\ud800", [], [0], {}, {"a": 1}),
]


@pytest.fixture(scope="module")
def about(model_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((model_dir / "bundle.json").read_text(encoding="utf-8"))
    return found


def fields(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of all fields of a table, and of tables within it."""
    if not isinstance(value, dict):
        return []
    inside = [found for name in value for found in fields(value[name], (*path, name))]
    return [*((*path, name) for name in value), *inside]


def changed(about: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    made = copy.deepcopy(about)
    table = made
    for name in path[:-1]:
        table = table[name]
    if value is ABSENT:
        del table[path[-1]]
    else:
        table[path[-1]] = value
    return made


def test_each_field_in_every_odd_way_is_refused_by_name_or_does_no_harm(
    about: dict[str, Any],
) -> None:
    """What is read of it to answer then has its type: nothing but the schema has to look."""
    paths = [path for path in fields(about) if path[0] != "files"] + [("files",)]
    assert len(paths) > 60
    refused = set()
    for path in paths:
        for value in ODD:
            made = changed(about, path, value)
            try:
                manifest.check_manifest(made)
            except ModelError as exc:
                refused.add(".".join(path))
                assert len(exc.sentence) < 300 and exc.sentence.isprintable(), exc.sentence
                assert path[0] in exc.sentence or exc.code in CODES
                continue
            assert isinstance(made["name"], str) and len(made["labels"]) >= 2
            shape = made["preprocessing"]
            assert 16 <= shape["size"] <= 2048
            assert len(shape["mean"]) == len(shape["std"]) == 3
            assert 1e-3 <= made["temperature"] <= 1e3
            assert 0 <= made["rejection"]["close"] <= 1
            test = manifest.optional_field(made, "metrics.test", dict) or {}
            assert messages.test_figures(test).isprintable()
    assert {
        *("labels", "temperature", "preprocessing.size", "preprocessing.mean", "name"),
        *("preprocessing.std", "rejection.close", "rejection.least", "files"),
    } <= refused
    assert not {"version", "metrics", "created", "training", "data", "versions"} & refused


@pytest.mark.parametrize("table", [None, [], 7, "x", {}, {"schema": True}, {"schema": 2}])
def test_what_is_no_table_at_all(table: Any) -> None:
    with pytest.raises(ModelError):
        manifest.check_manifest(table)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("temperature", 1e-320, "temperature is 1e-320, not a number from 0.001 to 1000"),
        ("preprocessing.std", [0.2, 1e-300, 0.2], "preprocessing.std is [0.2, 1e-300, 0.2], not"),
        ("preprocessing.mean", [0.5, 0.5], "preprocessing.mean is [0.5, 0.5], not three numbers"),
        ("labels", ["a", "b\x1b[31m"], "labels is ['a', 'b\\x1b[31m'], not two or more"),
        ("name", "a\nb", "name is 'a\\nb', not a name"),
    ],
)
def test_the_field_is_named(about: dict[str, Any], path: str, value: Any, said: str) -> None:
    with pytest.raises(ModelError, match=r"^BAD_MODEL: bundle\.json: ") as caught:
        manifest.check_manifest(changed(about, tuple(path.split(".")), value))
    assert said in caught.value.sentence


@pytest.mark.series
@pytest.mark.parametrize("field", ["version", "metrics", "created", "training", "data", "note"])
@pytest.mark.parametrize("value", [None, [], float("nan"), "<b>\x1b[31m"])
def test_what_is_only_shown_keeps_no_model_from_answering(
    model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str, value: Any
) -> None:
    place = Path(shutil.copytree(model_dir, tmp_path / "tiny"))
    rewrite(place, **{field: value})
    told = served_models(place)[0].description()
    assert json.dumps(told)
    if field == "metrics":
        assert told["figures"].startswith("How often this model is wrong is not known")
    photo = tmp_path / "a.jpg"
    photo.write_bytes(saved(drawn(seed=3), "JPEG"))
    assert main.main(["predict", "--model", str(place), str(photo)]) == 0
    assert "a.jpg: " in capsys.readouterr().out


@pytest.mark.parametrize("size", [32, 96])
def test_a_size_that_is_not_the_networks_is_refused(
    model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    place = Path(shutil.copytree(model_dir, tmp_path / "tiny"))
    known = json.loads((place / "bundle.json").read_text(encoding="utf-8"))["preprocessing"]
    rewrite(place, preprocessing={**known, "size": size})
    photo = tmp_path / "a.jpg"
    photo.write_bytes(saved(drawn(seed=3), "JPEG"))
    assert main.main(["predict", "--model", str(place), str(photo)]) == 2
    said = capsys.readouterr().err
    assert "BAD_MODEL: model.onnx takes image" in said and f"not pictures of {size} pixels" in said
