"""The outcome of each stage in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bear_classifier.runtime.terminal import count, one_line

_SHOWN = 8  # lines of failures or ignored files; the rest is counted


def stage_text(name: str, outcome: Mapping[str, Any]) -> str:
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
        f"{reasons(out['failed'])}",
        *extra,
        *first_lines(failed),
    ]


def reasons(codes: Mapping[str, int]) -> str:
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
    counts = ", ".join(f"{split} {sum(n.values())}" for split, n in out["photos"].items())
    return [counts, *(f"warning: {text}" for text in out["warnings"])]


def _probe(out: Mapping[str, Any]) -> list[str]:
    return [
        f"validation error {rate_text(out['valid_wrong'], out['valid'], out['valid_interval'])}; "
        "out of fold "
        + rate_text(out["out_of_fold_wrong"], out["out_of_fold"], out["out_of_fold_interval"])
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
        name: rate_text(n, out["valid"], out["valid_intervals"][name])
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
            f" {rate_text(unseen['wrong'][k], unseen['n'], unseen['intervals'][k])} {name}"
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
    answers = rate_text(refused["accepted"], refused["n"], refused["accepted_interval"])
    lines = [
        f"test error {rate_text(wrong, test['n'], test['error_interval'])}",
        f"answers {answers} of the test photos",
        *([note] if changed else []),
    ]
    if other := out["elsewhere"]:
        far, near = other["left_out"], other["random"]
        lines.append(
            "first model on sources that it never saw:"
            f" {rate_text(far['wrong'], far['n'], far['interval'])}, {near['error']:.1%} where"
            f" sources are mixed (paired test: p = {other['paired']['p']:.2g})"
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


def first_lines(lines: Sequence[str]) -> list[str]:
    rest = len(lines) - _SHOWN
    return [*lines[:_SHOWN], *([f"... and {rest} more"] if rest > 0 else [])]


def rate_text(part: int, whole: int, interval: Sequence[float] | None) -> str:
    """A rate with its 95 % interval, as every rate should come."""
    if interval is None:
        return "unknown (no photos)"
    return f"{part / whole:.1%} ({interval[0]:.1%} to {interval[1]:.1%}, {part} of {whole})"
