"""CSV tables below an address of fsspec, where no file can grow: sent in pieces, whole at last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from bear_classifier.engine.storage import Storage
from bear_classifier.runtime.growing_table import GrowingTable

_ROWS = 512  # of a piece: what a program that is killed loses at most


class StoredTable:
    """As `GrowingTable`, which it is in a folder of this machine meanwhile. The pieces of one that
    was stopped lie in a folder beside its place, NAME.MADE_BY.begun, for any machine."""

    def __init__(self, address: str, name: str, columns: Sequence[str], made_by: str) -> None:
        """address: of the folder. Raises ConfigError (NO_STORAGE), DataError (DISK_FULL,
        CANNOT_WRITE)."""
        self._name, self._pieces = name, f"{name}.{made_by}.begun"
        self._storage = Storage(address, f"the place of the table, {address!r},")
        self.begun = f"{address}/{self._pieces}"
        self._here = TemporaryDirectory()
        self._root = Path(self._here.name)
        there = self._storage.names(self._pieces)
        pieces = self._root / "pieces"
        self._storage.fetch(pieces, there)
        rows = b"".join((pieces / name).read_bytes() for name in there)
        (self._root / self._pieces).write_bytes(rows)
        self._table = GrowingTable(self._root / self._name, columns, made_by)
        self.done = self._table.done
        self._sent, self._unsent = len(rows), 0
        if self._table.begun.stat().st_size != self._sent:  # another table, or not whole
            self._storage.remove(self._pieces)
            self._sent = 0

    def add(self, row: Sequence[object]) -> None:
        self._table.add(row)
        self._unsent += 1
        if self._unsent >= _ROWS:
            self._send()

    def _send(self) -> None:
        """What was written since the last piece, whose name is where it begins."""
        with self._table.begun.open("rb") as file:
            file.seek(self._sent)
            rows = file.read()
        if rows:
            (self._root / "piece").write_bytes(rows)
            self._storage.publish(self._root / "piece", f"{self._pieces}/{self._sent:015}")
            self._sent, self._unsent = self._sent + len(rows), 0

    def __enter__(self) -> StoredTable:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._table.__exit__(kind, exc, trace)
        if kind is None:
            self._storage.publish(self._root / self._name, self._name)
            self._storage.remove(self._pieces)
        else:
            self._send()
        self._here.cleanup()
