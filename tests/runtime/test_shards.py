"""Files of rows by hash: plans, writers, and reading a few of many."""

import hashlib
import multiprocessing

import numpy as np
import pytest

from bear_classifier.runtime import shards
from bear_classifier.runtime.shards import Column, StoredRows, Writer, is_whole, listed_names, plan

ROW = shards.row_type(features=3, light=0)


def names(n, first=0):
    return [hashlib.sha256(bytes([i % 256, i // 256])).hexdigest() for i in range(first, first + n)]


def numbers(list_):
    """What the rows of a list hold: they follow from its names."""
    light = np.array([int(name[:6], 16) for name in listed_names(list_)], dtype=np.float32)
    return {"features": light[:, None] + np.arange(3), "light": light}


def fill(list_):
    with Writer(list_, ROW, 2) as writer:
        writer.add(**{name: rows[writer.done :] for name, rows in numbers(list_).items()})


@pytest.fixture
def filled(tmp_path, monkeypatch):
    """40 rows of a first plan and 5 of a second."""
    monkeypatch.setattr(shards, "SHARD_ROWS", 16)
    for n in (40, 45):
        for list_ in plan(tmp_path, names(n)):
            fill(list_)
    return tmp_path


@pytest.mark.parametrize(("n", "files"), [(1, 1), (8, 1), (9, 2), (16, 2), (17, 4), (100, 16)])
def test_a_plan_has_files_of_about_the_same_size(n, files, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_ROWS", 8)
    lists = plan(tmp_path, names(n))
    assert len(lists) <= files and all(path.stem.endswith(f"-of-{files:05}") for path in lists)
    held = [name for path in lists for name in listed_names(path)]
    assert held == sorted(names(n))
    assert plan(tmp_path, reversed(names(n))) == lists  # the order of the photos does not matter


def test_a_second_plan_holds_what_is_new(filled):
    assert len({path.parent for path in shards.files(filled)}) == 2
    assert plan(filled, names(45)) == []
    (more,) = plan(filled, names(46))
    assert listed_names(more) == names(1, 45)


def test_rows_are_read_by_name(filled):
    stored = StoredRows(filled)
    every = names(45)
    assert len(stored) == 45 and set(stored.names()) == set(every)
    assert stored.find([every[44], "f" * 64, every[3]]).tolist()[1] == -1
    at = stored.find(every[::-2])
    light = np.array([int(name[:6], 16) for name in every[::-2]], dtype=np.float32)
    assert np.array_equal(stored.take("light", at), light)
    column = Column(stored, "features", at)
    whole = light[:, None] + np.arange(3, dtype=np.float32)
    assert column.shape == whole.shape and np.array_equal(np.asarray(column), whole)
    for rows in (slice(3, 9), np.array([5, 2, 2]), light > light[3], [7]):
        assert np.array_equal(column[rows], whole[rows])
    assert np.array_equal(column.at(np.array([4, 1]))[1:], whole[[1]])
    with pytest.raises(KeyError):
        Column(stored, "features", np.array([-1]))


def test_rows_in_memory_are_read_alike(filled):
    every, stored = names(45), StoredRows(filled)
    at = stored.find(every)
    columns = {name: stored.take(name, at) for name in ("features", "light")}
    again = StoredRows.in_memory(every, **columns)
    for name in columns:
        assert np.array_equal(again.take(name, again.find(every[::3])), columns[name][::3])


def test_a_row_belongs_to_its_name(filled):
    """Lists that changed places, or a list that somebody edited."""
    file = next(iter(shards.files(filled)))
    assert is_whole(file)
    list_ = file.with_suffix(".txt")
    own = listed_names(list_)
    list_.write_text("\n".join([*own[1:], own[0]]), encoding="ascii")
    assert not is_whole(file)


def test_a_reader_sees_whole_files_only(tmp_path):
    (list_,) = plan(tmp_path, names(4))
    with pytest.raises(FileNotFoundError):
        StoredRows(tmp_path)
    with Writer(list_, ROW, 2) as writer:
        writer.add(**{name: rows[:2] for name, rows in numbers(list_).items()})
    assert not shards.is_made(list_)
    fill(list_)
    assert np.array_equal(StoredRows(tmp_path).take("light", np.arange(4)), numbers(list_)["light"])


@pytest.mark.parametrize("size", [0, 50, 192, 200])
def test_what_was_stopped_before_its_first_row_goes_on(tmp_path, size):
    (list_,) = plan(tmp_path, names(4))
    with Writer(list_, ROW, 2):
        pass
    begun = list_.with_suffix(".begun")
    begun.write_bytes((begun.read_bytes() + bytes(8))[:size])
    fill(list_)
    assert shards.is_made(list_) and is_whole(list_.with_suffix(".npy"))


def planned(folder, gate):
    gate.wait()
    for list_ in plan(folder, names(30)):
        if not shards.is_made(list_):
            fill(list_)


def test_programs_that_begin_at_once_make_one_plan(tmp_path):
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(3)
    jobs = [context.Process(target=planned, args=(tmp_path, gate)) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0, 0]
    assert len(StoredRows(tmp_path)) == 30 and all(map(is_whole, shards.files(tmp_path)))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
