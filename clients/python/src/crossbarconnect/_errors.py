"""What can go wrong once the arguments were right.

Mistakes in the arguments are the caller's own and stay ``ValueError`` and ``TypeError``; nothing has been sent then.
"""

import json
from typing import Any, Optional, Tuple


class Error(Exception):
    """The base of everything this package raises after a request was begun."""


class PublicationError(Error):
    """The server answered, and its answer was not a publication id.

    Attributes:
        status: the HTTP status of the answer.
        error: the server's ``error`` text, a WAMP error URI or a sentence; ``None`` where the body carries none.
        reason: a sentence for people.
        field: the name of the field at fault where the server names one, else ``None``.
        body: the body of the answer, as text.
    """

    def __init__(
        self, status: int, reason: str, field: Optional[str] = None, body: str = "", error: Optional[str] = None
    ) -> None:
        # All arguments go up, so that the exception survives pickling on its way out of a worker process.
        super().__init__(status, reason, field, body, error)
        self.status = status
        self.reason = reason
        self.field = field
        self.body = body
        self.error = error

    def __str__(self) -> str:
        return "publication refused with status {}: {}".format(self.status, self.reason)

    @classmethod
    def from_answer(cls, status: int, phrase: str, body: bytes) -> "PublicationError":
        """Reads what the server says about itself: its JSON error body, else its plain text, else the status line."""
        text = body.decode("utf-8", "replace")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and isinstance(value.get("error"), str):
            reason, field = _told(value)
            return cls(status, reason, field, text, value["error"])
        # Routers of 2014 answer with one line of text. A page of HTML from some proxy is no sentence: it stays in `body`.
        line = text.strip()
        is_sentence = 0 < len(line) <= 300 and "\n" not in line and not line.startswith(("<", "{", "["))
        return cls(status, line if is_sentence else phrase or "no reason given", None, text)


class TransportError(Error, ConnectionError):
    """No usable answer arrived: the server was not reached, did not answer in time, or the connection broke.

    It is a ``ConnectionError`` as well, so that code that expects ``OSError`` from the network goes on working. Whether the
    event was published is unknown unless the connection was never made. The cause is in ``__cause__``.
    """


def _told(value: "dict[str, Any]") -> Tuple[str, Optional[str]]:
    """The sentence and the field at fault in an error body of the form ``{"error", "args", "kwargs"}``."""
    error, args, kwargs = value["error"], value.get("args"), value.get("kwargs")
    field = value.get("field")
    if field is None and isinstance(kwargs, dict):
        field = kwargs.get("field")
    reason = error
    # A WAMP error URI is for programs; the sentence for people is then the first argument.
    if " " not in error and isinstance(args, list) and args and isinstance(args[0], str) and args[0]:
        reason = "{} ({})".format(args[0], error)
    return reason, field if isinstance(field, str) else None
