"""The names of the classes that pretrained weights tell apart themselves."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

_TABLES = {1000: "imagenet_synsets.txt", 11821: "imagenet12k_synsets.txt",
           21841: "imagenet22k_synsets.txt", 21843: "imagenet21k_goog_synsets.txt"}  # fmt: skip


@lru_cache(1)
def own_class_names(classes: int) -> list[str] | None:
    """ImageNet's names, in the order of the weights' classes; None if there is no table of so many.

    They come from timm's files (WordNet's lemmas); importing timm itself would take seconds."""
    found = find_spec("timm")
    table = _TABLES.get(classes)
    if found is None or found.origin is None or table is None:
        return None
    folder = Path(found.origin).parent / "data" / "_info"
    try:
        synsets = (folder / table).read_text(encoding="utf-8").split()
        lines = (folder / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None  # another version keeps them elsewhere
    lemmas = dict(line.split("\t", 1) for line in lines)
    return [lemmas.get(synset, synset).partition(",")[0] for synset in synsets]
