"""Jinja2 templates of HTML pages: values are escaped, and an undefined name is an error."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


class _Templates(Environment):
    """`row.clear` is an item of a mapping, never its method: loops use the filter `items`."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping):
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)


@functools.cache
def environment(folder: Path) -> Environment:
    """The templates in a folder."""
    return _Templates(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def template(module: str, name: str) -> Template:
    """A template of the folder templates/ beside a module. module: its `__file__`."""
    return environment(Path(module).parent / "templates").get_template(name)
