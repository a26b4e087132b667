"""Every step of a network with random weights, from photos to a bundle that explains itself."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from bundles import tiny_config, trained_dataset

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import ModelError
from bear_classifier.judge.evaluate import evaluate
from bear_classifier.learn.probe import probe
from bear_classifier.learn.train import train
from bear_classifier.ship import int8
from bear_classifier.ship.bundle import load
from bear_classifier.ship.class_activation_map import cam_head, evidence, explain
from bear_classifier.ship.export import export
from bear_classifier.ship.predict import Model

SPLITS = ("train", "train", "valid", "test")


@dataclass(frozen=True)
class Steps:
    """features: (photos, f); tuned: "last-stage", or "all" where the network has none of its own;
    parity: largest difference of a probability between torch and the bundle; int8: mean difference
    of logits by their spread, None where it does not run in integers; evidence: largest
    difference of a logit from the sum of its evidence; cells: side of the map."""

    features: tuple[int, ...]
    tuned: str
    parity: float
    int8: float | None
    evidence: float
    cells: int


def walked(arch: str, root: Path, size: int = 0) -> Steps:
    """Raises BearsError where a step does not work."""
    train_settings = {"epochs": 1, "batch_size": 4, "lr": 1e-3, "layers": "last-stage"}
    config = tiny_config(
        learn={"arch": arch, "size": size}, train=train_settings, probe={"folds": 2},
        export={"parity": 8, "precision": "fp32", "decode": "full"},
    )  # fmt: skip
    with trained_dataset(root / "data", config) as catalog:
        with catalog.transaction():
            catalog.put_photos(
                [
                    dataclasses.replace(photo, split=SPLITS[number // 3 % 4])
                    for number, photo in enumerate(catalog.photos())
                ]
            )
        probe(catalog, config)
        record = train(catalog, config)
        evaluate(catalog, config)
        parity = export(catalog, config, root / "model")["parity"]["largest_difference"]
        model, files = Model(load(root / "model")), _files(catalog)
        logits, pooled, map_ = map(
            np.stack, zip(*(model.outputs(file) for file in files), strict=True)
        )
        head = cam_head(model.bundle)
        sums = np.stack([evidence(head, one).mean((1, 2)) for one in map_]) + head.bias
        explain(model, head, files[0], [0, 1])
        return Steps(
            pooled.shape, record["layers"], parity, _in_integers(model, files, logits),
            float(np.abs(sums - logits).max()), map_.shape[-1],
        )  # fmt: skip


def _files(catalog: Catalog) -> list[Path]:
    return [catalog.file(photo) for photo in catalog.photos("ok")]


def _in_integers(model: Model, files: list[Path], logits: np.ndarray) -> float | None:
    def image(file: Path) -> np.ndarray:
        return model.bundle.normalise(np.asarray(model.square(file)))

    try:
        network = int8.quantised(model.bundle.onnx, [partial(image, file) for file in files])
        short = Model(dataclasses.replace(model.bundle, onnx=network))
    except ModelError:
        return None
    theirs = np.stack([short.outputs(file)[0] for file in files])
    return float(np.abs(theirs - logits).mean() / logits.std())
