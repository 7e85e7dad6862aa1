"""The client: what an application holds and calls."""

import datetime
import json
import math
import secrets
import ssl
import threading
from types import TracebackType
from typing import Any, Dict, Iterable, List, Mapping, Optional, Type, Union

from . import _wire
from ._channel import Answer, Channel, Request
from ._errors import PublicationError

_HEADERS = {"Content-type": "application/json", "User-agent": "crossbarconnect-python"}

#: 202 is what the service says under its first name (pusher), 200 what it says under its second (publisher).
_SUCCESS = (200, 202)


class Client:
    """Publishes events through the HTTP Pusher service of a WAMP router.

    One client holds one connection, which is kept between requests, and may be used by several threads: their requests go
    out one after the other. Use one client for each thread where they should go in parallel. A process that forks makes
    its clients after the fork.

    A request is repeated in one case only: the connection had been kept from an earlier request, and the server closed it
    before it sent any byte of an answer. The repeated request has a sequence number and a nonce of its own and is signed
    anew, so a server that remembers nonces takes it. Should the server have published the first one and died before it
    could say so, the event is published twice: in that corner delivery is at least once, everywhere else at most once.

    Args:
        url: the URL of the service, for example ``http://127.0.0.1:8080/push``; no query and no fragment.
        key: the key for signed requests, together with ``secret``; without both, requests are not signed.
        secret: the secret for signed requests. It never travels.
        timeout: seconds that each wait for the network may take: connecting, sending, the next part of the answer.
        context: the TLS settings for an ``https`` URL; default are those of :func:`ssl.create_default_context`.
    """

    def __init__(
        self,
        url: str,
        key: Optional[str] = None,
        secret: Optional[str] = None,
        timeout: Union[int, float] = 5,
        context: Optional[ssl.SSLContext] = None,
    ) -> None:
        self._endpoint = _wire.endpoint(url)
        self._credentials = _credentials(key, secret)
        if context is not None and not isinstance(context, ssl.SSLContext):
            raise TypeError("context must be an ssl.SSLContext, not {}".format(type(context).__name__))
        self._channel = Channel(self._endpoint, _seconds(timeout), context)
        self._lock = threading.Lock()
        self._seq = 0

    def publish(self, topic: Optional[str] = None, /, *args: Any, **kwargs: Any) -> int:
        """Publishes one event and gives back its publication id.

        Positional and keyword arguments are the event's payload. The keyword ``options`` is not: it is the dictionary of
        publication options, for example ``{"exclude": [4711]}``. (:meth:`publish_many` takes the parts by name, for a
        payload that has a keyword of that name.)

        Raises:
            TypeError, ValueError: the arguments are wrong; nothing was sent.
            PublicationError: the server refused the event.
            TransportError: no answer arrived.
        """
        options = kwargs.pop("options", None)
        if topic is None and not args:
            # `publish(topic="...")` has always been possible. After a topic in first place, the word is free for payload.
            topic = kwargs.pop("topic", None)
        answer = self._post(_wire.body(_wire.event(topic, args, kwargs, options)))
        value = _json(answer)
        if not isinstance(value, dict) or not _is_id(value.get("id")):
            raise PublicationError.from_answer(answer.status, "the answer has no publication id", answer.body)
        return int(value["id"])

    def publish_many(self, events: Iterable[Mapping[str, Any]]) -> List[Dict[str, Any]]:
        """Publishes several events with one request, in their order.

        Each event is a dictionary with ``topic`` and, as wanted, ``args``, ``kwargs`` and ``options``. The answer has one
        dictionary for each event, in the same order: ``{"id": ...}`` for one that was published, ``{"error": ...}`` for
        one that was refused. No events, no request.

        Raises:
            TypeError, ValueError: an event is wrong, the message says which; nothing was sent.
            PublicationError: the server refused the request as a whole.
            TransportError: no answer arrived.
        """
        values = [_wire.event_from(value, place) for place, value in enumerate(events)]
        if not values:
            return []
        answer = self._send(_wire.body(values))
        outcomes = _json(answer)
        # A batch that was read item by item is answered by a list, with 207 where some were refused and with the status of
        # a refusal where all were. Anything else speaks of the request as a whole.
        if not isinstance(outcomes, list) and answer.status not in _SUCCESS:
            raise PublicationError.from_answer(answer.status, answer.phrase, answer.body)
        if not isinstance(outcomes, list) or len(outcomes) != len(values):
            raise PublicationError.from_answer(answer.status, "the answer is not one outcome for each event", answer.body)
        for outcome in outcomes:
            if not isinstance(outcome, dict) or not (_is_id(outcome.get("id")) or "error" in outcome):
                raise PublicationError.from_answer(answer.status, "an outcome has neither id nor error", answer.body)
        return outcomes

    def close(self) -> None:
        """Closes the connection. The client can still be used: the next request opens a new one."""
        with self._lock:
            self._channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        scheme = "https" if self._endpoint.is_secure else "http"
        signed = ", signed" if self._credentials else ""
        return "<crossbarconnect.Client {}://{}:{}{}{}>".format(
            scheme, self._endpoint.host, self._endpoint.port, self._endpoint.path, signed
        )

    def _send(self, payload: bytes) -> Answer:
        with self._lock:
            return self._channel.send(lambda: self._request(payload))

    def _post(self, payload: bytes) -> Answer:
        answer = self._send(payload)
        if answer.status not in _SUCCESS:
            raise PublicationError.from_answer(answer.status, answer.phrase, answer.body)
        return answer

    def _request(self, payload: bytes) -> Request:
        """A fresh request, never sent before: a server may take each nonce once only."""
        self._seq += 1
        target = _wire.target(
            self._endpoint.path,
            self._credentials,
            _wire.timestamp(datetime.datetime.now(datetime.timezone.utc)),
            self._seq,
            secrets.randbelow(_wire.NONCE_MAX + 1),
            payload,
        )
        return Request(target, _HEADERS, payload)


def _credentials(key: Optional[str], secret: Optional[str]) -> Optional[_wire.Credentials]:
    for name, value in (("key", key), ("secret", secret)):
        if value is not None and not isinstance(value, str):
            raise TypeError("{} must be a string, not {}".format(name, type(value).__name__))
    if key is None and secret is None:
        return None
    if not key or not secret:
        raise ValueError("key and secret must be given both, or neither, and must not be empty")
    return _wire.Credentials(key, secret)


def _seconds(timeout: Union[int, float]) -> float:
    # A truth value is an integer to Python, and surely a mistake here.
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError("timeout must be a number of seconds, not {}".format(type(timeout).__name__))
    if not math.isfinite(timeout) or timeout <= 0:
        raise ValueError("timeout must be a positive number of seconds, not {}".format(timeout))
    return timeout


def _json(answer: Answer) -> Any:
    try:
        return json.loads(answer.body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
