"""Decisions of people about photos: events that are appended, never changed, and can be undone.

A photo's state is its label, status and reason. Every event holds the state before and after it.
An undo is an event as well, so that undoing an undo does the thing again. Only the newest decision
in force on a photo can be taken back: see `UndoStack`.
"""

from __future__ import annotations

import dataclasses
import getpass
import json
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, get_args

from bear_classifier.dataset.catalog import Catalog, now
from bear_classifier.dataset.queries import hashes_from
from bear_classifier.dataset.schema import (
    CONFLICT,
    TAKEN_DOWN,
    Action,
    Decision,
    Event,
    Photo,
    consistent,
    usable_status,
)
from bear_classifier.dataset.undo_stack import UndoStack, cannot_undo
from bear_classifier.errors import DataError

_PAGE = 20  # events read on the way back to the last one in force; then twice as many, ...
LONGEST_NAME = 100  # characters of who decides
_SHOWN = 40  # characters of a word that is quoted
AUTO = "auto"  # who decides in `bears clean --auto`
GONE = "its file was deleted or replaced"  # why `bears clean --gone` drops


def history(catalog: Catalog, sha256: str | None = None, limit: int | None = None) -> list[Event]:
    """The events of one photo, or of all, newest last. limit: how many of the newest."""
    where, values = ("WHERE sha256 = ?", (sha256,)) if sha256 is not None else ("", ())
    most = -1 if limit is None else max(0, limit)
    return catalog.events(f"{where} ORDER BY id DESC LIMIT ?", (*values, most))[::-1]


def photo_origins(catalog: Catalog, events: Iterable[Event]) -> dict[str, str]:
    """sha256 -> the file or address of each photo of these events that is in the catalog."""
    photos = _photos(catalog, {event.sha256 for event in events})
    return {photo.sha256: photo.origin for photo in photos.values()}


def decided(catalog: Catalog) -> dict[str, Event]:
    """sha256 -> the last decision on the photo that is not taken back; no undo is one.

    Changes by folder moves, lists and take-downs do not count: nobody looked at the photo."""
    last: dict[str, Event] = {}
    upto = catalog.events("WHERE id <= ? ORDER BY id DESC", (catalog.revision(),))
    for event in in_force(upto):
        if event.undoes is None and event.request:
            last.setdefault(event.sha256, event)
    return last


def undecided(catalog: Catalog, hashes: Collection[str]) -> set[str]:
    """Of these photos, those in use without a decision in force."""
    in_use = {photo.sha256 for photo in catalog.photos_of(hashes) if photo.status == "ok"}
    which = "WHERE sha256 IN (SELECT value FROM json_each(?)) ORDER BY id DESC"
    events = in_force(catalog.events(which, (json.dumps(sorted(in_use)),)))
    return in_use - {event.sha256 for event in events if event.undoes is None and event.request}


def full_sha256(catalog: Catalog, start: str) -> str:
    """The hash that begins like that. Raises DataError (NO_SUCH_PHOTO)."""
    start = start.lower()
    if len(start) == 64:
        return start
    hashes = hashes_from(catalog, start) if len(start) >= 8 else []
    if len(hashes) == 1:
        return hashes[0]
    why = f"{len(hashes)} photos begin like that" if len(start) >= 8 else "give 8 digits or more"
    raise DataError("NO_SUCH_PHOTO", f"{start[:64]!r} names no photo: {why}")


def user_name(given: str | None = None) -> str:
    """The name that somebody gave, of one line, or else the user's name in the system."""
    try:
        return plain(given or "")[:LONGEST_NAME] or getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name for the number, as in a container
        return "somebody"


def relabel(catalog: Catalog, photo: Photo, label: str, who: str, why: str) -> Event:
    """Give a photo another label, or its first, inside a transaction of the caller."""
    return _record(catalog, photo, dataclasses.replace(photo, label=label), "relabel", who, why)


def drop(catalog: Catalog, photo: Photo, who: str, why: str) -> Event:
    """Use a photo for nothing any more, inside a transaction of the caller; its file stays."""
    after = dataclasses.replace(photo, status="dropped", reason=why)
    return _record(catalog, photo, after, "drop", who, why)


def bar(catalog: Catalog, photo: Photo, who: str, why: str) -> None:
    """Drop what was taken down, inside a transaction of the caller. why: begins with TAKEN_DOWN.

    A photo that was dropped before gets this reason, so that nothing restores it."""
    if photo.status != "dropped":
        drop(catalog, photo, who, why)
    elif not is_taken_down(photo):
        catalog.put_photos([dataclasses.replace(photo, reason=why)])


def is_taken_down(photo: Photo) -> bool:
    """Whether it was taken down on request: no decision brings it back."""
    return photo.status == "dropped" and photo.reason.startswith(TAKEN_DOWN)


def decide(
    catalog: Catalog, labels: Collection[str], decisions: Sequence[Decision], who: str, request: str
) -> list[Event]:
    """Carry out all of the decisions, or none, and return their events.

    labels: the classes of the project; request: an id made by the caller: a second call with it
    does nothing and returns the events of the first. Raises ValueError without one, and DataError
    (UNKNOWN_CLASS, NO_SUCH_PHOTO, NOT_DROPPED, TAKEN_DOWN, CONFLICT)."""
    if not request:
        raise ValueError("a request needs an id, or a double click counts twice")
    if unknown := {d.action for d in decisions} - set(get_args(Action)):
        raise ValueError(f"no such action: {unknown}")
    with catalog.transaction():
        if done := _of_request(catalog, request):
            return done
        hashes = {d.sha256 for d in decisions}
        photos, past = _photos(catalog, hashes), _past(catalog, hashes)
        who = plain(who)
        for decision in decisions:
            if refusal := _refusal(decision, labels, photos.get(decision.sha256), past):
                raise DataError(refusal.code, "; ".join(filter(None, refusal[1:3])))
        for decision in decisions:
            photo, why = photos[decision.sha256], plain(decision.why)
            by = plain(decision.who) or who
            action, after = _outcome(decision, photo, past[photo.sha256], by)
            link = {"request": request, "score": decision.score, "based": decision.based}
            at = {"at": decision.at} if decision.at else {}
            event = _record(catalog, photo, after, action, by, why, **link, **at)
            photos[photo.sha256] = after
            past[photo.sha256].append(event)
        return _of_request(catalog, request)


def undo(
    catalog: Catalog, who: str, event: int | None = None, request: str | None = None
) -> list[Event]:
    """Take back one event, or without its number the last request that is not taken back yet.

    An undo can be undone by its number, which does the thing again. Photos that were taken down
    stay so and are passed over without a number. request: as in `decide`; None never repeats one.
    Raises DataError (CANNOT_UNDO, NOTHING_TO_UNDO, TAKEN_DOWN)."""
    if request == "":
        raise ValueError("a request needs an id, or a double click counts twice")
    with catalog.transaction():
        if request and (done := _of_request(catalog, request)):
            return done
        request = request or uuid.uuid4().hex
        targets = _last_request(catalog) if event is None else _one(catalog, event)
        hashes = {target.sha256 for target in targets}
        photos, past = _photos(catalog, hashes), _past(catalog, hashes)
        stacks = {sha256: UndoStack(past[sha256]) for sha256 in hashes}
        for target in sorted(targets, key=lambda e: -e.id):
            photo, stack = photos[target.sha256], stacks[target.sha256]
            _refuse_taken_down(photo)
            if event is None and not stack.holds(target.id):
                continue  # taken back alone before
            latest = stack.removable(target.id)
            after = consistent(dataclasses.replace(photo, **_inverse(latest)))
            why = f"takes back event {latest.id}"
            link = {"undoes": latest.id, "request": request}
            stack.add(_record(catalog, photo, after, "undo", plain(who), why, **link))
            photos[photo.sha256] = after
        return _of_request(catalog, request)


# -- deciding --------------------------------------------------------------------------------------


class Refusal(NamedTuple):
    """Why a decision is not carried out. what: without a next step; advice: the next step of who
    decides on a page; later: the event that was not known, of a CONFLICT."""

    code: str
    what: str
    advice: str = ""
    later: Event | None = None


def refusals_of(
    catalog: Catalog, labels: Collection[str], decisions: Mapping[int, Decision]
) -> dict[int, Refusal]:
    """Those of the decisions that `decide` would refuse, each with the reason; the keys are the
    caller's. Nothing is changed."""
    hashes = {decision.sha256 for decision in decisions.values()}
    photos, past = _photos(catalog, hashes), _past(catalog, hashes)
    refused = {}
    for key, decision in decisions.items():
        photo = photos.get(decision.sha256)
        if refusal := _refusal(decision, labels, photo, past):
            refused[key] = refusal
        elif photo:
            try:
                _, photos[photo.sha256] = _outcome(decision, photo, past[photo.sha256], "")
            except DataError as exc:  # NOT_DROPPED, after the decisions before it
                refused[key] = Refusal(exc.code, exc.sentence)
    return refused


def _refusal(
    decision: Decision, labels: Collection[str], photo: Photo | None, past: dict[str, list[Event]]
) -> Refusal | None:
    """Why it cannot be done, or was decided without knowing the newest state."""
    if photo is None:
        no_photo = f"no photo here has the sha256 {_quoted(decision.sha256)}"
        return Refusal("NO_SUCH_PHOTO", no_photo, "reload the list of photos")
    if is_taken_down(photo):
        return Refusal(TAKEN_DOWN, _may_not_be_used(photo))
    if decision.action == "keep" and not photo.label:
        no_label = f"photo {photo.sha256[:12]} has no label yet that could be kept"
        return Refusal("NO_LABEL", no_label, f"give it one of {', '.join(labels)}")
    if decision.action == "relabel" and decision.label not in labels:
        no_class = f"{_quoted(decision.label)} is no class of the project"
        return Refusal("UNKNOWN_CLASS", no_class, f"choose {', '.join(labels)}")
    others = past[photo.sha256]
    if decision.based is not None and others and others[-1].id > decision.based:
        later = others[-1]
        who = "Another window" if later.request else f"A run ({later.who})"
        other = f"{who} {what_was_done(later)} (photo {photo.sha256[:12]})"
        return Refusal("CONFLICT", other, "reload, or decide again to overwrite", later)
    return None


def _outcome(
    decision: Decision, photo: Photo, past: Sequence[Event], who: str
) -> tuple[str, Photo]:
    """The action as it is recorded, and the photo after it."""
    if decision.action == "relabel" and decision.label != photo.label:
        labelled = consistent(dataclasses.replace(photo, label=decision.label))
        return "relabel" if photo.label else "confirm", labelled
    if decision.action == "drop":
        reason = plain(decision.why) or f"dropped by {who}"
        if reason.startswith((TAKEN_DOWN, CONFLICT)):  # which mean something to the program
            reason = f"dropped by {who}: {reason}"
        return "drop", dataclasses.replace(photo, status="dropped", reason=reason)
    if decision.action != "restore":
        return "keep", photo
    if photo.status != "dropped":
        state = f"photo {photo.sha256[:12]} is not dropped but {photo.status}"
        raise DataError("NOT_DROPPED", f"{state}; there is nothing to restore")
    for event in reversed(past):
        before, after = _states(event)
        if after.get("status") == "dropped" and before["status"] != "dropped":
            back = {"status": before["status"], "reason": before["reason"]}
            return "restore", consistent(dataclasses.replace(photo, **back))
    usable = usable_status(photo.label)  # screening will judge it
    return "restore", dataclasses.replace(photo, status=usable, reason="")


def _refuse_taken_down(photo: Photo) -> None:
    if is_taken_down(photo):
        raise DataError(TAKEN_DOWN, _may_not_be_used(photo))


def _may_not_be_used(photo: Photo) -> str:
    return f"photo {photo.sha256[:12]} may not be used again: {photo.reason}"


def what_was_done(event: Event, photo: str = "this photo") -> str:
    """The end of a sentence about an event, with the local time. photo: words for it."""
    old, new = (f'"{plain(label)[:_SHOWN]}"' for label in (event.old, event.new))
    actions = {
        "keep": f"kept {photo} as {new}",
        "relabel": f"changed {photo} from {old} to {new}",
        "drop": f"dropped {photo}",
        "restore": f"restored {photo}",
        "undo": f"took back a decision on {photo}",
        "confirm": f"labelled {photo} as {new}",
    }
    then, today = datetime.fromisoformat(event.at).astimezone(), datetime.now().date()
    day = "" if then.date() == today else f"on {then:%Y-%m-%d} "
    return f"{actions[event.action]} {day}at {then:%H:%M}"


def _quoted(word: str) -> str:
    """In quotes, shortened, and escaped."""
    return f"{word[:_SHOWN]!r}" + ("..." if len(word) > _SHOWN else "")


def plain(text: str) -> str:
    """One printable line; lone surrogates could not be stored."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


# -- taking back -----------------------------------------------------------------------------------


def _one(catalog: Catalog, event: int) -> list[Event]:
    if event.bit_length() < 64 and (events := catalog.events("WHERE id = ?", (event,))):
        return events
    raise cannot_undo(f"there is no event {event}")


def _last_request(catalog: Catalog) -> list[Event]:
    """The last decisions that belong together and can be taken back, all of them in one list."""
    event = newest_decision(catalog)
    if event is None:
        raise DataError("NOTHING_TO_UNDO", "no decision is left to take back")
    batch = _of_request(catalog, event.request) if event.request else [event]
    return [one for one in batch if not _is_barred(catalog, one.sha256)]


def newest_decision(catalog: Catalog) -> Event | None:
    """The newest one in force that can be taken back."""
    for event in in_force(newest_first(catalog)):
        if event.undoes is None and not _is_barred(catalog, event.sha256):
            return event
    return None


def _is_barred(catalog: Catalog, sha256: str) -> bool:
    photo = catalog.photo(sha256)
    return photo is not None and is_taken_down(photo)


def newest_first(catalog: Catalog) -> Iterator[Event]:
    """All events, read a page at a time."""
    before, size = catalog.revision() + 1, _PAGE
    while page := catalog.events("WHERE id < ? ORDER BY id DESC LIMIT ?", (before, size)):
        yield from page
        before, size = page[-1].id, 2 * size


def in_force(newest_first: Iterable[Event]) -> Iterator[Event]:
    """Events that are not taken back; an undo that is in force is one of them."""
    undone: set[int | None] = set()
    for event in newest_first:
        if event.id not in undone:
            undone.add(event.undoes)
            yield event


def _states(event: Event) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state before and after an event, of which events of old catalogs hold a part."""
    if event.before:
        return json.loads(event.before), json.loads(event.after)
    if event.action == "relabel":
        return {"label": event.old}, {"label": event.new}
    return {"status": event.old, "reason": ""}, {"status": event.new, "reason": event.why}


def _inverse(event: Event) -> dict[str, Any]:
    """The fields of a photo that take back an event; screening may have changed others since."""
    before, after = _states(event)
    changed = {field: value for field, value in before.items() if value != after[field]}
    return changed | ({"reason": before["reason"]} if "status" in changed else {})


def _record(
    catalog: Catalog, photo: Photo, after: Photo, action: str, who: str, why: str, **more: Any
) -> Event:
    """Change the photo and write down why. more: further fields of the event."""
    after = consistent(after)
    if after != photo:
        catalog.put_photos([after])
    by_status = action == "drop" or (photo.label == after.label and photo.status != after.status)
    old, new = (photo.status, after.status) if by_status else (photo.label, after.label)
    event = Event(0, now(), who, action, photo.sha256, old, new, why, _state(photo), _state(after))
    return catalog.add_event(dataclasses.replace(event, **more))


def _state(photo: Photo) -> str:
    return json.dumps({"label": photo.label, "status": photo.status, "reason": photo.reason})


def _photos(catalog: Catalog, hashes: Collection[str]) -> dict[str, Photo]:
    if len(hashes) == 1:  # the usual case, a click
        photos = [catalog.photo(sha256) for sha256 in hashes if sha256.isascii()]
        return {photo.sha256: photo for photo in photos if photo}
    return {photo.sha256: photo for photo in catalog.photos_of(hashes)}


def _past(catalog: Catalog, hashes: Collection[str]) -> dict[str, list[Event]]:
    """The events of each of these photos, newest last."""
    past: dict[str, list[Event]] = {sha256: [] for sha256 in hashes}
    where = "WHERE sha256 IN (SELECT value FROM json_each(?)) ORDER BY id"
    for event in catalog.events(where, (json.dumps(sorted(hashes)),)):
        past[event.sha256].append(event)
    return past


def _of_request(catalog: Catalog, request: str) -> list[Event]:
    return catalog.events("WHERE request = ? ORDER BY id", (request,))
