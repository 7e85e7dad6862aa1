"""A server to publish to: it records what arrives, byte for byte, and answers what the test has put down."""

import os
import socket
import ssl
import sys
import threading
from typing import List, NamedTuple, Optional
from urllib.parse import parse_qsl

# The tests run from a checkout, whether or not the package is installed; the checkout is what they mean.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "src"))

#: No test waits longer than this for anything.
PATIENCE = 10


class Received(NamedTuple):
    """One request as it came over the wire."""

    connection: int
    line: str
    headers: "dict[str, str]"
    body: bytes

    @property
    def raw_query(self) -> str:
        return self.line.split(" ")[1].partition("?")[2]

    @property
    def query(self) -> "dict[str, str]":
        return dict(parse_qsl(self.raw_query, keep_blank_values=True, strict_parsing=True))


def answer(status: int, body: str, phrase: str = "Phrase", headers: str = "") -> bytes:
    """An HTTP answer with a length."""
    payload = body.encode("utf-8")
    head = "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}\r\n".format(
        status, phrase, len(payload), headers
    )
    return head.encode("ascii") + payload


OK = answer(202, '{"id":4532703899599182}', "Accepted")

#: Steps of a script beside answers.
CLOSE = "close"  # read the request, then end the connection without a byte
HANG = "hang"  # read the request, then never answer
REFUSE_UNREAD = "refuse unread"  # answer after the head and end the connection; the body is never read


class Server:
    """Follows a script: one step for each request, whichever connection it comes on; the last step is repeated.

    ``close_after`` ends the connection after each answer without saying so beforehand, as an idle timeout does;
    ``closed`` tells when that has happened.
    """

    def __init__(self, *script: object, close_after: bool = False, context: Optional[ssl.SSLContext] = None) -> None:
        self.script = list(script) or [OK]
        self.close_after = close_after
        self.context = context
        self.received: List[Received] = []
        self.connections = 0
        self.closed = threading.Semaphore(0)
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: List[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def url(self, path: str = "/push") -> str:
        return "{}://127.0.0.1:{}{}".format("https" if self.context else "http", self.port, path)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        # Closing a listener does not wake the thread that accepts on it; a visitor does.
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            pass
        self._threads[0].join(PATIENCE)
        self._listener.close()
        for one in self._sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads[1:]:
            thread.join(PATIENCE)

    def _accept(self) -> None:
        while True:
            visitor, _ = self._listener.accept()
            if self._stop.is_set():
                visitor.close()
                return
            self.connections += 1
            visitor.settimeout(PATIENCE)
            self._sockets.append(visitor)
            thread = threading.Thread(target=self._serve, args=(visitor, self.connections), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, visitor: socket.socket, number: int) -> None:
        try:
            if self.context:
                visitor = self.context.wrap_socket(visitor, server_side=True)
            with visitor, visitor.makefile("rb") as stream:
                while self._one(visitor, stream, number):
                    pass
        except OSError:
            visitor.close()
        finally:
            self.closed.release()

    def _one(self, visitor: socket.socket, stream, number: int) -> bool:
        line = stream.readline().decode("ascii").strip()
        if not line:
            return False
        headers = {}
        while True:
            name, _, value = stream.readline().decode("ascii").strip().partition(": ")
            if not name:
                break
            headers[name.lower()] = value
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if step == REFUSE_UNREAD:
            self.received.append(Received(number, line, headers, b""))
            visitor.sendall(answer(413, '{"error":"The body is too long.","args":[],"kwargs":{}}'))
            # No more reading, no more writing: the rest of the body meets a closed door.
            visitor.shutdown(socket.SHUT_WR)
            while stream.read1(65536):
                pass
            return False
        body = stream.read(int(headers.get("content-length", "0")))
        self.received.append(Received(number, line, headers, body))
        if step == CLOSE:
            return False
        if step == HANG:
            self._stop.wait(PATIENCE)
            return False
        visitor.sendall(step)
        return not self.close_after
