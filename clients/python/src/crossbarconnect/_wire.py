"""The bytes of a request: where it goes, what it carries, how it is signed.

Pure functions: no socket, no clock, no dice. The time, the sequence number and the nonce come from the caller.
"""

import base64
import datetime
import hashlib
import hmac
import json
from typing import Any, Dict, Mapping, NamedTuple, Optional
from urllib.parse import quote, urlencode, urlsplit

#: The nonce is an integer from [0, 2^53]: the integers that a JSON number, and so JavaScript, holds exactly.
NONCE_MAX = 2**53

_EVENT_KEYS = ("topic", "options", "args", "kwargs")


class Endpoint(NamedTuple):
    """Where requests go."""

    is_secure: bool
    host: str
    port: int
    path: str


class Credentials(NamedTuple):
    """What signed requests are signed with. The secret never travels."""

    key: str
    secret: str

    def __repr__(self) -> str:
        return "Credentials(key={!r}, secret=...)".format(self.key)


def endpoint(url: str) -> Endpoint:
    """Takes the URL of an HTTP Pusher service apart, or says in one sentence what is wrong with it."""
    if not isinstance(url, str):
        raise TypeError("url must be a string, not {}".format(type(url).__name__))
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in url):
        raise ValueError("url must not contain spaces or control characters: {!r}".format(url))
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("url must start with http:// or https://: {!r}".format(url))
    if "?" in url:
        raise ValueError("url must not have a query, because the client writes its own: {!r}".format(url))
    if "#" in url:
        raise ValueError("url must not have a fragment: {!r}".format(url))
    if "@" in parts.netloc:
        raise ValueError("url must not carry a user name or password; requests are signed with key and secret instead")
    if not parts.hostname:
        raise ValueError("url must name a host: {!r}".format(url))
    try:
        port = parts.port
    except ValueError:
        raise ValueError("url must have a port between 1 and 65535, or none: {!r}".format(url)) from None
    if port == 0:
        raise ValueError("url must have a port between 1 and 65535, or none: {!r}".format(url))
    is_secure = parts.scheme == "https"
    # "%" is left alone, so that a path somebody has already quoted is not quoted twice.
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return Endpoint(is_secure, parts.hostname, port or (443 if is_secure else 80), path)


def event(topic: Any, args: Any = None, kwargs: Any = None, options: Any = None) -> Dict[str, Any]:
    """One event as the service wants it, keys in the order that every client of this kind has always sent."""
    if not isinstance(topic, str):
        raise TypeError("topic must be a string, not {}".format(type(topic).__name__))
    if not topic:
        raise ValueError("topic must not be empty")
    value: Dict[str, Any] = {"topic": topic}
    if options is not None:
        if not isinstance(options, dict):
            raise TypeError("options must be a dictionary of publication options, not {}".format(type(options).__name__))
        if options:
            value["options"] = options
    if args is not None:
        if not isinstance(args, (list, tuple)):
            raise TypeError("args must be a list, not {}".format(type(args).__name__))
        if args:
            value["args"] = args
    if kwargs is not None:
        if not isinstance(kwargs, dict):
            raise TypeError("kwargs must be a dictionary, not {}".format(type(kwargs).__name__))
        if kwargs:
            value["kwargs"] = kwargs
    return value


def event_from(value: Any, place: int) -> Dict[str, Any]:
    """One event of a batch, from a dictionary; a mistake is reported with the event's place, counted from 0."""
    if not isinstance(value, Mapping):
        raise TypeError("event {} must be a dictionary, not {}".format(place, type(value).__name__))
    unknown = [key for key in value if key not in _EVENT_KEYS]
    if unknown:
        raise ValueError("event {} has an unknown key {!r}; known are {}".format(place, unknown[0], ", ".join(_EVENT_KEYS)))
    if "topic" not in value:
        raise ValueError("event {} has no topic".format(place))
    try:
        return event(**value)
    except (TypeError, ValueError) as mistake:
        raise type(mistake)("event {}: {}".format(place, mistake)) from None


def body(value: Any) -> bytes:
    """Compact JSON in ASCII: the same bytes on every machine and through every proxy, as a signature needs them."""
    try:
        return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")
    except TypeError as cause:
        raise TypeError("the event cannot be written as JSON: {}".format(cause)) from cause
    except ValueError as cause:
        # NaN, the infinities, and structures that contain themselves.
        raise ValueError("the event cannot be written as JSON: {}".format(cause)) from cause
    except RecursionError as cause:
        raise ValueError("the event cannot be written as JSON: it is nested too deeply") from cause


def timestamp(moment: datetime.datetime) -> str:
    """ISO 8601 in UTC with exactly three fraction digits, for example ``2011-10-14T16:59:51.123Z``."""
    utc = moment.astimezone(datetime.timezone.utc)
    return "{}.{:03d}Z".format(utc.strftime("%Y-%m-%dT%H:%M:%S"), utc.microsecond // 1000)


def signature(credentials: Credentials, stamp: str, seq: int, nonce: int, payload: bytes) -> str:
    """URL-safe Base64, padding kept, of HMAC-SHA256 over ``key | timestamp | seq | nonce | body`` without separators."""
    mac = hmac.new(credentials.secret.encode("utf-8"), digestmod=hashlib.sha256)
    for part in (credentials.key, stamp, str(seq), str(nonce)):
        mac.update(part.encode("utf-8"))
    mac.update(payload)
    return base64.urlsafe_b64encode(mac.digest()).decode("ascii")


def target(path: str, credentials: Optional[Credentials], stamp: str, seq: int, nonce: int, payload: bytes) -> str:
    """The request target. timestamp and seq go along unsigned too: they keep caches from answering for the server."""
    fields = [("timestamp", stamp), ("seq", str(seq))]
    if credentials is not None:
        fields += [
            ("key", credentials.key),
            ("nonce", str(nonce)),
            ("signature", signature(credentials, stamp, seq, nonce, payload)),
        ]
    return "{}?{}".format(path, urlencode(fields))
