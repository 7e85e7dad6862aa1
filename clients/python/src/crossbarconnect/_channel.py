"""One persistent HTTP connection, and what to do when the server has closed it meanwhile.

Knows sockets and deadlines. Knows nothing of events, signatures or what an answer means.
"""

import http.client
import selectors
import socket
import ssl
from typing import Callable, Dict, NamedTuple, Optional

from ._errors import TransportError
from ._wire import Endpoint

#: No answer of a pusher is anywhere near this long, batches included. Without a limit a wrong URL that serves an endless
#: download would fill the memory.
ANSWER_BYTES_MAX = 16 * 1024 * 1024


class Request(NamedTuple):
    """One attempt. A further attempt is another request, because its target is signed anew."""

    target: str
    headers: Dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """What came back."""

    status: int
    phrase: str
    body: bytes


class _NoAnswer(Exception):
    """The connection ended, and not one byte of an answer had arrived."""


class _Response(http.client.HTTPResponse):
    """Tells "nothing came" from "something came and then it broke", which the standard class does not."""

    def begin(self) -> None:
        try:
            first = self.fp.peek(1)
        except socket.timeout:
            # The server may be at work on the request: that is not the end of the connection, and no reason to repeat.
            raise
        except OSError as cause:
            raise _NoAnswer(str(cause)) from cause
        if not first:
            raise _NoAnswer("the server closed the connection without an answer")
        super().begin()


class Channel:
    """Sends requests one after the other. Not thread-safe: its owner holds a lock."""

    def __init__(self, endpoint: Endpoint, timeout: float, context: Optional[ssl.SSLContext]) -> None:
        connection: http.client.HTTPConnection
        if endpoint.is_secure:
            connection = http.client.HTTPSConnection(
                endpoint.host, endpoint.port, timeout=timeout, context=context or ssl.create_default_context()
            )
        else:
            connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=timeout)
        connection.response_class = _Response
        self._connection = connection
        self._place = "{}:{}".format(endpoint.host, endpoint.port)

    def send(self, attempt: Callable[[], Request]) -> Answer:
        """Sends what ``attempt`` makes, and sends a second one in exactly one case.

        That case: the connection was kept alive from an earlier request, and it ended before any byte of an answer.
        Servers close idle connections, and such a close crosses the request on the wire; RFC 9112, section 9.3.1, wants
        clients to be ready for it. A connection found closed before anything was written does not count as an attempt.
        """
        self._drop_if_closed()
        was_kept = self._connection.sock is not None
        try:
            return self._exchange(attempt())
        except _NoAnswer as first:
            if not was_kept:
                raise TransportError("no answer from {}: {}".format(self._place, first)) from first
        try:
            return self._exchange(attempt())
        except _NoAnswer as second:
            raise TransportError("no answer from {}, twice: {}".format(self._place, second)) from second

    def close(self) -> None:
        """Ends the connection. The next request makes a new one."""
        self._connection.close()

    def _exchange(self, request: Request) -> Answer:
        """One request and its answer. Whatever breaks, the connection is not used again."""
        try:
            self._connect()
            self._write(request)
            response = self._connection.getresponse()
            body = response.read(ANSWER_BYTES_MAX + 1)
            if len(body) > ANSWER_BYTES_MAX:
                raise TransportError("the answer from {} is longer than {} bytes".format(self._place, ANSWER_BYTES_MAX))
            if response.length or not response.headers:
                # A read with a limit takes a short body for a whole one, and a head cut off is taken for one without fields.
                raise TransportError("the answer from {} broke off".format(self._place))
            return Answer(response.status, response.reason, body)
        except socket.timeout as cause:
            self.close()
            raise TransportError(
                "no answer from {} within {} seconds".format(self._place, self._connection.timeout)
            ) from cause
        except TransportError:
            self.close()
            raise
        except (OSError, http.client.HTTPException) as cause:
            self.close()
            raise TransportError("the exchange with {} broke: {}".format(self._place, str(cause) or repr(cause))) from cause
        except BaseException:
            # Also an interrupt from the keyboard: half an exchange on the wire would be read as the next one's answer.
            self.close()
            raise

    def _connect(self) -> None:
        if self._connection.sock is not None:
            return
        try:
            self._connection.connect()
        except socket.timeout:
            raise
        except OSError as cause:
            raise TransportError("cannot connect to {}: {}".format(self._place, cause)) from cause

    def _write(self, request: Request) -> None:
        try:
            self._connection.request("POST", request.target, request.body, request.headers)
        except socket.timeout:
            raise
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            # A server that refuses a long body answers and closes while the body is still on its way. The answer says why,
            # so it is worth a look; where there is none, reading it says that the connection ended.
            pass

    def _drop_if_closed(self) -> None:
        """Between two requests there is nothing to read: a readable connection is a closed one, or out of step."""
        connection = self._connection
        if connection.sock is None:
            return
        with selectors.DefaultSelector() as selector:
            try:
                selector.register(connection.sock, selectors.EVENT_READ)
                is_readable = bool(selector.select(0))
            except (OSError, ValueError):
                is_readable = True
        if is_readable:
            connection.close()
