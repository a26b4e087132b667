"""What grows with the number of photos, and how: screening, splitting, features, first model, page.

No photo is drawn: rows of a catalog with made-up hashes (one photo in ten has a near-copy) and
made-up features stand for them, as the stages would find them. The pass of the network, which is as
many times one photo, and decoding are left out. Each stage of each size is a process of its own, of
which memory and bytes written are told, too. The exponent is log(seconds / seconds before) /
log(photos / photos before); n log n is allowed, and 30 % for noise; from 100,000 on 1.15.

    .venv/bin/python benchmarks/scale.py [--sizes 1000 10000 100000 1000000] [--json FILE]
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from growth import MINUTE, NEAR, allowed, exponent, judged
from numpy.typing import NDArray
from versus import Told, alternated, apart, at_most, measured, options

LABELS = ("black", "grizzly", "teddy")
KINDS = 1000  # classes that the weights tell apart, as ImageNet's
COPIES = 10  # one photo in so many has a near-copy
_WIDE = 512  # features, beside which names are short
_STEP = 64  # features that are made at once
_SPREAD = 0x9E3779B97F4A7C15  # makes prefixes of names even
_FIRST = 200  # photos of a first pass that is not told
_SHORT = 2.0  # seconds; what takes less is done three times
__all__ = ["allowed", "exponent", "judged"]
Floats = NDArray[np.float32]


def hashes(n: int, dice: np.random.Generator) -> NDArray[np.uint8]:
    """(n, 50) difference hashes: of each cell one of brighter, darker and neither."""
    from bear_classifier.images.dhash import HASH_BYTES

    step = dice.choice([-1, 0, 1], p=[0.4, 0.2, 0.4], size=(n, 2, 100)).astype(np.int8)
    bits = np.stack([step[:, 0] > 0, step[:, 0] < 0, step[:, 1] > 0, step[:, 1] < 0], axis=1)
    bits = bits.reshape(n, 8 * HASH_BYTES)
    copies = np.arange(COPIES, n, COPIES)
    bits[copies] = bits[copies - 1] ^ (dice.random((len(copies), bits.shape[1])) < 0.03)
    return np.packbits(bits, axis=1)


def features(
    targets: NDArray[np.int64], centre: NDArray[np.float64], dice: np.random.Generator
) -> Floats:
    """(n, width), not negative, of overlapping classes. targets: (n,); centre: (classes, width)."""
    noise = dice.normal(0.9, 1, (len(targets), centre.shape[1]))
    return np.abs(centre[targets] + noise).astype(np.float32)


def timed(act: Callable[[], Any], again: bool = True) -> tuple[float, Any]:
    """Seconds and result; the median of three where it is short and may be done again."""
    took = []
    while not took or (again and took[0] < _SHORT and len(took) < 3):
        began = time.perf_counter()
        found = act()
        took.append(time.perf_counter() - began)
    return statistics.median(took), found


def costs(n: int, width: int, learning: int) -> dict[str, float]:
    """Seconds of each piece of work with n photos; of each stage "memory: ..." and "written: ...",
    bytes; "memory": the most. learning: photos at most of which models are made."""
    stages = [stored, screened, features_stored]
    stages += [learned_and_cleaned] if n <= learning else []
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for act in stages:
            found |= apart(staged, act, Path(scratch), n, width)
    return found | {"memory": max(v for k, v in found.items() if k.startswith("memory"))}


def staged(
    act: Callable[[Path, int, int], dict[str, float]], root: Path, n: int, width: int
) -> dict[str, float]:
    """A stage, its memory at most, and what it wrote."""
    with tempfile.TemporaryDirectory() as first:  # whatever is imported or set up once
        for each in (stored, screened, features_stored, learned_and_cleaned):
            if each is act or act not in (stored, features_stored):
                each(Path(first), _FIRST, width)
            if each is act:
                break
    before = written()
    found = act(root, n, width)
    scale = 1 if sys.platform == "darwin" else 1024
    peak = float(scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    name = act.__name__.replace("_", " ")
    return found | {f"memory: {name}": peak, f"written: {name}": written() - before}


def written() -> float:
    """Bytes that this process wrote so far, 0 where Linux does not say."""
    counts = Path("/proc/self/io")
    return float(counts.read_text("ascii").split()[3]) if counts.exists() else 0.0


def name_of(number: int) -> str:
    return f"{number * _SPREAD % 2**64:016x}{number:048x}"


def made(n: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], Any]:
    from bear_classifier.config.project_file import build

    dice = np.random.default_rng(n)
    packed, targets = hashes(n, dice), dice.integers(0, len(LABELS), n)
    config = build({"classes": {label: [label] for label in LABELS}}, where="benchmark")
    return packed, targets, config


def stored(root: Path, n: int, width: int) -> dict[str, float]:
    from bear_classifier.dataset.catalog import Catalog
    from bear_classifier.dataset.schema import Photo

    packed, targets, _ = made(n)

    def put() -> None:
        with catalog.transaction():
            catalog.put_photos(
                Photo(name_of(number), f"{number}.jpg", LABELS[target], "jpeg", 800, 600, 100_000,
                      code.tobytes().hex(), 50.0)
                for number, (target, code) in enumerate(zip(targets, packed, strict=True))
            )  # fmt: skip

    with Catalog(root) as catalog:
        return {"rows of the catalog": timed(put, again=False)[0]}


def screened(root: Path, n: int, width: int) -> dict[str, float]:
    from bear_classifier.collect.screen import screen
    from bear_classifier.collect.split import split
    from bear_classifier.dataset.catalog import Catalog
    from bear_classifier.stats.near_pairs import near_pairs

    packed, _, config = made(n)
    found = {NEAR: timed(partial(near_pairs, packed, config.screen.near), n < MINUTE)[0]}
    with Catalog(root) as catalog:
        return found | {
            "screen, with these": timed(partial(screen, catalog, config), again=False)[0],
            "split": timed(partial(split, catalog, config), again=False)[0],
        }


def features_stored(root: Path, n: int, width: int) -> dict[str, float]:
    """As `learn/features.py` stores what the network gives, without the network."""
    from bear_classifier.dataset.catalog import Catalog
    from bear_classifier.runtime import shards

    dice = np.random.default_rng(n)
    centre = dice.normal(0, 0.12, (len(LABELS), width))
    row = shards.row_type(features=width, light=0, sharpness=0, filled=0)
    folder = root / "features" / "all"
    with Catalog(root) as catalog:
        label = {photo.sha256: LABELS.index(photo.label) for photo in catalog.photos("ok")}

    def store() -> None:
        for path in shards.plan(folder, (f"{name}.jpeg" for name in label)):
            names = shards.listed_names(path)
            with shards.Writer(path, row, _STEP) as writer:
                for at in range(0, len(names), _STEP):
                    targets = np.array([label[name[:64]] for name in names[at : at + _STEP]])
                    light = np.full(len(targets), 100, np.float32)
                    some = features(targets, centre, dice)
                    writer.add(features=some, light=light, sharpness=light, filled=0 * light)

    return {"features: shards": timed(store, again=False)[0]}


def learned_and_cleaned(root: Path, n: int, width: int) -> dict[str, float]:
    _, _, config = made(2)
    return learned(root, config) | cleaned(root, config)


def learned(root: Path, config: Any) -> dict[str, float]:
    """The linear models of `probe`, in its order; leaves what `clean` reads."""
    from bear_classifier.dataset.catalog import Catalog
    from bear_classifier.runtime.npz import as_npz
    from bear_classifier.runtime.shards import StoredRows
    from bear_classifier.stats import linear_probe

    with Catalog(root) as catalog:
        photos = catalog.photos("ok")
    names = [p.sha256 for p in photos]
    rows = StoredRows(root / "features" / "all")
    known = rows.take("features", rows.find(names))
    targets = np.array([LABELS.index(p.label) for p in photos])
    groups = np.array([p.group for p in photos])
    folds = config.probe.folds
    choosing, strength = timed(
        lambda: linear_probe.choose_strength(known, targets, groups, folds), again=False
    )
    asking, said = timed(
        lambda: linear_probe.out_of_fold(known, targets, groups, folds, strength), again=False
    )
    (root / "probe").mkdir()
    (root / "probe" / "probabilities.npz").write_bytes(
        as_npz(sha256=np.array(names), second=said, features=np.array("all"))
    )
    layer = np.random.default_rng(0).normal(0, 0.3, (KINDS, known.shape[1])).astype(np.float32)
    (root / "probe" / "pretrained.npz").write_bytes(
        as_npz(weight=layer, bias=np.zeros(KINDS, dtype=np.float32))
    )
    return {"probe: strength": choosing, "probe: out of fold": asking}


def cleaned(root: Path, config: Any) -> dict[str, float]:
    from fastapi.testclient import TestClient

    from bear_classifier.dataset.catalog import Catalog
    from bear_classifier.judge.clean import judged
    from bear_classifier.review.app import make_app

    with Catalog(root) as catalog:
        ranking, found = timed(partial(judged, catalog, config, {}), again=False)

    def get(page: TestClient, path: str) -> None:
        assert page.get(path).status_code == 200, path

    names = iter(found.suspects)

    def decide(page: TestClient, many: int = 1) -> None:
        """The answer holds the new order, and what is left."""
        some = [next(names) for _ in range(many)]
        items = [{"sha256": s.sha256, "action": "drop" if n % 3 else "keep"}
                 for n, s in enumerate(some)]  # fmt: skip
        tests = sum(s.split == "test" and n % 3 > 0 for n, s in enumerate(some))
        body = {"request": some[0].sha256, "items": items, "test_side": tests}
        answer = page.post("/api/decide", json=body, headers={"X-Bears": "1"})
        assert answer.status_code == 200, answer.text

    opening, app = timed(lambda: make_app(root, config, lambda *_: found), again=False)
    with TestClient(app, "http://127.0.0.1:7861") as page:
        return {
            "clean: the ranking": ranking,
            "review: from the ranking to the page": opening,
            "review: first rows": timed(partial(get, page, "/api/queue"))[0],
            "review: progress": timed(partial(get, page, "/api/progress"))[0],
            "review: a first decision, ranked anew": timed(partial(decide, page))[0],
            "review: 100 decisions, ranked anew": timed(partial(decide, page, 100), again=False)[0],
            "review: one more, ranked anew": timed(partial(decide, page))[0],
        }


def main() -> int:
    made = options(__doc__ or "")
    made.add_argument(
        "--sizes", metavar="N", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000]
    )
    made.add_argument("--features", metavar="N", type=int, default=512, help="of each photo")
    made.add_argument("--rounds", metavar="N", type=int, default=1)
    made.add_argument("--learning", metavar="N", type=int, default=100_000, help="photos at most"
                      " of which models are made")  # fmt: skip
    words = made.parse_args()
    if words.quick:
        words.sizes, words.features = [300, 1500], 64

    def work() -> Told:
        sizes = sorted(words.sizes)
        steps = [f"exponent to {n:,}" for n in sizes[1:]]
        told = Told(["seconds", *(f"{n:,} photos" for n in sizes), *steps])
        sides = {f"{n:,}": partial(costs, n, words.features, words.learning) for n in sizes}
        rounds = alternated(sides, words.rounds, "sizes")
        found = {
            n: {k: statistics.median(r[k] for r in rounds[f"{n:,}"]) for k in rounds[f"{n:,}"][0]}
            for n in sizes
        }
        judged(sizes, found, told)
        told.notes.append(f"{words.features} features of each photo; without decoding and network")
        if max(sizes) > words.learning:
            told.notes.append(f"first model and cleaning up to {words.learning:,} photos")
        for n in sizes if words.features >= _WIDE else ():
            share = found[n]["written: features stored"] / (4 * words.features * n)
            told.goals.append(at_most(f"written for features of {n:,} photos", share, 1.1, "sizes"))
        told.facts = {str(n): rounds[f"{n:,}"] for n in sizes}
        return told

    return measured(words, "scale", __doc__ or "", work)


if __name__ == "__main__":
    sys.exit(main())
