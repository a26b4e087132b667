"""What `scale.py` measures: the made-up photos, and the stages that are done with them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from growth import MINUTE, NEAR
from numpy.typing import NDArray

LABELS = ("black", "grizzly", "teddy")
KINDS = 1000  # classes that the weights tell apart, as ImageNet's
COPIES = 10  # one photo in so many has a near-copy
FILES = 20_000  # photos that are files of their own
_MADE_AT_ONCE = 50_000  # hashes
_STEP = 64  # features that are made at once
_DRAWN = 12  # pictures that these are made of
_LICENCE = "CC0 1.0"
_MADE_UP = "made-up"  # folder of features
_SPREAD = 0x9E3779B97F4A7C15  # makes prefixes of names even
_SHORT = 2.0  # seconds; what takes less is done three times
Floats = NDArray[np.float32]
Costs = dict[str, float]
Stage = Callable[[Path, int, int], Costs]


def hashes(n: int, dice: np.random.Generator) -> NDArray[np.uint8]:
    """(n, 50) difference hashes: of each cell one of brighter, darker and neither."""
    from bear_classifier.images.dhash import HASH_BYTES

    packed = np.empty((n, HASH_BYTES), dtype=np.uint8)
    for start in range(0, n, _MADE_AT_ONCE):  # what stands for photos takes no memory of the stages
        m = min(_MADE_AT_ONCE, n - start)
        step = dice.random((m, 2, 100), dtype=np.float32)
        more, less = step < 0.4, step > 0.6
        bits = np.stack([more[:, 0], less[:, 0], more[:, 1], less[:, 1]], axis=1)
        bits = bits.reshape(m, 8 * HASH_BYTES)
        copies = np.arange(COPIES, m, COPIES)
        bits[copies] = bits[copies - 1] ^ (dice.random((len(copies), bits.shape[1])) < 0.03)
        packed[start : start + m] = np.packbits(bits, axis=1)
    return packed


def features(
    targets: NDArray[np.int64], centre: NDArray[np.float64], dice: np.random.Generator
) -> Floats:
    """(n, width), not negative, of overlapping classes. targets: (n,); centre: (classes, width)."""
    noise = dice.normal(0.9, 1, (len(targets), centre.shape[1]))
    return np.abs(centre[targets] + noise).astype(np.float32)


def timed(act: Callable[[], Any], again: bool = True) -> tuple[float, Any]:
    """Seconds of the processor, of all threads, and result; the median of three where it is short
    and may be done again."""
    took = []
    while not took or (again and took[0] < _SHORT and len(took) < 3):
        began = time.process_time()
        found = act()
        took.append(time.process_time() - began)
    return statistics.median(took), found


def name_of(number: int) -> str:
    return f"{number * _SPREAD % 2**64:016x}{number:048x}"


def made(n: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], Any]:
    from bear_classifier.config.project_file import build

    dice = np.random.default_rng(n)
    packed, targets = hashes(n, dice), dice.integers(0, len(LABELS), n)
    tables = {
        "classes": {label: [label] for label in LABELS},
        "learn": {"arch": "resnet18", "weights": "none"},  # 512 features
    }
    return packed, targets, build(tables, where="benchmark")


def drawn_files() -> list[bytes]:
    """Drawn photos as JPEG files."""
    from bear_classifier.collect.starter.drawing import draw_bear

    files = []
    for number in range(_DRAWN):
        buffer = io.BytesIO()
        picture = draw_bear(LABELS[number % len(LABELS)], np.random.default_rng(number))
        picture.save(buffer, "JPEG", quality=60)
        files.append(buffer.getvalue())
    return files


def numbered(file: bytes, number: int) -> bytes:
    """The same picture as another file: a JPEG comment holds the number."""
    text = f"{number:08}".encode()
    return file[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + file[2:]


def stored_files(root: Path, n: int) -> Iterator[tuple[str, int]]:
    """Name and size of each of n photos, whose files are put there."""
    drawn, real = drawn_files(), list[tuple[str, int]]()
    for number in range(256):
        (root / "photos" / f"{number:02x}").mkdir(parents=True, exist_ok=True)
    for number in range(n):
        if number < FILES:
            data = numbered(drawn[number % _DRAWN], number)
            name = hashlib.sha256(data).hexdigest()
            (root / "photos" / name[:2] / f"{name}.jpeg").write_bytes(data)
            real.append((name, len(data)))
            yield real[-1]
            continue
        name, (other, size) = name_of(number), real[number % FILES]
        there = root / "photos" / other[:2] / f"{other}.jpeg"
        os.link(there, root / "photos" / name[:2] / f"{name}.jpeg")
        yield name, size


def stored(root: Path, n: int, width: int) -> Costs:
    from bear_classifier.dataset.catalog import Catalog
    from bear_classifier.dataset.schema import Photo, Source

    packed, targets, _ = made(n)
    files = list(stored_files(root, n))
    # As after a first check: what was not touched since is not hashed again.
    (root / ".checked").write_text(str(time.time_ns() + 10**9), encoding="ascii")

    def put() -> None:
        with catalog.transaction():
            catalog.put_photos(
                Photo(name, f"{number}.jpg", LABELS[target], "jpeg", 800, 600, size,
                      code.tobytes().hex(), 50.0)
                for number, ((name, size), target, code)
                in enumerate(zip(files, targets, packed, strict=True))
            )  # fmt: skip
            catalog.put_sources(
                Source(f"{number}.jpg", LABELS[target], "folder", "1:1", "OK", sha256=name,
                       licence=_LICENCE if number < FILES else "")
                for number, ((name, _), target) in enumerate(zip(files, targets, strict=True))
            )  # fmt: skip

    with Catalog(root) as catalog:
        return {"rows of the catalog": timed(put, again=False)[0]}


def checked(root: Path, n: int, width: int) -> Costs:
    from bear_classifier.collect.integrity import set_aside
    from bear_classifier.dataset.catalog import Catalog

    with Catalog(root) as catalog:
        seconds, bad = timed(partial(set_aside, catalog), again=False)
    assert not bad, bad
    return {"stored files looked at": seconds}


def screened(root: Path, n: int, width: int) -> Costs:
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


def features_stored(root: Path, n: int, width: int) -> Costs:
    """As `learn/features.py` stores what the network gives, without the network."""
    from bear_classifier.dataset.catalog import Catalog
    from bear_classifier.runtime import shards

    dice = np.random.default_rng(n)
    centre = dice.normal(0, 0.12, (len(LABELS), width))
    row = shards.row_type(features=width, light=0, sharpness=0, filled=0)
    folder = root / "features" / _MADE_UP
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


def probed(root: Path, n: int, width: int) -> Costs:
    """The first model; the weights get classes of their own, as ImageNet's have."""
    from bear_classifier.dataset.catalog import Catalog
    from bear_classifier.learn.backbone import build_body
    from bear_classifier.learn.features import features_name
    from bear_classifier.learn.probe import probe
    from bear_classifier.runtime.npz import as_npz

    config = made(2)[2]
    body = build_body(config.learn, config.train.seed)
    folder = root / "features"
    (folder / _MADE_UP).rename(folder / features_name(config.learn, body))
    with Catalog(root) as catalog, contextlib.redirect_stderr(io.StringIO()):
        catalog.freeze()
        seconds, _ = timed(partial(probe, catalog, config), again=False)
    layer = np.random.default_rng(0).normal(0, 0.3, (KINDS, width)).astype(np.float32)
    (root / "probe" / "pretrained.npz").write_bytes(
        as_npz(weight=layer, bias=np.zeros(KINDS, dtype=np.float32))
    )
    return {"probe": seconds}


def cleaned(root: Path, n: int, width: int) -> Costs:
    from bear_classifier.dataset.catalog import Catalog
    from bear_classifier.judge.clean import clean

    with Catalog(root) as catalog:
        catalog.freeze()
        return {"clean": timed(partial(clean, catalog, made(2)[2]), again=False)[0]}


def reviewed(root: Path, n: int, width: int) -> Costs:
    from fastapi.testclient import TestClient

    from bear_classifier.review.app import make_app

    def get(page: TestClient, path: str) -> Any:
        answer = page.get(path)
        assert answer.status_code == 200, path
        return answer

    def decide(page: TestClient, many: int = 1) -> None:
        """The answer holds the new order, and what is left."""
        some = get(page, f"/api/queue?limit={many}").json()["rows"]
        items = [{"sha256": s["sha256"], "action": "drop" if k % 3 else "keep"}
                 for k, s in enumerate(some)]  # fmt: skip
        tests = sum(s["split"] == "test" and k % 3 > 0 for k, s in enumerate(some))
        body = {"request": some[0]["sha256"], "items": items, "test_side": tests}
        answer = page.post("/api/decide", json=body, headers={"X-Bears": "1"})
        assert answer.status_code == 200, answer.text

    opening, app = timed(lambda: make_app(root, made(2)[2]), again=False)
    with TestClient(app, "http://127.0.0.1:7861") as page:
        sha = get(page, "/api/queue?limit=1").json()["rows"][0]["sha256"]
        return {
            "review: opening the page": opening,
            "review: first rows": timed(partial(get, page, "/api/queue"))[0],
            "review: progress": timed(partial(get, page, "/api/progress"))[0],
            "review: a picture": timed(partial(get, page, f"/photo/{sha}"))[0],
            "review: first rows of the gallery": timed(
                partial(get, page, "/api/gallery"), again=False
            )[0],
            "review: rows of the gallery": timed(partial(get, page, "/api/gallery?offset=90"))[0],
            "review: a first decision, ranked anew": timed(partial(decide, page), again=False)[0],
            "review: 100 decisions, ranked anew": timed(partial(decide, page, 100), again=False)[0],
            "review: one more, ranked anew": timed(partial(decide, page))[0],
        }


def exported(root: Path, n: int, width: int) -> Costs:
    """The files that may be shared, as links (for root copies): 20,000, whatever the number of
    photos."""
    from bear_classifier.dataset.catalog import Catalog
    from bear_classifier.dataset.formats.choices import ExportChoice, Handling
    from bear_classifier.dataset.formats.export import export_dataset

    choice = ExportChoice(licence="share", handling=Handling(keep_metadata=True, link=True))
    with tempfile.TemporaryDirectory() as out, Catalog(root) as catalog:
        act = partial(export_dataset, catalog, LABELS, Path(out) / "export", choice)
        with contextlib.redirect_stderr(io.StringIO()):
            seconds, facts = timed(act, again=False)
    assert facts.files > 0
    return {f"dataset export --link of {FILES:,} files": seconds}


STAGES = (stored, checked, screened, features_stored, probed, cleaned, reviewed, exported)
LEARNING = (probed, cleaned, reviewed)
