"""Frames between a node and a worker: two lengths of four octets, a JSON object, and octets that are no text.

Both sides say which version they speak in their first frame; see `crates/server/src/sidecar/frame.rs` for the other end.
"""

from __future__ import annotations

import json
import struct
from typing import Any

PROTOCOL = 1

# Made once: `json.dumps` with separators of one's own makes an encoder each time.
_encode = json.JSONEncoder(separators=(",", ":")).encode

_HEAD = struct.Struct(">II")

# What a node may send at once: a request for a subscription is far smaller, a function's configuration may be larger.
FRAME_BYTES_MAX = 32 << 20


def frame(message: dict[str, Any], tail: bytes = b"") -> bytes:
    """One frame. Only ASCII is written, so that no text can break it."""
    text = _encode(message).encode("ascii")
    return _HEAD.pack(len(text), len(tail)) + text + tail


class Frames:
    """Cuts a stream of octets into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, octets: bytes) -> list[tuple[dict[str, Any], bytes]]:
        """The frames that are complete with these octets."""
        rest = self._rest
        rest += octets
        found = []
        at = 0
        while len(rest) - at >= _HEAD.size:
            text, tail = _HEAD.unpack_from(rest, at)
            if text + tail > FRAME_BYTES_MAX:
                raise ValueError("a frame is too long")
            begin = at + _HEAD.size
            end = begin + text + tail
            if len(rest) < end:
                break
            found.append((json.loads(rest[begin : begin + text].decode()), bytes(rest[begin + text : end])))
            at = end
        del rest[:at]
        return found
