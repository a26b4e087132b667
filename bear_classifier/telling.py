"""What the command line says: outcomes of stages as sentences, tables and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bear_classifier.files import write_table
from bear_classifier.terminal import command, count, minute, one_line

if TYPE_CHECKING:
    from bear_classifier.pipeline import Project

_SHOWN = 8  # lines of failures or ignored files; the rest is counted


def stage(name: str, outcome: Mapping[str, Any]) -> str:
    """A line on one finished stage, and indented lines on what a person should know of it."""
    if outcome["outcome"] == "up to date":
        return f"{name:<10} up to date"
    first, *more = _SENTENCES[name](outcome)
    lines = [f"{name:<10} {first}  [{outcome['seconds']:.1f} s]"]
    return "\n".join(map(one_line, lines + [f"{'':<10} {line}" for line in more]))


def _verb(n: int, one: str, several: str) -> str:
    return one if n == 1 else several


def _search(out: Mapping[str, Any]) -> list[str]:
    gone = (
        [f"{count(out['gone'], 'file')} no longer there; the photos are kept"]
        if out["gone"]
        else []
    )
    classes = ", ".join(f"{label} {n}" for label, n in out.get("per_class", {}).items())
    shared, spare = out.get("shared", 0), out.get("spare", 0)
    addresses = _verb(spare, "address", "addresses")
    return [
        f"{count(out['found'], 'candidate')}, {out['new']} of them new",
        *([classes] if classes else []),
        *([f"{spare} spare {addresses}, for what fails"] if spare else []),
        *([f"{shared} found for two classes and left out"] if shared else []),
        *gone,
        *(f"warning: {text}" for text in out.get("warnings", ())),
        *_ignored(out["ignored"]),
    ]


def _ignored(found: Mapping[str, str]) -> list[str]:
    """One line, however many there are: by reason, a few with their names, or else one of many."""
    if not found:
        return []
    reasons: dict[str, list[str]] = {}
    for path, why in found.items():
        reasons.setdefault(why, []).append(Path(path).name)
    path, why = next(iter(found.items()))
    if len(found) == 1:
        return [f"ignored {path}: {why}"]
    if len(reasons) > 4:
        return [f"ignored {len(found)}, such as {path}: {why}; all names with --json"]
    few = {
        why: f" ({', '.join(names)})" if len(names) <= 3 else "" for why, names in reasons.items()
    }
    words = ", ".join(f"{len(names)} {why}{few[why]}" for why, names in reasons.items())
    return [f"ignored: {words}; all names with --json"]


def _download(out: Mapping[str, Any]) -> list[str]:
    failed = [f"{where}: {sentence}" for where, sentence in out["failed_now"].items()]
    extra = []
    if out["exact_duplicates"]:
        extra.append(f"{count(out['exact_duplicates'], 'exact duplicate')}, kept once")
    if out["label_conflicts"]:
        files = count(out["label_conflicts"], "file")
        extra.append(f"{files} filed under two classes at once, set aside")
    if n := out.get("replaced"):
        extra.append(
            f"{n} {'photo was' if n == 1 else 'photos were'} replaced on disk; the earlier version"
            " is still used; to drop it, run: bears clean --gone"
        )
    if n := out.get("spares"):
        extra.append(f"{n} spare {_verb(n, 'address', 'addresses')} taken in place of what failed")
    for label, n in out.get("lacking", {}).items():
        extra.append(f'class "{label}" has {count(n, "photo")}, and no address is left to ask')
    if out["thumbnails"]:
        extra.append(f"{count(out['thumbnails'], 'thumbnail')}, where the picture itself was gone")
    if out["passing"]:
        failures = count(out["passing"], "failure")
        extra.append(f"{failures} may have passed; to ask again, run: bears run --retry")
    return [
        f"{count(out['photos'], 'photo')}, {sum(out['failed'].values())} refused"
        f"{_reasons(out['failed'])}",
        *extra,
        *_some(failed),
    ]


def _reasons(codes: Mapping[str, int]) -> str:
    """The three most frequent."""
    most = sorted(codes.items(), key=lambda item: (-item[1], item[0]))
    words = ", ".join(f"{n} {code}" for code, n in most[:3])
    return f": {words}{', ...' if len(most) > 3 else ''}" if words else ""


def _screen(out: Mapping[str, Any]) -> list[str]:
    reasons = ", ".join(f"{n} {code}" for code, n in out["unusable"].items()) or "none"
    return [
        f"{count(out['ok'], 'usable photo')} in {count(out['groups'], 'group')}",
        (
            f"unusable: {reasons}; copies set aside: {out['duplicate']}; "
            f"near-copies kept in one split: {out['near_copies']}"
        ),
        *(
            f'{count(n, "photo")} of "{label}" set aside: no class of the'
            " project file; put it back into [classes] and they come back, with their splits and"
            " decisions"
            for label, n in out.get("set_aside", {}).items()
        ),
    ]


def _split(out: Mapping[str, Any]) -> list[str]:
    sides = ", ".join(f"{side} {sum(n.values())}" for side, n in out["photos"].items())
    return [sides, *(f"warning: {text}" for text in out["warnings"])]


def _probe(out: Mapping[str, Any]) -> list[str]:
    return [
        f"validation error {_share(out['valid_wrong'], out['valid'], out['valid_interval'])}; "
        "out of fold "
        + _share(out["out_of_fold_wrong"], out["out_of_fold"], out["out_of_fold_interval"])
    ]


def _clean(out: Mapping[str, Any]) -> list[str]:
    kinds = ", ".join(f"{n} {kind}" for kind, n in out["kinds"].items())
    are = _verb(out["suspects"], "is", "are")
    return [
        f"{out['suspects']} of {count(out['photos'], 'photo')} {are} suspect"
        f"{f' ({kinds})' if kinds else ''}",
        "to look at them, run: bears review",
    ]


def _train(out: Mapping[str, Any]) -> list[str]:
    wrong = {
        name: _share(n, out["valid"], out["valid_intervals"][name])
        for name, n in out["valid_wrong"].items()
    }
    epochs = [
        f"epoch {row['epoch']}: loss {row['train_loss']:.3f}, on validation"
        f" {row['valid_loss']:.3f}, error {row['error']:.1%}"
        for row in _spread(out["history"])
    ]
    earlier = out["chosen"] == "tuned" and out["kept_epoch"] < len(out["history"])
    kept = {
        0.0: "fine-tuning did not help; the probe's model is kept",
        1.0: "the fine-tuned model is kept",
    }.get(out["share"], f"the weights kept lie {out['share']:.0%} of the way to the tuned ones")
    unseen = out["mixtures"].get("unseen")
    number = out["mixtures"]["shares"].index(out["share"])
    return [
        f"validation error {wrong['kept']}, probe {wrong['probe']},"
        f" fully tuned {wrong['tuned']}; {kept}",
        *(
            "photos of sources that it did not train on: error"
            f" {_share(unseen['wrong'][k], unseen['n'], unseen['intervals'][k])} {name}"
            for k, name in ((number, "as kept"), (0, "of the probe"), (-1, "fully tuned"))
            if unseen
        ),
        f"learning rate {out['lr']:.2g} ({out['lr_reason']})",
        *epochs,
        *([f"the weights of epoch {out['kept_epoch']} were kept"] if earlier else []),
        *(f"note: {note}" for note in out["notes"]),
        out["diagnosis"]["sentence"],
    ]


def _evaluate(out: Mapping[str, Any]) -> list[str]:
    test = out["test"]
    wrong = test["n"] - sum(test["confusion"][i][i] for i in range(len(test["labels"])))
    changed = out.get("test_decisions", 0)
    photos = count(changed, "photo")
    note = f"warning: {photos} of the test split got another label or left it by hand"
    refused = out["rejection"]["test"]
    answers = _share(refused["accepted"], refused["n"], refused["accepted_interval"])
    lines = [
        f"test error {_share(wrong, test['n'], test['error_interval'])}",
        f"answers {answers} of the test photos",
        *([note] if changed else []),
    ]
    if other := out["elsewhere"]:
        far, near = other["left_out"], other["random"]
        lines.append(
            "first model on sources that it never saw:"
            f" {_share(far['wrong'], far['n'], far['interval'])}, {near['error']:.1%} where sources"
            f" are mixed (paired test: p = {other['paired']['p']:.2g})"
        )
        if other["without"]:
            lines[-1] += f", without {', '.join(other['without'])}: too few known sources"
    lines += [f"not measured: {_OPTIONAL[name]}: {why}" for name, why in out["missing"].items()]
    return lines


_OPTIONAL = {  # figures that a model can be judged without
    "elsewhere": "the error on photos of other sources",
    "membership": "whether the model tells its training photos",
    "left_out": "how it takes a class that it does not know",
}


def _export(out: Mapping[str, Any]) -> list[str]:
    parity = out["parity"]
    later = out.get("latest_revision", 0) - out.get("revision", 0)
    decided, are = count(later, "decision"), _verb(later, "is", "are")
    note = f"warning: {decided} made meanwhile {are} not in it; run: bears run"
    return [
        f"{out['model']}, version {out['version']}, {out['bytes'] / 1e6:.1f} MB",
        (
            f"same answers as the trained network on {count(parity['n'], 'picture')} "
            f"(largest difference {parity['largest_difference']:.1g})"
        ),
        *(
            f"{kind} {out[kind]['is']}: {out[kind]['why']}"
            for kind in ("precision", "decoding")
            if kind in out
        ),
        *([note] if later > 0 else []),
    ]


_SENTENCES = {
    "search": _search,
    "download": _download,
    "screen": _screen,
    "split": _split,
    "probe": _probe,
    "clean": _clean,
    "train": _train,
    "evaluate": _evaluate,
    "export": _export,
}


def _spread(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A few of many epochs, the last among them; all of them stand in history.json."""
    step = -(-len(rows) // _SHOWN)
    return [row for row in rows if (len(rows) - row["epoch"]) % step == 0] if rows else []


def _some(lines: Sequence[str]) -> list[str]:
    rest = len(lines) - _SHOWN
    return [*lines[:_SHOWN], *([f"... and {rest} more"] if rest > 0 else [])]


def _share(part: int, whole: int, interval: Sequence[float] | None) -> str:
    """A rate with its 95 % interval, as every rate should come."""
    if interval is None:
        return "unknown (no photos)"
    return f"{part / whole:.1%} ({interval[0]:.1%} to {interval[1]:.1%}, {part} of {whole})"


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
    lines += _some([one_line(f"left out: {path}: {why}") for path, why in found["ignored"].items()])
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
        f"  {name:<{width}}  {_share(row['let_through'], row['n'], row['interval'])}"
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
    from bear_classifier.schema import CONFLICT, DUPLICATE, GONE, OK, PENDING, SPARE

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
    words.append(f"refused {sum(bad.values())}{_reasons(bad)}")
    words += [f"{name} {good[code]}" for code, name in waiting.items() if good[code]]
    return f"candidates: {' · '.join(words)}"


def _order(place: str) -> int:
    order = ("train", "valid", "test", "no split yet", "duplicate", "unusable", "dropped")
    return order.index(place) if place in order else len(order)
