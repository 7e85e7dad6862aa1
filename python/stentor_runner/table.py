"""`context.table`: a small mapping from texts to JSON values in an SQLite file, shared by all workers of a hub.

Who has a transaction is kept in the caller's context variables: each request has its own, and what a request starts, be it a
task or a thread, has its parent's and takes part. Whoever has none reads what is committed, by a connection that never
waits, and waits for their turn to write.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import sqlite3
import threading
import time
import weakref
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any

import stentor_context

# A table is for tokens and counters. Whoever has more has a database.
TABLE_BYTES_MAX = 256 << 20
_PAGE_BYTES = 4096
_MISSING = object()

# How long a worker waits for another one that writes.
_BUSY_SECONDS = 5.0

# How long a task sleeps before it looks again whether a thread or another worker has finished.
_LOOK_SECONDS = 0.001

# The transaction that the caller is in, and in how many blocks of it. The one who is in the first block ends it.
_inside: contextvars.ContextVar[tuple[object, int]] = contextvars.ContextVar("inside", default=(None, 0))


class Table(stentor_context.Table):
    """Survives the worker and the node. Every method is atomic, and `with` and `async with` make several of them so."""

    def __init__(self, path: str) -> None:
        # Held as long as a transaction is open, so that there is one at a time.
        self._turn = threading.Lock()
        # The tasks of a loop stand in a queue of their own: a thread's lock would stop the one that has the turn.
        self._queues: weakref.WeakKeyDictionary[Any, asyncio.Lock] = weakref.WeakKeyDictionary()
        self._open: object = None
        # The loop whose task has the turn; None for threads.
        self._loop: Any = None
        # Transactions are begun by hand; threads are kept apart by locks, held for one statement each.
        self._writer, self._writer_lock = _connect(path), threading.Lock()
        run = self._writer.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run(f"PRAGMA max_page_count = {TABLE_BYTES_MAX // _PAGE_BYTES}")
        run("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        self._reader, self._reader_lock = _connect(path), threading.Lock()

    def __enter__(self) -> "Table":
        """Begins a transaction, or takes part in the one that the caller is in."""
        if not self._blocks() and _running_loop() is not None:
            # It could not wait for its turn without stopping the one whose turn it is.
            raise RuntimeError("in an async function, a transaction is begun by `async with context.table:`")
        self._enter()
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        self._leave(kind)

    async def __aenter__(self) -> "Table":
        blocks = self._blocks()
        if blocks:
            _inside.set((self._open, blocks + 1))
            return self
        loop = asyncio.get_running_loop()
        queue = self._queues.setdefault(loop, asyncio.Lock())
        await queue.acquire()
        try:
            while not self._turn.acquire(blocking=False):
                await asyncio.sleep(_LOOK_SECONDS)
            self._loop = loop
            try:
                await self._begin_in_time()
            except BaseException:
                self._give_back()
                raise
        except BaseException:
            queue.release()
            raise
        self._begun()
        return self

    async def __aexit__(self, kind: Any, *_: Any) -> None:
        is_end = self._blocks() == 1
        try:
            self._leave(kind)
        finally:
            if is_end:
                self._queues[asyncio.get_running_loop()].release()

    def _blocks(self) -> int:
        """In how many blocks of the open transaction the caller is; whoever has outlived theirs is in none."""
        transaction, blocks = _inside.get()
        return blocks if transaction is not None and transaction is self._open else 0

    def _enter(self) -> None:
        blocks = self._blocks()
        if blocks:
            _inside.set((self._open, blocks + 1))
            return
        if not self._turn.acquire(blocking=False):
            if self._loop is not None and self._loop is _running_loop():
                # Only this thread could let the other one go on.
                raise RuntimeError(
                    "another request has a transaction of the table open; where an async function has transactions, "
                    "it writes inside of `async with context.table:`"
                )
            self._turn.acquire()
        try:
            with self._writer_lock:
                self._writer.execute("BEGIN IMMEDIATE")
        except BaseException:
            self._give_back()
            raise
        self._begun()

    async def _begin_in_time(self) -> None:
        """Begins without stopping the loop while another worker writes."""
        end = time.monotonic() + _BUSY_SECONDS
        while True:
            with self._writer_lock:
                self._writer.execute("PRAGMA busy_timeout = 0")
                try:
                    self._writer.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    # Python 3.9 and 3.10 do not tell codes.
                    if "locked" not in str(error) or time.monotonic() >= end:
                        raise
                finally:
                    self._writer.execute(f"PRAGMA busy_timeout = {int(_BUSY_SECONDS * 1000)}")
            await asyncio.sleep(_LOOK_SECONDS)

    def _begun(self) -> None:
        self._open = object()
        _inside.set((self._open, 1))

    def _leave(self, kind: Any) -> None:
        blocks = self._blocks()
        transaction, before = _inside.get()
        _inside.set((transaction, before - 1) if before > 1 else (None, 0))
        if blocks != 1:
            return
        try:
            with self._writer_lock:
                self._end(kind)
        finally:
            self._give_back()

    def _end(self, kind: Any) -> None:
        try:
            self._writer.execute("COMMIT" if kind is None else "ROLLBACK")
        except sqlite3.Error:
            # What could not be written must not stay open either.
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            # Where SQLite has rolled back by itself, what it said then is on its way to the caller.
            if kind is None:
                raise

    def _give_back(self) -> None:
        self._open = self._loop = None
        self._turn.release()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """A method that writes: in the caller's transaction, or else in one of its own."""
        self._enter()
        try:
            yield
        except BaseException as error:
            self._leave(type(error))
            raise
        self._leave(None)

    def _rows(self, statement: str, *values: str) -> list[Any]:
        is_inside = self._blocks() > 0
        connection, lock = (self._writer, self._writer_lock) if is_inside else (self._reader, self._reader_lock)
        with lock:
            return connection.execute(statement, values).fetchall()

    def _write(self, statement: str, *rows: tuple[str, ...]) -> int:
        with self._writer_lock:
            if not self._writer.in_transaction:
                raise sqlite3.OperationalError("this transaction has been rolled back when a write of it failed")
            return self._writer.executemany(statement, rows).rowcount

    def _put(self, *rows: tuple[str, ...]) -> None:
        self._write("INSERT OR REPLACE INTO entries VALUES (?, ?)", *rows)

    def __getitem__(self, key: str) -> Any:
        rows = self._rows("SELECT value FROM entries WHERE key = ?", _key(key))
        if not rows:
            raise KeyError(key)
        return json.loads(rows[0][0])

    def __setitem__(self, key: str, value: Any) -> None:
        row = (_key(key), _text(value))
        with self._writing():
            self._put(row)

    def __delitem__(self, key: str) -> None:
        row = (_key(key),)
        with self._writing():
            gone = self._write("DELETE FROM entries WHERE key = ?", row)
        if not gone:
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter([row[0] for row in self._rows("SELECT key FROM entries ORDER BY key")])

    def __len__(self) -> int:
        return int(self._rows("SELECT count(*) FROM entries")[0][0])

    def copy(self) -> dict[str, Any]:
        rows = self._rows("SELECT key, value FROM entries ORDER BY key")
        return {key: json.loads(text) for key, text in rows}

    def keys(self) -> KeysView[str]:
        return dict.fromkeys(self).keys()

    def items(self) -> ItemsView[str, Any]:
        return self.copy().items()

    def values(self) -> ValuesView[Any]:
        return self.copy().values()

    def setdefault(self, key: str, default: Any = None) -> Any:
        with self._writing():
            return super().setdefault(key, default)

    def pop(self, key: str, default: Any = _MISSING) -> Any:
        with self._writing():
            return super().pop(key) if default is _MISSING else super().pop(key, default)

    def popitem(self) -> tuple[str, Any]:
        with self._writing():
            return super().popitem()

    def update(self, *args: Any, **kwargs: Any) -> None:
        # All are looked at before one is written: the transaction that it is in may go on after an exception.
        rows = [(_key(key), _text(value)) for key, value in dict(*args, **kwargs).items()]
        with self._writing():
            self._put(*rows)

    def clear(self) -> None:
        with self._writing():
            self._write("DELETE FROM entries", ())


def _connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _running_loop() -> Any:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"keys of the table are texts, not {type(key).__name__}")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise ValueError(f"the key {key[:80]!a} is no text that UTF-8 could write") from None
    return key


def _text(value: Any) -> str:
    try:
        return json.dumps(value)
    except TypeError as error:
        raise TypeError(f"values of the table are what JSON can say: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"values of the table are what JSON can say: {error}") from None
