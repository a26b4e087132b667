"""Compare training recipes at equal budget, with the same seeds on the same photos."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bear_classifier import pipeline
from bear_classifier.config import project_file
from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import ConfigError, DataError
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.terminal import one_line, progress_bar

if TYPE_CHECKING:
    from bear_classifier.experiments.compare.runs import Alternative, TrainingRuns

Named = list[tuple[str, list[str]]]  # name of an alternative, and its settings as after --set

_SETTING = re.compile(r"\s*,\s*(?=[a-z]+\.[a-z_]+\s*=)")
_TABLES = ("train", "learn")
_FIXED = (  # the same for all, or of no effect on what is compared
    *("train.seed", "train.resume", "train.source_validation", "learn.device"),
)
_RATES = (1.0, 0.1, 0.3, 3.0)  # times the finder's
_BACKBONES = ("resnet18", "resnet34", "mobilenet_v2")
_PROBE = pipeline.STAGES[pipeline.NAMES.index("probe")]


def _values(key: str, values: Sequence[object], present: object) -> Named:
    """An alternative for each value, the present one first."""
    order = sorted(values, key=lambda value: value != present)
    return [(str(value), [f"{key}={json.dumps(value)}"]) for value in order]


def _balance(config: Config, rate: Callable[[], float]) -> Named:
    return _values("train.balance", ("none", "oversample", "weighted-loss"), config.train.balance)


def _method(config: Config, rate: Callable[[], float]) -> Named:
    epochs = config.train.epochs
    if epochs < 2:
        raise ConfigError("BAD_SETTING", f"--epochs {epochs}: method needs 2 or more")
    return [
        (name, [f'train.head="{head}"', f"train.frozen={frozen}", "train.cycles=1"])
        for name, head, frozen in (
            ("LP-FT", "probe", 0),
            ("fine_tune", "new", 1),
            ("head only", "new", epochs),
            ("all at once", "new", 0),
        )
    ]


def _cycles(config: Config, rate: Callable[[], float]) -> Named:
    free = config.train.epochs - config.train.frozen
    if free < 2:
        raise ConfigError("BAD_SETTING", f"--epochs {config.train.epochs}: cycles needs 2 or more")
    most = range(1, min(free, 3) + 1)
    named = _values("train.cycles", most, config.train.cycles)
    return [(f"{n} cycle{'' if n == '1' else 's'}", settings) for n, settings in named]


def _rates(config: Config, rate: Callable[[], float]) -> Named:
    found = rate()
    return [(f"lr {found * times:.2g}", [f"train.lr={found * times!r}"]) for times in _RATES]


def _crops(config: Config, rate: Callable[[], float]) -> Named:
    kinds = ("random-crop", "crop", "squish", "pad", "presize")
    return _values("train.resize", kinds, config.train.resize)


def _backbones(config: Config, rate: Callable[[], float]) -> Named:
    """The present one with its weights, the others with torchvision's (or none, where it has)."""
    weights = "none" if config.learn.weights == "none" else "imagenet"
    others = [arch for arch in _BACKBONES if arch != config.learn.arch]
    named: Named = [(config.learn.arch, [])]
    return named + [
        (arch, [f'learn.arch="{arch}"', f'learn.weights="{weights}"']) for arch in others
    ]


PRESETS: dict[str, Callable[[Config, Callable[[], float]], Named]] = {
    "balance": _balance,
    "method": _method,
    "layers": lambda now, _: _values("train.layers", ("last-stage", "all"), now.train.layers),
    "cycles": _cycles,
    "rates": _rates,
    "crops": _crops,
    "backbones": _backbones,
}


def compare_recipes(
    project: pipeline.Project,
    what: Sequence[str],
    n_seeds: int = 3,
    epochs: int | None = None,
    by: str | None = None,
) -> dict[str, Any]:
    """Train every alternative with every seed and say which did significantly better.

    what: a preset's name, or alternatives as "train.crop=0.9,train.dropout=0.2"; of one, the
    present settings are the other. epochs: of each training; None: the settings'. by: the measure
    that decides, "loss", "error" or "macro"; None: macro for balance, else loss. Leaves
    compare/NAME.json and NAME.png, and in compare/trainings what was trained; changes nothing else.

    Raises ConfigError (UNKNOWN_COMPARISON, BAD_SETTING), DataError (NO_DATA, NOT_SPLIT, NO_PROBE,
    STAGE_MISSING) and TrainError (as training; WEIGHTS_UNAVAILABLE for a backbone without)."""
    if n_seeds < 1:
        raise ConfigError("BAD_SETTING", f"--seeds {n_seeds}: give 1 or more")
    base = project.config
    if epochs is not None:
        base = project_file.changed(base, [f"train.epochs={epochs}"], "--epochs")
    preset = _checked(what)
    from bear_classifier.experiments.compare import analysis as judge
    from bear_classifier.experiments.compare import runs as learn
    from bear_classifier.experiments.compare.plot import draw

    began = time.monotonic()
    seeds = [base.train.seed + i for i in range(n_seeds)]
    with pipeline.existing(project) as catalog:
        shop = learn.TrainingRuns(catalog, project.data / "compare" / "trainings")
        present = _alternative(project, catalog, base, "present", [])
        _require_probe(project, catalog)
        found_rate = partial(_rate, shop, present, seeds[0])
        named = PRESETS[preset](base, found_rate) if preset else _given(what)
        ones = [_alternative(project, catalog, base, *each) for each in named]
        _refuse_twins(ones)
        _require_weights(ones)
        runs = _trained(shop, ones, seeds)
        logits, order = learn.stack_logits(runs)
        photos = {photo.sha256: photo for photo in shop.valid}
    labels = base.labels
    targets = [labels.index(photos[sha256].label) for sha256 in order]
    groups = [photos[sha256].family for sha256 in order]
    chosen = by or ("macro" if preset == "balance" else "loss")
    names = [one.name for one in ones]
    found = judge.compare_alternatives(names, logits, targets, groups, labels, chosen)  # type: ignore[arg-type]
    for row, one, each, (_, settings) in zip(found["rows"], ones, runs, named, strict=True):
        row |= {
            "settings": settings,
            "epochs": one.config.train.epochs,
            "lr": each[0].facts["lr"],
            "lr_reason": each[0].facts["lr_reason"],
            "diverged": sum(done.facts["diverged"] for done in each),
            "seconds": round(sum(done.facts["seconds"] for done in each), 1),
        }
    name = preset or _file_name(what)
    folder = project.data / "compare"
    found |= {
        "what": name,
        "verdicts": judge.alternative_verdicts(found),
        "notes": judge.remarks(found) + _budget(found["rows"]),
        "figure": str(folder / f"{name}.png"),
        "seconds": round(time.monotonic() - began, 1),
    }
    write_atomic(folder / f"{name}.png", draw(found, found["verdicts"] + found["notes"]))
    write_atomic(folder / f"{name}.json", json.dumps(found, indent=1).encode())
    return found


def _checked(what: Sequence[str]) -> str | None:
    """The preset that was asked for, if it was one."""
    plain = [word for word in what if "=" not in word]
    if len(what) == 1 and plain and plain[0] in PRESETS:
        return plain[0]
    if plain or not what:
        raise ConfigError(
            "UNKNOWN_COMPARISON",
            f"{' '.join(what)!r} is no comparison: name one of {', '.join(PRESETS)}, or give"
            " settings, such as train.crop=0.5 train.crop=0.9",
        )
    return None


def _given(what: Sequence[str]) -> Named:
    named: Named = [(word, _SETTING.split(word.strip())) for word in what]
    return named if len(named) > 1 else [("present settings", []), *named]


def _alternative(
    project: pipeline.Project, catalog: Catalog, base: Config, name: str, settings: Sequence[str]
) -> Alternative:
    from bear_classifier.experiments.compare.runs import Alternative

    for text in settings:
        table, dot, old = text.partition("=")[0].strip().partition(".")
        key = f"{table}{dot}{project_file.present_name(table, old)}"
        if table not in _TABLES or key in _FIXED:
            raise ConfigError(
                "BAD_SETTING",
                f"{key} cannot be compared: it takes settings of train and learn, but for"
                f" {', '.join(_FIXED)}",
            )
    config = project_file.changed(base, settings, "compare")
    here = pipeline.Project(config, project.data, project.model)
    digest = pipeline.stage_digest(here, catalog, _PROBE)
    own = digest == pipeline.stage_digest(project, catalog, _PROBE)
    return Alternative(name, config, digest, own)


def _rate(shop: TrainingRuns, present: Alternative, seed: int) -> float:
    return shop.rate(present, seed)[0]


def _refuse_twins(ones: Sequence[Alternative]) -> None:
    for number, one in enumerate(ones):
        if twins := [other.name for other in ones[:number] if other.config == one.config]:
            raise ConfigError("BAD_SETTING", f"{twins[0]} and {one.name} are the same settings")


def _require_probe(project: pipeline.Project, catalog: Catalog) -> None:
    """A probe of other photos or settings is no start; that there is none, the start tells."""
    if project.leaves(_PROBE).is_file() and not pipeline.is_current(project, catalog, _PROBE):
        raise DataError(
            "STAGE_MISSING",
            "compare needs probe, which is not up to date; run: bears run --until probe",
        )


def _require_weights(ones: Sequence[Alternative]) -> None:
    """Before the first training, not after hours of it."""
    from bear_classifier.learn import backbone

    seen = set()
    for one in ones:
        learn = one.config.learn
        if not one.own and (learn.arch, learn.weights) not in seen:
            seen.add((learn.arch, learn.weights))
            backbone.build_body(learn, one.config.train.seed)


def _trained(shop: TrainingRuns, ones: Sequence[Alternative], seeds: Sequence[int]) -> list[Any]:

    total = sum(shop.steps(one, len(seeds)) for one in ones)
    with progress_bar(total=total, desc="compare", unit="step") as bar:
        runs = []
        for one in ones:
            bar.set_postfix_str(one_line(one.name))
            runs.append(shop.trained(one, seeds, bar))
    return runs


def _file_name(what: Sequence[str]) -> str:
    """Of the settings that differ: train.crop-train.dropout."""
    keys = {text.partition("=")[0].strip() for word in what for text in _SETTING.split(word)}
    return "-".join(sorted(keys))[:100]


def _budget(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    epochs = sorted({row["epochs"] for row in rows})
    if len(epochs) == 1:
        return []
    epochs_text = ", ".join(str(n) for n in epochs)
    return [f"the budgets differ: {epochs_text} passes over the training photos"]


def text(found: Mapping[str, Any]) -> list[str]:
    """A table, then the verdicts. found: of `measure`."""
    from bear_classifier.experiments.compare.analysis import MEASURE_NAMES
    from bear_classifier.stats.paired import amount

    seeds = found["seeds"]
    lines = [
        f"{len(found['rows'])} alternatives, {seeds} {'seeds' if seeds > 1 else 'seed'} each,"
        f" judged on {found['photos']} validation photos by {MEASURE_NAMES[found['by']]}"
        f"  [{found['seconds']:.1f} s]",
        "",
        f"{'':<24} {'log loss':>8} {'error':>7} {'macro':>7} {'rate':>8}  recall",
    ]
    for row in found["rows"]:
        recall = ", ".join(
            f"{label} {share:.1%}" for label, share in row["recall"].items() if share is not None
        )
        lines.append(
            f"{row['name'][:24]:<24} {amount(row['loss']['mean'], 'loss'):>8}"
            f" {row['error']['mean']:7.1%} {row['macro']['mean']:7.1%} {row['lr']:8.1e}  {recall}"
        )
        if row["diverged"]:
            lines.append(f"{'':<24} diverged {row['diverged']} of {seeds} times")
    lines += ["", *found["verdicts"], *(f"note: {note}" for note in found["notes"])]
    return [*lines, one_line(f"The picture: {found['figure']}")]
