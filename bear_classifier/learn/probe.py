"""The first model: a linear probe on cached features."""

from __future__ import annotations

import hashlib
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from torch import Tensor, nn

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.sources import homes, sites
from bear_classifier.errors import DataError
from bear_classifier.images.preprocessing import Preprocessing
from bear_classifier.learn import backbone, devices
from bear_classifier.learn.backbone import Classifier
from bear_classifier.learn.data import PhotoList, batches
from bear_classifier.learn.frozen_forward import frozen, onnx_pass
from bear_classifier.learn.weights import announce, preprocessing
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.npz import as_npz
from bear_classifier.runtime.terminal import count, note_above_bars, progress_bar
from bear_classifier.stats.arrays import Bools, Floats, Floats32, Ints
from bear_classifier.stats.intervals import clustered
from bear_classifier.stats.linear_probe import (
    choose_strength,
    fit_linear,
    n_folds,
    out_of_fold,
    trusted,
)

_BATCH = 32
_INT8 = "-int8-"  # in the name of a file of features that a network in integers made
_KEEP_EVERY = 20  # batches; an interrupted pass loses at most so many
# Of a broken-off transfer; grey levels, and shares of the picture's side (docs/LOG.md).
_ONE_COLOUR, _OTHER_COLOUR = 6, 12
_MIXED, _ABOVE, _GOES_ON = 0.03, 0.06, 0.6


@dataclass(frozen=True)
class Head:
    """A linear model on standardised features. mean, var: (f,); weight: (c, f); bias: (c,)."""

    mean: Floats
    var: Floats
    weight: Floats
    bias: Floats


def probe(catalog: Catalog, config: Config) -> dict[str, Any]:
    """Fit the probe on the training split; give every photo probabilities from a model that did not
    see it (grouped folds over train and valid; test from a model of both).

    `second`, which cleaning ranks by, is from models that did not learn from the least credible
    labels of the first round."""
    photos = catalog.photos("ok")
    if not photos or any(photo.split is None for photo in photos):
        raise DataError("NOT_SPLIT", "the photos have no splits yet; run: bears split")
    _refuse_lone(photos, config.labels)
    announce(config.learn)
    body = backbone.build_body(config.learn, config.train.seed)
    cache, features = feature_cache(catalog, config, photos, body)
    labels = np.array([config.labels.index(photo.label) for photo in photos])
    groups = np.array([photo.group for photo in photos])
    splits = np.array([photo.split for photo in photos])
    train, known = splits == "train", splits != "test"
    folds = n_folds(labels[train], groups[train], config.probe.folds)
    learned = [photo for photo in photos if photo.split == "train"]
    strength = strength_of(catalog, config, learned, features[train], labels[train])

    def unseen(learned: Bools) -> Floats:
        p = np.empty((len(photos), len(config.labels)))
        x, y = features[known], labels[known]
        p[known] = out_of_fold(x, y, groups[known], folds, strength, learned)
        if not known.all():
            p[~known] = fit_linear(strength, x[learned], y[learned]).predict_proba(features[~known])
        return p

    every = np.ones(int(known.sum()), dtype=bool)
    probabilities = unseen(every)
    credible = trusted(probabilities[known], labels[known])
    whole = len(set(labels[known][credible].tolist())) == len(config.labels)
    second = unseen(credible if whole else every)
    head_model = fit_linear(strength, features[train], labels[train])
    folder = catalog.root / "probe"
    (folder / "probabilities.npz").unlink(missing_ok=True)  # of other weights
    _save_classifier(folder / "pretrained.npz", config)
    out = as_npz(
        sha256=np.array([p.sha256 for p in photos]),
        labels=np.array([p.label for p in photos]),
        probabilities=probabilities,
        second=second,
        features=np.array(cache.name),
        strength=np.array(strength),
    )
    write_atomic(folder / "probabilities.npz", out)
    write_atomic(folder / "head.npz", as_npz(**vars(head_of(head_model))))
    valid = splits == "valid"
    wrong = head_model.predict(features[valid]) != labels[valid]
    missed = probabilities[known].argmax(1) != labels[known]
    return {
        "photos": len(photos),
        "precision": "int8" if _INT8 in cache.name else "fp32",
        "strength": strength,
        "out_of_fold_wrong": int(missed.sum()),
        "out_of_fold_interval": clustered(missed, groups[known]),
        "out_of_fold": int(known.sum()),
        "valid_wrong": int(wrong.sum()),
        "valid_interval": clustered(wrong, groups[valid]),
        "valid": int(valid.sum()),
    }


def _refuse_lone(photos: PhotoList, labels: Sequence[str]) -> None:
    """Raises DataError (TOO_FEW_PHOTOS) where a class has fewer than two groups of near-copies in
    train, or nothing is in valid."""
    groups = {(photo.label, photo.family) for photo in photos if photo.split == "train"}
    scenes = Counter(label for label, _ in groups)
    if lone := [label for label in labels if scenes[label] < 2]:
        more = f" (also: {', '.join(lone[1:])})" if len(lone) > 1 else ""
        raise DataError(
            "TOO_FEW_PHOTOS",
            f'class "{lone[0]}" has {count(scenes[lone[0]], "group")} of near-copies in train, and'
            f" two are needed to learn it{more}; add photos of other scenes and run again",
        )
    if all(photo.split != "valid" for photo in photos):
        raise DataError(
            "TOO_FEW_PHOTOS",
            "no photo of any class is in valid, so nothing can be chosen by photos that were not"
            " learned from; add photos of three or more scenes of each class and run again",
        )


def strength_of(
    catalog: Catalog, config: Config, learned: PhotoList, features: Floats32, labels: Ints
) -> float:
    """C of least log loss on photos of other sources; where these are unknown or a class has only
    one, on photos that are no near-copies. Folds that share sources choose too weak a penalty for
    new ones (docs/LOG.md). learned: n photos; features: (n, f); labels: (n,)."""
    groups = [photo.family for photo in learned]
    units = homes(groups, sites(catalog, learned, config.split.sources))
    pairs = set(zip(units, labels.tolist(), strict=True))
    fewest = min(Counter(label for _, label in pairs).values())
    by = np.array(units if fewest > 1 else groups)
    return choose_strength(features, labels, by, n_folds(labels, by, config.probe.folds))


def probe_network(config: Config, head: Head | None) -> Classifier:
    """The untuned body with this head, or an untrained one."""
    body = backbone.build_body(config.learn, config.train.seed)
    size = preprocessing(config.learn).size
    made = Classifier(body, len(config.labels), config.train.dropout, size)
    if head:
        arrays = {name: torch.from_numpy(np.asarray(a)).float() for name, a in vars(head).items()}
        made.start_head(**arrays)
    return made.eval()


def head_of(made: Pipeline) -> Head:
    """The numbers of a fitted probe; two classes become two rows of opposite sign."""
    scaler, regression = made[0], made[-1]
    weight, bias = regression.coef_, regression.intercept_
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return Head(scaler.mean_, scaler.var_, weight, bias)


def cached_features(
    catalog: Catalog, config: Config, photos: PhotoList, body: nn.Module
) -> Floats32:
    """Pooled features (n, f) of photos, computed once per photo, weights, size and precision."""
    return feature_cache(catalog, config, photos, body)[1]


def feature_cache(
    catalog: Catalog, config: Config, photos: PhotoList, body: nn.Module
) -> tuple[Path, Floats32]:
    """The file of the dataset that keeps the features, and those (n, f) of the photos."""
    device = devices.pick_device(config.learn.device)
    body, shape = body.to(device).eval(), preprocessing(config.learn)
    path, network = _precision(catalog, config, photos, body, device)
    cache = _load_cache(path)
    todo = [photo for photo in photos if photo.sha256 not in cache]
    bar = progress_bar(total=len(todo), desc="features", unit="photo", hidden=not todo)
    try:
        with bar, torch.inference_mode():
            example = torch.zeros(1, 3, shape.size, shape.size, device=device)
            run = onnx_pass(network) if network else frozen(body, example, ["map"], len(todo))
            passes = batches([catalog.file(p) for p in todo], shape, _BATCH)
            names = iter([photo.sha256 for photo in todo])
            for number, batch in enumerate(passes, 1):
                pooled = run(batch)[0].mean((2, 3)).numpy()
                facts = (mean_grey(batch, shape), sharpness(batch, shape), filled(batch, shape))
                rows = zip(pooled, *facts, strict=True)
                cache.update(zip(islice(names, len(batch)), rows, strict=True))
                bar.update(len(batch))
                if number % _KEEP_EVERY == 0:
                    _save_cache(path, cache)
    finally:
        if todo:
            _save_cache(path, cache)
    return path, np.stack([cache[photo.sha256][0] for photo in photos])


def _precision(
    catalog: Catalog, config: Config, photos: PhotoList, body: nn.Module, device: torch.device
) -> tuple[Path, bytes | None]:
    """The file of these features, and the network that computes them in 8-bit integers; None: the
    body does, or nothing is to do. What was begun in one precision goes on in it."""
    full = _cache_path(catalog, config, body)
    if config.probe.precision != "auto" or device.type != "cpu" or full.is_file():
        return full, None
    from bear_classifier.learn import int8_features  # only now: onnx and its quantiser are heavy

    wanted = {photo.sha256 for photo in photos}
    for path in sorted(full.parent.glob(f"{full.stem}{_INT8}*.npz")):
        network = int8_features.kept_network(full.stem, path.stem.rpartition("-")[2])
        if network or wanted <= _load_cache(path).keys():
            return path, network
    choice = int8_features.choose(catalog, config, photos, body, full.stem)
    note_above_bars(choice.words)
    if choice.network is None:
        return full, None
    digest = int8_features.network_digest(choice.network)
    return full.with_name(f"{full.stem}{_INT8}{digest}.npz"), choice.network


def mean_grey(batch: Tensor, shape: Preprocessing) -> Floats32:
    """Mean grey level (0 to 255) of each picture. batch: (n, 3, size, size), normalised."""
    return np.asarray(_grey(batch, shape).mean((1, 2)).numpy())


def sharpness(batch: Tensor, shape: Preprocessing) -> Floats32:
    """Root mean square of the Laplacian of grey levels: low in a blurred or empty picture."""
    grey = _grey(batch, shape)
    middle = grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    return np.asarray((around - 4 * middle).square().mean((1, 2)).sqrt().numpy())


def filled(batch: Tensor, shape: Preprocessing) -> Floats32:
    """Share (n,) of each picture, from its lower edge up, that is one colour across the whole width
    because its transfer broke off there: above it the picture goes on at once. 0 for drawings and
    products on a plain ground, which is seen above such a part as well, and for bars of films,
    which are at the upper edge too. batch: (n, 3, size, size), normalised."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (shape.mean, shape.std))
    pixels = 255 * (batch * std + mean)
    colour = pixels[:, :, -1].median(dim=2).values[:, :, None, None]
    other = (pixels - colour).abs().amax(1)  # (n, size, size), grey levels
    size = other.shape[1]
    plain = other.amax(2).flip(1) <= _ONE_COLOUR
    rows = plain.cumprod(1).sum(1)
    top = size - rows
    # Where it broke off, blocks are mixed: a few rows are passed over.
    first = top - _MIXED * size
    number = torch.arange(size)[None]
    above = (number < first[:, None]) & (number >= (first - _ABOVE * size)[:, None])
    differing = (other > _OTHER_COLOUR).float().mean(2)
    goes_on = (differing * above).sum(1) / above.sum(1).clamp(min=1) >= _GOES_ON
    bar = other[:, : max(1, size // 50)].amax((1, 2)) <= _ONE_COLOUR
    share = torch.where(goes_on & ~bar, rows / size, torch.zeros(()))
    return np.asarray(share.float().numpy())


def _grey(batch: Tensor, shape: Preprocessing) -> Tensor:
    """(n, size, size), 0 to 255, by the weights of ITU-R 601-2."""
    parts = 255 * torch.tensor([0.299, 0.587, 0.114])
    mean, std = map(torch.tensor, (shape.mean, shape.std))
    scale, shift = parts * std, float((parts * mean).sum())
    return nn.functional.conv2d(batch, scale[None, :, None, None])[:, 0] + shift


def _cache_path(catalog: Catalog, config: Config, body: nn.Module) -> Path:
    shape = preprocessing(config.learn)
    digest = hashlib.sha256(repr(astuple(shape)).encode()).hexdigest()[:8]
    other = "" if shape.is_usual else f"-{digest}"
    arch = config.learn.arch.replace(":", "-")
    name = f"{arch}-{backbone.weights_digest(body)}-{shape.size}{other}.npz"
    return catalog.root / "features" / name


def _save_classifier(path: Path, config: Config) -> None:
    """Keep the linear layer of the weights' own classes (ImageNet's), if there is one."""
    layer = backbone.weights_classifier(config.learn)
    if layer is None:
        path.unlink(missing_ok=True)
    else:
        write_atomic(path, as_npz(weight=layer[0], bias=layer[1]))


_Cache = dict[str, tuple[Floats32, np.float32, np.float32, np.float32]]
_FACTS = ("features", "light", "sharpness", "filled")


def _load_cache(path: Path) -> _Cache:
    """Features, light, sharpness and the share below a broken-off transfer, by sha256."""
    try:
        with np.load(path, allow_pickle=False) as file:
            rows = zip(*(file[name] for name in _FACTS), strict=True)
            return dict(zip(file["sha256"].tolist(), rows, strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}  # missing or damaged: it is a cache


def _save_cache(path: Path, cache: _Cache) -> None:
    if cache:
        columns = (
            np.stack(column).astype(np.float32) for column in zip(*cache.values(), strict=True)
        )
        facts = dict(zip(_FACTS, columns, strict=True))
        write_atomic(path, as_npz(sha256=np.array(list(cache)), **facts))
