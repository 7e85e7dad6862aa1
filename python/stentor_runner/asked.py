"""The request of a subscriber, as FastAPI shows requests to endpoints.

A function is asked far more often than it looks at everything that a request has, so most of this is made when it is wanted.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from fastapi import Request
from starlette.datastructures import FormData


class _Asked(Request):
    # What the node has found in the form; it leaves some to Starlette.
    _pairs: Any = None

    async def _get_form(self, **limits: Any) -> Any:
        """What `form` stands on. Starlette reads forms octet by octet, as they come over a network, which for one that is
        there as a whole takes as long as everything else that is done about a question."""
        if self._form is None and self._pairs is not None:
            self._form = FormData([(name, value) for name, value in self._pairs])
        return self._form if self._form is not None else await super()._get_form(**limits)


def request(message: dict[str, Any], tail: bytes) -> Request:
    """The request as the hub received it. The tail has the header fields, two lines each, and behind them the body."""
    bound = message["fields"]
    lines, body = tail[:bound].split(b"\n"), tail[bound:]
    path, _, query = message["target"].partition("?")
    client, server = message["client"], message["server"]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": message["http_version"],
        "method": message["method"],
        "scheme": message["scheme"],
        "path": unquote(path) if "%" in path else path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": list(zip(lines[::2], lines[1::2])),
        "client": tuple(client) if client else None,
        "server": tuple(server) if server else None,
        "state": {},
    }
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return parts.pop() if parts else {"type": "http.disconnect"}

    found = _Asked(scope, receive)
    # As if the body had been read already: then it can be read before the form and behind it.
    found._body = body
    found._pairs = message.get("form")
    return found
