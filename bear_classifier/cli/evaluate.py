"""`bears evaluate`: the model on the test split, or a bundle on folders of photos."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.options import OldName, add_path
from bear_classifier.cli.output import print_json, print_result
from bear_classifier.errors import ConfigError
from bear_classifier.report.stage_lines import first_lines, rate_text
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import complain, one_line, tell

if TYPE_CHECKING:
    from bear_classifier.ship.folder_evaluation import Failures


def add_options(parser: argparse.ArgumentParser) -> None:
    add_path(parser, "--model", "DIR", "a bundle")
    add_path(parser, "--photos", "FOLDER", "a folder per class")
    ood = "out-of-distribution images: pictures of none of the classes"
    add_path(parser, "--ood", "FOLDER", ood)
    old = {"dest": "ood", "action": OldName, "new": "--ood"}
    add_path(parser, "--strangers", "FOLDER", argparse.SUPPRESS, **old)


def run(options: argparse.Namespace) -> int:
    from bear_classifier.judge.evaluate import as_text

    if options.photos is None and options.ood is None and options.model is None:
        outcome = pipeline.run_one(project.named_project(options), "evaluate")
        print_result(options, outcome["test"], as_text)
        return 0
    dataset = None if options.model else project.named_project(options).data
    return _folders(options, project.bundle_folder(options), dataset)


def _folders(options: argparse.Namespace, model: Path, dataset: Path | None) -> int:
    """Exit code 1 if files were unreadable. dataset: of the model, whose report shows the
    false-accept rate on OOD images; None: of no dataset here."""
    if options.photos is None and options.ood is None:
        raise ConfigError(
            "NO_PHOTOS",
            "--model needs --photos FOLDER, a folder per class to judge on, or --ood FOLDER",
        )
    from bear_classifier.api import load_model
    from bear_classifier.judge.evaluate import as_text
    from bear_classifier.ship import folder_evaluation

    with heartbeat("evaluate"):
        ready = load_model(model)
    failures: Failures = []
    report: dict[str, Any] = {}
    if options.photos:
        with heartbeat("evaluate"):
            report |= folder_evaluation.evaluate_labelled(ready, options.photos, failures)
        if not options.json:
            tell(options, "\n".join([as_text(report), *apart(report)]))
    if options.ood:
        with heartbeat("evaluate"):
            ood = folder_evaluation.evaluate_ood(ready, options.ood, failures)
        report["ood"] = report["strangers"] = ood  # the second is its name in version 0.1.0
        if dataset and dataset.is_dir():
            weights = ready.bundle.about["files"]["weights.safetensors"]["sha256"]
            kept = {**ood, "folder": options.ood.name, "weights": weights}
            write_atomic(dataset / "evaluate" / "ood.json", json.dumps(kept).encode())
        if not options.json:
            tell(options, ood_text(ood))
    if options.json:
        print_json(report)
    for path, exc in failures:
        complain(options, one_line(f"{path}: {exc}"))
    return int(bool(failures))


def apart(report: Mapping[str, Any]) -> list[str]:
    """Photos that a report leaves out, and how many the model was trained on."""
    learned, lines = len(report["training_photos"]), []
    if learned:
        which = "the only photo" if report["n"] == 1 else f"these {report['n']} photos"
        lines.append(
            f"warning: the model was trained on {learned} of {which}, or on the"
            " same pictures encoded otherwise: these figures are not of new photos"
        )
    ignored = report["ignored"].items()
    lines += first_lines([one_line(f"left out: {path}: {why}") for path, why in ignored])
    return ["", *lines] if lines else []


def ood_text(report: Mapping[str, Any]) -> str:
    """The false-accept rate on OOD images, in all and by folder."""
    kinds = {one_line(name): row for name, row in report["kinds"].items()}
    rows = {"pictures of none of the classes": report, **kinds}
    width = max(map(len, rows))
    lines = ["answered although they show none of the classes:"]
    for name, row in rows.items():
        rate = rate_text(row["let_through"], row["n"], row["interval"])
        lines.append(f"  {name:<{width}}  {rate}")
    return "\n".join(lines)
