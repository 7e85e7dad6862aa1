"""The request of a subscriber, as FastAPI shows requests to endpoints.

A function is asked far more often than it looks at everything that a request has, so most of this is made when it is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from fastapi import Request
from starlette.datastructures import FormData


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

    found = Request(scope, receive)
    # As if the body had been read already: then it can be read before the form and behind it.
    found._body = body
    # The node leaves some forms to Starlette.
    if "form" in message:
        found._get_form = _reader_of(found, message["form"])
    return found


def _reader_of(found: Request, pairs: list[list[str]]) -> Callable[..., Any]:
    """What `form` stands on. Starlette reads forms octet by octet, as they come over a network, which for one that is there
    as a whole takes as long as everything else that is done about a question; the node has read it already."""

    async def read(**_: Any) -> Any:
        if found._form is None:
            found._form = FormData([(name, value) for name, value in pairs])
        return found._form

    return read
