"""`bears assets`: fetch the libraries that let a model run in a visitor's browser."""

from __future__ import annotations

import argparse

from bear_classifier.cli.output import print_json
from bear_classifier.runtime.terminal import tell


def add_options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(options: argparse.Namespace) -> None:
    from bear_classifier.web.page_assets import fetch

    rows = []
    for one in fetch():
        state = "fetched" if one.is_new else "is there"
        size = sum(path.stat().st_size for path in one.folder.iterdir())
        tell(options, f"{one.asset.folder} ({one.asset.licence}) {state}: {size / 1e6:.1f} MB")
        rows.append({"package": one.asset.package, "version": one.asset.version,
                     "licence": one.asset.licence, "folder": str(one.folder), "bytes": size,
                     "fetched": one.is_new})  # fmt: skip
    if options.json:
        print_json({"assets": rows})
