"""The commands of measuring: curve, and what it says."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

from bear_classifier import pipeline
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import one_line, tell


def curve(options: argparse.Namespace, project: pipeline.Project) -> int:
    with heartbeat("curve"):
        from bear_classifier.experiments.curve import text
        from bear_classifier.experiments.curve.plot import draw
        from bear_classifier.experiments.curve.runs import growth

        with pipeline.existing(project) as catalog:
            found = growth(catalog, project.config, options.seeds, options.more, options.half)
        place = project.data / "curve" / "curve.png"
        if not options.half:
            draw(found, place)
    if options.json:
        print(json.dumps(found))
    elif options.half:
        tell(options, text.check(found["check"]))
    else:
        tell(options, "\n".join([*text.verdict(found), one_line(f"picture    {place}")]))
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace, pipeline.Project], int]] = {"curve": curve}
