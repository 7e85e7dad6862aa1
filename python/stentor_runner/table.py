"""`context.table`: a small mapping from texts to JSON values in an SQLite file, shared by all workers of a hub."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, MutableMapping
from typing import Any

# A table is for tokens and counters. Whoever has more has a database.
TABLE_BYTES_MAX = 256 << 20
_PAGE_BYTES = 4096
_MISSING = object()

# How long a worker waits for another one that writes.
_BUSY_SECONDS = 5.0


class Table(MutableMapping[str, Any]):
    """Survives the worker and the node. Every method is atomic, and `with table:` makes several of them so."""

    def __init__(self, path: str) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        # Transactions are begun by hand; threads are kept apart by the lock.
        self._file = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        run = self._file.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run(f"PRAGMA max_page_count = {TABLE_BYTES_MAX // _PAGE_BYTES}")
        run("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")

    def __enter__(self) -> "Table":
        """Begins a transaction, or takes part in the one that this thread has begun."""
        self._lock.acquire()
        try:
            if self._depth == 0:
                self._file.execute("BEGIN IMMEDIATE")
        except BaseException:
            self._lock.release()
            raise
        self._depth += 1
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        self._depth -= 1
        try:
            if self._depth == 0:
                self._file.execute("COMMIT" if kind is None else "ROLLBACK")
        except sqlite3.Error:
            # What could not be written must not stay open either.
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")
            raise
        finally:
            self._lock.release()

    @staticmethod
    def _key(key: Any) -> str:
        if not isinstance(key, str):
            raise TypeError(f"keys of the table are texts, not {type(key).__name__}")
        return key

    def __getitem__(self, key: str) -> Any:
        with self._lock:
            row = self._file.execute("SELECT value FROM entries WHERE key = ?", (self._key(key),)).fetchone()
        if row is None:
            raise KeyError(key)
        return json.loads(row[0])

    def __setitem__(self, key: str, value: Any) -> None:
        text = json.dumps(value)
        with self._lock:
            self._file.execute("INSERT OR REPLACE INTO entries VALUES (?, ?)", (self._key(key), text))

    def __delitem__(self, key: str) -> None:
        with self._lock:
            gone = self._file.execute("DELETE FROM entries WHERE key = ?", (self._key(key),)).rowcount
        if not gone:
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            rows = self._file.execute("SELECT key FROM entries ORDER BY key").fetchall()
        return iter([row[0] for row in rows])

    def __len__(self) -> int:
        with self._lock:
            return self._file.execute("SELECT count(*) FROM entries").fetchone()[0]

    def setdefault(self, key: str, default: Any = None) -> Any:
        with self:
            return super().setdefault(key, default)

    def pop(self, key: str, default: Any = _MISSING) -> Any:
        with self:
            return super().pop(key) if default is _MISSING else super().pop(key, default)

    def popitem(self) -> tuple[str, Any]:
        with self:
            return super().popitem()

    def update(self, *args: Any, **kwargs: Any) -> None:
        with self:
            super().update(*args, **kwargs)

    def clear(self) -> None:
        with self._lock:
            self._file.execute("DELETE FROM entries")
