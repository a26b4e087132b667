"""The outcome of each stage in sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bear_classifier.runtime.terminal import count, one_line

if TYPE_CHECKING:
    from bear_classifier.judge.clean import CleanSummary
    from bear_classifier.judge.evaluate import Evaluated
    from bear_classifier.judge.rejection import Elsewhere

_SHOWN = 8  # lines of failures or ignored files; the rest is counted


def stage_text(name: str, outcome: Mapping[str, Any]) -> str:
    """A line on one finished stage, and indented lines on what a person should know of it."""
    if outcome["outcome"] == "up to date":
        return f"{name:<10} up to date"
    first, *more = filter(None, _SENTENCES[name](outcome))
    lines = [f"{name:<10} {first}  [{outcome['seconds']:.1f} s]"]
    return "\n".join(map(one_line, lines + [f"{'':<10} {line}" for line in more]))


# Of each stage its lines; empty ones are left out.


def _search(out: Mapping[str, Any]) -> list[str]:
    shared, spare = out.get("shared", 0), out.get("spare", 0)
    return [
        f"{count(out['found'], 'candidate')}, {out['new']} of them new",
        ", ".join(
            f"{label or 'without a label'} {n}" for label, n in out.get("per_class", {}).items()
        ),
        _if(spare, f"{_spare(spare)}, for what fails"),
        _if(shared, f"{shared} found for two classes and left out"),
        _if(out["gone"], f"{count(out['gone'], 'file')} no longer there; the photos are kept"),
        *(f"warning: {text}" for text in out.get("warnings", ())),
        _ignored(out["ignored"]),
    ]


def _class(label: str) -> str:
    return f'class "{label}"' if label else "the search without labels"


def _if(shown: object, line: str) -> str:
    return line if shown else ""


def _spare(n: int) -> str:
    return f"{n} spare address{'' if n == 1 else 'es'}"


def _ignored(whys: Mapping[str, str]) -> str:
    """One line, however many there are: by reason, a few with their names, or else one of many."""
    if not whys:
        return ""
    path, why = next(iter(whys.items()))
    if len(whys) == 1:
        return f"ignored {path}: {why}"
    names: dict[str, list[str]] = {}
    for path_, why_ in whys.items():
        names.setdefault(why_, []).append(Path(path_).name)
    if len(names) > 4:
        return f"ignored {len(whys)}, such as {path}: {why}; all names with --json"
    parts = (
        f"{len(some)} {why_}" + (f" ({', '.join(some)})" if len(some) <= 3 else "")
        for why_, some in names.items()
    )
    return f"ignored: {', '.join(parts)}; all names with --json"


def _download(out: Mapping[str, Any]) -> list[str]:
    copies, conflicts, thumbnails = (
        out[name] for name in ("exact_duplicates", "label_conflicts", "thumbnails")
    )
    replaced, spare, passing = out.get("replaced", 0), out.get("spares", 0), out["passing"]
    failed = [f"{where}: {sentence}" for where, sentence in out["failed_now"].items()]
    return [
        f"{count(out['photos'], 'photo')}, {sum(out['failed'].values())} refused"
        f"{reasons(out['failed'])}",
        _if(copies, f"{count(copies, 'exact duplicate')}, kept once"),
        _if(conflicts, f"{count(conflicts, 'file')} filed under two classes at once, set aside"),
        _if(
            replaced,
            f"{count(replaced, 'photo')} {'was' if replaced == 1 else 'were'} replaced on disk; the"
            " earlier version is still used; to drop it, run: bears clean --gone",
        ),
        _if(
            out.get("altered"),
            f"{count(out.get('altered', 0), 'file')} changed since the export; what was decided on"
            " it before is left out",
        ),
        _if(spare, f"{_spare(spare)} taken in place of what failed"),
        *(
            f"{_class(label)} has {count(n, 'photo')}, and no address is left to ask"
            for label, n in out.get("lacking", {}).items()
        ),
        _if(thumbnails, f"{count(thumbnails, 'thumbnail')}, where the picture itself was gone"),
        _if(
            passing,
            f"{count(passing, 'failure')} may have passed; to ask again, run: bears run --retry",
        ),
        *first_lines(failed),
        _if(out["photos"], "to look at them, run: bears gallery"),
    ]


def reasons(codes: Mapping[str, int]) -> str:
    """The three most frequent."""
    most = sorted(codes.items(), key=lambda item: (-item[1], item[0]))
    words = ", ".join(f"{n} {code}" for code, n in most[:3])
    return f": {words}{', ...' if len(most) > 3 else ''}" if words else ""


def _screen(out: Mapping[str, Any]) -> list[str]:
    unusable = ", ".join(f"{n} {code}" for code, n in out["unusable"].items()) or "none"
    return [
        f"{count(out['ok'], 'usable photo')} in {count(out['groups'], 'group')}",
        f"unusable: {unusable}; copies set aside: {out['duplicate']}; "
        f"near-copies kept in one split: {out['near_copies']}",
        _if(
            out.get("unlabelled"),
            f"{count(out.get('unlabelled', 0), 'photo')} without a label, used for nothing until"
            " you confirm a class; to do so, run: bears label",
        ),
        *_chains(out.get("chains")),
        *(
            f'{count(n, "photo")} of "{label}" set aside: no class of the'
            " project file; put it back into [classes] and they come back, with their splits and"
            " decisions"
            for label, n in out.get("set_aside", {}).items()
        ),
    ]


def _chains(chains: Mapping[str, Any] | None) -> list[str]:
    if not chains:
        return []
    lowest, *others = sorted(map(int, chains["limits"]))
    bits = f"{lowest} to {others[-1]}" if others else f"{lowest}"
    return [
        f"{count(chains['photos'], 'photo')} hung together in chains of near-copies, which were cut"
        f" into groups within {bits} of 400 bits; {count(chains['set_aside'], 'photo')} between two"
        " groups set aside"
    ]


def _split(out: Mapping[str, Any]) -> list[str]:
    counts = ", ".join(f"{split} {sum(n.values())}" for split, n in out["photos"].items())
    return [counts, *_given(out.get("given")), *(f"warning: {text}" for text in out["warnings"])]


def _given(out: Mapping[str, Any] | None) -> list[str]:
    """What became of the splits that photos were published in."""
    if not out:
        return []
    cut, elsewhere = " and ".join(sorted(out["cut"], reverse=True)), out["elsewhere"]
    return [
        f"{count(out['photos'], 'photo')} came with a split and {_keep(out['photos'])} it"
        + (f"; {cut} was missing and was cut from train" if cut else ""),
        _if(
            elsewhere,
            f"{count(elsewhere, 'photo')} came with another split than was assigned before, which"
            " they keep. To use the other one, begin a new dataset with --data DIR",
        ),
        *(
            f"warning: {count(leak['same_file'] + leak['near_copies'], 'photo')} of {leak['split']}"
            f" also in {leak['also']}, and used there only (the same file: {leak['same_file']}, a"
            f" near-copy: {leak['near_copies']}); figures made with the splits as published were"
            " too good"
            for leak in out["leaks"]
        ),
    ]


def _keep(n: int) -> str:
    return "keeps" if n == 1 else "keep"


def _probe(out: Mapping[str, Any]) -> list[str]:
    rates = (
        rate_text(out[f"{name}_wrong"], out[name], out[f"{name}_interval"])
        for name in ("valid", "out_of_fold")
    )
    lines = ["validation error {}; out of fold {}".format(*rates)]
    if "sampled" in out:
        lines.append(f"it learned from a sample of {count(out['sampled'], 'photo')}")
    return lines


def _clean(out: CleanSummary) -> list[str]:
    kinds = ", ".join(f"{n} {kind}" for kind, n in out["kinds"].items())
    again = "for a second look, which finds more, run: bears clean"
    return [
        f"{out['suspects']} of {count(out['photos'], 'photo')}"
        f" {_is(out['suspects'])} suspect{f' ({kinds})' if kinds else ''}"
        f"{' after a second look' if out.get('looks') == 2 else ''}",
        "to look at them, run: bears review",
        *([again] if out.get("can_look_again") else []),
    ]


def _is(n: int) -> str:
    return "is" if n == 1 else "are"


def _train(out: Mapping[str, Any]) -> list[str]:
    wrong = {
        name: rate_text(n, out["valid"], out["valid_intervals"][name])
        for name, n in out["valid_wrong"].items()
    }
    rows = out["history"]
    if not out.get("epochs", 1):
        notes = (f"note: {note}" for note in out["notes"])
        return [f"validation error {wrong['kept']}", *notes, out["diagnosis"]["sentence"]]
    step = -(-len(rows) // _SHOWN) or 1  # a few of many epochs, the last among them
    earlier = out["chosen"] == "tuned" and out["kept_epoch"] < len(rows)
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
        *(
            f"epoch {row['epoch']}: loss {row['train_loss']:.3f}, on validation"
            f" {row['valid_loss']:.3f}, error {row['error']:.1%}"
            for row in rows
            if (len(rows) - row["epoch"]) % step == 0
        ),
        _if(earlier, f"the weights of epoch {out['kept_epoch']} were kept"),
        *(f"note: {note}" for note in out["notes"]),
        out["diagnosis"]["sentence"],
    ]


def _evaluate(out: Evaluated) -> list[str]:
    test, answered, other = out["test"], out["rejection"]["test"], out["elsewhere"]
    wrong = test["n"] - sum(test["confusion"][i][i] for i in range(len(test["labels"])))
    changed = out.get("test_decisions", 0)
    photos = count(changed, "photo")
    rate = rate_text(answered["accepted"], answered["n"], answered["accepted_interval"])
    elsewhere = ""
    if other:
        far, near, without = other["left_out"], other["random"], ", ".join(other["without"])
        elsewhere = (
            "first model on sources that it never saw:"
            f" {rate_text(far['wrong'], far['n'], far['interval'])}, {near['error']:.1%} where"
            f" sources are mixed (paired test: p = {other['paired']['p']:.2g})"
        ) + (f", without {without}: too few known sources" if without else "")
    return [
        f"test error {rate_text(wrong, test['n'], test['error_interval'])}",
        f"answers {rate} of the test photos",
        _refused_elsewhere(out["rejection"].get("elsewhere")),
        _if(changed, f"warning: {photos} of the test split got another label or left it by hand"),
        elsewhere,
        *(f"not measured: {_OPTIONAL[name]}: {why}" for name, why in out["missing"].items()),
    ]


def _refused_elsewhere(found: Elsewhere | None) -> str:
    if not found:
        return ""
    rate = rate_text(found["wrongly_refused"], found["right"], found["refused_interval"])
    return f"refuses {rate} of right answers on sources that had no part in setting its limits"


_OPTIONAL = {  # figures that a model can be judged without
    "elsewhere": "the error on photos of other sources",
    "membership": "whether the model tells its training photos",
    "left_out": "how it takes a class that it does not know",
    "sources": "what it does with photos of other sources",
}


def _export(out: Mapping[str, Any]) -> list[str]:
    parity, later = out["parity"], out.get("latest_revision", 0) - out.get("revision", 0)
    note = f"{count(later, 'decision')} made meanwhile {_is(later)} not in it"
    return [
        f"{out['model']}, version {out['version']}, {out['bytes'] / 1e6:.1f} MB",
        f"same answers as the trained network on {count(parity['n'], 'picture')} "
        f"(largest difference {parity['largest_difference']:.1g})",
        *(
            f"{kind} {out[kind]['is']}: {out[kind]['why']}"
            for kind in ("precision", "decoding")
            if kind in out
        ),
        _if(later > 0, f"warning: {note}; run: bears run"),
    ]


_SENTENCES: dict[str, Callable[[Any], list[str]]] = {
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


def first_lines(lines: Sequence[str]) -> list[str]:
    rest = len(lines) - _SHOWN
    return [*lines[:_SHOWN], *([f"... and {rest} more"] if rest > 0 else [])]


def rate_text(part: int, whole: int, interval: Sequence[float] | None) -> str:
    """A rate with its 95 % interval, as every rate should come."""
    if interval is None:
        return "unknown (no photos)"
    return f"{part / whole:.1%} ({interval[0]:.1%} to {interval[1]:.1%}, {part} of {whole})"
