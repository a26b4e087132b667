"""The Python API: a project from its photos to its model, and a model that answers.

    import bear_classifier as bc

    project = bc.open_project("starter")
    project.run()
    model = bc.load_model("shipped")
    model.predict("photo.jpg")

What goes wrong is a `BearsError`: `code` for programs, `sentence` for people.
"""

from __future__ import annotations

import dataclasses
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bear_classifier import pipeline
from bear_classifier.config import project_file
from bear_classifier.config.settings import SHIPPED
from bear_classifier.dataset import decisions, new_classes
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import SPLITS, Action, Decision, Event, Photo, Source
from bear_classifier.errors import ConfigError, ModelError
from bear_classifier.results import Evaluation, Report, StageResults, Study, frame
from bear_classifier.runtime.terminal import libraries_silent, say

if TYPE_CHECKING:
    import pandas as pd
    from fastai.learner import Learner
    from matplotlib.figure import Figure

    from bear_classifier.dataset.credits import LicensedUse
    from bear_classifier.dataset.formats.choices import Exported, Format
    from bear_classifier.ship.predict import ImageSource, Model

_SUSPECT = ["sha256", "origin", "label", "suggested", "score", "reasons", "split"]


def open_project(
    name: str | os.PathLike[str] = "bears.toml",
    settings: Mapping[str, Any] | None = None,
    data: str | os.PathLike[str] = "data",
    models: str | os.PathLike[str] = "models",
) -> Project:
    """A project by its file, or "starter", whose photos are drawn by code.

    settings: by name, such as {"train.epochs": 6}, in place of those of the file; data, models:
    folders for datasets and models. Raises ConfigError.

    >>> import bear_classifier as bc
    >>> bc.open_project("starter").labels
    ['black', 'grizzly', 'teddy']
    """
    words = [
        f"{key}={str(value).lower() if isinstance(value, bool) else value}"
        for key, value in (settings or {}).items()
    ]
    return Project(pipeline.open_project(os.fspath(name), words, Path(data), Path(models)))


def new_project(
    name: str,
    classes: Iterable[str] | Mapping[str, Sequence[str]],
    folder: str | os.PathLike[str] = ".",
) -> Project:
    """Write NAME.toml into a folder, and open it; data and models will lie beside it.

    classes: their names or, as a mapping, what to search the web for by class. Raises ConfigError,
    also (EXISTS) where the file is there: it is never overwritten.

    >>> import bear_classifier as bc
    >>> bc.new_project("mushrooms", classes=["fly agaric", "death cap"]).labels
    ['death cap', 'fly agaric']
    """
    if isinstance(classes, str):
        raise ConfigError("BAD_SETTING", f"classes={classes!r}: give a list of names")
    given = classes if isinstance(classes, Mapping) else {label: [label] for label in classes}
    queries = {label: list(words) for label, words in given.items()}
    place = Path(folder)
    path = project_file.create(name, queries, place, "new_project")
    return open_project(path, data=place / "data", models=place / "models")


def load_model(place: str | os.PathLike[str] = "shipped", threads: int | None = None) -> Model:
    """A model by the folder of its bundle, or "shipped": the bear model of the repository. It is
    verified and, the first time, tried in a process of its own before it answers.

    threads: that it computes with; None: one for each processor. Raises ModelError, SelfTestError.

    >>> import bear_classifier as bc
    >>> bc.load_model("shipped").bundle.labels
    ['black', 'grizzly', 'teddy']
    """
    from bear_classifier.ship.bundle import load
    from bear_classifier.ship.predict import Model
    from bear_classifier.ship.sandbox import trust

    path = SHIPPED if place == "shipped" else Path(place)
    if place == "shipped" and not path.is_dir():
        words = "the shipped model is not part of the installed package; copy the folder"
        advice = "models/bears from the project's source repository and give its path"
        raise ModelError("NO_MODEL", f"{words} {advice}")
    trust(bundle := load(path))
    return Model(bundle, threads)


def show_predictions(model: Model, sources: Iterable[ImageSource]) -> Figure:
    """Photos, each above the model's answer, its probability and whether it is accepted. sources:
    as `Model.predict` takes them. Raises PhotoError.

    >>> import bear_classifier as bc
    >>> figure = bc.show_predictions(bc.load_model("shipped"), ["photo.jpg"])
    """
    from bear_classifier.plots import gallery

    photos = list(sources)
    answers = map(model.predict, photos)
    words = [f"{answer.label} {answer.confidence:.0%}\n{answer.reason}" for answer in answers]
    return gallery.photo_grid(photos, words)


class Project:
    """Classes, settings, a dataset and its model; made by `open_project` or `new_project`.

    Whatever takes long shows progress bars, goes on where it was stopped, and does nothing twice.
    """

    def __init__(self, opened: pipeline.Project) -> None:
        self._opened = opened

    def __repr__(self) -> str:
        config = self._opened.config
        return f"Project({config.name!r}: {', '.join(config.labels)}; data in {str(self.data)!r})"

    @property
    def labels(self) -> list[str]:
        """The classes, in the order of the model's outputs."""
        return list(self._opened.config.labels)

    @property
    def data(self) -> Path:
        """The folder of the dataset."""
        return self._opened.data

    @property
    def model_folder(self) -> Path:
        """Where the bundle of the model is published."""
        return self._opened.model

    def run(self, until: str = "export", again: str = "", quiet: bool = False) -> StageResults:
        """Run every stage that is not up to date: search, download, screen, split, probe, clean,
        train, evaluate, export.

        until: the last one, of which "clean" looks at all photos a second time; again: this and the
        later ones, even if they are; quiet: print no line for each stage. Raises BearsError.

        >>> import bear_classifier as bc
        >>> project = bc.open_project("starter", {"search.per_class": 30})
        >>> project.run(until="split", quiet=True)["split"]["outcome"]
        'done'
        """
        for stage in filter(None, (until, again)):
            if stage not in pipeline.NAMES:
                names = ", ".join(pipeline.NAMES)
                raise ConfigError("BAD_SETTING", f"{stage!r} is no stage; there are {names}")

        def report(stage: pipeline.Stage, outcome: dict[str, Any]) -> None:
            from bear_classifier.report import stage_lines

            say(stage_lines.stage_text(stage.name, outcome))

        listeners = {} if quiet else {"report": report, "note": say}
        with libraries_silent():
            return StageResults(pipeline.run(self._opened, until, again=again, **listeners))  # type: ignore[arg-type]

    def photos(self) -> pd.DataFrame:
        """A row for each photo: label, split, status, size, where it came from, its file."""
        with self._catalog() as catalog:
            photos = catalog.photos()
            return _table(photos, Photo).assign(file=[str(catalog.file(p)) for p in photos])

    def sources(self) -> pd.DataFrame:
        """A row for each web address or file, with its photo or the reason why there is none."""
        with self._catalog() as catalog:
            return _table(catalog.sources(), Source)

    def splits(self) -> pd.DataFrame:
        """Numbers of photos of each class in each split, set aside, or dropped."""
        from bear_classifier.report.provenance import photos_by_place

        with self._catalog() as catalog:
            table = photos_by_place(catalog.photos(), self.labels)
        return frame([{"class": label, **row} for label, row in table.items()])

    def suspects(self) -> pd.DataFrame:
        """Photos without a decision, with the chance that something is wrong with each (label,
        subject, copy or quality) and why; most suspect first. Raises DataError (NOT_PROBED)."""
        from bear_classifier.judge.clean import open_suspects

        with self._catalog() as catalog:
            found = open_suspects(catalog, self._opened.config).every(catalog)
        rows = [dataclasses.asdict(suspect) for suspect in found]
        return frame([row | {"reasons": "; ".join(row["reasons"])} for row in rows], _SUSPECT)

    def relabel(self, sha256: str, label: str, why: str = "") -> None:
        """Give a photo another class. sha256: its hash, or the first 8 digits or more.

        Raises DataError (UNKNOWN_CLASS, NO_SUCH_PHOTO)."""
        self._decide(sha256, "relabel", label, why)

    def drop(self, sha256: str, why: str = "") -> None:
        """Use a photo for nothing any more; its file stays, and `undo` brings it back."""
        self._decide(sha256, "drop", "", why)

    def keep(self, sha256: str, why: str = "") -> None:
        """Confirm a photo as it is; it is no suspect any more."""
        self._decide(sha256, "keep", "", why)

    def undo(self, event: int | None = None) -> None:
        """Take back the last decision, or an older one by its id in `history`.

        Raises DataError (NOTHING_TO_UNDO, CANNOT_UNDO)."""
        with self._catalog() as catalog, catalog.lock("undo"):
            new_classes.take_back(catalog, self._opened.file, decisions.user_name(), event)

    def history(self) -> pd.DataFrame:
        """A row for each decision and each undo, oldest first."""
        with self._catalog() as catalog:
            return _table(decisions.history(catalog), Event)

    def evaluate(self) -> Evaluation:
        """Run what is not up to date up to the evaluation, and return its figures."""
        return Evaluation(self.run("evaluate", quiet=True)["evaluate"]["test"])

    def report(self) -> Report:
        """Run what is not up to date, and write the report as report/report.html."""
        from bear_classifier.plots import gallery
        from bear_classifier.report import build

        self.run(quiet=True)
        path = self.data / "report" / "report.html"
        with self._catalog() as catalog:
            catalog.freeze()  # one state of the photos for all figures
            facts, page, shown = build.make_report(catalog, self._opened, self.model_folder)
        build.write_report(facts, page, path)
        return Report(path, facts, gallery.mistake_grid(facts["mistakes"], shown))

    def export_dataset(
        self,
        out: str | os.PathLike[str],
        format: Format = "folders",
        split_names: str = "valid",
        licence: LicensedUse = "any",
        keep_metadata: bool = False,
        link: bool = False,
    ) -> Exported:
        """Write the photos in use to a folder, for other programs: with labels, splits, sources,
        licences and decisions in its metadata.csv, in place of an earlier export.

        format: "folders", "imagefolder" (Hugging Face), "webdataset" or "parquet"; split_names:
        what validation is called, "valid" or "val"; licence: what its author must allow: "any",
        "share", "commercial" or "public"; keep_metadata: with EXIF; link: hard links instead of
        copies where possible. Raises ConfigError, also (FOREIGN_FOLDER) where something else lies
        there, and DataError (NO_PHOTOS, NOT_SPLIT, STORED_DAMAGED, DISK_FULL).

        >>> import bear_classifier as bc
        >>> project = bc.open_project("starter", {"search.per_class": 30})
        >>> _ = project.run(until="split", quiet=True)
        >>> project.export_dataset("drawn").format
        'folders'
        """
        from bear_classifier.dataset.formats.choices import ExportChoice, Handling
        from bear_classifier.dataset.formats.export import export_dataset

        choice = ExportChoice(format, split_names, licence, Handling(keep_metadata, link))
        with self._catalog() as catalog:
            return export_dataset(catalog, self.labels, Path(out), choice)

    def find_lr(self, seeds: int = 3, steps: int = 40) -> Study:
        """Run the LR finder with several seeds, and say how far its suggestions can be trusted.
        Raises ConfigError (BAD_SETTING) and DataError (STAGE_MISSING)."""
        from bear_classifier.experiments.lr import study

        with libraries_silent():
            result = study.find_rates(self._opened, seeds, steps)
        return Study("find_lr", "\n".join(study.text(result)), Path(result["figure"]), result)

    def learning_curve(self, seeds: int = 5) -> Study:
        """Train on growing parts of the photos: would more of them help?"""
        from bear_classifier.experiments.curve import text as curve_words
        from bear_classifier.experiments.curve.runs import growth

        with libraries_silent(), self._catalog() as catalog:
            result = growth(catalog, self._opened.config, seeds)
        text = "\n".join(curve_words.verdict_sentences(result))
        return Study("learning_curve", text, self.data / "curve" / "curve.png", result)

    def learner(self) -> Learner:
        """A fastai Learner with the trained weights, and DataLoaders of the train and valid splits.

        On it `show_batch`, `lr_find`, `fine_tune`, `Interpretation.from_learner`, `predict` and
        `export` work. What it trains or saves changes nothing in the dataset. Raises DataError
        (NOT_TRAINED)."""
        with libraries_silent(), self._catalog() as catalog:
            from bear_classifier.learn.train import trained_learner

            return trained_learner(catalog, self._opened.config)

    def model(self) -> Model:
        """The published model. Raises ModelError (NO_MODEL)."""
        return load_model(self.model_folder)

    def show_photos(
        self, split: str | None = None, label: str | None = None, n: int = 12, seed: int = 42
    ) -> Figure:
        """A row of usable photos of each class, chosen at random by the seed; n: in all.

        split: train, valid or test; label: one class; None: all. Raises ConfigError (BAD_SETTING).
        """
        from bear_classifier.plots import gallery

        labels = self.labels if label is None else [label]
        if label not in (None, *self.labels) or split not in (None, *SPLITS):
            known = f"splits are {', '.join(SPLITS)}, classes {', '.join(self.labels)}"
            raise ConfigError("BAD_SETTING", f"show_photos({split!r}, {label!r}): {known}")
        each = -(-n // len(labels)) if label is None else min(n, 6)
        with self._catalog() as catalog:
            return gallery.class_samples(catalog, labels, each, seed, split, n)

    def show_suspects(self, n: int = 12) -> Figure:
        """The most suspect photos, each with its label, the chance and the reason."""
        from bear_classifier.judge.clean import open_suspects
        from bear_classifier.plots import gallery

        with self._catalog() as catalog:
            found = open_suspects(catalog, self._opened.config).first(catalog, n)
            return gallery.suspect_grid(catalog, found)

    def training(self) -> Study:
        """Losses and errors of the last training by epoch, its diagnosis, and which model was kept.
        Raises DataError (NOT_TRAINED)."""
        from bear_classifier.plots import charts
        from bear_classifier.report import sentences
        from bear_classifier.report.facts import training_record

        with self._catalog() as catalog:
            record = training_record(catalog)
        text = f"{record['diagnosis']['sentence']}.\n{sentences.kept_model(record)}"
        return Study("training", text, charts.training_history(record), record)

    def _decide(self, sha256: str, action: Action, label: str, why: str) -> None:
        with self._catalog() as catalog, catalog.lock("decide"):
            decision = Decision(decisions.full_sha256(catalog, sha256), action, label, why)
            user = decisions.user_name()
            decisions.decide(catalog, self.labels, [decision], user, uuid.uuid4().hex)

    def _catalog(self) -> AbstractContextManager[Catalog]:
        return pipeline.existing(self._opened)


def _table(rows: Iterable[Any], kind: type) -> pd.DataFrame:
    """A DataFrame of dataclasses of this kind."""
    columns = [field.name for field in dataclasses.fields(kind)]
    return frame([dataclasses.asdict(row) for row in rows], columns)
