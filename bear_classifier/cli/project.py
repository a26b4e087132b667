"""The project that the options of a command name."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bear_classifier import pipeline
from bear_classifier.config.settings import EngineConfig


def named_project(options: argparse.Namespace) -> pipeline.Project:
    """Raises ConfigError."""
    name = options.project or ("starter" if options.source == "starter" else "bears.toml")
    overrides = list(options.set)
    for key in ("source", "licence", "size", "region", "only_class"):
        if value := getattr(options, key, None):
            overrides.append(f"search.{key}={json.dumps(value, ensure_ascii=False)}")
    if getattr(options, "per_class", None) is not None:
        overrides.append(f"search.per_class={options.per_class}")
    if options.retry:
        overrides.append("download.retry=true")
    if options.engine:
        overrides.append(f"engine.name={options.engine}")
    if options.device:
        overrides.append(f"learn.device={options.device}")
    return pipeline.open_project(name, overrides, options.data, options.models)


def engine_of(options: argparse.Namespace) -> EngineConfig:
    """The engine of the project; of a command that needs none, by its options alone."""
    has_file = options.project or Path("bears.toml").is_file()
    name = options.project if has_file else "starter"
    found = argparse.Namespace(**{**vars(options), "project": name})
    return named_project(found).config.engine


def bundle_folder(options: argparse.Namespace) -> Path:
    """The bundle that was named, or the project's."""
    return options.model or named_project(options).model
