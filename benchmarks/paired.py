"""Our pipeline and the lesson's recipe on one folder of photos, asked for the same held-out ones.

Not a program: what `first_model.py` and `train.py` share. Both sides run in processes of their own
that have imported what they need; what is timed begins with the files and ends with the model.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from versus import PHOTOS, WEIGHTS, Goal, Side, Told, alternated, apart, ratio, require, spread

HELD = 0.2  # of the photos of each class


@dataclass(frozen=True)
class Data:
    """Usable photos. labels, groups: (n,) of text; near-copies are of one group."""

    paths: list[Path]
    labels: NDArray[np.str_]
    groups: NDArray[np.str_]


def arguments(made: argparse.ArgumentParser, seeds: int) -> None:
    made.add_argument("--photos", metavar="FOLDER", type=Path, default=PHOTOS,
                      help="a folder for each class (default: ../shared/photos/bears)")  # fmt: skip
    made.add_argument("--arch", default="mobilenet_v2", help="of torchvision or timm")
    made.add_argument("--weights", metavar="FILE", default=str(WEIGHTS),
                      help='ImageNet\'s, or "none": then only the speed is compared')  # fmt: skip
    made.add_argument("--each", metavar="N", type=int, help="photos of each class (default: all)")
    made.add_argument("--seeds", metavar="N", type=int, default=seeds)
    made.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE",
                      help="a setting of our side")  # fmt: skip


def project(photos: Path, folder: Path, arch: str, weights: str, settings: Sequence[str]) -> Any:
    """Our project for a folder of photos, with its dataset in `folder`."""
    from bear_classifier import pipeline
    from bear_classifier.config import project_file

    classes = {p.name: [p.name] for p in sorted(photos.iterdir()) if p.is_dir()}
    made = project_file.build({"name": "bench", "classes": classes}, where="benchmark")
    file = folder / "bench.toml"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(project_file.as_toml(made), encoding="utf-8")
    own = [f"search.source=folder:{photos}", f"learn.arch={arch}", f"learn.weights={weights}"]
    return pipeline.open_project(str(file), [*own, *settings], folder / "data", folder / "models")


def screened(photos: Path, each: int | None) -> Data:
    """The photos that screening leaves, with their groups. each: of a class; None: all."""
    from bear_classifier import pipeline
    from bear_classifier.dataset.catalog import Catalog

    with tempfile.TemporaryDirectory() as scratch:
        made = project(photos, Path(scratch), "resnet18", "none", [])
        pipeline.run(made, "screen")
        with Catalog(made.data) as catalog:
            found = sorted(catalog.photos("ok"), key=lambda p: p.sha256)
    seen: dict[str, int] = {}
    kept = []
    for photo in found:
        seen[photo.label] = seen.get(photo.label, 0) + 1
        if each is None or seen[photo.label] <= each:
            kept.append(photo)
    return Data(
        [Path(p.origin) for p in kept],
        np.array([p.label for p in kept]),
        np.array([p.group or p.sha256 for p in kept]),
    )


def held_out(labels: NDArray[np.str_], groups: NDArray[np.str_], seed: int) -> NDArray[np.bool_]:
    """(n,) whole groups, until they are a fifth of each class. labels, groups: (n,)."""
    dice, out = np.random.default_rng(seed), np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        mine = labels == label
        for group in dice.permutation(np.unique(groups[mine])):
            if (out & mine).sum() >= HELD * mine.sum():
                break
            out |= groups == group
    return out


def linked(data: Data, rows: NDArray[np.intp], folder: Path) -> None:
    """A folder for each class with links to these photos."""
    for row in rows:
        place = folder / data.labels[row] / f"{row:06}{data.paths[row].suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(data.paths[row])


def ours(until: str, arch: str, weights: str, settings: Sequence[str]) -> Callable[..., Any]:
    """A turn of our side: (data, held, seed) -> seconds, seconds of each stage, answers (m,)."""
    import torch
    from safetensors.torch import load_file

    from bear_classifier import pipeline
    from bear_classifier.collect import download, screen, search, split  # noqa: F401
    from bear_classifier.learn import data as loaders
    from bear_classifier.learn import devices, probe, train  # noqa: F401
    from bear_classifier.learn.weights import preprocessing

    def turn(data: Data, held: NDArray[np.bool_], seed: int) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as scratch:
            photos = Path(scratch) / "photos"
            linked(data, np.flatnonzero(~held), photos)
            own = [*settings, f"train.seed={seed}", f"split.seed={seed}"]
            made = project(photos, Path(scratch), arch, weights, own)
            began = time.perf_counter()
            done = pipeline.run(made, until)
            took = time.perf_counter() - began
            head = None
            if until == "probe":
                with np.load(made.data / "probe" / "head.npz") as file:
                    head = probe.Head(*(file[k] for k in ("mean", "var", "weight", "bias")))
            network = probe.probe_network(made.config, head)
            if until == "train":
                network.load_state_dict(load_file(made.data / "train" / "weights.safetensors"))
            device = devices.pick_device(made.config.learn.device)
            network.to(device).eval()
            asked = [data.paths[row] for row in np.flatnonzero(held)]
            with torch.inference_mode():
                passes = loaders.batches(asked, preprocessing(made.config.learn), 32)
                said = torch.cat([network(x.to(device)).argmax(1).cpu() for x in passes])
            names = np.array(made.config.labels)[said.numpy()]
            stages = {name: out["seconds"] for name, out in done.items()}
            cuda = device.type == "cuda"
            return {
                "seconds": took,
                "stages": stages,
                "said": names,
                "cuda": cuda,
                "precision": done["probe"].get("precision", "fp32"),
            }

    return turn


def theirs(epochs: int, arch: str, weights: str) -> Callable[..., Any]:
    """A turn of the lesson's: as that of `ours`. epochs: 0: one with the body frozen; else those of
    fine_tune. Its answers are those of get_preds over a test_dl; nothing is in half precision. Its
    square and normalisation are those of the weights, as fastai takes them for timm's."""
    import lesson
    from fastai.torch_core import set_seed

    from bear_classifier.config.settings import LearnConfig
    from bear_classifier.learn.weights import preprocessing

    shape = preprocessing(LearnConfig(arch=arch, weights=weights))

    def turn(data: Data, held: NDArray[np.bool_], seed: int) -> dict[str, Any]:
        known, asked = np.flatnonzero(~held), np.flatnonzero(held)
        paths = [data.paths[row] for row in (*known, *asked)]
        began = time.perf_counter()
        set_seed(seed)
        found = lesson.loaders(paths, data.labels[known].tolist(), seed, shape)
        learner = lesson.stock(found, arch, None if weights == "none" else Path(weights))
        with learner.no_bar(), learner.no_logging():
            if epochs:
                learner.fine_tune(epochs)
            else:
                learner.fit_one_cycle(1)
            took = time.perf_counter() - began
            rows = found.test_dl(list(range(len(known), len(paths))))
            said = learner.get_preds(dl=rows)[0].argmax(1).numpy()
        return {"seconds": took, "said": np.array(list(found.vocab))[said]}

    return turn


def compare(
    words: argparse.Namespace,
    until: str,
    epochs: int,
    limits: dict[str, float],
    more: Sequence[str] = (),
) -> Told:
    """limits: times faster on a processor ("cpu") and on a GPU ("cuda"), at least. more: settings
    of one more side of ours, which is told beside the others."""
    from bear_classifier.stats.paired import paired_comparison

    blind = words.weights == "none"
    require(words.photos, *([] if blind else [Path(words.weights)]))
    weights = words.weights if blind else str(Path(words.weights).resolve())
    data = apart(screened, words.photos.resolve(), words.each)
    helds = [held_out(data.labels, data.groups, seed) for seed in range(words.seeds)]
    made: dict[str, tuple[Any, ...]] = {
        "ours": (ours, until, words.arch, weights, words.set),
        "lesson": (theirs, epochs, words.arch, weights),
    }
    if more:
        made["ours, " + " ".join(more)] = (ours, until, words.arch, weights, [*words.set, *more])
    seeds = iter([seed for seed in range(words.seeds) for _ in made])
    with contextlib.ExitStack() as stack:

        def turn(side: Side) -> Any:
            seed = next(seeds)
            return side.turn(data, helds[seed], seed)

        sides = {
            name: partial(turn, stack.enter_context(Side(*parts))) for name, parts in made.items()
        }
        found = alternated(sides, words.seeds, f"{len(data.paths)} photos")
    seconds = {name: [each["seconds"] for each in rows] for name, rows in found.items()}
    wrong = {
        name: [rows[s]["said"] != data.labels[held] for s, held in enumerate(helds)]
        for name, rows in found.items()
    }
    counts = {name: [int(w.sum()) for w in each] for name, each in wrong.items()}
    held = sum(int(out.sum()) for out in helds)
    faster = ratio(seconds["lesson"], seconds["ours"])
    limit = limits["cuda" if found["ours"][0]["cuda"] else "cpu"]
    goal = Goal(
        "lesson / ours, seconds", f">= {limit:g} times", str(faster), faster.middle >= limit
    )
    told = Told(["side", "seconds", "wrong", "of", "each seed"], goals=[goal])
    for name, each in counts.items():
        said = "-" if blind else f"{sum(each)}"
        shown = "-" if blind else " ".join(map(str, each))
        told.rows.append([name, spread(seconds[name]), said, str(held), shown])
    copies = np.concatenate([data.groups[held] for held in helds])  # of a photo, also over seeds
    pair = paired_comparison(np.concatenate(wrong["lesson"]), np.concatenate(wrong["ours"]), copies)
    better = sum(a < b for a, b in zip(counts["ours"], counts["lesson"], strict=True))
    worse = sum(a > b for a, b in zip(counts["ours"], counts["lesson"], strict=True))
    if not blind:
        told.goals.append(error_goal(pair, better, worse))
    for name in list(made)[2:]:
        told.notes.append(_beside(name, found, wrong, copies, blind))
    stages = {name: spread([row["stages"][name] for row in found["ours"]])
              for name in found["ours"][0]["stages"]}  # fmt: skip
    told.notes += [
        f"{words.arch}, {len(data.paths)} photos, {held // words.seeds} held out for each seed, "
        "near-copies kept together; both then set photos aside for themselves",
        "ours, seconds: " + ", ".join(f"{name} {said}" for name, said in stages.items()),
    ]
    told.facts = {"photos": len(data.paths), "held": held, "seconds": seconds, "wrong": counts,
                  "pairs": pair, "seeds_better": better, "seeds_worse": worse}  # fmt: skip
    return told


def _beside(
    name: str,
    found: dict[str, list[Any]],
    wrong: dict[str, list[NDArray[np.bool_]]],
    copies: NDArray[np.str_],
    blind: bool,
) -> str:
    """The other side of ours against ours: how many times faster its last stage was, in what
    precision it ran, and the errors. The first round may prepare what later ones find."""
    from bear_classifier.stats.paired import paired_comparison

    last = list(found["ours"][0]["stages"])[-1]
    ours_, other = ([row["stages"][last] for row in found[side]] for side in ("ours", name))
    precisions = " ".join(row["precision"] for row in found[name])
    told = f"{name}: {last} {ratio(ours_, other)} times faster, each seed in {precisions}"
    if blind:
        return told
    pair = paired_comparison(np.concatenate(wrong["ours"]), np.concatenate(wrong[name]), copies)
    counts = f"{pair['wrong_after']} wrong instead of {pair['wrong_before']}"
    changed = f"{pair['put_right']} put right, {pair['newly_wrong']} newly wrong"
    return f"{told}; {counts}, {changed}, p = {pair['p']:.2g}"


def error_goal(pair: dict[str, Any], better: int, worse: int) -> Goal:
    """No more errors in all. pair: of McNemar; better, worse: seeds. p is for one pass over photos:
    a photo that is held out for two seeds counts twice in it."""
    found = (
        f"{pair['wrong_after']} against {pair['wrong_before']}; {pair['put_right']} put right, "
        f"{pair['newly_wrong']} newly wrong, p = {pair['p']:.2g}; "
        f"seeds: {better} better, {worse} worse"
    )
    good = pair["wrong_after"] <= pair["wrong_before"]
    return Goal("errors on held-out photos", "no more than the lesson's", found, good)
