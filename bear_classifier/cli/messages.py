"""What commands print: predictions, figures and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bear_classifier.report.stage_lines import reasons, share, some
from bear_classifier.runtime.files import write_table
from bear_classifier.runtime.terminal import command, minute, one_line

if TYPE_CHECKING:
    from bear_classifier.pipeline import Project


def report(outcome: Mapping[str, Any]) -> str:
    from bear_classifier.judge.evaluate import as_text

    return as_text(dict(outcome))


def apart(found: Mapping[str, Any]) -> list[str]:
    """What a report on a folder leaves out, and which of its photos prove nothing."""
    learned, lines = len(found["training_photos"]), []
    if learned:
        which = "the only photo" if found["n"] == 1 else f"these {found['n']} photos"
        lines.append(
            f"warning: the model was trained on {learned} of {which}, or on the"
            " same pictures encoded otherwise: these figures are not of new photos"
        )
    lines += some([one_line(f"left out: {path}: {why}") for path, why in found["ignored"].items()])
    return ["", *lines] if lines else []


def summary(
    project: Project, test: Mapping[str, Any] | None, current: bool, words: Sequence[str]
) -> str:
    """What came of a run, and what to do next. current: whether what is published is what was
    judged; words: as `terminal.project_of`."""
    model = one_line(str(project.model))
    lines = [one_line(f"data   {project.data}")]
    if test is None:
        return "\n".join(["", *lines, "next   to go on, run: bears run"])
    lines = ["", report(test), "", *lines]
    if not current:
        old = (project.model / "bundle.json").is_file()
        state = f"{model} is older than this evaluation" if old else "not published yet"
        return "\n".join([*lines, f"model  {state}", "next   to publish it, run: bears run"])
    lines += [f"model  {model}", "next   to open its page, run: bears serve"]
    return "\n".join([*lines, f"       {command('predict', *words, 'PHOTO')}"])


def prediction(row: Mapping[str, Any]) -> str:
    """One line."""
    return one_line(f"{row['path']}: {_answer(row)}")


def _answer(row: Mapping[str, Any]) -> str:
    if "error" in row:
        return f"{row['error']['code']}: {row['error']['message']}"
    if row["reason"] == "unlike_training":
        return "no answer: unlike the photos that the model learned from"
    if row["reason"] == "too_close":
        first, second = sorted(row["probabilities"].items(), key=lambda pair: -pair[1])[:2]
        pair = f"{first[0]} {first[1]:.1%} or {second[0]} {second[1]:.1%}"
        return f"too close to call: {pair}"
    return f"{row['label']} {row['confidence']:.1%}"


def strangers(found: Mapping[str, Any]) -> str:
    """How many pictures of nothing known got an answer, in all and by folder."""
    kinds = {one_line(name): row for name, row in found["kinds"].items()}
    rows = {"pictures of none of the classes": found, **kinds}
    lines = ["answered although they show none of the classes:"]
    width = max(len(name) for name in rows)
    lines += [
        f"  {name:<{width}}  {share(row['let_through'], row['n'], row['interval'])}"
        for name, row in rows.items()
    ]
    return "\n".join(lines)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> None:
    """One line per photo; text that a spreadsheet would run as a formula is quoted by a '."""
    columns = ["path", "label", "confidence", "accepted", "reason"]
    table: list[list[object]] = [[*columns, *labels, "error"]]
    for row in rows:
        p = row.get("probabilities", {})
        table.append(
            [row.get(c, "") for c in columns]
            + [p.get(label, "") for label in labels]
            + [row["error"]["code"] if "error" in row else ""]
        )
    write_table(path, table)


def status(found: Mapping[str, Any]) -> str:
    columns = sorted({place for row in found["photos"].values() for place in row}, key=_order)
    width = max(5, *(len(label) for label in found["photos"]))
    cells = [max(6, len(c)) for c in columns]
    header = " ".join(f"{c:>{w}}" for c, w in zip(columns, cells, strict=True))
    lines = [f"data   {found['data']}", f"model  {found['model'] or 'none yet'}", ""]
    lines.append(f"{'class':<{width}} {header}")
    lines += [
        f"{label:<{width}} "
        + " ".join(f"{row.get(c, 0):>{w}}" for c, w in zip(columns, cells, strict=True))
        for label, row in found["photos"].items()
    ]
    lines += ["", _candidates(found["sources"]), ""]
    for name, row in found["stages"].items():
        state = "up to date" if row["up_to_date"] else ("outdated" if row["at"] else "not run yet")
        when = f"  {minute(row['at'])}, {row['seconds']:.1f} s" if row["at"] else ""
        lines.append(f"{name:<10} {state}{when}")
    return "\n".join(map(one_line, lines))


def _candidates(codes: Mapping[str, int]) -> str:
    """What the download's bar showed: found, downloaded, refused and the most frequent reasons."""
    # imported here, since a command that tells of one photo would wait for the schema's classes
    from bear_classifier.dataset.schema import CONFLICT, DUPLICATE, GONE, OK, PENDING, SPARE

    waiting = {
        CONFLICT: "under two classes",
        GONE: "no longer listed",
        PENDING: "waiting",
        SPARE: "beyond search.per_class",
    }
    good = {code: codes.get(code, 0) for code in (OK, DUPLICATE, *waiting)}
    bad = {code: n for code, n in codes.items() if code not in good}
    words = [f"found {sum(codes.values())}", f"downloaded {good[OK] + good[DUPLICATE]}"]
    if good[DUPLICATE]:
        words[-1] += f" ({good[DUPLICATE]} of them copies)"
    words.append(f"refused {sum(bad.values())}{reasons(bad)}")
    words += [f"{name} {good[code]}" for code, name in waiting.items() if good[code]]
    return f"candidates: {' · '.join(words)}"


def _order(place: str) -> int:
    order = ("train", "valid", "test", "no split yet", "duplicate", "unusable", "dropped")
    return order.index(place) if place in order else len(order)
