"""Features in 8-bit integers: the quantised body, kept for each backbone, and the guard before it.

On processors with integer dot products (VNNI) integers take half the time; on others they may be
slower, so that is measured, too. The head is fitted on features of one precision and trained on
with the other: so the guard asks both ways.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.errors import DataError, ModelError
from bear_classifier.learn import int8
from bear_classifier.learn.data import PhotoList, batches
from bear_classifier.learn.frozen_forward import FAILED, Pass, as_onnx, onnx_pass
from bear_classifier.learn.weights import preprocessing
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.npz import as_npz, read_npz
from bear_classifier.runtime.terminal import count, one_line, progress_bar
from bear_classifier.stats.arrays import Floats32, Ints, Strings
from bear_classifier.stats.linear_probe import fit_linear, grouped_folds, n_folds

WORTHWHILE = 1000  # to compute features of; for fewer, full precision takes no longer
CALIBRATION = 100  # of training; they show the range of activations
SAMPLE = 128  # other photos of training, on which both networks are compared
AGREEMENT = 0.975  # least share of the sample with the same answer
COSINE = 0.95  # least mean cosine of standardised features
FASTER = 1.2  # times; less is not worth other features
_STRENGTH = 0.01  # C of the heads that are compared, which the photos of bears chose
_BATCH = 32
_FORMAT = 1  # of the kept file; with another number it is made anew
_MOST = 2_000_000_000  # bytes of a network
_OUTPUT = "map"


@dataclass(frozen=True)
class Comparison:
    """Features of the same photos in full precision and in integers. differ: photos that a head
    fitted on integers answers otherwise, asked either kind, than one of full precision asked that;
    cosine: mean of standardised features; faster: times."""

    photos: int
    differ: int
    cosine: float
    faster: float = float("nan")


def compare_features(
    full: Floats32, short: Floats32, labels: Ints, groups: Strings, folds: int
) -> Comparison:
    """full, short: (n, f); labels, groups (near-copies): (n,). Answers are out of fold. Raises
    DataError (TOO_FEW_PHOTOS) where a class has only one group."""
    answers = np.zeros((3, len(labels)), dtype=np.int64)
    for learning, held_out in grouped_folds(labels, groups, n_folds(labels, groups, folds)):
        own, other = (fit_linear(_STRENGTH, x[learning], labels[learning]) for x in (full, short))
        pairs = ((own, full), (other, short), (other, full))
        answers[:, held_out] = [head.predict(x[held_out]) for head, x in pairs]
    middle, scale = full.mean(axis=0), full.std(axis=0) + 1e-6
    one, two = (full - middle) / scale, (short - middle) / scale
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    cosine = float(np.mean((one * two).sum(axis=1) / np.maximum(norms, 1e-12)))
    return Comparison(len(labels), int((answers[1:] != answers[0]).any(axis=0).sum()), cosine)


@dataclass(frozen=True)
class Choice:
    """network: the body in integers, as ONNX; None: full precision is used. words: why."""

    network: bytes | None
    words: str


def feature_objection(found: Comparison) -> str:
    """Why features in integers are not used, in words; empty where they may be."""
    agreed = 1 - found.differ / found.photos
    if not agreed >= AGREEMENT:
        return f"{agreed:.1%} of {found.photos} photos get the same answer; {AGREEMENT:.1%} have to"
    if not found.cosine >= COSINE:
        return f"features have a mean cosine of {found.cosine:.3f}; {COSINE} is required"
    if not found.faster >= FASTER:
        return f"they are {found.faster:.2f} times as fast here; {FASTER} times is required"
    return ""


def choose(
    catalog: Catalog, config: Config, photos: PhotoList, body: nn.Module, name: str
) -> Choice:
    """photos: to compute features of; only those of the train split are tried. body: on the CPU.
    name: of body and preprocessing, by which the network is kept. Raises DataError
    (STORED_DAMAGED)."""
    learned = sorted((p for p in photos if p.split == "train"), key=lambda photo: photo.sha256)
    order = np.random.default_rng(config.train.seed).permutation(len(learned))
    rows = order[:CALIBRATION], order[CALIBRATION:][:SAMPLE]
    calibration, sample = ([learned[row] for row in part] for part in rows)
    if len(photos) < WORTHWHILE or len(sample) < SAMPLE:
        many = f"{count(len(photos), 'photo')}, {len(learned)} of training,"
        return _refused(f"{many} are too few to gain time")
    images = [partial(_image, catalog, config, photo) for photo in calibration]
    try:
        size = preprocessing(config.learn).size
        plain = as_onnx(body, torch.zeros(1, 3, size, size), "image", [_OUTPUT])
        full = onnx_pass(plain)
        why = ""
        for network in _networks(name, plain, images):
            found = _compared(catalog, config, full, onnx_pass(network), sample)
            if not (why := feature_objection(found)):
                alike = f"{found.photos - found.differ} of {found.photos} photos"
                words = f"{alike} get the same answer, {found.faster:.1f} times as fast"
                return Choice(network, f"Features are computed in 8-bit integers: {words}")
            if not found.faster >= FASTER:  # another one is no faster
                break
    except FAILED as exc:
        why = f"this network cannot be written in integers ({one_line(str(exc))[:120]})"
    except (ModelError, DataError) as exc:
        if exc.code not in ("NOT_QUANTISED", "TOO_FEW_PHOTOS"):
            raise
        few = exc.code == "TOO_FEW_PHOTOS"
        why = "a class has too few photos to compare them" if few else exc.sentence
    return _refused(why)


def _refused(why: str) -> Choice:
    return Choice(None, f"Features are computed in full precision, not in 8-bit integers: {why}")


def kept_place(name: str) -> Path:
    """Beside the weights that torch keeps."""
    return Path(torch.hub.get_dir()) / "int8" / f"{name}.npz"


def kept_network(name: str, digest: str = "") -> bytes | None:
    """The network that is kept under this name; None where there is none, what is there is damaged,
    or it has another digest."""
    try:
        arrays = read_npz(kept_place(name).read_bytes(), _MOST)
        network = arrays["network"].tobytes()
        known = arrays["format"] == _FORMAT and digest in ("", network_digest(network))
        return network if known else None
    except (OSError, ValueError, KeyError):
        return None


def network_digest(network: bytes) -> str:
    return hashlib.sha256(network).hexdigest()[:8]


def _networks(name: str, plain: bytes, images: Sequence[Callable[[], Floats32]]) -> Iterator[bytes]:
    """The kept network, if it is one of this body; then one that is made with these images."""
    kept = kept_network(name)
    if kept and _alike(plain, kept, images[0]()):
        yield kept
    made = int8.quantised(plain, images)
    file = as_npz(format=np.array(_FORMAT), network=np.frombuffer(made, np.uint8))
    with contextlib.suppress(DataError):  # the folder may be read-only
        write_atomic(kept_place(name), file)
    yield made


def _alike(one: bytes, other: bytes, image: Floats32) -> bool:
    """Whether both give a map of the same shape."""
    batch = torch.from_numpy(image[None])
    with contextlib.suppress(*FAILED):
        return onnx_pass(one)(batch)[0].shape == onnx_pass(other)(batch)[0].shape
    return False


def _image(catalog: Catalog, config: Config, photo: Photo) -> Floats32:
    (batch,) = batches([catalog.file(photo)], preprocessing(config.learn), 1)
    return np.asarray(batch[0].numpy())


def _compared(
    catalog: Catalog, config: Config, full: Pass, short: Pass, sample: PhotoList
) -> Comparison:
    """Both passes over the sample, in turns."""
    files, shape = [catalog.file(photo) for photo in sample], preprocessing(config.learn)
    bar = progress_bar(total=len(files), desc="int8", unit="photo", leave=False)
    features: tuple[list[Floats32], list[Floats32]] = ([], [])
    seconds: tuple[list[float], list[float]] = ([], [])
    with bar:
        for batch in batches(files, shape, _BATCH):
            for side, run in enumerate((full, short)):
                began = time.perf_counter()
                features[side].append(run(batch)[0].mean((2, 3)).numpy())
                seconds[side].append(time.perf_counter() - began)
            bar.update(len(batch))
    labels = np.array([config.labels.index(photo.label) for photo in sample])
    groups = np.array([photo.family for photo in sample])
    one, other = (np.concatenate(parts) for parts in features)
    found = compare_features(one, other, labels, groups, config.probe.folds)
    times = np.median(np.divide(*seconds))
    return dataclasses.replace(found, faster=float(times))
