"""A worker: reads requests from the node's socket, runs the function, and answers.

Plain functions run in threads, `async` ones in the event loop, whose answers to pings show the node that the process is not
stuck. Standard input is the socket; it is put out of the function's reach first of all.
"""

from __future__ import annotations

import __future__

import asyncio
import inspect
import json
import linecache
import logging
import os
import queue
import socket
import sys
import threading
import time
from collections import deque
from typing import Any, Callable
from urllib.parse import unquote

from . import limits, source, wire

# One stack for each thread that runs a function.
_STACK_BYTES = 1 << 20

# Octets of a logged text; more is cut.
_LOG_CHARS_MAX = 8000

# The first octet of a line that says its level by itself.
LOG_MARK = "\x1e"

_LEVELS = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warn", logging.ERROR: "error"}


class _ToNode(logging.Handler):
    """Writes records as lines that the node takes apart again. Its pipe is read whatever happens."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)[:_LOG_CHARS_MAX]
            level = max((known for known in _LEVELS if known <= record.levelno), default=logging.DEBUG)
            line = LOG_MARK + json.dumps([_LEVELS[level], record.name, text]) + "\n"
            os.write(2, line.encode("ascii"))
        except Exception:
            self.handleError(record)


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


class Runner(asyncio.Protocol):
    """One connection to one node, and the function it speaks for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        from . import verdict

        self._loop = loop
        self._verdict = verdict
        self._frames = wire.Frames()
        self._answers: deque[bytes] = deque()
        self._flush_is_due = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._function: Callable[..., Any] | None = None
        self._is_async = False
        self._transport: asyncio.Transport | None = None
        self._context: Any = None
        self._crew = _Crew(1)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        # The node has gone. Threads that still run a function would keep the interpreter from ending.
        os._exit(0)

    def data_received(self, data: bytes) -> None:
        for message, tail in self._frames.feed(data):
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
        assert self._transport is not None
        self._transport.write(wire.frame(message))

    def _send_from_thread(self, message: dict[str, Any]) -> None:
        self._answers.append(wire.frame(message))
        # Answers that are ready together go together, with one waking of the loop.
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon_threadsafe(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        assert self._transport is not None
        found = []
        while self._answers:
            found.append(self._answers.popleft())
        self._transport.write(b"".join(found))

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
        said = None if fault is None else {"line": fault.line, "reason": fault.reason}
        self._send({"type": "loaded", "generation": message["generation"], "fault": said})

    def _compile(self, file: str, text: str) -> source.Fault | None:
        found = source.check(text)
        if isinstance(found, source.Fault):
            return found
        # Tracebacks show the lines of functions that have no file.
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        namespace: dict[str, Any] = {"__name__": "authenticator", "__file__": file}
        try:
            # Annotations are for type checkers: what they name is imported inside of the function, if at all.
            flags = __future__.annotations.compiler_flag
            exec(compile(text, file, "exec", flags=flags, dont_inherit=True), namespace)
        except Exception as error:
            return source.Fault(found.lineno, f"the function cannot be defined: {type(error).__name__}: {error}")
        self._function = namespace[found.name]
        self._is_async = inspect.iscoroutinefunction(self._function)
        return None

    def _ask(self, message: dict[str, Any], body: bytes) -> None:
        if self._function is None:
            reason = {"verdict": "failed", "cause": "result", "reason": "there is no function"}
            self._send({"type": "verdict", "id": message["id"], **reason})
        elif self._is_async:
            task = self._loop.create_task(self._run_async(self._function, message, body))
            self._tasks.add(task)
            alarm = self._loop.call_later(message["timeout_ms"] / 1000, task.cancel)
            task.add_done_callback(lambda done: (alarm.cancel(), self._tasks.discard(done)))
        else:
            function = self._function
            message["deadline"] = time.monotonic() + message["timeout_ms"] / 1000
            self._crew.run(lambda: self._run_in_thread(function, message, body))

    async def _run_async(self, function: Callable[..., Any], message: dict[str, Any], body: bytes) -> None:
        try:
            result = await function(context=self._context, request=request(message, body))
            said = self._verdict.of_result(result, message["topic"])
        except asyncio.CancelledError:
            said = {"verdict": "overdue"}
        except BaseException as error:
            said = self._verdict.of_exception(error)
        self._send({"type": "verdict", "id": message["id"], **said})

    def _run_in_thread(self, function: Callable[..., Any], message: dict[str, Any], body: bytes) -> None:
        if time.monotonic() >= message["deadline"]:
            # It has waited for a thread until nobody waits for it any more.
            self._send_from_thread({"type": "verdict", "id": message["id"], "verdict": "overdue"})
            return
        try:
            result = function(context=self._context, request=request(message, body))
            if inspect.iscoroutine(result):
                result.close()
            said = self._verdict.of_result(result, message["topic"])
        except BaseException as error:
            said = self._verdict.of_exception(error)
        self._send_from_thread({"type": "verdict", "id": message["id"], **said})


def request(message: dict[str, Any], body: bytes) -> Any:
    """The request as the hub received it, as FastAPI shows it to an endpoint."""
    from fastapi import Request

    path, _, query = message["target"].partition("?")
    client, server = message["client"], message["server"]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": message["http_version"],
        "method": message["method"],
        "scheme": message["scheme"],
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in message["headers"]],
        "client": tuple(client) if client else None,
        "server": tuple(server) if server else None,
        "state": {},
    }
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return parts.pop() if parts else {"type": "http.disconnect"}

    found = Request(scope, receive)
    # As if the body had been read already: then it can be read before the form and behind it.
    found._body = body
    return found


async def _serve(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(lambda: Runner(loop), connection)
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
