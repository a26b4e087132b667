"""Assign photos to train, valid and test by group, permanently."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bear_classifier.collect.given_splits import by_photo, leaks, missing, of_groups, resolved
from bear_classifier.collect.screen import of_classes
from bear_classifier.collect.split_by_source import by_source, place
from bear_classifier.config.settings import Config, SplitConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import SPLITS, Photo, Split
from bear_classifier.dataset.sources import sites
from bear_classifier.errors import DataError
from bear_classifier.runtime.terminal import count
from bear_classifier.stats.metrics import IMBALANCE

_LEARNED = 2  # groups of a class that go to train before any other split: the probe has two folds
_SLACK = 0.25  # of a split's share, before a class is held to it


def split(catalog: Catalog, config: Config) -> dict[str, Any]:
    """Give every usable photo a split; those that have one keep it."""
    with catalog.transaction():  # from the reading on: somebody may be deciding on photos
        everything = of_classes(catalog.photos("ok"), config.labels)
        catalog.put_photos(photo for photo in everything if photo.status != "ok")
        photos = [photo for photo in everything if photo.status == "ok"]
        counts = Counter(photo.label for photo in photos)
        if fresh := sum(photo.group is None for photo in photos):
            words = f"near-copies of {fresh} new photos are not known yet; run: bears screen"
            raise DataError("NOT_SCREENED", words)
        waiting = len(catalog.photos("unlabelled"))
        _refuse_small(counts, config.labels, config.split.least, waiting)
        files = by_photo(catalog.given_splits())
        given = of_groups(photos, resolved(files))
        before, photos = photos, placed(photos, given, config.split)
        if config.split.by == "source":
            splits = by_source(photos, sites(catalog, photos, config.split.sources), config.split)
        else:
            splits = assign(photos, config.split)
        per_split = {name: dict.fromkeys(config.labels, 0) for name in SPLITS}
        for photo, name in zip(photos, splits, strict=True):
            per_split[name][photo.label] += 1
        groups = {(photo.label, photo.group) for photo in photos}
        scenes = Counter(label for label, _ in groups)
        _refuse_unlearnable(per_split, scenes)
        pairs = zip(before, splits, strict=True)
        changed = {p.sha256: replace(p, split=name) for p, name in pairs if p.split != name}
        catalog.change_photos(changed, lambda photo, _: photo)
        outcome = {"photos": per_split, "warnings": _warnings(per_split, counts, scenes)}
        if not given:
            return outcome
        cut = missing(given)
        kept = [
            name == given[photo.sha256] or given[photo.sha256] == "train" and name in cut
            for photo, name in zip(photos, splits, strict=True)
            if photo.sha256 in given
        ]
        about = {"photos": sum(kept), "elsewhere": len(kept) - sum(kept), "cut": cut}
        return {**outcome, "given": {**about, "leaks": leaks(catalog.photos(), files)}}


def placed(
    photos: Sequence[Photo], given: Mapping[str, Split], settings: SplitConfig
) -> list[Photo]:
    """The photos; those that were published in a split have it, unless they have one already. What
    was published without valid or test has them cut from its train, by group.

    given: sha256 -> split."""
    cut = missing(given)
    splits = {p.sha256: given[p.sha256] for p in photos if p.sha256 in given}
    if cut:
        pool = [photo for photo in photos if given.get(photo.sha256) == "train"]
        splits |= {
            photo.sha256: split
            for photo, split in zip(pool, assign(pool, settings, cut), strict=True)
        }
    return [replace(photo, split=photo.split or splits.get(photo.sha256)) for photo in photos]


def assign(
    photos: Sequence[Photo], settings: SplitConfig, drawn: Sequence[Split] = ("test", "valid")
) -> list[Split]:
    """Splits (n,) by a hash of seed and group, so that other photos do not matter.

    A group keeps its split for ever. The hash of a new one decides, as long as every class has its
    share of groups in each split within a quarter: exact shares would move photos whenever others
    come or go, no bounds would leave small classes to luck. Of each class train gets two groups
    first, then test one, then valid; a group with more photos than a split may hold goes to train.
    drawn: the splits that get a share; the rest is train.
    """
    label = {p.group: p.label for p in sorted(photos, key=lambda p: p.sha256, reverse=True)}
    sizes = Counter(p.group for p in photos)
    shares: dict[Split, float] = {"test": settings.test, "valid": settings.valid}
    shares = {split: shares[split] for split in drawn}
    splits: dict[str | None, Split] = {p.group: p.split for p in photos if p.split}
    for one in sorted(set(label.values())):
        groups = sorted(group for group in label if label[group] == one and group)
        free = sorted((place(settings.seed, g), g) for g in groups if g not in splits)
        total = sum(sizes[group] for group in groups)
        before = 0.0  # of the hash: where the places of a split begin
        for name, share in shares.items():
            held = [group for group in groups if splits.get(group) == name]
            learned = sum(splits.get(group) == "train" for group in groups)
            room = max(0, len(free) - max(0, _LEARNED - learned))
            cut = before + share
            n = min(room, _within(len(groups), share, len(held), free, cut))
            most = max(
                math.floor(total * share * (1 + _SLACK)),
                math.ceil((len(held) + n) * total / len(groups)),
            )
            chosen = _fitting(free, sizes, n, most - sum(sizes[group] for group in held))
            if n > 0 and not held and not chosen:
                chosen = [min(free, key=lambda at: (sizes[at[1]], at))]
            splits |= {group: name for _, group in chosen}
            free = [at for at in free if at[1] not in splits]
            before = cut
        splits |= dict.fromkeys((group for _, group in free), "train")
    return [photo.split or splits[photo.group] for photo in photos]


def _fitting(
    free: Sequence[tuple[float, str]], sizes: Mapping[str | None, int], n: int, room: int
) -> list[tuple[float, str]]:
    """The first n groups, in the order of their places, of which none has more photos than the
    room that is left for it."""
    chosen: list[tuple[float, str]] = []
    for at in free:
        if len(chosen) < n and sizes[at[1]] <= room:
            chosen.append(at)
            room -= sizes[at[1]]
    return chosen


def _within(n: int, share: float, held: int, free: Sequence[tuple[float, str]], cut: float) -> int:
    """How many of the free groups, in the order of their places, a split of `share` takes.

    Those placed below `cut`, held to a quarter around n * share, and to one at the least."""
    low = max(1, math.ceil(n * share * (1 - _SLACK)))
    high = max(low, math.floor(n * share * (1 + _SLACK)))
    wanted = held + sum(place < cut for place, _ in free)
    return min(len(free), max(0, min(max(wanted, low), high) - held))


def _refuse_small(
    counts: Counter[str], labels: Sequence[str], least: int, waiting: int = 0
) -> None:
    """waiting: photos without a label."""
    few = [label for label in labels if counts[label] < least]
    if few:
        more = f" (also too small: {', '.join(few[1:])})" if len(few) > 1 else ""
        advice = "Add photos, or lower split.least"
        if waiting:
            advice += f", or confirm classes of {count(waiting, 'photo')} without a label;"
            advice += " run: bears label"
        raise DataError(
            "TOO_FEW_PHOTOS",
            f'Class "{few[0]}" has {count(counts[few[0]], "usable photo")}; at least {least} are '
            f"needed{more}. {advice}",
        )


def _refuse_unlearnable(
    per_split: Mapping[Split, Mapping[str, int]], scenes: Mapping[str, int]
) -> None:
    """A class whose photos all stand elsewhere, as versions up to 0.1 left those of one group."""
    for label, n in per_split["train"].items():
        if n == 0:
            counts = {name: per_split[name][label] for name in SPLITS}
            where = " and ".join(f"{name} ({n})" for name, n in counts.items() if n)
            groups = count(scenes[label], "group")
            raise DataError(
                "NO_TRAIN_PHOTOS",
                f'Class "{label}" has no photo to learn from: its photos, {groups} of near-copies,'
                f" are in {where}, and no photo ever changes its split. Add photos of other"
                " scenes to this class and run again, or begin a new dataset with --data DIR",
            )


def _warnings(
    per_split: Mapping[Split, Mapping[str, int]],
    counts: Mapping[str, int],
    scenes: Mapping[str, int],
) -> list[str]:
    warnings = []
    for label, n in scenes.items():
        lacking = [name for name in SPLITS if not per_split[name][label]]
        if lacking:
            few = f", since all are {count(n, 'group')} of near-copies" if n < len(SPLITS) else ""
            warnings.append(
                f'Class "{label}" has no photo in {" and ".join(lacking)}{few}: how well the'
                " model knows it cannot be measured there. Add photos of other scenes"
            )
    large, small = max(counts, key=lambda c: counts[c]), min(counts, key=lambda c: counts[c])
    if counts[large] >= IMBALANCE * counts[small]:
        warnings.append(
            f'Class "{large}" has {counts[large]} photos, "{small}" {counts[small]}: '
            "more of the small class would help most"
        )
    return warnings
