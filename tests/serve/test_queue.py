"""What is admitted, what is answered, and what a model that changed meanwhile gives."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from corpus import drawn, saved

from bear_classifier.collect.sources.local_files import list_folder
from bear_classifier.errors import BearsError, ModelError, PhotoError
from bear_classifier.serve import corrections
from bear_classifier.serve.inference_worker import Models, work
from bear_classifier.serve.queue import Service, served_models
from bear_classifier.ship.bundle import load
from bear_classifier.ship.predict import Model
from bear_classifier.web.guard import Refused

PHOTO = saved(drawn(seed=3), "JPEG")


def with_service(
    place: Path, work: Callable[[Service], Awaitable[Any]], most_waiting: int = 4
) -> Any:
    async def inside() -> Any:
        async with Service(served_models(place), most_waiting) as service:
            await service.check()
            return await work(service)

    return asyncio.run(inside())


class Slow(Service):
    """Answers when it is told to."""

    def __init__(self, place: Path, most_waiting: int = 2) -> None:
        super().__init__(served_models(place), most_waiting)
        self.checked, self.free = True, asyncio.Event()

    async def _ask(self, header: dict[str, str], photo: bytes) -> dict[str, Any]:
        await self.free.wait()
        return {"said": photo.decode()}


@pytest.fixture(scope="module")
def asked(model_dir: Path) -> list[Any]:
    """What one service says to a photo, to what is none, to a photo again, and for a model that
    it has not."""

    async def four(service: Service) -> list[Any]:
        words = [("", PHOTO), ("", b"hello"), ("tiny", PHOTO, "explain"), ("other", PHOTO)]
        said = []
        for word in words:
            try:
                said.append(await service.answer(*word))  # type: ignore[arg-type]
            except BearsError as exc:
                said.append(exc)
        return said

    return list(with_service(model_dir, four))


def test_the_service_says_what_the_model_says(model_dir: Path, asked: list[Any]) -> None:
    direct, found = Model(load(model_dir)).predict(PHOTO), asked[0]
    assert found["model"] == "tiny"
    assert found["label"] == direct.label
    assert found["probabilities"] == pytest.approx(direct.probabilities, abs=1e-4)
    assert found["sentence"] and found["milliseconds"] > 0


def test_a_broken_picture_gets_its_code_and_the_next_its_answer(asked: list[Any]) -> None:
    broken, found = asked[1:3]
    assert isinstance(broken, PhotoError) and broken.code == "NOT_AN_IMAGE"
    assert len(found["maps"]) == 3
    assert found["photo"].startswith("data:image/jpeg;base64,")


def test_more_than_may_wait_are_refused_at_once(model_dir: Path) -> None:
    async def crowd() -> None:
        service = Slow(model_dir)
        room = service.at_once + 2
        jobs = [asyncio.create_task(service.answer("", b"%d" % i)) for i in range(room + 3)]
        await asyncio.sleep(0.05)
        refused = [job for job in jobs if job.done()]
        assert len(refused) == 3
        for job in refused:
            exc = job.exception()
            assert isinstance(exc, Refused) and (exc.status, exc.code) == (503, "BUSY")
            assert exc.sentence.startswith("The service is busy (2 waiting). Try again in ")
            assert exc.after and 1 <= exc.after <= 60
        service.free.set()
        rest = await asyncio.gather(*(job for job in jobs if job not in refused))
        assert [row["said"] for row in rest] == [str(i) for i in range(room)]
        assert service.admitted == 0

    asyncio.run(crowd())


def test_what_was_admitted_before_the_stop_is_answered_after_it(model_dir: Path) -> None:
    async def stopping() -> None:
        service = Slow(model_dir)
        job = asyncio.create_task(service.answer("", b"early"))
        await asyncio.sleep(0.01)
        service.stop()
        assert service.not_ready() == "stopping"
        with pytest.raises(Refused, match="STOPPING"):
            await service.answer("", b"late")
        service.free.set()
        assert (await job)["said"] == "early"

    asyncio.run(stopping())


def test_nobody_works_for_a_client_that_left(model_dir: Path) -> None:
    async def left() -> bool:
        return True

    async def leave() -> None:
        service = Slow(model_dir)
        with pytest.raises(Refused, match="GONE"):
            await service.answer("", b"x", gone=left)  # would wait for ever otherwise
        assert service.admitted == 0

    asyncio.run(asyncio.wait_for(leave(), 5))


def test_until_the_models_passed_nothing_is_answered(model_dir: Path) -> None:
    async def early() -> None:
        service = Service(served_models(model_dir), 4)
        assert service.not_ready() == "starting"
        with pytest.raises(Refused, match="STARTING"):
            await service.answer("", PHOTO)

    asyncio.run(early())


def test_a_folder_offers_every_bundle_in_it(model_dir: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(model_dir, tmp_path / name)
    (tmp_path / "notes").mkdir()
    shutil.copytree(model_dir, tmp_path / ".one.previous")
    assert [offer.name for offer in served_models(tmp_path)] == ["one", "two"]
    found = with_service(tmp_path, lambda service: service.answer("two", PHOTO))
    assert found["model"] == "two"
    with pytest.raises(ModelError, match="NO_MODEL"):
        served_models(tmp_path / "notes")


def linked(shelf: Path, **places: Path) -> list[tuple[str, Path]]:
    """Names and places of what a folder of links offers."""
    shelf.mkdir()
    for name, place in places.items():
        (shelf / name).symlink_to(place)
    return [(offer.name, offer.path.resolve()) for offer in served_models(shelf)]


def test_two_bundles_of_one_name_are_both_offered(model_dir: Path, tmp_path: Path) -> None:
    """Links to dated releases: under the names of the links, as only these tell them apart."""
    old, new = (Path(shutil.copytree(model_dir, tmp_path / d / "tiny")) for d in ("2025", "2026"))
    assert linked(tmp_path / "a", old=old, new=new) == [("new", new), ("old", old)]
    assert linked(tmp_path / "b", only=old) == [("tiny", old)]
    assert linked(tmp_path / "c", again=old, only=old) == [("tiny", old)], "it is one model"
    solo = Path(shutil.copytree(model_dir, tmp_path / "2027" / "solo"))
    found = linked(tmp_path / "e", new=new, old=old, third=solo)
    assert sorted(found) == [("new", new), ("old", old), ("solo", solo)], "only what is alike"
    third = Path(shutil.copytree(model_dir, tmp_path / "2027" / "new"))
    found = linked(tmp_path / "d", new=new, old=old, third=third)
    assert sorted(found) == [("new", new), ("old", old), ("third", third)]


def test_an_unknown_model_is_none(asked: list[Any]) -> None:
    unknown = asked[3]
    assert isinstance(unknown, Refused) and (unknown.status, unknown.code) == (404, "NO_MODEL")


def test_a_bundle_published_anew_is_not_mixed_with_the_old_one(model_dir: Path) -> None:
    models = Models({"tiny": (str(model_dir), "0" * 64)})
    with pytest.raises(ModelError, match="MODEL_REPLACED"):
        work(models, {"model": "tiny", "do": "answer"}, PHOTO)


def test_heic_of_visitors_is_refused_and_never_decoded(model_dir: Path) -> None:
    """Its decoder had faults by which a photo took over the program."""
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    checksum = load(model_dir).about["checksum"]
    models = Models({"tiny": (str(model_dir), checksum)})
    for do in ("answer", "explain", "copy"):
        with pytest.raises(PhotoError, match="UNSUPPORTED_FORMAT: HEIC photos are not supported"):
            work(models, {"model": "tiny", "do": do}, heic)


def test_a_correction_is_a_new_picture_in_the_folder_of_its_class(tmp_path: Path) -> None:
    about = {"name": "bears", "version": 3}
    kept = corrections.keep(tmp_path, PHOTO, "teddy", "grizzly", about)
    corrections.keep(tmp_path, PHOTO, corrections.NONE, "grizzly", about)
    assert kept.parent.name == "teddy" and kept.read_bytes() == PHOTO
    rows = [
        json.loads(r)
        for r in (tmp_path / "corrections.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [(r["right"], r["said"], r["version"]) for r in rows] == [
        ("teddy", "grizzly", 3), ("none", "grizzly", 3)
    ]  # fmt: skip
    assert (tmp_path / rows[1]["photo"]).is_file()


def test_a_class_called_none_is_a_class(tmp_path: Path) -> None:
    """What is of no class at all then has another word, and lies where no dataset looks."""
    about = {"name": "a", "version": 1, "labels": ["dog", "none"]}
    corrections.keep(tmp_path, PHOTO, "none", "dog", about)
    corrections.keep(tmp_path, PHOTO + b"x", corrections.NONE_AT_ALL, "dog", about)
    corrections.keep(tmp_path, PHOTO + b"y", "dog", "none", about)
    found = list_folder(tmp_path, ["dog", "none"]).candidates
    assert sorted(source.label for source in found) == ["dog", "none"]
    assert len(list(tmp_path.glob("_none/*.jpg"))) == 1


def test_corrections_do_not_fill_the_disk_nor_leave_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refused, match="BAD_LABEL"):
        corrections.keep(tmp_path, PHOTO, "../outside", "", {"name": "a", "version": 1})
    monkeypatch.setattr(corrections, "MAX_CORRECTIONS", 1)
    corrections.keep(tmp_path, PHOTO, "teddy", "", {"name": "a", "version": 1})
    with pytest.raises(Refused, match="FULL"):
        corrections.keep(tmp_path, PHOTO + b"x", "teddy", "", {"name": "a", "version": 1})
