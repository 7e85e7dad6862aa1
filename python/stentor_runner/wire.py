"""Frames between a node and a worker: two lengths of four octets, a JSON object, and octets that are no text.

Both sides say which version they speak in their first frame; see `crates/server/src/sidecar/frame.rs` for the other end.
"""

from __future__ import annotations

import json
import struct
from typing import Any

PROTOCOL = 2

# Made once: `json.dumps` with separators of one's own makes an encoder each time.
_encode = json.JSONEncoder(separators=(",", ":")).encode

# The node writes nothing around its objects.
_decode = json.JSONDecoder().raw_decode
_text = json.encoder.encode_basestring_ascii

_HEAD = struct.Struct(">II")

# What a node may send at once: a request for a subscription is far smaller, a function's configuration may be larger.
FRAME_BYTES_MAX = 32 << 20

# What a node takes: it ends a worker that sends more.
ANSWER_BYTES_MAX = 1 << 20


def frame(message: dict[str, Any], tail: bytes = b"") -> bytes:
    """One frame. Only ASCII is written, so that no text can break it."""
    text = _encode(message).encode("ascii")
    return _HEAD.pack(len(text), len(tail)) + text + tail


def verdict(question: int, said: dict[str, Any]) -> bytes:
    """The frame of a verdict. The two that nearly all are have no more than this, and need no encoder."""
    kind = said["verdict"]
    if len(said) == 1:
        text = b'{"type":"verdict","id":%d,"verdict":"%s"}' % (question, kind.encode())
    elif len(said) == 2 and "identity" in said:
        identity = _text(said["identity"]).encode("ascii")
        text = b'{"type":"verdict","id":%d,"verdict":"%s","identity":%s}' % (question, kind.encode(), identity)
    else:
        text = _encode({"type": "verdict", "id": question, **said}).encode("ascii")
        if len(text) > ANSWER_BYTES_MAX:
            reason = f"its answer has {len(text)} octets when written as ASCII; {ANSWER_BYTES_MAX} are allowed"
            return verdict(question, {"verdict": "failed", "cause": "result", "reason": reason})
    return _HEAD.pack(len(text), 0) + text


class Frames:
    """Cuts a stream of octets into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, octets: bytes) -> list[tuple[dict[str, Any], bytes]]:
        """The frames that are complete with these octets."""
        if not self._rest:
            # Nearly always frames come whole, and are cut from what came.
            found, end = _cut(octets)
            self._rest += octets[end:]
            return found
        self._rest += octets
        found, end = _cut(self._rest)
        del self._rest[:end]
        return found


def _cut(octets: bytes | bytearray) -> tuple[list[tuple[dict[str, Any], bytes]], int]:
    found = []
    at = 0
    while len(octets) - at >= _HEAD.size:
        text, tail = _HEAD.unpack_from(octets, at)
        if text + tail > FRAME_BYTES_MAX:
            raise ValueError("a frame is too long")
        begin = at + _HEAD.size
        end = begin + text + tail
        if len(octets) < end:
            break
        message, _ = _decode(octets[begin : begin + text].decode())
        found.append((message, bytes(octets[begin + text : end])))
        at = end
    return found, at
