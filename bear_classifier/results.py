"""What the Python API returns: each is one line as text, and what it is about in a notebook."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from markupsafe import Markup

from bear_classifier.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from bear_classifier.report.schema import Facts


class StageResults(dict[str, dict[str, Any]]):
    """Stage -> what it did: "outcome" ("done" or "up to date"), "seconds" and its figures."""

    def __repr__(self) -> str:
        done = [name for name, one in self.items() if one["outcome"] == "done"]
        return f"StageResults(done: {', '.join(done) or 'nothing, all was up to date'})"


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The trained model on the test split. Shares lie in 0 to 1, intervals are of 95 % over groups
    of near-copies. data: all figures, as evaluate/report.json holds them under "test".

    >>> evaluation = project.evaluate()  # of a bc.open_project(...)
    >>> 0 <= evaluation.error <= 1
    True
    """

    data: Mapping[str, Any]

    @property
    def n(self) -> int:
        """Photos of the test split."""
        return int(self.data["n"])

    @property
    def error(self) -> float | None:
        """Share of wrong answers; None without photos."""
        error = self.data["error"]
        return None if error is None else float(error)

    @property
    def error_interval(self) -> tuple[float, float] | None:
        interval = self.data["error_interval"]
        return None if interval is None else (float(interval[0]), float(interval[1]))

    def per_class(self) -> pd.DataFrame:
        """A row for each class: n, recall, precision and their intervals."""
        return frame([{"class": label, **row} for label, row in self.data["per_class"].items()])

    def show_confusion(self) -> Figure:
        """Which class is taken for which."""
        from bear_classifier.plots import charts

        return charts.confusion(self.data)

    def __repr__(self) -> str:
        from bear_classifier.report.sentences import percent

        return f"Evaluation(error {percent(self.error, self.error_interval)}, n={self.n})"

    def _repr_html_(self) -> str:
        from bear_classifier.judge.evaluate import as_text

        return Markup("<pre>{}</pre>").format(as_text(self.data))


@dataclass(frozen=True, repr=False)
class Report:
    """The report on a model and its photos. path: of the page, which is one file; beside it are the
    same as Markdown and JSON. data: all figures; mistakes: a figure of the worst ones."""

    path: Path
    data: Facts
    mistakes: Figure

    @property
    def verdict(self) -> str:
        """How good the model is, in one sentence."""
        return str(self.data["verdict"])

    @property
    def warnings(self) -> list[str]:
        """What to know before anybody relies on the model."""
        return list(self.data["warnings"])

    @property
    def evaluation(self) -> Evaluation:
        return Evaluation(self.data["test"])

    def confused(self) -> pd.DataFrame:
        """A row for each pair of classes that are confused, most often first: what photos are, what
        they are taken for, how many, and their share of the class with its interval."""
        columns = ["is", "taken for", "photos", "share", "low", "high"]
        fields = ("true", "said", "n", "share")
        rows = [[*map(pair.get, fields), *pair["interval"]] for pair in self.data["test"]["pairs"]]
        return frame(rows, columns)

    def show_calibration(self) -> Figure:
        """The share of right answers by stated probability."""
        from bear_classifier.plots import charts

        return charts.certainty(self.data["test"]["reliability"])

    def show_rejection(self) -> Figure:
        """OOD scores of photos, and the threshold below which there is no answer."""
        from bear_classifier.plots import charts

        return charts.familiarity(self.data["rejection"])

    def explain(self, what: Literal["calibration", "mistakes", "rejection"]) -> str:
        """The figure of that name in words. Raises ConfigError (BAD_SETTING)."""
        from bear_classifier.report import sentences

        if what == "calibration":
            return sentences.calibration(self.data["test"])
        if what == "mistakes":
            return sentences.mistakes_sentence(self.data)
        if what == "rejection":
            return " ".join(sentences.refusal_sentences(self.data["rejection"]))
        words = f"explain({what!r}): give calibration, mistakes or rejection"
        raise ConfigError("BAD_SETTING", words)

    def __repr__(self) -> str:
        return f"Report({str(self.path)!r})"

    def _repr_html_(self) -> str:
        return Markup(
            '<iframe srcdoc="{}" title="Report" style="width:100%;height:80vh;border:0"></iframe>'
            "<p>{}</p>"
        ).format(self.path.read_text(encoding="utf-8"), self.path)


@dataclass(frozen=True, repr=False)
class Study:
    """A figure and what it says. figure: drawn, or the path of a PNG file; data: the numbers."""

    name: str
    text: str
    figure: Figure | Path
    data: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Study({self.name!r}, {len(self.text.splitlines())} lines of text and a figure)"

    def _repr_html_(self) -> str:
        from bear_classifier.plots import charts

        is_file = isinstance(self.figure, Path)
        png = self.figure.read_bytes() if is_file else charts.figure_png(self.figure)  # type: ignore[union-attr, arg-type]
        picture = base64.b64encode(png).decode()
        return Markup(
            '<img alt="" style="max-width:100%" src="data:image/png;base64,{}"><pre>{}</pre>'
        ).format(picture, self.text)


def frame(rows: list[Any], columns: list[str] | None = None) -> pd.DataFrame:
    """A pandas DataFrame. Raises ConfigError (NO_PANDAS)."""
    try:
        import pandas as pd
    except ImportError as exc:
        words = "tables are DataFrames of pandas; install it: pip install pandas"
        raise ConfigError("NO_PANDAS", words) from exc
    return pd.DataFrame(rows, columns=columns)
