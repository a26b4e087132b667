"""Does it hold on photos of sources that it never saw? Our exported model against the lesson's.

Every source is left out once, those below --small photos together. From the rest two models are
made: the course's (fine_tune(4) from ImageNet's weights, `lesson.py`), and ours, the whole way from
probe to bundle in a dataset of its own, where the photos left out are dropped. Both are asked for
the photos left out; their answers are compared photo by photo (McNemar). Neither learns from the
test split.

    bears run --until probe        # and what cleaning there is to be
    .venv/bin/python benchmarks/elsewhere.py DATA --sources TABLE --weights FILE --keep FOLDER

--keep: answers are kept there, one file for each part and side; what is there is not made again.
One side (--only) after the other may be cut into other parts: the photos are what is compared.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bear_classifier import pipeline
from bear_classifier.config.project_file import read_project
from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import drop
from bear_classifier.dataset.schema import Photo
from bear_classifier.dataset.sources import sites
from bear_classifier.stats.intervals import clustered
from bear_classifier.stats.paired import paired_comparison

SIDES = ("lesson", "bears")


def ours(
    root: Path, photos: list[Photo], left_out: NDArray[np.bool_], settings: Config
) -> NDArray[np.float32]:
    """Probabilities (n, classes) of the photos that were left out, from the exported bundle."""
    from bear_classifier.ship.bundle import load as load_bundle
    from bear_classifier.ship.predict import Model

    with tempfile.TemporaryDirectory() as scratch:
        data, place = Path(scratch) / root.name, Path(scratch) / "model"
        shutil.copytree(root, data)
        with Catalog(data) as catalog:
            now = {p.sha256: p for p in catalog.photos("ok")}
            gone = [now[p.sha256] for p, out in zip(photos, left_out, strict=True) if out]
            groups = {p.group for p in gone}
            for photo in [p for p in now.values() if p in gone or p.group in groups]:
                drop(catalog, photo, "benchmark", "of the source that is left out")
            files = [catalog.file(photo) for photo in gone]
        project = pipeline.Project(settings, data, place)
        for stage in ("probe", "clean", "train", "evaluate", "export"):
            pipeline.run_one(project, stage)
        record = json.loads((data / "train" / "history.json").read_text(encoding="utf-8"))
        print(json.dumps({k: record[k] for k in ("share", "lr", "mixtures")}), flush=True)
        model = Model(load_bundle(place))
        logits = np.stack([model.outputs(file)[0] for file in files])
        return model.probabilities(logits).astype(np.float32)


def theirs(
    files: list[Path],
    targets: NDArray[np.int64],
    groups: NDArray[np.str_],
    learned: NDArray[np.bool_],
    left_out: NDArray[np.bool_],
    weights: Path,
) -> NDArray[np.float32]:
    """The same of the course's recipe. learned: (n,) of train and valid."""
    from lesson import answers, shrunk

    known = learned & ~left_out & ~np.isin(groups, groups[left_out])
    with tempfile.TemporaryDirectory() as scratch:
        small = shrunk(files, Path(scratch))
        return answers(small, targets, known, 0, weights)[left_out]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a dataset whose first model is made")
    parser.add_argument("--config", type=Path, default=Path("bears.toml"))
    parser.add_argument("--sources", required=True, help="a table: path, source")
    parser.add_argument("--weights", type=Path, required=True, help="of mobilenet_v2")
    parser.add_argument("--keep", type=Path, required=True, help="folder for the answers")
    parser.add_argument("--small", type=int, default=20, metavar="N")
    parser.add_argument("--only", choices=SIDES)
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    options.keep.mkdir(parents=True, exist_ok=True)
    fixed = ["learn.arch=mobilenet_v2", f"learn.weights={options.weights}"]
    settings = read_project(options.config, [*fixed, *options.set])
    with Catalog(options.data) as catalog:
        photos = catalog.photos("ok")
        files = [catalog.file(photo) for photo in photos]
        found = sites(catalog, photos, options.sources)
    targets = np.array([settings.labels.index(photo.label) for photo in photos])
    groups = np.array([photo.group or photo.sha256 for photo in photos])
    names = np.array([photo.sha256 for photo in photos])
    learned = np.array([photo.split != "test" for photo in photos])
    sizes = Counter(found)
    parts = np.array([s if sizes[s] >= options.small else "small ones" for s in found])
    for part in sorted(set(parts)):
        left_out = parts == part
        for side in SIDES:
            file = options.keep / f"{side}-{part.replace('/', '_')}.npz"
            if file.exists() or options.only not in (None, side):
                continue
            began = time.monotonic()
            if side == "lesson":
                said = theirs(files, targets, groups, learned, left_out, options.weights)
            else:
                said = ours(options.data, photos, left_out, settings)
            np.savez(file, sha256=names[left_out], said=said)
            took = time.monotonic() - began
            print(f"{side}, without {part}: {took:.0f} s", file=sys.stderr, flush=True)
    report(options.keep, names, targets, groups, np.array(found), ~learned)


def report(
    folder: Path,
    names: NDArray[np.str_],
    targets: NDArray[np.int64],
    groups: NDArray[np.str_],
    sources: NDArray[np.str_],
    test: NDArray[np.bool_],
) -> None:
    """names: (n,) SHA-256; test: (n,) of the test split, which also chose nothing in our design."""
    said = {}
    for side in SIDES:
        answers: dict[str, NDArray[np.float32]] = {}
        for file in folder.glob(f"{side}-*.npz"):
            with np.load(file) as found:
                answers |= dict(zip(found["sha256"].tolist(), found["said"], strict=True))
        said[side] = answers
    there = np.array([all(name in said[side] for side in SIDES) for name in names])
    wrong = {
        side: np.array([said[side][name].argmax() for name in names[there]]) != targets[there]
        for side in SIDES
    }
    rows = [(source, sources[there] == source) for source in sorted(set(sources[there]))]
    rows += [("all", np.ones(there.sum(), bool)), ("all, test split only", test[there])]
    print(f"{'left out':44}{'photos':>7}{'lesson':>8}{'bears':>7}")
    for name, which in rows:
        counts = [int(wrong[side][which].sum()) for side in SIDES]
        print(f"{name:44}{which.sum():7}{counts[0]:8}{counts[1]:7}")
    for side in SIDES:
        n, bad = len(wrong[side]), int(wrong[side].sum())
        low, high = clustered(wrong[side], groups[there]) or (0.0, 1.0)
        print(f"{side}: {bad / max(n, 1):.1%} wrong ({low:.1%} to {high:.1%})")
    pair = paired_comparison(wrong["lesson"], wrong["bears"], groups[there])
    print(f"put right {pair['put_right']}, newly wrong {pair['newly_wrong']}, p = {pair['p']:.2g}")


if __name__ == "__main__":
    main()
