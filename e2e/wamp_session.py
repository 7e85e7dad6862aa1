"""Autobahn|Python sessions for tests: joined, used and left in one `async with`."""

import asyncio
import contextlib
import ssl as tls

import txaio

# The library binds its clock when it is imported, so the choice of the framework comes before.
txaio.use_asyncio()

from autobahn.asyncio.wamp import ApplicationSession  # noqa: E402
from autobahn.asyncio.websocket import WampWebSocketClientFactory  # noqa: E402
from autobahn.wamp.serializer import CBORSerializer, JsonSerializer, MsgPackSerializer  # noqa: E402
from autobahn.wamp.types import ComponentConfig  # noqa: E402

from stentor_node import DEADLINE_SECONDS  # noqa: E402

SERIALIZERS = {"json": JsonSerializer, "msgpack": MsgPackSerializer, "cbor": CBORSerializer}


@contextlib.asynccontextmanager
async def session(url: str, serializer, realm: str = "realm1", ssl: tls.SSLContext | None = None):
    """A session that offers exactly this serializer; leaving the block says GOODBYE and waits for the answer."""
    loop = asyncio.get_running_loop()
    txaio.config.loop = loop
    joined, left = loop.create_future(), loop.create_future()

    class Session(ApplicationSession):
        def onJoin(self, details):
            joined.set_result(details)

        def onLeave(self, details):
            if not joined.done():
                joined.set_exception(ConnectionError(f"{details.reason}: {details.message}"))
            self.disconnect()

        def onDisconnect(self):
            if not joined.done():
                joined.set_exception(ConnectionError("the transport was closed"))
            if not left.done():
                left.set_result(None)

    opened = Session(ComponentConfig(realm=realm, extra=None))
    factory = WampWebSocketClientFactory(lambda: opened, url=url, serializers=[serializer], loop=loop)
    host, port = url.split("//", 1)[1].split("/", 1)[0].rsplit(":", 1)
    await loop.create_connection(factory, host, int(port), ssl=ssl)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await joined
        yield opened
    finally:
        if opened.is_attached():
            opened.leave()
            async with asyncio.timeout(DEADLINE_SECONDS):
                await left
