"""What grows with the number of photos, and how: screening, splitting, first model, cleaning, page.

No photo is drawn: rows of a catalog with made-up hashes (one photo in ten has a near-copy) and
made-up features stand for them, as the stages would find them. The pass of the network, which is as
many times one photo, and decoding are left out. Each size is a process of its own. The exponent is
log(seconds / seconds before) / log(photos / photos before); n log n is allowed, and 30 % for noise.

    .venv/bin/python benchmarks/scale.py [--sizes 1000 10000 100000] [--json FILE]
"""

from __future__ import annotations

import math
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from versus import Goal, Told, alternated, apart, at_most, measured, options

LABELS = ("black", "grizzly", "teddy")
KINDS = 1000  # classes that the weights tell apart, as ImageNet's
COPIES = 10  # one photo in so many has a near-copy
SLACK = 1.3  # times n log n
NEAR = "near-duplicates"
MINUTE = 100_000  # photos whose near-duplicates are to be found in a minute
_FIRST = 200  # photos of a first pass that is not told
_SHORT = 2.0  # seconds; what takes less is done three times
_FAST = 0.02  # seconds; what takes less at the smaller size tells no exponent
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


def features(targets: NDArray[np.int64], width: int, dice: np.random.Generator) -> Floats:
    """(n, width), not negative, of classes that overlap. targets: (n,)."""
    centre = dice.normal(0, 0.12, (len(LABELS), width))
    return np.abs(centre[targets] + dice.normal(0.9, 1, (len(targets), width))).astype(np.float32)


def timed(act: Callable[[], Any], again: bool = True) -> tuple[float, Any]:
    """Seconds and result; the median of three where it is short and may be done again."""
    took = []
    while not took or (again and took[0] < _SHORT and len(took) < 3):
        began = time.perf_counter()
        found = act()
        took.append(time.perf_counter() - began)
    return statistics.median(took), found


def costs(n: int, width: int) -> dict[str, float]:
    """Seconds of each piece of work with n photos; "memory": bytes of the process at most."""
    pieces(_FIRST, width)  # whatever is imported or set up once
    found = pieces(n, width)
    scale = 1 if sys.platform == "darwin" else 1024
    return found | {"memory": float(scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)}


def pieces(n: int, width: int) -> dict[str, float]:
    from bear_classifier.config.project_file import build
    from bear_classifier.stats.near_pairs import near_pairs

    config = build({"classes": {label: [label] for label in LABELS}}, where="benchmark")
    dice = np.random.default_rng(n)
    packed, targets = hashes(n, dice), dice.integers(0, len(LABELS), n)
    found: dict[str, float] = {}
    found[NEAR], _ = timed(partial(near_pairs, packed, config.screen.near))
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        found |= collected(root, config, packed, targets)
        known = features(targets, width, dice)
        found |= learned(root, config, known, dice)
        found |= cleaned(root, config)
    return found


def collected(
    root: Path, config: Any, packed: NDArray[np.uint8], targets: NDArray[np.int64]
) -> dict[str, float]:
    from bear_classifier.collect.screen import screen
    from bear_classifier.collect.split import split
    from bear_classifier.dataset.catalog import Catalog
    from bear_classifier.dataset.schema import Photo

    rows = [
        Photo(f"{number:064x}", f"{number}.jpg", LABELS[target], "jpeg", 800, 600, 100_000,
              code.tobytes().hex(), 50.0)
        for number, (target, code) in enumerate(zip(targets, packed, strict=True))
    ]  # fmt: skip

    def put() -> None:
        with catalog.transaction():
            catalog.put_photos(rows)

    with Catalog(root) as catalog:
        return {
            "rows of the catalog": timed(put, again=False)[0],
            "screen, with these": timed(partial(screen, catalog, config), again=False)[0],
            "split": timed(partial(split, catalog, config), again=False)[0],
        }


def learned(
    root: Path, config: Any, every: Floats, dice: np.random.Generator
) -> dict[str, float]:  # fmt: skip
    """The linear models of `probe`, in its order; leaves what `clean` reads."""
    from bear_classifier.dataset.catalog import Catalog
    from bear_classifier.runtime.npz import as_npz
    from bear_classifier.stats import linear_probe

    with Catalog(root) as catalog:
        photos = catalog.photos("ok")
    names = [p.sha256 for p in photos]
    known = every[[int(name, 16) for name in names]]
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
    (root / "features").mkdir()
    light = np.full(len(known), 100, dtype=np.float32)
    (root / "features" / "all.npz").write_bytes(
        as_npz(sha256=np.array(names), features=known, light=light, sharpness=light)
    )
    (root / "probe" / "probabilities.npz").write_bytes(
        as_npz(sha256=np.array(names), second=said, features=np.array("all.npz"))
    )
    layer = dice.normal(0, 0.3, (KINDS, known.shape[1])).astype(np.float32)
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


def exponent(few: float, many: float, sizes: tuple[int, int]) -> float:
    """few, many: seconds at these two numbers of photos."""
    return math.log(many / few) / math.log(sizes[1] / sizes[0])


def allowed(sizes: tuple[int, int]) -> float:
    """The exponent of n log n between two sizes, with the slack."""
    few, many = sizes
    return exponent(few * math.log(few), many * math.log(many) * SLACK, sizes)


def judged(sizes: Sequence[int], found: dict[int, dict[str, float]], told: Told) -> None:
    """Rows and goals. found: seconds of each piece of work by size."""
    steps = list(zip(sizes, sizes[1:], strict=False))
    for name in [name for name in found[sizes[0]] if name != "memory"]:
        row = [name, *(f"{found[n][name]:.3g}" for n in sizes)]
        for few, many in steps:
            power = exponent(found[few][name], found[many][name], (few, many))
            row.append(f"{power:.2f}")
            if found[few][name] >= _FAST:
                limit = allowed((few, many))
                goal = f"<= {limit:.2f} (n log n)"
                about = f"{name}, {few:,} to {many:,}, exponent"
                told.goals.append(Goal(about, goal, f"{power:.2f}", power <= limit))
        told.rows.append(row)
    held = [f"{found[n]['memory'] / 1e6:.0f}" for n in sizes]
    told.rows.append(["memory, MB", *held, *["" for _ in steps]])
    if MINUTE in found:
        seconds = round(found[MINUTE][NEAR], 1)
        told.goals.append(at_most(f"{NEAR} of {MINUTE:,} photos", seconds, 60, "s"))


def main() -> int:
    made = options(__doc__ or "")
    made.add_argument("--sizes", metavar="N", type=int, nargs="+", default=[1000, 10_000, 100_000])
    made.add_argument("--features", metavar="N", type=int, default=512, help="of each photo")
    made.add_argument("--rounds", metavar="N", type=int, default=1)
    words = made.parse_args()
    if words.quick:
        words.sizes, words.features = [300, 1500], 64

    def work() -> Told:
        sizes = sorted(words.sizes)
        steps = [f"exponent to {n:,}" for n in sizes[1:]]
        told = Told(["seconds", *(f"{n:,} photos" for n in sizes), *steps])
        sides = {f"{n:,}": partial(apart, costs, n, words.features) for n in sizes}
        rounds = alternated(sides, words.rounds, "sizes")
        found = {
            n: {k: statistics.median(r[k] for r in rounds[f"{n:,}"]) for k in rounds[f"{n:,}"][0]}
            for n in sizes
        }
        judged(sizes, found, told)
        told.notes.append(f"{words.features} features of each photo; without decoding and network")
        told.facts = {str(n): rounds[f"{n:,}"] for n in sizes}
        return told

    return measured(words, "scale", __doc__ or "", work)


if __name__ == "__main__":
    sys.exit(main())
