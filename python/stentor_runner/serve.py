"""A worker: reads requests from the node's socket, runs the function, and answers.

Plain functions run in threads, `async` ones in the event loop, whose answers to pings show the node that the process is not
stuck. Standard input is the socket; it is put out of the function's reach first of all.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import itertools
import json
import linecache
import logging
import math
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Coroutine
from typing import Any, Callable

from . import limits, source, wire

# One stack for each thread that runs a function.
_STACK_BYTES = 1 << 20

# Answers from one look for garbage to the next, and to the next that looks at what the others have left.
_SWEEP_INTERVAL = 8
_SWEEP_INTERVAL_OLD = 128

# What is taken from the socket at once.
_READ_BYTES = 1 << 16

# Octets of a line as the node reads it, its end included; more is cut. See `crates/server/src/sidecar/output.rs`.
_LOG_LINE_BYTES_MAX = 16_384
_LOGGER_CHARS_MAX = 200

# The first octet of a line that says its level by itself.
LOG_MARK = "\x1e"

_LEVELS = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warn", logging.ERROR: "error"}


class _ToNode(logging.Handler):
    """Writes records as lines that the node takes apart again. Its pipe is read whatever happens."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = max((known for known in _LEVELS if known <= record.levelno), default=logging.DEBUG)
            line = _log_line(_LEVELS[level], record.name[:_LOGGER_CHARS_MAX], self.format(record))
            os.write(2, line)
        except Exception:
            self.handleError(record)


def _log_line(level: str, logger: str, text: str) -> bytes:
    """The record as a line, with as much of the text as fits when it is written as JSON. Cutting the line instead would leave
    something that is no record any more."""

    def line(chars: int) -> bytes:
        # What UTF-8 cannot write is shown as Python writes it.
        parts = [part.encode("utf-8", "backslashreplace").decode() for part in (level, logger, text[:chars])]
        return (LOG_MARK + json.dumps(parts, ensure_ascii=False) + "\n").encode()

    # Every character takes an octet or more.
    fits, most = 0, min(len(text), _LOG_LINE_BYTES_MAX)
    whole = line(most)
    if len(whole) <= _LOG_LINE_BYTES_MAX:
        return whole
    while most - fits > 1:
        middle = (fits + most) // 2
        fits, most = (middle, most) if len(line(middle)) <= _LOG_LINE_BYTES_MAX else (fits, middle)
    return line(fits)


class _Crew:
    """Threads that run plain functions: made when all others are busy, kept for ever."""

    def __init__(self, threads_max: int) -> None:
        self._threads_max = threads_max
        self._threads = 0
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)

    def run(self, work: Callable[[], None]) -> None:
        if not self._idle.acquire(blocking=False) and self._threads < self._threads_max:
            self._threads += 1
            threading.Thread(target=self._serve, name=f"function-{self._threads}", daemon=True).start()
        self._work.put(work)

    def _serve(self) -> None:
        while True:
            self._work.get()()
            self._idle.release()


_quiet_moments = itertools.count(1)


def _sweep() -> None:
    """Collects garbage while nobody waits. A function that makes a class for each request, as most do, leaves a cycle each
    time; some fifty of them at once would take the request that happens to be the next a millisecond."""
    moment = next(_quiet_moments)
    if moment % _SWEEP_INTERVAL == 0:
        gc.collect(1 if moment % _SWEEP_INTERVAL_OLD == 0 else 0)


class _Outlet:
    """The way out: straight into the socket where that is quicker than asking the loop to do so."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
        self._loop = loop
        self._connection = connection
        self._lock = threading.Lock()
        self._rest = bytearray()
        # Questions that threads have.
        self._open = 0
        self._answers: list[bytes] = []

    def write(self, octets: bytes) -> None:
        """Called by the loop."""
        with self._lock:
            self._write(octets)

    def open(self) -> None:
        """A thread is about to get a question; it owes one `answer`."""
        with self._lock:
            self._open += 1

    def answer(self, octets: bytes) -> bool:
        """Called by a thread, and true when nobody else has a question. The last one that has a question writes, since the loop would have to be woken for it. Where
        others are busy, answers that are ready together go together: each system call lets go of the interpreter, and costs
        a thread that others compete with far more than itself."""
        with self._lock:
            self._open -= 1
            if self._open == 0 and not self._answers:
                self._write(octets)
                return True
            self._answers.append(octets)
            is_first = len(self._answers) == 1
        if is_first:
            self._loop.call_soon_threadsafe(self._flush)
        return False

    def _flush(self) -> None:
        with self._lock:
            octets = b"".join(self._answers)
            self._answers.clear()
            self._write(octets)

    def _write(self, octets: bytes) -> None:
        sent = 0 if self._rest else self._send(octets)
        if sent < len(octets):
            self._rest += octets[sent:]
            self._loop.call_soon_threadsafe(self._loop.add_writer, self._connection, self._writable)

    def _writable(self) -> None:
        with self._lock:
            del self._rest[: self._send(self._rest)]
            if not self._rest:
                self._loop.remove_writer(self._connection)

    def _send(self, octets: bytes | bytearray) -> int:
        try:
            return self._connection.send(octets)
        except BlockingIOError:
            return 0
        except OSError:
            # The node has gone, and the end of the socket is read at once.
            return len(octets)


class Runner:
    """One connection to one node, and the function it speaks for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
        from . import asked, verdict

        self._loop = loop
        self._request = asked.request
        self._verdict = verdict
        self._connection = connection
        self._outlet = _Outlet(loop, connection)
        self._frames = wire.Frames()
        # Made once: memory of this size comes from the kernel and goes back to it each time.
        self._buffer = memoryview(bytearray(_READ_BYTES))
        # What runs in the loop, by the number of its question, and when its time is over.
        self._tasks: dict[int, tuple[asyncio.Task[None], float]] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._function: Callable[..., Any] | None = None
        # Why there is none.
        self._fault = "no code has come"
        self._is_async = False
        self._context: Any = None
        self._crew = _Crew(1)

    def readable(self) -> None:
        """Takes what has come."""
        try:
            count = self._connection.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            # The node has gone. Threads that still run a function would keep the interpreter from ending.
            os._exit(0)
        for message, tail in self._frames.feed(bytes(self._buffer[:count])):
            kind = message["type"]
            if kind == "ask":
                self._ask(message, tail)
            elif kind == "ping":
                self._send({"type": "pong", "id": message["id"], "memory": limits.memory_bytes()})
            elif kind == "load":
                self._load(message, tail)
            elif kind == "hello":
                self._hello(message)

    def _send(self, message: dict[str, Any]) -> None:
        self._outlet.write(wire.frame(message))

    def _hello(self, message: dict[str, Any]) -> None:
        import fastapi
        import starlette
        from stentor_context import Context

        from .table import Table

        if message["protocol"] != wire.PROTOCOL:
            raise SystemExit(f"the node speaks version {message['protocol']} of the protocol, this is {wire.PROTOCOL}")
        limits.bound(message["memory_bytes_max"])
        self._crew = _Crew(message["threads"])
        logger = logging.getLogger(message["function"])
        logger.setLevel(logging.DEBUG)
        self._context = Context(
            config=message["config"],
            logger=logger,
            node=message["node"],
            tenant=message["tenant"],
            table=Table(message["table"]),
        )
        versions = {"python": sys.version.split()[0], "fastapi": fastapi.__version__, "starlette": starlette.__version__}
        self._send({"type": "hello", "protocol": wire.PROTOCOL, **versions})

    def _load(self, message: dict[str, Any], tail: bytes) -> None:
        """Takes new code. What runs, runs to its end with the old one."""
        self._function = None
        fault = self._compile(message["file"], tail.decode("utf-8", "replace"))
        # What is there now stays, and looking for garbage in it again and again would cost milliseconds each time.
        gc.collect()
        gc.freeze()
        said = None
        if fault is not None:
            self._fault = f"line {fault.line}: {fault.reason}"
            said = {"line": fault.line, "reason": fault.reason}
        self._send({"type": "loaded", "generation": message["generation"], "fault": said})

    def _compile(self, file: str, text: str) -> source.Fault | None:
        found = source.check(text)
        if isinstance(found, source.Fault):
            return found
        # Tracebacks show the lines of functions that have no file.
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        namespace: dict[str, Any] = {"__name__": "authenticator", "__file__": file}
        try:
            exec(source.compiled(text, file), namespace)
        except Exception as error:
            return source.Fault(found.lineno, f"the function cannot be defined: {type(error).__name__}: {error}")
        self._function = namespace[found.name]
        self._is_async = inspect.iscoroutinefunction(self._function)
        return None

    def _ask(self, message: dict[str, Any], tail: bytes) -> None:
        if self._function is None:
            reason = {"verdict": "failed", "cause": "result", "reason": f"there is no function; {self._fault}"}
            self._outlet.write(wire.verdict(message["id"], reason))
        elif self._is_async:
            self._begin(self._function, message, tail)
        else:
            function = self._function
            self._outlet.open()
            message["deadline"] = time.monotonic() + message["timeout_ms"] / 1000
            self._crew.run(lambda: self._run_in_thread(function, message, tail))

    def _begin(self, function: Callable[..., Any], message: dict[str, Any], tail: bytes) -> None:
        deadline = self._loop.time() + message["timeout_ms"] / 1000
        task = _begun(self._loop, self._run_async(function, message, tail))
        if task.done():
            return
        self._tasks[message["id"]] = (task, deadline)
        if self._alarm is None or deadline < self._alarm.when():
            self._set_alarm(deadline)

    def _set_alarm(self, deadline: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        """One alarm for all: nearly every question is answered long before it, and costs it nothing then."""
        self._alarm = None
        now = self._loop.time()
        for question, (task, deadline) in self._tasks.items():
            if deadline <= now:
                task.cancel()
                # Whether it heeds that or not, it is not told again.
                self._tasks[question] = (task, math.inf)
        nearest = min((deadline for _, deadline in self._tasks.values()), default=math.inf)
        if nearest < math.inf:
            self._set_alarm(nearest)

    async def _run_async(self, function: Callable[..., Any], message: dict[str, Any], tail: bytes) -> None:
        try:
            result = await function(context=self._context, request=self._request(message, tail))
            said = self._verdict.of_result(result, message["topic"])
        except asyncio.CancelledError as error:
            # The alarm cancels who is late; whatever else ends so has cancelled something by itself.
            is_late = self._tasks.get(message["id"], (None, 0.0))[1] == math.inf
            said = {"verdict": "overdue"} if is_late else self._verdict.of_exception(error)
        except BaseException as error:
            said = self._verdict.of_exception(error)
        # One that never waited for anything is not there.
        self._tasks.pop(message["id"], None)
        self._outlet.write(wire.verdict(message["id"], said))
        if not self._tasks:
            _sweep()

    def _run_in_thread(self, function: Callable[..., Any], message: dict[str, Any], tail: bytes) -> None:
        if time.monotonic() >= message["deadline"]:
            # It has waited for a thread until nobody waits for it any more.
            self._outlet.answer(wire.verdict(message["id"], {"verdict": "overdue"}))
            return
        try:
            result = function(context=self._context, request=self._request(message, tail))
            if inspect.iscoroutine(result):
                result.close()
            said = self._verdict.of_result(result, message["topic"])
        except BaseException as error:
            said = self._verdict.of_exception(error)
        if self._outlet.answer(wire.verdict(message["id"], said)):
            # The frames of the function are gone by now, and what it has made with them.
            _sweep()


def _begun(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task that has taken its first step: a function that waits for nothing is answered at once, and not in the loop's
    next turn."""
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, eager_start=True)
    # A new task asks its loop to call its first step, with a context of its own; here that is done by who asked for it.
    step: list[tuple[Callable[[], None], contextvars.Context]] = []
    loop.call_soon = lambda callback, *, context: step.append((callback, context))  # type: ignore
    try:
        task = asyncio.Task(work, loop=loop)
    finally:
        del loop.call_soon
    callback, context = step[0]
    context.run(callback)
    return task


async def _serve(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    connection.setblocking(False)
    loop.add_reader(connection, Runner(loop, connection).readable)
    await loop.create_future()


def main(parent: int) -> None:
    """Serves until the node goes."""
    limits.die_with(parent)
    connection = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.stack_size(_STACK_BYTES)
    # Of packages, what is worth knowing; of the function, whatever it says.
    logging.basicConfig(level=logging.WARNING, handlers=[_ToNode()], format="%(message)s")
    # What a function needs first is there before the first request waits for it.
    import fastapi  # noqa: F401

    asyncio.run(_serve(connection))
