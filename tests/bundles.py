"""Small real bundles for tests: a tiny network through the real export path."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from corpus import seeded
from safetensors.torch import save

from bear_classifier.config.project_file import build
from bear_classifier.config.settings import Config, TrainConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.images import decoder
from bear_classifier.judge import rejection
from bear_classifier.judge.evaluate import evaluation_report
from bear_classifier.learn import backbone
from bear_classifier.learn.data import batches
from bear_classifier.learn.weights import preprocessing
from bear_classifier.ship import bundle, golden
from bear_classifier.stats import ood

LABELS = ["black", "grizzly", "teddy"]


def tiny_config(**tables: dict[str, object]) -> Config:
    learn = {"arch": "squeezenet1_1", "weights": "none", "size": 64, "device": "cpu"}
    return build(
        {
            "name": "tiny",
            "classes": {label: [label] for label in LABELS},
            "learn": learn | tables.pop("learn", {}),
            "export": {"parity": 40} | tables.pop("export", {}),
            "train": {"seed": seeded(TrainConfig.seed)} | tables.pop("train", {}),
            **tables,
        },
        where="test",
    )


def trained_dataset(root: Path, config: Config, seed: int = 0) -> Catalog:
    """A catalog of drawn photos, and what training and evaluation would have left behind."""
    catalog = Catalog(root)
    rows = []
    for i in range(24):
        suffix, data = golden.draw_picture(seeded(500 + i))
        image = decoder.decode(data)
        sha = hashlib.sha256(data).hexdigest()
        photo = Photo(sha, f"p{i}", LABELS[i % 3], suffix, *image.size, len(data), "00", 50.0,
                      group=sha, split=("train", "valid", "test")[i % 3])  # fmt: skip
        catalog.file(photo).parent.mkdir(parents=True, exist_ok=True)
        catalog.file(photo).write_bytes(data)
        rows.append(photo)
    with catalog.transaction():
        catalog.put_photos(rows)
    leave_training(root, config, seed)
    return catalog


def leave_training(root: Path, config: Config, seed: int) -> None:
    size = preprocessing(config.learn).size
    body = backbone.bare_body(config.learn.arch, size)
    model = backbone.Classifier(body, len(config.labels), config.train.dropout, size).eval()
    files = sorted((root / "photos").rglob("*.*"))
    with torch.no_grad():
        pooled = torch.cat(
            [model.outputs(x)[1] for x in batches(files, preprocessing(config.learn), 8)]
        )
    torch.manual_seed(seeded(seed))
    weight = torch.randn(len(config.labels), model.n_features) * 0.1
    model.start_head(pooled.mean(0), pooled.var(0), weight, torch.zeros(len(config.labels)))
    for folder in ("train", "evaluate"):
        (root / folder).mkdir(exist_ok=True)
    (root / "train" / "weights.safetensors").write_bytes(save(model.state_dict()))
    record = {"chosen": "tuned", "lr": 1e-3, "lr_reason": "given", "epochs": 1, "batch_size": 8}
    (root / "train" / "history.json").write_text(json.dumps(record), encoding="utf-8")
    groups = np.arange(len(files))
    reference = ood.make_reference(pooled.numpy(), groups, None, seed=0)
    (root / "evaluate" / "reference.npz").write_bytes(reference.as_bytes())
    judged = evaluation_report(np.eye(3), np.array([0, 1, 2]), config.labels, np.arange(3))
    answers = np.array(["ok", "ok", "unlike_training"])
    refused = rejection.refusals(answers, np.ones(3, dtype=bool), np.arange(3))
    rule = {"least": -4.0, "close": 0.0, "share": 0.03, "left_out": {}}
    outcome = {
        "temperature": 1.5,
        "test_decisions": 0,
        "rejection": rule | {"valid": refused, "test": refused},
        "elsewhere": None,
        "membership": None,
        "valid": judged,
        "test": judged,
    }
    (root / "evaluate" / "report.json").write_text(json.dumps(outcome), encoding="utf-8")


def rewrite(place: Path, **changes) -> None:
    """Change fields or files and make every checksum fit again, as an attacker would."""
    about = json.loads((place / "bundle.json").read_text(encoding="utf-8"))
    files = {
        p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()
    }
    del files["bundle.json"]
    for name in ("schema", "files", "checksum"):
        about.pop(name)
    about |= changes
    (place / "bundle.json").write_bytes(bundle.describe(files, about))
