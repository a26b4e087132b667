"""The sources of photos: an entry for each word that `search.source` may begin with."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from bear_classifier.collect.sources.search_engine import Engine
from bear_classifier.config.settings import SearchConfig


@dataclass(frozen=True)
class SourceKind:
    """about: how it is written, and what it is; takes_path: written as NAME:PATH; is_local: its
    photos are files of this computer; search: the module with its `engines(settings)`; by_region:
    whether `search.region` changes what a search finds."""

    about: str
    takes_path: bool = False
    is_local: bool = False
    search: str = ""
    by_region: bool = False


SOURCES = {
    "folder": SourceKind('"folder:PATH" (a folder per class)', takes_path=True, is_local=True),
    "unlabelled": SourceKind(
        '"unlabelled:PATH" (photos whose classes you confirm)', takes_path=True, is_local=True
    ),
    "urls": SourceKind('"urls:FILE" (a line per picture: class, tab, address)', takes_path=True),
    "web": SourceKind('"web" (search DuckDuckGo and Bing)', search="duckduckgo", by_region=True),
    "openverse": SourceKind('"openverse" (search openly licensed pictures)', search="openverse"),
    "starter": SourceKind('"starter" (pictures drawn by code, no network)', is_local=True),
}
SEARCHES = tuple(name for name, kind in SOURCES.items() if kind.search)
LOCAL = tuple(name for name, kind in SOURCES.items() if kind.is_local)


def engines(name: str, settings: SearchConfig) -> list[Engine]:
    """The search engines of a kind in SEARCHES, in order of preference."""
    module = importlib.import_module(f"bear_classifier.collect.sources.{SOURCES[name].search}")
    return list(module.engines(settings))
