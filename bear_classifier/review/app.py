"""The review page: keep, drop or relabel suspect photos.

The evidence is computed once, at the start, and the ranking anew after every decision, which is an
event of `decisions`. Who may ask: see `request_guard`; what is shown: see `queue` and `progress`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import uvicorn
from fastapi import Depends, FastAPI, Query
from fastapi.responses import Response

from bear_classifier.config.settings import Config
from bear_classifier.dataset import decisions, new_classes
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import SPLITS, Action, Decision, Event, NewClass
from bear_classifier.errors import DataError
from bear_classifier.pipeline import Project
from bear_classifier.review import queue
from bear_classifier.review.catalog_view import Fresh, Now
from bear_classifier.review.classes import class_routes, next_undo, request_of, who_of
from bear_classifier.review.feature_views import MOST_ROWS, feature_routes
from bear_classifier.review.gallery import USES, gallery_routes, gallery_rows
from bear_classifier.review.labelling import label_routes
from bear_classifier.review.progress import progress
from bear_classifier.review.queue import LiveRanking, QueueFilter, RankedPhotos, Ranking, Unranked
from bear_classifier.review.request_guard import protect
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import count, say
from bear_classifier.web.addresses import browser_url, is_loopback, listening
from bear_classifier.web.guard import Refused, read_json
from bear_classifier.web.static_files import page_routes
from bear_classifier.web.thumbnails import THUMBNAIL_SIZES, ThumbnailCache

_STATIC = Path(__file__).parent / "static"
Load = Callable[[Catalog, Config], RankedPhotos]
_Body = Annotated[dict[str, Any], Depends(read_json)]


def ranked(catalog: Catalog, config: Config) -> RankedPhotos:
    """The evidence on every usable photo; scikit-learn is imported late."""
    from bear_classifier.judge.clean import evidence_of

    return evidence_of(catalog, config, decisions.decided(catalog))


def _filter(label: str = "", reason: str = "", side: str = "", state: str = "open") -> QueueFilter:
    """The filter in the address of a request. side: the split, under the name that it has there."""
    for name, value, known in (("side", side, ("", *SPLITS)), ("state", state, queue.STATES)):
        if value not in known:
            raise Refused(400, "BAD_FILTER", f"{name} {value[:50]!r} is not one of {known}")
    return QueueFilter(label, reason, side, state)


_Filter = Annotated[QueueFilter, Depends(_filter)]


def make_app(
    root: Path,
    config: Config,
    load: Load = ranked,
    host: str = "127.0.0.1",
    file: Path | None = None,
    who: str = "",
    framed: bool = False,
) -> FastAPI:
    """The page of one dataset, ranked now; without a first model nothing is. root: of its catalog;
    host: that it is reached under; file: the project file, for new classes; who: decides where the
    page does not say it, "" for the user of the system; framed: other pages from here may show it
    inside theirs."""
    labels = list(config.classes)
    fresh = Fresh(root)
    with fresh.turn() as (catalog, today):
        loaded, unranked = _loaded(catalog, config, load)
        live = LiveRanking(loaded, catalog, today)
    pictures = ThumbnailCache()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=fresh.while_served)
    protect(app, host, root, framed)
    app.include_router(feature_routes(root, config, fresh, live))
    app.include_router(gallery_routes(config, fresh))
    app.include_router(label_routes(root, config, fresh, labels))
    app.include_router(class_routes(file, fresh, labels, who, lambda c, t: state(c, t, _filter())))

    app.include_router(page_routes(_STATIC, "review.html"))

    @app.get("/api/project")
    def project() -> dict[str, Any]:
        return {
            "name": config.name,
            "labels": labels,
            "sides": SPLITS,
            "states": queue.STATES,
            "reasons": sorted(filter(None, loaded.kinds().words)),
            "uses": USES,
            "who": decisions.user_name(who),
            "unranked": unranked,
            "unlabelled": int(fresh.now().photos.status.is_("unlabelled").sum()),
        }

    def state(catalog: Catalog, today: Now, chosen: QueueFilter) -> dict[str, Any]:
        now = progress(live.at(today), today, chosen)
        return now | {"undo": next_undo(catalog)}

    @app.get("/api/queue")
    def show_queue(
        chosen: _Filter,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        at: str = "",
        after: int | None = None,
        before: int | None = None,
    ) -> dict[str, Any]:
        with fresh.turn() as (catalog, today):
            ranking = live.at(today)
            return queue.queue_page(
                catalog, ranking, today, chosen, offset, limit, at, after, before
            )

    @app.get("/api/progress")
    def show_progress(chosen: _Filter) -> dict[str, Any]:
        with fresh.turn() as (catalog, today):
            return state(catalog, today, chosen)

    @app.get("/api/photo/{sha256}")
    def in_full(sha256: str) -> dict[str, Any]:
        with fresh.turn() as (catalog, today):
            ranking = live.at(today)
            if ranking.rank(sha256) is None or sha256 not in today.photos.hashes:
                raise _unknown(sha256)
            return queue.photo_in_full(catalog, ranking, today, sha256)

    @app.get("/photo/{sha256}")
    def picture(sha256: str, size: int = 400) -> Response:
        if size not in THUMBNAIL_SIZES:
            raise Refused(400, "BAD_SIZE", f"size {size} is not one of {THUMBNAIL_SIZES}")
        photos = fresh.last.photos  # a file stays
        if sha256 not in photos.hashes:
            photos = fresh.now().photos
        if (row := photos.hashes.row(sha256)) is None:
            raise _unknown(sha256)
        form = photos.format.at(row)
        data = pictures.get(root / "photos" / sha256[:2] / f"{sha256}.{form}", size)
        kept = {"Cache-Control": "private, max-age=31536000, immutable"}
        return Response(data, media_type="image/jpeg", headers=kept)

    @app.post("/api/decide")
    def decide(chosen: _Filter, body: _Body) -> dict[str, Any]:
        request, requested = _requested(body, live.at(fresh.now()))
        by = who_of(body, who)
        with fresh.turn() as (catalog, today):
            if not catalog.events("WHERE request = ? LIMIT 1", (request,)):
                _confirmed(requested, today, _number(body, "test_side"))
            catalog.keep_copy()
            events = decisions.decide(catalog, labels, requested, by, request)
            return _answer(catalog, chosen, events)

    @app.post("/api/undo")
    def undo(chosen: _Filter, body: _Body) -> dict[str, Any]:
        """event: this one; shown: the one that the page said it would take back, and no other."""
        event, shown = _number(body, "event"), _number(body, "shown")
        by = who_of(body, who)
        with fresh.turn() as (catalog, _):
            waiting = next_undo(catalog)
            if shown is not None and (waiting is None or waiting["event"] != shown):
                then = f"; undo would now take back: {waiting['words']}" if waiting else ""
                raise Refused(
                    409, "UNDO_MOVED", f"Another window has decided or undone meanwhile{then}"
                )
            catalog.keep_copy()
            taken = new_classes.take_back(catalog, file, by, event)
            if isinstance(taken, NewClass) and taken.label in labels:
                labels.remove(taken.label)
            return _answer(catalog, chosen, [] if isinstance(taken, NewClass) else taken)

    def _answer(catalog: Catalog, chosen: QueueFilter, events: list[Event]) -> dict[str, Any]:
        today = fresh.after(events)
        ranking = live.at(today)
        hashes = [event.sha256 for event in events]
        others = [sha for sha in dict.fromkeys(hashes) if ranking.rank(sha) is None]
        return {
            "events": [queue.event_row(event) for event in events],
            "rows": queue.rows_of(catalog, ranking, today, hashes)
            + gallery_rows(catalog, today, others),
            "progress": state(catalog, today, chosen),
            "labels": labels,
        }

    return app


def _loaded(catalog: Catalog, config: Config, load: Load) -> tuple[RankedPhotos, str]:
    """The evidence, or why there is none: a gallery needs no first model."""
    try:
        return load(catalog, config), ""
    except DataError as exc:
        if exc.code != "NOT_PROBED":
            raise
        return Unranked(), exc.sentence


def _requested(body: dict[str, Any], ranking: Ranking) -> tuple[str, list[Decision]]:
    request, items = request_of(body), body.get("items")
    if not isinstance(items, list) or not 0 < len(items) <= MOST_ROWS:
        raise Refused(400, "BAD_REQUEST", f"items has to be a list of 1 to {MOST_ROWS} decisions")
    return request, [_decision(item, body.get("overwrite") is True, ranking) for item in items]


def _decision(item: Any, overwrite: bool, ranking: Ranking) -> Decision:
    if not isinstance(item, dict):
        raise Refused(400, "BAD_REQUEST", "a decision has to be a JSON object")
    sha256, action, label = item.get("sha256"), item.get("action"), item.get("label", "")
    if not isinstance(sha256, str) or not isinstance(label, str):
        raise Refused(400, "BAD_REQUEST", "sha256 and label have to be texts")
    if not isinstance(action, str) or action not in get_args(Action):
        raise Refused(400, "BAD_REQUEST", f"action is not one of {get_args(Action)}")
    based = None if overwrite else _number(item, "based")
    suspect = ranking.suspect(sha256)
    why = suspect.reasons[0] if suspect and suspect.reasons else ""
    score = suspect.score if suspect else None
    return Decision(sha256, cast(Action, action), label, why, score, based)


def _confirmed(requested: list[Decision], today: Now, confirmed: int | None) -> None:
    """Photos of the test split change only if the request says how many of them do."""
    tests = sum(d.action != "keep" and today.is_test(d.sha256) for d in requested)
    if tests and confirmed != tests:
        raise Refused(
            409, "TEST_SIDE", f"this would change {count(tests, 'photo')} of the test split, which"
            " judges the model; to do it all the same, discard this, reload the page and press the"
            f' key twice (a program: send "test_side": {tests})'
        )  # fmt: skip


def _number(body: dict[str, Any], name: str) -> int | None:
    value = body.get(name)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and not (whole and abs(value) < 2**63):  # as many bits as SQLite keeps
        raise Refused(400, "BAD_REQUEST", f"{name} has to be a whole number")
    return value


def _unknown(sha256: str) -> Refused:
    return Refused(404, "NO_SUCH_PHOTO", f"there is no photo {sha256[:80]!r} in this list")


def serve_review(
    opened: Project, host: str, port: int, view: str = "", who: str | None = None
) -> None:
    """Rank, open the page and wait. view: to begin with, "" for the usual one. Raises DataError and
    ConfigError (PORT_TAKEN)."""
    config, by = opened.config, decisions.user_name(who)
    with listening(host, port) as listener:
        listener.listen(128)  # before the photos are ranked, which takes a while
        with heartbeat("review"):
            app = make_app(opened.data, config, host=host, file=opened.file, who=by)
        address = browser_url(host, listener) + (f"/#view={view}" if view else "")
        say(f"Reviewing {config.name} on {address} (Ctrl-C stops)")
        if not is_loopback(host):
            say(f"Everybody who reaches {host} can see and decide; there is no password")
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
