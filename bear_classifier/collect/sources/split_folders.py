"""Folders that are splits: train, valid and test, with a folder per class in each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from bear_classifier.collect.sources.files_below import Node, readable_name, visible
from bear_classifier.config.project_file import folded
from bear_classifier.dataset.schema import SPLIT_NAMES, Split
from bear_classifier.errors import DataError


def split_folders(root: Node, labels: Sequence[str]) -> dict[str, Node]:
    """The folders of `root` that are splits, by their names in any case (`SPLIT_NAMES`) and the
    class folders in them; none where the folders of `root` are classes, whatever their names.

    Raises DataError (AMBIGUOUS_FOLDERS, SPLIT_CLASH)."""
    classes = {folded(label) for label in labels}
    folders = [path for path in _visible(root) if path.is_dir()]
    named = {p: SPLIT_NAMES[folded(p.name)] for p in folders if folded(p.name) in SPLIT_NAMES}
    holding = {path: names for path in named if (names := _class_names(path, classes))}
    if not holding:
        return {}
    if why := _also_classes(folders, named, holding, classes):
        path, names = next(iter(holding.items()))
        raise DataError(
            "AMBIGUOUS_FOLDERS",
            f"{readable_name(str(root))} can be read in two ways: {path.name!r} looks like a split,"
            f" with the class folders {', '.join(sorted(names))[:100]} in it, but {why}. Give the"
            " folder of one split (folder:PATH/train), move what does not belong there, or name"
            " class and split of each photo in a table; run: bears run --source csv:FILE",
        )
    found: dict[str, Node] = {}
    for split in dict.fromkeys(SPLIT_NAMES.values()):
        paths = [path for path in holding if named[path] == split]
        if len(paths) > 1:
            both = f"{paths[0]} and {paths[1]} are both {split}"
            raise DataError("SPLIT_CLASH", f"{both}; join them")
        if paths:
            found[split] = paths[0]
    return found


def _also_classes(
    folders: Sequence[Node],
    named: Mapping[Node, Split],
    holding: Mapping[Node, Collection[str]],
    classes: Collection[str],
) -> str:
    """Why the folders may also be classes, or nothing."""
    for path in folders:
        if folded(path.name) not in classes:
            continue
        if path not in named:
            return f"{path.name!r} beside it is a class"
        if path not in holding or any(not inner.is_dir() for inner in _visible(path)):
            return f"{path.name!r} is a class of this project, and holds photos"
    inner = {name for names in holding.values() for name in names}
    if inner <= SPLIT_NAMES.keys() and any(folded(path.name) in classes for path in named):
        return "all of these names are classes of this project and splits"
    return ""


def _class_names(folder: Node, classes: Collection[str]) -> set[str]:
    names = {folded(path.name) for path in _visible(folder) if path.is_dir()}
    return names & set(classes)


def _visible(folder: Node) -> list[Node]:
    try:
        return list(visible(sorted(folder.iterdir()), {}))
    except OSError:  # the listing says so
        return []
