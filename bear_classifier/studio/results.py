"""Before and after: the answers of each finished training on the test photos, and their pairing.

Of each training that was judged a small file stays in the project: the class that it gave to each
test photo. Two trainings are compared on the photos that both were asked, by the labels that these
have now: a label that was put right in between counts for both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.queries import labels_of_test
from bear_classifier.report.words import photos
from bear_classifier.runtime.files import write_atomic

_NUMBERS = 12  # letters of the digest in the name of a file


@dataclass(frozen=True)
class KeptResult:
    """made: when it was judged; trained: "first" or "fine-tuned"; error, interval, n: of the test
    photos as they were then; answers: sha256 -> class that it gave."""

    made: str
    trained: str
    error: float | None
    interval: list[float] | None
    n: int
    answers: dict[str, str]


class ResultRow(TypedDict):
    """A training, compared with the one before: n_same photos that both were asked, of which some
    were put right and some are newly wrong; p, verdict: of `stats.paired`. None: the first one."""

    made: str
    trained: str
    error: float | None
    interval: list[float] | None
    n: int
    put_right: int | None
    newly_wrong: int | None
    n_same: int | None
    p: float | None
    verdict: str | None
    sentence: str


def answers_folder(own: Path) -> Path:
    """Where the results of a project are kept. own: the studio's folder in it."""
    return own / "results" / "answers"


def keep_result(catalog: Catalog, folder: Path) -> bool:
    """Keep the answers of the last training that was judged, unless they are there already or a
    newer training has replaced them. folder: of the results. Whether a file was written; quick
    where none was. Raises OSError and DataError (DISK_FULL, CANNOT_WRITE)."""
    report, predictions = (
        catalog.root / name for name in ("evaluate/report.json", "train/predictions.npz")
    )
    last = catalog.last_run("evaluate")
    try:
        newer = predictions.stat().st_mtime_ns > report.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    if last is None or newer:
        return False
    digest = str(last.outcome.get("test_digest") or last.inputs)[:_NUMBERS]
    name = f"{last.started.replace(':', '')}-{digest}.json"
    if (folder / name).exists() or any(folder.glob(f"*-{digest}.json")):
        return False
    made = _result(catalog, last.started, json.loads(report.read_bytes())["test"])
    write_atomic(folder / name, json.dumps(asdict(made)).encode())
    return True


def _result(catalog: Catalog, at: str, test: Mapping[str, Any]) -> KeptResult:
    """test: of the report, whose classes are those of the model, whichever the project has now."""
    from bear_classifier.judge.predictions import load_predictions

    stored = load_predictions(catalog.root)
    asked = [sha256 for sha256 in labels_of_test(catalog) if sha256 in stored.rows]
    numbers = stored.logits[[stored.rows[sha256] for sha256 in asked]].argmax(1).tolist()
    labels = test["labels"]
    answers = {sha256: labels[number] for sha256, number in zip(asked, numbers, strict=True)}
    trained = "first" if stored.chosen == "probe" else "fine-tuned"
    return KeptResult(at, trained, test["error"], test["error_interval"], test["n"], answers)


def kept_results(folder: Path) -> list[KeptResult]:
    """All of a project, the oldest first; what cannot be read is left out."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(KeptResult(**json.loads(path.read_bytes())))
        except (OSError, ValueError, TypeError):
            continue
    return found


def result_rows(kept: list[KeptResult], now: Mapping[str, tuple[str, str]]) -> list[ResultRow]:
    """Each training beside the one before. now: sha256 -> label and group of near-copies, of the
    test photos as they are."""
    return [_row(kept[i], kept[i - 1] if i else None, now) for i in range(len(kept))]


def _row(
    after: KeptResult, before: KeptResult | None, now: Mapping[str, tuple[str, str]]
) -> ResultRow:
    row: ResultRow = {
        "made": after.made, "trained": after.trained, "error": after.error,
        "interval": after.interval, "n": after.n, "put_right": None, "newly_wrong": None,
        "n_same": None, "p": None, "verdict": None, "sentence": "",
    }  # fmt: skip
    same = [sha256 for sha256 in after.answers if before and sha256 in before.answers.keys() & now]
    if before is None or not same:
        return row
    import numpy as np

    from bear_classifier.stats.paired import paired_comparison

    wrong = [np.array([r.answers[s] != now[s][0] for s in same]) for r in (before, after)]
    found = paired_comparison(wrong[0], wrong[1], np.array([now[s][1] for s in same]))
    row["put_right"], row["newly_wrong"] = found["put_right"], found["newly_wrong"]
    row["n_same"], row["p"], row["verdict"] = found["n"], found["p"], found["verdict"]
    row["sentence"] = comparison(found)
    return row


def comparison(found: Mapping[str, Any]) -> str:
    """A paired comparison in one sentence. found: of `stats.paired.paired_comparison`."""
    right, wrong = found["put_right"], found["newly_wrong"]
    same = f"On the same {photos(found['n'], 'test')}"
    if not right and not wrong:
        return f"{same} both trainings are right and wrong on the same ones."
    verdict = found["verdict"]
    end = f"{verdict} than before" if verdict != "no difference" else "this may be chance"
    return (
        f"{same} {right or 'none'} {'was' if right < 2 else 'were'} put right and"
        f" {wrong or 'none'} {'is' if wrong < 2 else 'are'} newly wrong: {end} (paired test:"
        f" p = {found['p']:.2g})."
    )
