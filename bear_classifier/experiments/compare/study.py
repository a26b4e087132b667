"""Compare training recipes at equal budget, with the same seeds on the same photos."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from bear_classifier import pipeline
from bear_classifier.config import project_file
from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import ConfigError
from bear_classifier.experiments.preconditions import PROBE, require_current_probe, require_seeds
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.terminal import count, one_line, progress_bar

if TYPE_CHECKING:
    from bear_classifier.experiments.compare import runs as training
    from bear_classifier.experiments.compare.runs import Alternative

Named = list[tuple[str, list[str]]]  # name of an alternative, and its settings as after --set
Preset = Callable[[Config, Callable[[], float]], Named]  # of the settings and the finder's rate

_SETTING = re.compile(r"\s*,\s*(?=[a-z]+\.[a-z_]+\s*=)")
_TABLES = ("train", "learn")
_FIXED = (  # the same for all, or of no effect on what is compared
    *("train.seed", "train.resume", "train.source_validation", "learn.device"),
)
_RATES = (1.0, 0.1, 0.3, 3.0)  # times the finder's


def _values(key: str, *values: str) -> Preset:
    """An alternative for each value of a setting, the present one first."""

    def preset(config: Config, _: object) -> Named:
        present = attrgetter(key)(config)
        order = sorted(values, key=lambda value: value != present)
        return [(value, [f'{key}="{value}"']) for value in order]

    return preset


def _at_least_two(config: Config, epochs: int, preset: str) -> int:
    if epochs < 2:
        raise ConfigError(
            "BAD_SETTING", f"--epochs {config.train.epochs}: {preset} needs 2 or more"
        )
    return epochs


def _method(config: Config, _: object) -> Named:
    epochs = _at_least_two(config, config.train.epochs, "method")
    head_and_frozen = {
        "LP-FT": ("probe", 0),
        "fine_tune": ("new", 1),
        "head only": ("new", epochs),
        "all at once": ("new", 0),
    }
    return [
        (name, [f'train.head="{head}"', f"train.frozen={frozen}", "train.cycles=1"])
        for name, (head, frozen) in head_and_frozen.items()
    ]


def _cycles(config: Config, _: object) -> Named:
    free = _at_least_two(config, config.train.epochs - config.train.frozen, "cycles")
    order = sorted(range(1, min(free, 3) + 1), key=lambda n: n != config.train.cycles)
    return [(count(n, "cycle"), [f"train.cycles={n}"]) for n in order]


def _rates(config: Config, rate: Callable[[], float]) -> Named:
    found = rate()
    return [(f"lr {found * times:.2g}", [f"train.lr={found * times!r}"]) for times in _RATES]


PRESETS: dict[str, Preset] = {
    "balance": _values("train.balance", "none", "oversample", "weighted-loss"),
    "method": _method,
    "layers": _values("train.layers", "last-stage", "all"),
    "cycles": _cycles,
    "rates": _rates,
    "crops": _values("train.resize", "random-crop", "crop", "squish", "pad", "presize"),
}


def compare_recipes(
    project: pipeline.Project,
    what: Sequence[str],
    n_seeds: int = 3,
    epochs: int | None = None,
    by: str | None = None,
) -> dict[str, Any]:
    """Train every alternative with every seed and say which did significantly better.

    what: a preset's name, or alternatives as "train.crop=0.9,train.dropout=0.2"; one alternative
    is compared with the present settings. epochs: of each training; None: the settings'. by: the
    measure that decides, "loss", "error" or "macro"; None: macro for balance, else loss. Leaves
    compare/NAME.json and NAME.png, and in compare/trainings what was trained; changes nothing else.

    Raises ConfigError (UNKNOWN_COMPARISON, BAD_SETTING), DataError (NO_DATA, NOT_SPLIT, NO_PROBE,
    STAGE_MISSING) and TrainError (as training; WEIGHTS_UNAVAILABLE for a backbone without)."""
    require_seeds(n_seeds)
    base = project.config
    if epochs is not None:
        base = project_file.changed(base, [f"train.epochs={epochs}"], "--epochs")
    preset = _checked(what)
    from bear_classifier.experiments.compare import analysis, plot
    from bear_classifier.experiments.compare.runs import TrainingRuns, stack_logits
    from bear_classifier.experiments.compare.tasks import train_on_engine

    began = time.monotonic()
    seeds = [base.train.seed + i for i in range(n_seeds)]
    with pipeline.existing(project) as catalog:
        runs = TrainingRuns(catalog, project.data / "compare" / "trainings")
        present = _alternative(project, catalog, base, "present", [])
        require_current_probe(project, catalog, "compare")
        if preset:
            named = PRESETS[preset](base, lambda: runs.rate(present, seeds[0])[0])
        else:
            named = _given(what)
        alternatives = [_alternative(project, catalog, base, *each) for each in named]
        _refuse_twins(alternatives)
        _require_weights(alternatives)
        if base.engine.name != "local":
            train_on_engine(runs, alternatives, seeds, base.engine)
        trained = _trained(runs, alternatives, seeds)
        logits, order = stack_logits(trained)
        photos = {photo.sha256: photo for photo in runs.valid}
    result = analysis.compare_alternatives(
        [one.name for one in alternatives],
        logits,
        [base.labels.index(photos[sha256].label) for sha256 in order],
        [photos[sha256].family for sha256 in order],
        base.labels,
        by or ("macro" if preset == "balance" else "loss"),
    )
    parts = zip(result["rows"], alternatives, trained, named, strict=True)
    for row, one, each, (_, settings) in parts:
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
    result |= {
        "what": name,
        "verdicts": analysis.alternative_verdicts(result),
        "notes": analysis.remarks(result) + _budget(result["rows"]),
        "figure": str(folder / f"{name}.png"),
        "seconds": round(time.monotonic() - began, 1),
    }
    write_atomic(folder / f"{name}.png", plot.draw(result, result["verdicts"] + result["notes"]))
    write_atomic(folder / f"{name}.json", json.dumps(result, indent=1).encode())
    return result


def _checked(what: Sequence[str]) -> str | None:
    """The name of a preset; None: settings. Raises ConfigError (UNKNOWN_COMPARISON)."""
    plain = [word for word in what if "=" not in word]
    if len(what) == 1 and plain and plain[0] in PRESETS:
        return plain[0]
    if plain or not what:
        raise ConfigError(
            "UNKNOWN_COMPARISON",
            f"{' '.join(what)!r} is no comparison: name one of"
            f" {', '.join(PRESETS)}, backbones, or give"
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
    digest = pipeline.stage_digest(here, catalog, PROBE)
    own = digest == pipeline.stage_digest(project, catalog, PROBE)
    return Alternative(name, config, digest, own)


def _refuse_twins(ones: Sequence[Alternative]) -> None:
    for number, one in enumerate(ones):
        if twins := [other.name for other in ones[:number] if other.config == one.config]:
            raise ConfigError("BAD_SETTING", f"{twins[0]} and {one.name} are the same settings")


def _require_weights(ones: Sequence[Alternative]) -> None:
    """Before the first training, not after hours of it."""
    from bear_classifier.learn import backbone

    needed = [one.config for one in ones if not one.own]
    for config in {(one.learn.arch, one.learn.weights): one for one in reversed(needed)}.values():
        backbone.build_body(config.learn, config.train.seed)


def _trained(
    runs: training.TrainingRuns, ones: Sequence[Alternative], seeds: Sequence[int]
) -> list[list[training.TrainedAlternative]]:
    trained = []
    total = sum(runs.steps(one, len(seeds)) for one in ones)
    with progress_bar(total=total, desc="compare", unit="step") as bar:
        for one in ones:
            bar.set_postfix_str(one_line(one.name))
            trained.append(runs.trained(one, seeds, bar))
    return trained


def _file_name(what: Sequence[str]) -> str:
    """Of the settings that differ: train.crop-train.dropout."""
    keys = {text.partition("=")[0].strip() for word in what for text in _SETTING.split(word)}
    return "-".join(sorted(keys))[:100]


def _budget(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    epochs = sorted({row["epochs"] for row in rows})
    if len(epochs) == 1:
        return []
    return [f"the budgets differ: {', '.join(map(str, epochs))} passes over the training photos"]


def text(result: Mapping[str, Any]) -> list[str]:
    """A table, then the verdicts. result: of `compare_recipes`."""
    from bear_classifier.experiments.compare.analysis import MEASURE_NAMES
    from bear_classifier.stats.paired import amount

    seeds = result["seeds"]
    lines = [
        f"{len(result['rows'])} alternatives, {count(seeds, 'seed')} each, judged on"
        f" {result['photos']} validation photos by {MEASURE_NAMES[result['by']]}"
        f"  [{result['seconds']:.1f} s]",
        "",
        f"{'':<24} {'log loss':>8} {'error':>7} {'macro':>7} {'rate':>8}  recall",
    ]
    for row in result["rows"]:
        recalls = [f"{k} {share:.1%}" for k, share in row["recall"].items() if share is not None]
        lines.append(
            f"{row['name'][:24]:<24} {amount(row['loss']['mean'], 'loss'):>8}"
            f" {row['error']['mean']:7.1%} {row['macro']['mean']:7.1%} {row['lr']:8.1e}"
            f"  {', '.join(recalls)}"
        )
        if row["diverged"]:
            lines.append(f"{'':<24} diverged {row['diverged']} of {seeds} times")
    lines += ["", *result["verdicts"], *(f"note: {note}" for note in result["notes"])]
    return [*lines, one_line(f"The picture: {result['figure']}")]
