"""The rows of a catalog and the tables that hold them.

A search result becomes a `Source`, which its download updates: every address has exactly one. A
picture becomes one `Photo`, however many sources hold it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

Status = Literal["ok", "unusable", "duplicate", "dropped", "unlabelled"]
Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
SPLIT_NAMES: dict[str, Split] = {  # as datasets are published, in small letters
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
Action = Literal["keep", "relabel", "drop", "restore"]

PENDING, OK, DUPLICATE, CONFLICT, GONE = "PENDING", "OK", "DUPLICATE", "LABEL_CONFLICT", "GONE"
TAKEN_DOWN = "TAKEN_DOWN"
SPARE = "SPARE"  # found beyond search.per_class; fetched where another address failed
STORED = "STORED_FILE"  # the stored file of a photo was cut, changed or lost
PLACEHOLDER = "PLACEHOLDER"  # a picture that a site shows in place of many


@dataclass(frozen=True)
class Photo:
    """One usable or unusable picture. origin: the address or path that it first came from; label:
    "" of a photo that nobody has confirmed a class of: it is "unlabelled" and used for nothing."""

    sha256: str
    origin: str
    label: str
    format: str
    width: int
    height: int
    bytes: int
    dhash: str
    contrast: float  # grey levels of 255, standard deviation over a thumbnail
    group: str | None = None
    split: Split | None = None
    status: Status = "ok"
    reason: str = ""

    @property
    def family(self) -> str:
        """Its group of near-copies; a photo without one is a group of its own."""
        return self.group or self.sha256


def usable_status(label: str) -> Status:
    """The status of a photo of this label that nothing speaks against."""
    return "ok" if label else "unlabelled"


def consistent(photo: Photo) -> Photo:
    """The photo, unlabelled if it has no label and is not set aside, and not if it has one."""
    if photo.status == "unlabelled" if photo.label else photo.status in ("ok", "duplicate"):
        return replace(photo, status=usable_status(photo.label), reason="")
    return photo


@dataclass(frozen=True)
class Source:
    """One candidate, found or failed, and its provenance.

    origin: path or address; stamp: of a file its size and time, which show changes; of a search
    result the filters of the search."""

    origin: str
    label: str
    kind: str  # folder, unlabelled, starter, urls, web, openverse
    stamp: str = ""
    code: str = PENDING
    sentence: str = ""
    sha256: str | None = None
    # how it was found
    query: str = ""
    engine: str = ""
    rank: int = 0  # place in the engine's answers to the query, from 1
    page: str = ""  # address of the web page that shows it
    thumbnail: str = ""
    title: str = ""
    author: str = ""
    licence: str = ""
    licence_url: str = ""
    # how it was fetched
    final_url: str = ""  # after redirects
    address: str = ""  # IP address that answered
    at: str = ""  # time of the answer, UTC
    http: int = 0  # status code, 0 without an answer
    type: str = ""  # Content-Type, as the server said it
    bytes: int = 0
    opt_out: str = ""  # directive or rule by which the site refuses
    via: str = ""  # "thumbnail" where the picture itself was gone
    # how it was published
    split: str = ""  # train, valid or test, where the source says so
    expected: str = ""  # SHA-256 that it was published with
    decisions: str = ""  # those that came with it, see `dataset.formats.metadata`
    listed_in: str = ""  # path of the table, or of the archive that holds it


@dataclass(frozen=True)
class SearchPage:
    """One page of results of a search engine, or why there is none."""

    engine: str
    query: str
    page: int  # from 1
    options: str
    at: str
    code: str  # OK, or EMPTY where there were no (more) results
    found: int


@dataclass(frozen=True)
class TakeDown:
    """A request that nothing of a domain, address or file be used. kind: domain, url or sha256."""

    kind: str
    value: str
    at: str
    who: str
    why: str


@dataclass(frozen=True)
class Published:
    """A bundle that was made from this dataset. photos: sha256 -> split at that time."""

    model: str
    version: int
    at: str
    photos: dict[str, str]


@dataclass(frozen=True)
class Suspect:
    """score: chance (0 to 1) that something is wrong; scores: by kind; reasons: in words, the most
    important first; probabilities: by class, of a model that did not see the photo; neighbours:
    sha256 of the photos most like it, nearest first."""

    sha256: str
    origin: str
    label: str
    split: str
    suggested: str
    score: float
    reasons: list[str]
    scores: dict[str, float] = field(default_factory=dict)
    probabilities: dict[str, float] = field(default_factory=dict)
    neighbours: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Decision:
    """An action that somebody requests for one photo.

    label: the new one, of a relabel only; score: what drew attention to the photo; based: the
    revision of the catalog that was looked at, None to skip the check for later events; who, at: of
    a decision that was made elsewhere, "" for one that is made here and now."""

    sha256: str
    action: Action
    label: str = ""
    why: str = ""
    score: float | None = None
    based: int | None = None
    who: str = ""
    at: str = ""


@dataclass(frozen=True)
class Event:
    """One step in the life of a photo; never changed or deleted.

    action: keep, relabel, drop, restore, undo, or confirm, which gives a photo its first label;
    old, new: the label or status that changed;
    before, after: JSON of label, status and reason, "" in catalogs of version 2 and older;
    undoes: the event that this one takes back; request: shared by the events of a batch."""

    id: int
    at: str
    who: str
    action: str
    sha256: str
    old: str
    new: str
    why: str
    before: str = ""
    after: str = ""
    score: float | None = None
    based: int | None = None
    undoes: int | None = None
    request: str = ""


@dataclass(frozen=True)
class NewClass:
    """A class that somebody made in the review page. after: the newest event at that time; undone:
    1 once it is taken back."""

    id: int
    at: str
    who: str
    label: str
    request: str
    after: int
    undone: int = 0


@dataclass(frozen=True)
class StageRun:
    """One finished stage. inputs: digest of everything that it was made from."""

    stage: str
    started: str
    seconds: float
    inputs: str
    outcome: dict[str, Any]


SCHEMA_VERSION = 6
# What version 2 added to the table of version 1, with its type; the order is that of `Source`.
_FOUND_AND_FETCHED = dict.fromkeys(
    (
        *("query", "engine", "rank", "page", "thumbnail", "title", "author", "licence"),
        *("licence_url", "final_url", "address", "at", "http", "type", "bytes", "opt_out", "via"),
    ),
    "TEXT NOT NULL DEFAULT ''",
) | dict.fromkeys(("rank", "http", "bytes"), "INTEGER NOT NULL DEFAULT 0")
_VERSION_1 = [
    """CREATE TABLE photo (
    sha256 TEXT PRIMARY KEY, origin TEXT NOT NULL, label TEXT NOT NULL, format TEXT NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, bytes INTEGER NOT NULL, dhash TEXT NOT NULL,
    contrast REAL NOT NULL, "group" TEXT, split TEXT CHECK (split IN ('train', 'valid', 'test')),
    status TEXT NOT NULL CHECK (status IN ('ok', 'unusable', 'duplicate', 'dropped')),
    reason TEXT NOT NULL
) STRICT""",
    """CREATE TABLE source (
    origin TEXT PRIMARY KEY, label TEXT NOT NULL, kind TEXT NOT NULL, stamp TEXT NOT NULL,
    code TEXT NOT NULL, sentence TEXT NOT NULL, sha256 TEXT REFERENCES photo
) STRICT""",
    """CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL,
    sha256 TEXT NOT NULL REFERENCES photo, old TEXT NOT NULL, new TEXT NOT NULL, why TEXT NOT NULL
) STRICT""",
    """CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stage TEXT NOT NULL, started TEXT NOT NULL,
    seconds REAL NOT NULL, inputs TEXT NOT NULL, outcome TEXT NOT NULL
) STRICT""",
]
_VERSION_2 = [
    *(f'ALTER TABLE source ADD COLUMN "{c}" {kind}' for c, kind in _FOUND_AND_FETCHED.items()),
    """CREATE TABLE asked (
    engine TEXT NOT NULL, query TEXT NOT NULL, page INTEGER NOT NULL, options TEXT NOT NULL,
    at TEXT NOT NULL, code TEXT NOT NULL, found INTEGER NOT NULL,
    PRIMARY KEY (engine, query, page, options)
) STRICT""",
    """CREATE TABLE takedown (
    kind TEXT NOT NULL CHECK (kind IN ('domain', 'url', 'sha256')), value TEXT NOT NULL,
    at TEXT NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL, PRIMARY KEY (kind, value)
) STRICT""",
    """CREATE TABLE published (
    id INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, version INTEGER NOT NULL,
    at TEXT NOT NULL, photos TEXT NOT NULL
) STRICT""",
]
_VERSION_3 = [
    "ALTER TABLE event ADD COLUMN before TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE event ADD COLUMN after TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE event ADD COLUMN score REAL",
    "ALTER TABLE event ADD COLUMN based INTEGER",
    "ALTER TABLE event ADD COLUMN undoes INTEGER REFERENCES event",
    "ALTER TABLE event ADD COLUMN request TEXT NOT NULL DEFAULT ''",
    "CREATE INDEX event_sha256 ON event (sha256)",
    "CREATE INDEX event_request ON event (request)",
    "CREATE UNIQUE INDEX event_undoes ON event (undoes)",  # nothing is taken back twice
]
_VERSION_4 = [  # words: pages of search results, splits
    "ALTER TABLE asked RENAME TO search_page",
    "UPDATE photo SET reason = 'ACROSS_SPLITS' || substr(reason, 13)"
    " WHERE reason LIKE 'ACROSS_SIDES:%'",
]
# SQLite changes no CHECK of a table: a new one takes its place (lang_altertable.html, section 7).
_VERSION_5 = [  # photos without a label, classes made in the review page
    """CREATE TABLE photo_5 (
    sha256 TEXT PRIMARY KEY, origin TEXT NOT NULL, label TEXT NOT NULL, format TEXT NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, bytes INTEGER NOT NULL, dhash TEXT NOT NULL,
    contrast REAL NOT NULL, "group" TEXT, split TEXT CHECK (split IN ('train', 'valid', 'test')),
    status TEXT NOT NULL CHECK (status IN ('ok', 'unusable', 'duplicate', 'dropped', 'unlabelled')),
    reason TEXT NOT NULL,
    CHECK (label <> '' OR status NOT IN ('ok', 'duplicate')),
    CHECK (label = '' OR status <> 'unlabelled')
) STRICT""",
    "INSERT INTO photo_5 SELECT * FROM photo",
    "DROP TABLE photo",
    "ALTER TABLE photo_5 RENAME TO photo",
    """CREATE TABLE new_class (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, who TEXT NOT NULL, label TEXT NOT NULL,
    request TEXT NOT NULL UNIQUE, "after" INTEGER NOT NULL, undone INTEGER NOT NULL
) STRICT""",
]
_VERSION_6 = [  # what a file was published with
    f"ALTER TABLE source ADD COLUMN {name} TEXT NOT NULL DEFAULT ''"
    for name in ("split", "expected", "decisions", "listed_in")
]


def upgrades(version: int) -> list[str]:
    """The statements that make a catalog of `version` (0: empty) one of `SCHEMA_VERSION`."""
    steps = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5, _VERSION_6)
    return [statement for step in steps[version:] for statement in step]
