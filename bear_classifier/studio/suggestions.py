"""Search queries for the name of a class, without a network."""

from __future__ import annotations

from bear_classifier.collect.sources.class_name_hints import meant, singular, spoken_words
from bear_classifier.studio.projects import BEARS

_FORMS = ("{}", "{} close up", "{} in the wild", "{} photo")


def suggested_queries(label: str) -> list[str]:
    """Queries for a class, the plainest first: those of the bears for a name of a bear, then the
    name and its singular in forms that find different photos. Empty for a name without a letter."""
    words = spoken_words(label)
    if not words:
        return []
    named = {f"{bear} bear": queries for bear, queries in BEARS.items()}  # a mamba is black, too
    bears = [query for name in meant(label, named) for query in named[name]]
    one = " ".join(singular(words))
    forms = [form.format(one) for form in _FORMS]
    return list(dict.fromkeys([*bears, " ".join(words), *forms]))
