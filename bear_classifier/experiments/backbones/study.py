"""Compare backbones: size, time and error of a linear probe on each that is at hand."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bear_classifier import pipeline
from bear_classifier.config.settings import Config, LearnConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import ConfigError, TrainError
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.terminal import command, count, one_line, progress_bar

if TYPE_CHECKING:
    from torch import nn

    from bear_classifier.dataset.schema import Photo
    from bear_classifier.experiments.backbones.analysis import Errors
    from bear_classifier.learn.weights_here import FoundWeights

_HEAD = f"{'backbone':<30} {'params':>7} {'MB':>6} {'ms':>6}  {'out of fold':<24} unseen sources"


@dataclass(frozen=True)
class Candidate:
    """name: in the table; where: its weights, for people; config: with its settings of learn."""

    name: str
    where: str
    config: Config


def compare_backbones(project: pipeline.Project, names: Sequence[str] = ()) -> dict[str, Any]:
    """The project's backbone, those of `names` (see `learn.weights_here.named_weights`) and those
    whose weights are on this computer, each by features and a probe; nothing is fine-tuned. Photos
    are those of train and validation; the test split stays out of it.

    Leaves compare/backbones.json and .png, and the features; changes nothing else. A backbone that
    cannot be had is listed with the reason under `missing`. Raises ConfigError (BAD_ARCH) and
    TrainError where that is the project's own; DataError (NO_DATA, NOT_SPLIT, STORED_DAMAGED)."""
    from bear_classifier.experiments.backbones import analysis, plot
    from bear_classifier.learn.data import learning_photos

    began = time.monotonic()
    with pipeline.existing(project) as catalog:
        catalog.freeze()
        photos = [photo for split in learning_photos(catalog) for photo in split]
        candidates, missing = _candidates(project.config, names)
        rows, errors, notes = [], [], dict[str, None]()
        for one in (bar := progress_bar(candidates, desc="backbones")):
            bar.set_postfix_str(one_line(one.name))
            row, found, why = _judged(catalog, one, photos)
            rows.append(row | {"settings": _settings(one.config.learn, project.config.learn)})
            errors.append(found)
            notes |= {note: None for note in why}
    for row, figures in zip(rows, analysis.compare_errors(errors), strict=True):
        row |= figures
    folder = project.data / "compare"
    verdicts = analysis.backbone_verdicts(rows)
    result = {
        "what": "backbones",
        "rows": rows,
        "missing": missing,
        "photos": len(photos),
        "verdicts": verdicts,
        "notes": [*notes, *_advice(rows)],
        "figure": str(folder / "backbones.png"),
        "seconds": round(time.monotonic() - began, 1),
    }
    write_atomic(folder / "backbones.png", plot.draw(rows, verdicts))
    write_atomic(folder / "backbones.json", json.dumps(result, indent=1).encode())
    return result


def _candidates(
    config: Config, names: Sequence[str]
) -> tuple[list[Candidate], list[dict[str, str]]]:
    """The project's own first, then the named ones, then what is here; and what cannot be had."""
    from bear_classifier.learn import backbone
    from bear_classifier.learn.weights_here import named_weights, weights_here

    own = config.learn
    body = backbone.build_body(own, config.train.seed)
    candidates = [Candidate(own.arch, own.weights, config)]
    known = {(own.arch, backbone.weights_digest(body))}
    missing = []
    for one in (*map(named_weights, names), *weights_here()):
        # not the project's size: each as its weights were trained
        learn = dataclasses.replace(
            LearnConfig(), arch=one.arch, weights=one.weights, device=own.device
        )
        changed = dataclasses.replace(config, learn=learn)
        try:
            body = backbone.build_body(learn, config.train.seed)
        except (ConfigError, TrainError) as exc:
            missing.append({"name": one.arch, "where": one.where, "why": exc.sentence})
            continue
        if (key := (one.arch, backbone.weights_digest(body))) not in known:
            known.add(key)
            name = _name(one, {candidate.name for candidate in candidates})
            candidates.append(Candidate(name, one.where, changed))
    return candidates, missing


def _name(one: FoundWeights, taken: set[str]) -> str:
    return f"{one.arch} ({one.where})" if one.arch in taken else one.arch


def _judged(
    catalog: Catalog, one: Candidate, photos: Sequence[Photo]
) -> tuple[dict[str, Any], dict[str, Errors], list[str]]:
    """Facts of a backbone, its errors by kind, and why a kind is not there."""
    import numpy as np

    from bear_classifier.dataset.sources import sites
    from bear_classifier.experiments.backbones.analysis import Errors
    from bear_classifier.judge import leave_source_out
    from bear_classifier.learn import backbone, probe
    from bear_classifier.learn.features import cached_features
    from bear_classifier.stats.linear_probe import n_folds, out_of_fold

    config = one.config
    body = backbone.build_body(config.learn, config.train.seed)  # one at a time lies in memory
    facts = _network_facts(body, config.learn)
    began = time.monotonic()
    features = cached_features(catalog, config, photos, body)
    facts["features_seconds"] = round(time.monotonic() - began, 1)
    targets = np.array([config.labels.index(photo.label) for photo in photos])
    groups = np.array([photo.family for photo in photos])
    train = np.array([photo.split == "train" for photo in photos])
    learned = [photo for photo in photos if photo.split == "train"]
    strength = probe.strength_of(catalog, config, learned, features[train], targets[train])
    folds = n_folds(targets, groups, config.probe.folds)
    answers = out_of_fold(features, targets, groups, folds, strength).argmax(axis=1)
    errors = {"out_of_fold": Errors(answers != targets, groups)}
    row = {"name": one.name, "arch": config.learn.arch, "where": one.where, **facts}
    try:
        site = sites(catalog, photos, config.split.sources)
        rows, _ = leave_source_out.of_known_sources(photos, site, config.labels)
        parts = leave_source_out.partition([site[i] for i in rows])
        numbers = np.unique(groups[rows], return_inverse=True)[1]
        wrong, judged = leave_source_out.wrong_by_others(
            features[rows], targets[rows], numbers, parts, strength
        )
    except leave_source_out.NotMeasured as exc:
        return row, errors, [f"errors on unseen sources are not measured: {exc}"]
    errors["unseen_sources"] = Errors(wrong[judged], groups[rows][judged])
    return row, errors, []


def _network_facts(body: nn.Module, learn: LearnConfig) -> dict[str, Any]:
    """Parameters; bytes of the network in full precision, as a bundle has it but for its head; and
    milliseconds of a forward pass for one photo on one thread, None where it cannot be traced."""
    import numpy as np
    import torch

    from bear_classifier.learn import int8
    from bear_classifier.learn.frozen_forward import FAILED, as_onnx
    from bear_classifier.learn.weights import preprocessing

    size = preprocessing(learn).size
    parameters = sum(tensor.numel() for tensor in body.parameters())
    facts: dict[str, Any] = {"size": size, "parameters": parameters}
    try:
        network = as_onnx(body.cpu(), torch.zeros(1, 3, size, size), "image", ["map"])
        (took,) = int8.milliseconds([network], np.zeros((3, size, size), dtype=np.float32))
    except FAILED:
        return facts | {"bytes": 4 * parameters, "milliseconds": None}
    return facts | {"bytes": len(network), "milliseconds": round(took, 2)}


def _settings(learn: LearnConfig, own: LearnConfig) -> list[str]:
    """What to set for this backbone, as after --set."""
    return [
        f"learn.{field.name}={getattr(learn, field.name)}"
        for field in dataclasses.fields(learn)
        if getattr(learn, field.name) != getattr(own, field.name)
    ]


def _advice(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    kind = "unseen_sources" if rows[0]["unseen_sources"] else "out_of_fold"
    better = [row for row in rows if row["verdict"] == "better"]
    notes = ["a probe on untuned features; to compare what training makes of two of them: "
             + command("compare", "learn.arch=ARCH", "learn.arch=OTHER")]  # fmt: skip
    if len(rows) == 1:
        notes.append(
            "no other weights are on this computer; the weights of networks that you name are"
            " fetched; run: bears compare backbones resnet18 mobilenet_v2"
        )
    if better:
        best = min(better, key=lambda row: row[kind]["wrong"])
        words = [word for setting in best["settings"] for word in ("--set", setting)]
        notes.append(f"to take {best['name']}, run: {command('run', *words)}")
    return notes


def text(result: Mapping[str, Any]) -> list[str]:
    """A table, then the verdicts. result: of `compare_backbones`."""
    rows = result["rows"]
    lines = [
        f"{count(len(rows), 'backbone')}, each with a probe on {result['photos']} photos of train"
        f" and validation  [{result['seconds']:.1f} s]",
        "",
        _HEAD,
    ]
    for row in rows:
        took = row["milliseconds"]
        lines.append(
            f"{one_line(row['name'])[:30]:<30} {row['parameters'] / 1e6:6.1f}M"
            f" {row['bytes'] / 1e6:6.1f} {'-' if took is None else f'{took:.1f}':>6} "
            f" {_rate(row['out_of_fold']):<24} {_rate(row['unseen_sources'])}"
        )
    lines += [f"{one_line(one['name'])[:30]:<30} {one['why']}" for one in result["missing"]]
    lines += ["", "MB: the network in full precision; ms: one photo on one thread", ""]
    lines += [*result["verdicts"], *(f"note: {note}" for note in result["notes"])]
    return [*lines, one_line(f"The picture: {result['figure']}")]


def _rate(figures: Mapping[str, Any] | None) -> str:
    if figures is None or figures["interval"] is None:
        return "-"
    low, high = figures["interval"]
    return f"{figures['error']:.1%} ({low:.1%} to {high:.1%})"
