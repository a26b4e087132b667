"""A figure as SVG inside a page, with the page's font and colours, by day and by night."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.figure import Figure

from bear_classifier.plots import fonts
from bear_classifier.plots.charts import BLUE, GREY, INK, ORANGE, PALE

_BLACK = "#000000"
_VARIABLES = {_BLACK: "ink", INK: "ink", GREY: "soft", PALE: "line", BLUE: "a", ORANGE: "b"}


def figure_svg(figure: Figure, name: str) -> str:
    """The figure as one element; the same figure gives the same text. name: what screen readers
    say; no two figures of a page may share it."""
    fonts.write_plainly(figure)
    data = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(data, format="svg", transparent=True, metadata=nothing)
    root = ElementTree.fromstring(data.getvalue())
    root.remove(root[0])  # a style that would be the whole page's
    picture = ElementTree.Element(
        "svg",
        {"class": "chart", "viewBox": root.attrib["viewBox"], "role": "img", "aria-label": name},
    )
    for element in root.iter():
        tag = _simplified(element)
        shape = tag == "path" and "id" not in element.attrib  # the others are marks, in defs
        marks = tag == "defs" and element.find("{*}path") is not None
        if shape or marks or tag in ("text", "use"):
            picture.append(element)
    return ElementTree.tostring(picture, encoding="unicode")


def _simplified(element: ElementTree.Element) -> str:
    """Its tag. No namespaces, fonts, decimals that nobody sees, or turns by nothing."""
    element.tag, element.tail = element.tag.partition("}")[2], None
    if element.tag != "text":
        element.text = None
    for key, value in dict(element.attrib).items():
        del element.attrib[key]
        if key == "style":
            value = re.sub(r"font: (?:\w+ )*([\d.]+px) [^;]*", r"font-size: \1", value)
            value = re.sub(r"font-family: [^;]*;? ?", "", value)
            value = re.sub(r"#\w{6}\b", lambda hit: f"var(--{_VARIABLES[hit[0]]})", value)
        elif key in ("d", "x", "y", "transform"):
            value = re.sub(r"\d+\.\d+", lambda hit: f"{float(hit[0]):.1f}", value)
        if key != "clip-path" and not value.startswith("rotate(-0 "):
            element.set(key.rpartition("}")[2], " ".join(value.split()))
    return element.tag
