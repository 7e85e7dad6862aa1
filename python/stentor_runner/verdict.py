"""From what a function returned or raised to what the node is told.

A scope is a regular expression of Python and has to match the whole topic. It may backtrack for ever; nothing here can stop
it then, so the node ends the worker when the deadline has passed.
"""

from __future__ import annotations

import json
import math
import re
import traceback
from typing import Any

from stentor_context import Cached

from starlette.authentication import AuthCredentials, BaseUser
from starlette.exceptions import HTTPException

Verdict = dict[str, Any]

# Who needs more than these has not understood regular expressions; each of them is tried for each request.
SCOPES_MAX = 4096
SCOPE_CHARS_MAX = 16_384

# What the store keeps of an identity.
IDENTITY_BYTES_MAX = 1024

# The end of a traceback says most.
TRACE_CHARS_MAX = 8000

# A verdict that is kept for longer than a day is a subscription list.
CACHE_SECONDS_MAX = 86_400.0


class WrongResult(Exception):
    """A result that is none of those that are allowed."""


def of_result(result: Any, topic: str) -> Verdict:
    """The verdict of a result."""
    if isinstance(result, Cached):
        verdict = _of_plain(result.result, topic)
        return {**verdict, "cache_for": _seconds(result.seconds)}
    return _of_plain(result, topic)


def _seconds(seconds: Any) -> float:
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds) or seconds < 0:
        raise WrongResult("cache_for takes a number of seconds")
    return min(float(seconds), CACHE_SECONDS_MAX)


def _of_plain(result: Any, topic: str) -> Verdict:
    if result is None:
        return {"verdict": "nobody"}
    if not isinstance(result, tuple) or len(result) != 2:
        raise WrongResult(f"it returned {_named(result)}; None or a tuple of AuthCredentials and BaseUser is allowed")
    credentials, user = result
    if not isinstance(credentials, AuthCredentials) or not isinstance(user, BaseUser):
        kinds = f"{type(credentials).__name__} and {type(user).__name__}"
        raise WrongResult(f"it returned a tuple of {kinds}; AuthCredentials and a subclass of BaseUser are allowed")
    if not user.is_authenticated:
        return {"verdict": "unauthenticated"}
    identity = _identity(user)
    return {"verdict": "allowed" if _matches(credentials.scopes, topic) else "denied", "identity": identity}


def _named(result: Any) -> str:
    kind = type(result).__name__
    return f"a {kind} of {len(result)}" if isinstance(result, tuple) else f"a {kind}"


def _identity(user: BaseUser) -> str:
    try:
        identity = user.identity
    except NotImplementedError:
        raise WrongResult(f"the class {type(user).__name__} does not implement the property identity") from None
    if not isinstance(identity, str) or not identity:
        raise WrongResult(f"identity is a {type(identity).__name__}; it has to be a text with something in it")
    try:
        octets = len(identity.encode())
    except UnicodeEncodeError:
        raise WrongResult("identity is no text that UTF-8 could write") from None
    if octets > IDENTITY_BYTES_MAX:
        raise WrongResult(f"identity has {octets} octets; {IDENTITY_BYTES_MAX} are allowed")
    return identity


def _matches(scopes: Any, topic: str) -> bool:
    if len(scopes) > SCOPES_MAX:
        raise WrongResult(f"there are {len(scopes)} scopes; {SCOPES_MAX} are allowed")
    # All of them are read before one is tried, so that a mistake shows for every topic.
    patterns = [_pattern(scope) for scope in scopes]
    return any(pattern.fullmatch(topic) for pattern in patterns)


def _pattern(scope: Any) -> "re.Pattern[str]":
    if not isinstance(scope, str):
        raise WrongResult(f"a scope is a {type(scope).__name__}; scopes are texts")
    if len(scope) > SCOPE_CHARS_MAX:
        raise WrongResult(f"a scope has {len(scope)} characters; {SCOPE_CHARS_MAX} are allowed")
    try:
        return re.compile(scope)
    except (re.error, RecursionError, OverflowError) as error:
        raise WrongResult(f"the scope {scope[:80]!r} is no regular expression: {error}") from None


def of_exception(error: BaseException) -> Verdict:
    """The verdict of what was raised."""
    if isinstance(error, HTTPException):
        try:
            return _dictated(error)
        except Exception as wrong:
            return _failed("result", f"its HTTPException cannot be sent: {wrong}")
    if isinstance(error, WrongResult):
        return _failed("result", str(error))
    if isinstance(error, MemoryError):
        return _failed("memory", "it needed more memory than memory_bytes_max allows\n" + _trace(error))
    return _failed("exception", _trace(error))


def _dictated(error: HTTPException) -> Verdict:
    detail = json.dumps(error.detail, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    detail.encode()
    headers = error.headers or {}
    pairs = [[str(name), str(value)] for name, value in headers.items()]
    for name, value in pairs:
        (name + value).encode()
    status = int(error.status_code)
    if not 100 <= status <= 999:
        raise ValueError("a status has three digits")
    return {"verdict": "dictated", "status": status, "detail": detail, "headers": pairs}


def _failed(cause: str, reason: str) -> Verdict:
    # Half of a surrogate pair would make the answer unreadable for the node.
    reason = reason[-TRACE_CHARS_MAX:].encode("utf-8", "backslashreplace").decode()
    return {"verdict": "failed", "cause": cause, "reason": reason}


def _trace(error: BaseException) -> str:
    # The first entry is the runner's own call.
    below = error.__traceback__.tb_next if error.__traceback__ else None
    return "".join(traceback.format_exception(type(error), error, below)).rstrip()
