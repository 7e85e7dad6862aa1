"""Autobahn|Python on asyncio: each serializer, one message a frame and batched, and the component API."""

import asyncio
import json
import unittest
import urllib.request

import node_config
from stentor_node import DEADLINE_SECONDS, Node, NodeTest
from wamp_session import SERIALIZERS, session  # before the library itself, for which it chooses the framework

import txaio  # isort: skip
from autobahn.asyncio.component import Component  # isort: skip
from autobahn.wamp.exception import ApplicationError  # isort: skip
from autobahn.wamp.types import EventDetails, PublishOptions, SubscribeOptions  # isort: skip

PAYLOAD = ["Grüße, 世界 🌍", 23, -1.5, True, None, [1, {"a": []}]]


def post(url: str, event: dict) -> int:
    """Posts an event and gives the publication's id."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(event).encode(), headers)
    with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as response:
        return json.load(response)["id"]


async def soon(queue: asyncio.Queue):
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await queue.get()


class Autobahn(NodeTest):
    @classmethod
    def boot(cls) -> Node:
        return Node.start(node_config.node(node_config.web()))

    def test_each_serializer(self):
        for name, make in SERIALIZERS.items():
            for batched in (False, True):
                with self.subTest(serializer=name, batched=batched):
                    asyncio.run(self._pushed_and_called(lambda: make(batched=batched)))

    async def _pushed_and_called(self, serializer):
        url = self.node.ws()
        async with session(url, serializer()) as one, session(url, serializer()) as two:
            events = asyncio.Queue()
            await one.subscribe(
                lambda *args, details, **kwargs: events.put_nowait((list(args), kwargs, details)),
                "com.myapp.topic1",
                SubscribeOptions(details=True),
            )
            event = {"topic": "com.myapp.topic1", "args": PAYLOAD, "kwargs": {"key": "value"}}
            publication = await asyncio.to_thread(post, f"{self.node.url('http')}/push", event)
            args, kwargs, details = await soon(events)
            self.assertEqual((args, kwargs), (PAYLOAD, {"key": "value"}))
            self.assertIsInstance(details, EventDetails)
            self.assertEqual(details.publication, publication)

            await two.publish("com.myapp.topic1", "hello", options=PublishOptions(acknowledge=True))
            self.assertEqual((await soon(events))[0], ["hello"])

            # Many at once: this is where batched transports put several messages into a frame.
            for number in range(100):
                two.publish("com.myapp.topic1", number)
            for number in range(100):
                self.assertEqual((await soon(events))[0], [number])

            await one.register(lambda a, b: a + b, "com.myapp.add")
            self.assertEqual(await two.call("com.myapp.add", 2, 3), 5)
            with self.assertRaises(ApplicationError) as refused:
                await two.call("com.myapp.nothing.here")
            self.assertEqual(refused.exception.error, "wamp.error.no_such_procedure")

    def test_binary_payloads(self):
        async def body():
            for name, make in SERIALIZERS.items():
                async with session(self.node.ws(), make()) as one, session(self.node.ws(), SERIALIZERS["json"]()) as two:
                    events = asyncio.Queue()
                    await two.subscribe(events.put_nowait, "com.myapp.binary")
                    await one.publish("com.myapp.binary", b"\x00\xff", options=PublishOptions(acknowledge=True))
                    self.assertEqual(await soon(events), b"\x00\xff", name)

        asyncio.run(body())

    def test_component(self):
        """The component API, with its own idea of a life cycle: it ends when its session leaves."""

        async def body():
            txaio.config.loop = asyncio.get_running_loop()
            transport = {"type": "websocket", "url": self.node.ws(), "serializers": ["json"], "max_retries": 0}
            component = Component(transports=[transport], realm="realm1")
            heard = asyncio.get_running_loop().create_future()

            @component.on_join
            async def joined(session, _details):
                await session.subscribe(lambda *args: heard.done() or heard.set_result(args), "com.myapp.component")
                await session.register(lambda name: f"hello {name}", "com.myapp.greet")
                options = PublishOptions(acknowledge=True, exclude_me=False)
                await session.publish("com.myapp.component", await session.call("com.myapp.greet", "me"), options=options)
                async with asyncio.timeout(DEADLINE_SECONDS):
                    await heard
                session.leave()

            async with asyncio.timeout(DEADLINE_SECONDS):
                await component.start(loop=asyncio.get_running_loop())
            self.assertEqual(await heard, ("hello me",))

        asyncio.run(body())


if __name__ == "__main__":
    unittest.main()
