"""WebSub with what people subscribe and publish with: the standard library, publishers of PubSubHubbub 0.4, Flask-WebSub."""

import base64
import contextlib
import http.server
import json
import logging
import pathlib
import queue
import tempfile
import threading
import unittest
import unittest.mock

import node_config
from stentor_node import DEADLINE_SECONDS, Node, NodeTest
from test_tls import authority
from websub_subscriber import Subscriber, ask, publish, send

TOPIC = "https://example.com/feed"


class Plain(NodeTest):
    """A subscriber and publishers that know nothing but HTTP."""

    @classmethod
    def boot(cls) -> Node:
        cls.feeds = Feeds()
        cls.addClassCleanup(cls.feeds.close)
        return Node.start({
            **node_config.node(node_config.web({"hub": node_config.hub(pings=[cls.feeds.url("/")])})),
            "store": {"type": "memory"},
        })  # fmt: skip

    @property
    def hub(self) -> str:
        return f"{self.node.url('http')}/hub"

    def subscribe(self, subscriber: Subscriber, topic: str, *more: tuple[str, str], mode: str = "subscribe"):
        """Asks, and gives the hub's question, which the subscriber confirms."""
        asked = ask(self.hub, ("hub.mode", mode), ("hub.topic", topic), ("hub.callback", subscriber.url()), *more)
        self.assertEqual(asked, (202, ""))
        question = subscriber.next("GET")
        self.assertEqual((question.query["hub.mode"], question.query["hub.topic"]), (mode, topic))
        return question

    def delivered(self, subscriber: Subscriber, topic: str, content: bytes):
        """Publishes until the confirmation is in force; gives the first delivery, and leaves none behind."""
        published, first = [], None
        while first is None:
            published.append(publish(self.hub, topic, content))
            with contextlib.suppress(queue.Empty):
                first = subscriber.said.get(timeout=0.1)
        said = first
        # What was published while the first was under way comes too.
        while said.headers["Stentor-Publication"] != published[-1]:
            said = subscriber.next("POST")
        self.assertEqual((first.method, first.body), ("POST", content))
        return first

    def test_the_whole_life_of_a_subscription(self):
        topic = f"{TOPIC}/life"
        with Subscriber() as subscriber:
            question = self.subscribe(subscriber, topic, ("hub.lease_seconds", "3600"), ("hub.secret", "of ours"))
            self.assertEqual(question.query["hub.lease_seconds"], "3600")
            said = self.delivered(subscriber, topic, "Grüße".encode())
            self.assertTrue(said.signed_by("of ours"))
            self.assertEqual(said.headers["Content-Type"], "text/plain")
            links = {link.strip() for link in said.headers["Link"].split(",")}
            self.assertIn(f'<{topic}>; rel="self"', links)
            self.assertTrue(any(link.endswith('; rel="hub"') for link in links), links)

            # A renewal keeps the place and brings its own terms.
            question = self.subscribe(subscriber, topic, ("hub.lease_seconds", "7200"), ("hub.secret", "newer"))
            self.assertEqual(question.query["hub.lease_seconds"], "7200")
            while not self.delivered(subscriber, topic, b"renewed").signed_by("newer"):
                pass

            question = self.subscribe(subscriber, topic, mode="unsubscribe")
            self.assertNotIn("hub.lease_seconds", question.query)

    def test_order_and_retries(self):
        topic, failures = f"{TOPIC}/order", iter([500, 503, 204, 429])
        with Subscriber(answer=lambda _: next(failures, 204)) as subscriber:
            self.subscribe(subscriber, topic)
            self.delivered(subscriber, topic, b"first")
            for number in range(50):
                publish(self.hub, topic, str(number).encode())
            heard, ids = [], {}
            while not heard or heard[-1] != b"49":
                said = subscriber.next("POST")
                ids.setdefault(said.body, set()).add(said.headers["Stentor-Publication"])
                if not heard or heard[-1] != said.body:
                    heard.append(said.body)
            numbers = [content for content in heard if content != b"first"]
            self.assertEqual(numbers, [str(number).encode() for number in range(50)])
            # What comes again comes under the same name.
            self.assertEqual({content for content in numbers if len(ids[content]) > 1}, set())

    def test_a_publisher_that_pings(self):
        """`hub.mode=publish` with `hub.url`, which may come again: PubSubHubbub 0.4, section 7.1."""
        topics = [self.feeds.url(f"/feed/{number}") for number in range(3)]
        with Subscriber() as subscriber:
            for topic in topics:
                self.subscribe(subscriber, topic)
            heard = set()
            # The last confirmation may not be in force yet when the first ping is answered.
            while heard != set(topics):
                pinged = ask(self.hub, ("hub.mode", "publish"), *(("hub.url", topic) for topic in topics))
                self.assertEqual(pinged, (204, ""))
                try:
                    while heard != set(topics):
                        said = subscriber.said.get(timeout=1)
                        self.assertEqual(said.headers["Content-Type"], "application/rss+xml")
                        heard.add(said.body.decode())
                except queue.Empty:
                    continue
        status, text = ask(self.hub, ("hub.mode", "publish"), ("hub.url", topics[0]), ("hub.url", TOPIC))
        self.assertEqual(status, 403, text)

    def test_messages_as_json(self):
        topic = f"{TOPIC}/json"
        with Subscriber() as subscriber:
            self.subscribe(subscriber, topic)
            self.delivered(subscriber, topic, b"first")
            octets = bytes(range(256))
            message = {"topic": topic, "contentBase64": base64.b64encode(octets).decode(), "contentType": "x/y"}
            status, text = send(self.hub, json.dumps(message).encode(), "application/json")
            self.assertEqual(status, 202, text)
            self.assertEqual(json.loads(text)["topic"], topic)
            said = subscriber.next("POST")
            self.assertEqual((said.body, said.headers["Content-Type"]), (octets, "x/y"))

    def test_what_is_refused(self):
        callback = "http://127.0.0.1:1/x"
        for fields, status in [
            ((("hub.mode", "subscribe"), ("hub.topic", TOPIC)), 400),
            ((("hub.mode", "subscribe"), ("hub.callback", callback)), 400),
            ((("hub.mode", "nonsense"), ("hub.topic", TOPIC), ("hub.callback", callback)), 400),
            ((("hub.mode", "subscribe"), ("hub.topic", TOPIC), ("hub.callback", "ftp://127.0.0.1/")), 400),
            ((("hub.mode", "subscribe"), ("hub.topic", TOPIC), ("hub.callback", callback), ("hub.secret", "x" * 200)), 400),
        ]:
            with self.subTest(fields=fields):
                found, text = ask(self.hub, *fields)
                self.assertEqual(found, status, text)
                self.assertTrue(text.strip())


class Feeds:
    """The topics of a publisher that pings: each feed's content is its own address."""

    def __init__(self):
        feeds = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                content = feeds.url(self.path).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/rss+xml")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class FlaskWebSub(NodeTest):
    """The library as its documentation shows it, towards a hub with TLS: it sends secrets to no other."""

    @classmethod
    def boot(cls) -> Node:
        folder = tempfile.TemporaryDirectory(prefix="stentor-websub-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        authority(cls.folder)
        secured = node_config.web({"hub": node_config.hub()}, tls={"certificate": "cert.pem", "key": "key.pem"})
        files = {name: (cls.folder / name).read_bytes() for name in ("cert.pem", "key.pem")}
        return Node.start({**node_config.node(secured), "store": {"type": "memory"}}, files)

    def setUp(self):
        import flask
        from flask_websub.subscriber import SQLite3SubscriberStorage, SQLite3TempSubscriberStorage, Subscriber
        from werkzeug.serving import make_server

        # It would announce every request.
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        # A database each, because a subscription that is left over would be renewed by the next test.
        path = str(self.folder / f"{self._testMethodName}.db")
        self.subscriber = Subscriber(SQLite3SubscriberStorage(path), SQLite3TempSubscriberStorage(path))
        self.confirmed, self.heard, self.denied = queue.Queue(), queue.Queue(), queue.Queue()
        self.subscriber.add_success_handler(lambda *said: self.confirmed.put(said))
        self.subscriber.add_listener(lambda *said: self.heard.put(said))
        self.subscriber.add_error_handler(lambda *said: self.denied.put(said))
        self.app = flask.Flask(__name__)
        self.app.register_blueprint(self.subscriber.build_blueprint(url_prefix="/callbacks"))
        server = make_server("127.0.0.1", 0, self.app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.addCleanup(thread.join, DEADLINE_SECONDS)
        self.addCleanup(server.shutdown)
        self.base = f"http://127.0.0.1:{server.server_port}"

    @property
    def hub(self) -> str:
        return f"{self.node.url('https')}/hub"

    def ask(self, work, *args, **kwargs):
        """Calls the library where it may make addresses of callbacks."""
        with self.app.test_request_context(base_url=self.base):
            return work(*args, **kwargs)

    def publish(self, topic: str, content: str) -> None:
        import requests

        reply = requests.post(
            self.hub, params={"topic": topic}, data=content.encode(), headers={"Content-Type": "text/html"},
            verify=str(self.folder / "ca.pem"), timeout=DEADLINE_SECONDS,
        )  # fmt: skip
        self.assertEqual(reply.status_code, 202, reply.text)

    def take(self, said: queue.Queue):
        return said.get(timeout=DEADLINE_SECONDS)

    def hear(self, topic: str, content: str):
        """Publishes until the subscription is in force. The library drops what is signed wrongly without a word."""
        while True:
            self.publish(topic, content)
            try:
                found = self.heard.get(timeout=0.1)
            except queue.Empty:
                continue
            if found[2] == content.encode():
                return found

    def test_subscribe_hear_renew_unsubscribe(self):
        topic, trusted = f"{TOPIC}/flask", {"verify": str(self.folder / "ca.pem")}
        callback = self.ask(
            self.subscriber.subscribe, topic_url=topic, hub_url=self.hub, lease_seconds=3600, requests_opts=trusted
        )
        self.assertEqual(self.take(self.confirmed), (topic, callback, "subscribe"))
        self.assertEqual(self.subscriber.storage[callback]["lease_seconds"], 3600)
        secret = self.subscriber.storage[callback]["secret"]
        self.assertTrue(secret)
        self.assertEqual(self.hear(topic, "first")[:2], (topic, callback))

        # `renew` takes no options for its request, so the authority is made known as its own documentation says.
        with self._authority_in_environment():
            self.ask(self.subscriber.renew, callback)
        self.assertEqual(self.take(self.confirmed), (topic, callback, "subscribe"))
        self.assertEqual(self.hear(topic, "renewed")[:2], (topic, callback))

        with self._authority_in_environment():
            self.ask(self.subscriber.unsubscribe, callback)
        self.assertEqual(self.take(self.confirmed), (topic, callback, "unsubscribe"))

    def _authority_in_environment(self):
        return unittest.mock.patch.dict("os.environ", {"REQUESTS_CA_BUNDLE": str(self.folder / "ca.pem")})

    def test_what_is_asked_wrongly_is_an_error(self):
        from flask_websub.errors import SubscriberError

        with self.assertRaises(SubscriberError):
            self.ask(
                self.subscriber.subscribe, topic_url="", hub_url=self.hub,
                requests_opts={"verify": str(self.folder / "ca.pem")},
            )  # fmt: skip


if __name__ == "__main__":
    unittest.main()
