"""Export of a dataset: folders, Hugging Face's imagefolder, WebDataset or Parquet.

The export grows in a hidden folder beside its place, part by part, and takes its place when it is
complete. An interrupted one goes on where it was.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bear_classifier import __version__
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.credits import (
    LicensedUse,
    address_of,
    allows,
    best_source,
    licence_of_source,
    public,
)
from bear_classifier.dataset.formats import finish, names
from bear_classifier.dataset.formats.choices import ExportChoice, Exported
from bear_classifier.dataset.formats.earlier_export import refuse_foreign, write_marker
from bear_classifier.dataset.formats.metadata import MetadataRow
from bear_classifier.dataset.formats.parquet_shards import parquet_library, write_parquet
from bear_classifier.dataset.formats.parts import (
    ExportItem,
    Part,
    WrittenFile,
    file_parts,
    outstanding,
    run_part,
    shard_parts,
    write_files,
)
from bear_classifier.dataset.formats.past_decisions import past_decisions
from bear_classifier.dataset.formats.tar_shards import write_tar
from bear_classifier.dataset.lock import publishing
from bear_classifier.dataset.schema import SPLITS, Photo, Source
from bear_classifier.errors import ConfigError, DataError
from bear_classifier.runtime.files import write_atomic, write_errors
from bear_classifier.runtime.publish import clear_leftovers, publish
from bear_classifier.runtime.terminal import count, progress_bar

_BLOCK = 4096  # bytes by which file systems give room
_ROW = 2_000  # bytes of a photo's rows, in all tables together
_RESERVE = 16_000_000  # bytes


def export_dataset(
    catalog: Catalog, labels: Sequence[str], out: Path, choice: ExportChoice
) -> Exported:
    """Write the photos in use to a folder, in place of an earlier export that was not changed.

    labels: the classes, in the order of their numbers. Raises DataError (NO_PHOTOS, NOT_SPLIT,
    STORED_DAMAGED, DISK_FULL, CANNOT_WRITE, LOCKED), ConfigError (FOREIGN_FOLDER, BAD_PLACE,
    NOT_INSTALLED)."""
    if choice.format == "parquet":
        parquet_library()
    place = out.resolve()
    root = catalog.root.resolve()
    if place in (root, *root.parents) or root in place.parents:
        why = f"{place} holds the dataset, or lies in it; name a folder elsewhere"
        raise ConfigError("BAD_PLACE", why)
    catalog.freeze()  # one state of the photos, whatever people decide meanwhile
    chosen = _chosen(catalog, labels, choice.licence)
    items = _items(catalog, chosen.photos, chosen.sources, labels, choice)
    parts = _parts(items, choice)
    with publishing(place):
        clear_leftovers(place)
        refuse_foreign(place)
        work = place.with_name(f".{place.name}.exporting")
        staged, notes = work / "export", work / "notes"
        _begin(work, staged, _digest(parts, labels, choice))
        _check_room(staged, outstanding(parts, notes), choice)
        rows, linked = _write(parts, staged, notes, labels, choice)
        facts = _facts(out, chosen, labels, rows, linked, choice)
        _finish(staged, facts, labels, rows, choice, catalog.root.name)
        publish(staged, place)
        shutil.rmtree(work, ignore_errors=True)
    return facts


# -- what is exported ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Chosen:
    """Photos to export, the source of each that says most, and how many are left out."""

    photos: list[Photo]
    sources: dict[str, Source]
    other_licence: int
    unknown_licence: int
    left_out: dict[str, int]


def _chosen(catalog: Catalog, labels: Sequence[str], licence: LicensedUse) -> _Chosen:
    everything = catalog.photos()
    in_use = [p for p in everything if p.status == "ok" and p.label in labels]
    if not in_use:
        none = f"{catalog.root} has no photo in use ({len(everything)} set aside)"
        raise DataError("NO_PHOTOS", f"{none}; run: bears run --until split")
    if without := sum(photo.split is None for photo in in_use):
        verb = "has" if without == 1 else "have"
        words = f"{count(without, 'photo')} {verb} no split yet; run: bears run --until split"
        raise DataError("NOT_SPLIT", words)
    found: dict[str | None, list[Source]] = defaultdict(list)
    for source in catalog.sources():
        found[source.sha256].append(source)
    sources = {p.sha256: best_source(p, found[p.sha256]) for p in in_use}
    photos = [p for p in in_use if allows(licence_of_source(sources[p.sha256]), licence)]
    barred = {p.sha256 for p in in_use} - {p.sha256 for p in photos}
    unknown = sum(not allows(licence_of_source(sources[h]), "share") for h in barred)
    if not photos:
        words = f"none of {count(len(in_use), 'photo')} has a licence that allows this"
        known = f"of {unknown} no licence is known; to see them, run: bears attribution"
        raise DataError("NO_PHOTOS", f"--licence {licence}: {words}; {known}")
    other = Counter(str(p.status) for p in everything if p.status != "ok")
    if given_up := sum(p.status == "ok" and p.label not in labels for p in everything):
        other["of a class that the project gave up"] = given_up
    return _Chosen(photos, sources, len(barred) - unknown, unknown, dict(other))


def _items(
    catalog: Catalog,
    photos: Sequence[Photo],
    sources: Mapping[str, Source],
    labels: Sequence[str],
    choice: ExportChoice,
) -> list[ExportItem]:
    """In the order of split, class and hash."""
    folders = names.class_folders(labels, no_splits=choice.format == "imagefolder")
    splits = names.split_names(SPLITS, choice.valid)
    files = names.file_names((p.sha256, p.label, p.format) for p in photos)
    past = past_decisions(catalog)
    order = {label: number for number, label in enumerate(labels)}
    place: dict[str | None, int] = {split: number for number, split in enumerate(SPLITS)}
    items, sharded = [], _is_sharded(choice)
    for photo in sorted(photos, key=lambda p: (place[p.split], order[p.label], p.sha256)):
        split, name = photo.split or "", files[photo.sha256]
        source = sources[photo.sha256]
        row = MetadataRow(
            file_name=name if sharded else f"{splits[split]}/{folders[photo.label]}/{name}",
            label=photo.label,
            split=split,
            group=photo.family,
            sha256=photo.sha256,
            title=source.title,
            author=source.author,
            licence=source.licence,
            licence_url=public(source.licence_url),
            page=public(source.page),
            source=address_of(source),
            decisions=past.get(photo.sha256, ()),
        )
        items.append(ExportItem(catalog.file(photo), photo.bytes, row))
    return items


def _is_sharded(choice: ExportChoice) -> bool:
    return choice.format in ("webdataset", "parquet")


def _parts(items: Sequence[ExportItem], choice: ExportChoice) -> list[Part]:
    if not _is_sharded(choice):
        return list(file_parts(items))
    splits = names.split_names(SPLITS, choice.valid)
    digits, suffix = (6, "tar") if choice.format == "webdataset" else (5, "parquet")
    return [
        part
        for split in SPLITS
        for part in shard_parts(_of_split(items, split), splits[split], digits, suffix)
    ]


def _of_split(items: Sequence[ExportItem], split: str) -> list[ExportItem]:
    """In the order of hashes: a reader of shards meets the classes mixed."""
    return sorted((i for i in items if i.row.split == split), key=lambda i: i.row.sha256)


# -- writing ---------------------------------------------------------------------------------------


def _digest(parts: Sequence[Part], labels: Sequence[str], choice: ExportChoice) -> str:
    """Of all that decides on the bytes of the parts: another one begins anew."""
    sha = hashlib.sha256(repr((__version__, choice, list(labels))).encode())
    for part in parts:
        for item in part.items:
            sha.update(repr((part.name, item.row)).encode(errors="replace"))
    return sha.hexdigest()


def _begin(work: Path, staged: Path, digest: str) -> None:
    """The folder of the work, emptied unless the same export was begun there and not published."""
    plan = work / "plan"
    if not (staged.is_dir() and plan.is_file() and plan.read_bytes() == digest.encode()):
        with write_errors(work):
            if work.exists():
                shutil.rmtree(work)
            staged.mkdir(parents=True)
        write_atomic(plan, digest.encode())


def _check_room(staged: Path, parts: Sequence[Part], choice: ExportChoice) -> None:
    """Raises DataError (DISK_FULL) where what is yet to be written would not fit."""
    photos = [item for part in parts for item in part.items]
    links = choice.handling.link and not _is_sharded(choice)
    if links and photos and photos[0].stored.stat().st_dev == staged.stat().st_dev:
        sizes = 0  # how many have metadata to leave out is not known before
    else:
        sizes = sum(_BLOCK * (item.bytes // _BLOCK + 2) for item in photos)
    needed = sizes + _ROW * len(photos) + _RESERVE
    free = shutil.disk_usage(staged).free
    if free < needed:
        have = f"{needed / 1e9:.2f} GB are needed in {staged.parent} and {free / 1e9:.2f} are free"
        raise DataError("DISK_FULL", f"{have}; free some, or name a folder on another disk")


def _write(
    parts: Sequence[Part], staged: Path, notes: Path, labels: Sequence[str], choice: ExportChoice
) -> tuple[list[MetadataRow], int]:
    """The whole rows, and how many photos are links."""
    write = _writer(staged, labels, choice)
    rows: list[MetadataRow] = []
    linked = 0
    total = sum(len(part.items) for part in parts)
    with progress_bar(total=total, desc="export", unit="photo") as bar, write_errors(staged):
        for part in parts:
            for item, file in run_part(part, notes, write):
                linked += file.linked
                row = dataclasses.replace(item.row, file_sha256=file.sha256)
                rows.append(dataclasses.replace(row, file_bytes=file.bytes))
            bar.update(len(part.items))
    return rows, linked


def _writer(
    staged: Path, labels: Sequence[str], choice: ExportChoice
) -> Callable[[Part], list[WrittenFile]]:
    keep = choice.handling.keep_metadata
    if choice.format == "webdataset":
        numbers = {label: number for number, label in enumerate(labels)}
        return partial(write_tar, out=staged, classes=numbers, keep_metadata=keep)
    if choice.format == "parquet":
        return partial(write_parquet, out=staged, labels=labels, keep_metadata=keep)
    return partial(write_files, out=staged, handling=choice.handling)


def _facts(
    out: Path,
    chosen: _Chosen,
    labels: Sequence[str],
    rows: Sequence[MetadataRow],
    linked: int,
    choice: ExportChoice,
) -> Exported:
    counts = Counter((row.label, row.split) for row in rows)
    splits = [str(split) for split in SPLITS]
    photos = {label: {split: counts[label, split] for split in splits} for label in labels}
    some = {label: row for label, row in photos.items() if any(row.values())}
    used = [split for split in splits if any(row[split] for row in some.values())]
    missing = {split: [label for label, row in some.items() if not row[split]] for split in used}
    return Exported(
        path=out,
        format=choice.format,
        photos=some,
        files=len(rows),
        bytes=sum(row.file_bytes for row in rows),
        linked=linked,
        stripped=sum(row.file_sha256 != row.sha256 for row in rows),
        other_licence=chosen.other_licence,
        unknown_licence=chosen.unknown_licence,
        left_out=chosen.left_out,
        formats=dict(Counter(photo.format for photo in chosen.photos).most_common()),
        missing={split: lacking for split, lacking in missing.items() if lacking},
        empty=[label for label in labels if label not in some],
    )


def _finish(
    staged: Path,
    facts: Exported,
    labels: Sequence[str],
    rows: Sequence[MetadataRow],
    choice: ExportChoice,
    name: str,
) -> None:
    """What stands beside the photos; the marker comes last."""
    splits = names.split_names(SPLITS, choice.valid)
    tables = finish.write_tables(staged, rows, choice.format == "imagefolder")
    finish.write_classes(staged, labels)
    finish.write_readme(staged, name, choice.format, facts.photos, splits, rows)
    if choice.format == "folders":  # or classes would have other numbers in such a split
        folders = names.class_folders(labels)
        for split, lacking in facts.missing.items():
            for label in lacking:
                (staged / splits[split] / folders[label]).mkdir(parents=True, exist_ok=True)
    shards = [path.name for path in staged.iterdir() if path.suffix in (".tar", ".parquet")]
    about = {"version": __version__, "format": choice.format}
    write_marker(staged, about, [*tables, finish.README, finish.CLASSES, *shards])
