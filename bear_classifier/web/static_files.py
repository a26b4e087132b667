"""The files of a page: those of its own folder, and those that all pages share."""

from __future__ import annotations

from pathlib import Path

_SHARED = Path(__file__).parent / "static"
_KINDS = (".css", ".html", ".js")


def files_of_page(folder: Path) -> dict[str, Path]:
    """What a page fetches, by its address relative to the page, such as views/grid.js.

    folder: of the page; a file there goes before a shared one of the same name."""
    return {
        path.relative_to(root).as_posix(): path
        for root in (_SHARED, folder)
        for path in sorted(root.rglob("*"))
        if path.suffix in _KINDS
    }
