"""`bears predict`: classify photos and folders of photos."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bear_classifier.cli.options import add_path
from bear_classifier.cli.output import print_json
from bear_classifier.errors import PhotoError
from bear_classifier.runtime.files import printable, writable, write_table
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import one_line, tell


def add_options(parser: argparse.ArgumentParser) -> None:
    add_path(parser, "paths", "PATH", "a photo or a folder", nargs="+")
    add_path(parser, "--model", "DIR", "a bundle (default: the project's)")
    add_path(parser, "--csv", "FILE", "write a table as well")


def run(options: argparse.Namespace) -> int:
    with heartbeat("predict"):  # a large HEIC takes seconds; each line takes the clock's place
        return _predictions(options)


def _predictions(options: argparse.Namespace) -> int:
    from concurrent.futures import ThreadPoolExecutor

    from bear_classifier.ship.bundle import load

    if options.csv:
        writable(options.csv)
    with ThreadPoolExecutor(1) as pool:  # files are verified while libraries are imported
        model = options.model
        if model is None:
            from bear_classifier.cli import project

            model = project.bundle_folder(options)
        loading = pool.submit(load, model)
        from bear_classifier.ship.predict import answers
        from bear_classifier.ship.sandbox import trust

        bundle = loading.result()
    trust(bundle)
    failed, table = 0, []
    for path, answer in answers(bundle, options.paths):
        row: dict[str, Any] = {"path": printable(path)}
        if isinstance(answer, PhotoError):
            row["error"] = {"code": answer.code, "message": answer.sentence}
            failed += 1
        else:
            row |= dataclasses.asdict(answer)
        if options.json:
            print_json(row)
        else:
            tell(options, line(row))
        if options.csv:
            table.append(row)
    if options.csv:
        write_csv(options.csv, table, bundle.labels)
    return int(failed > 0)


def line(row: Mapping[str, Any]) -> str:
    return one_line(f"{row['path']}: {_answer(row)}")


def _answer(row: Mapping[str, Any]) -> str:
    if "error" in row:
        return f"{row['error']['code']}: {row['error']['message']}"
    if row["reason"] == "unlike_training":
        return "no answer: unlike the photos that the model learned from"
    if row["reason"] == "too_close":
        first, second = sorted(row["probabilities"].items(), key=lambda pair: -pair[1])[:2]
        return f"too close to call: {first[0]} {first[1]:.1%} or {second[0]} {second[1]:.1%}"
    return f"{row['label']} {row['confidence']:.1%}"


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> None:
    """One line per photo; text that a spreadsheet would run as a formula is quoted by a '."""
    columns = ["path", "label", "confidence", "accepted", "reason"]
    table: list[list[object]] = [[*columns, *labels, "error"]]
    for row in rows:
        p, error = row.get("probabilities", {}), row.get("error", {})
        values = [row.get(column, "") for column in columns]
        table.append([*values, *(p.get(label, "") for label in labels), error.get("code", "")])
    write_table(path, table)
