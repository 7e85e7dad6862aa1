"""The client against a server on the loopback interface."""

import base64
import hashlib
import hmac
import json
import pickle
import re
import threading
import unittest
from urllib.parse import unquote

from support import CLOSE, HANG, OK, PATIENCE, REFUSE_UNREAD, Server, answer

from crossbarconnect import Client, Error, PublicationError, TransportError


class Wire(unittest.TestCase):
    def check(self, expected, /, *args, **kwargs):
        """Publishes with these arguments and compares the body."""
        with Server() as server, Client(server.url()) as client:
            self.assertEqual(client.publish(*args, **kwargs), 4532703899599182)
            self.assertEqual(server.received[0].body, expected)

    def test_bodies(self):
        self.check(b'{"topic":"com.myapp.topic1"}', "com.myapp.topic1")
        self.check(b'{"topic":"t","args":["Hello, world!",23]}', "t", "Hello, world!", 23)
        self.check(b'{"topic":"t","args":[1],"kwargs":{"sq":1,"msg":"x"}}', "t", 1, sq=1, msg="x")
        self.check(b'{"topic":"t","options":{"exclude":[1]},"kwargs":{"a":1}}', "t", a=1, options={"exclude": [1]})
        self.check(b'{"topic":"t","args":["\\u00e9\\ud83d\\ude00"]}', "t", "\u00e9\U0001f600")

    def test_words_of_the_signature_are_free_for_payload(self):
        self.check(b'{"topic":"t","args":[1],"kwargs":{"topic":"x","self":"y"}}', "t", 1, topic="x", self="y")
        self.check(b'{"topic":"t","kwargs":{"topic":"x"}}', "t", topic="x")
        self.check(b'{"topic":"t","kwargs":{"a":1}}', topic="t", a=1)

    def test_head_of_an_unsigned_request(self):
        with Server() as server, Client(server.url("/pu%20sh")) as client:
            client.publish("t", 1)
            request = server.received[0]
        self.assertRegex(
            request.line,
            r"^POST /pu%20sh\?timestamp=\d{4}-\d\d-\d\dT\d\d%3A\d\d%3A\d\d\.\d{3}Z&seq=1 HTTP/1\.1$",
        )
        self.assertEqual(
            request.headers,
            {
                "host": "127.0.0.1:{}".format(server.port),
                "accept-encoding": "identity",
                "content-length": "24",
                "content-type": "application/json",
                "user-agent": "crossbarconnect-python",
            },
        )

    def test_signed_request_verifies(self):
        with Server() as server, Client(server.url(), key="f\u00f6\u00f6 bar", secret="s\u00e9cret") as client:
            client.publish("t", "x")
            client.publish("t", "x")
            first, second = server.received
        for request in (first, second):
            fields = [field.split("=", 1) for field in request.raw_query.split("&")]
            self.assertEqual([name for name, _ in fields], ["timestamp", "seq", "key", "nonce", "signature"])
            query = request.query
            self.assertTrue(0 <= int(query["nonce"]) <= 2**53)
            signed = "".join(query[name] for name in ("key", "timestamp", "seq", "nonce")).encode("utf-8") + request.body
            mac = hmac.new("s\u00e9cret".encode("utf-8"), signed, hashlib.sha256).digest()
            self.assertEqual(query["signature"], base64.urlsafe_b64encode(mac).decode("ascii"))
            self.assertTrue(dict(fields)["signature"].endswith("%3D"))
            self.assertEqual(unquote(dict(fields)["signature"]), query["signature"])
        self.assertEqual((first.query["seq"], second.query["seq"]), ("1", "2"))
        self.assertNotEqual(first.query["nonce"], second.query["nonce"])
        self.assertNotIn("s\u00e9cret", repr(client))

    def test_both_successes(self):
        for status in (200, 202):
            with Server(answer(status, '{"id":7}')) as server, Client(server.url(), timeout=2.5) as client:
                self.assertEqual(client.publish("t"), 7)


class Batch(unittest.TestCase):
    def test_in_order(self):
        reply = '[{"id":1},{"error":"wamp.error.not_authorized","args":["no"],"kwargs":{}}]'
        with Server(answer(202, reply)) as server, Client(server.url()) as client:
            outcomes = client.publish_many(
                event
                for event in ({"args": [1], "topic": "a"}, {"topic": "b", "kwargs": {"options": 1}, "options": {"x": 1}})
            )
            self.assertEqual(outcomes, json.loads(reply))
            self.assertEqual(
                server.received[0].body,
                b'[{"topic":"a","args":[1]},{"topic":"b","options":{"x":1},"kwargs":{"options":1}}]',
            )

    def test_refused_items_are_outcomes(self):
        for status, reply in ((207, '[{"id":1},{"error":"no","args":[],"kwargs":{}}]'), (400, '[{"error":"a"},{"error":"b"}]')):
            with Server(answer(status, reply)) as server, Client(server.url()) as client:
                self.assertEqual(client.publish_many([{"topic": "a"}, {"topic": "b"}]), json.loads(reply))

    def test_a_batch_refused_as_a_whole_raises(self):
        with Server(answer(413, '{"error":"too long","args":[],"kwargs":{}}')) as server, Client(server.url()) as client:
            with self.assertRaises(PublicationError) as caught:
                client.publish_many([{"topic": "a"}])
            self.assertEqual((caught.exception.status, caught.exception.reason), (413, "too long"))

    def test_nothing_is_no_request(self):
        with Server() as server, Client(server.url()) as client:
            self.assertEqual(client.publish_many([]), [])
            self.assertEqual(server.connections, 0)

    def test_odd_answers(self):
        for reply in ('{"id":1}', '[{"id":1}]', '[{"id":1},{}]', '[{"id":1},2]', "nonsense"):
            with Server(answer(200, reply)) as server, Client(server.url()) as client:
                with self.assertRaises(PublicationError):
                    client.publish_many([{"topic": "a"}, {"topic": "b"}])


class Refusals(unittest.TestCase):
    def check(self, status, body, reason, field=None, error=None, phrase="Phrase"):
        with Server(answer(status, body, phrase)) as server, Client(server.url()) as client:
            with self.assertRaises(PublicationError) as caught:
                client.publish("t")
        refusal = caught.exception
        self.assertIsInstance(refusal, Error)
        self.assertEqual(
            (refusal.status, refusal.reason, refusal.field, refusal.error, refusal.body),
            (status, reason, field, error, body),
        )
        self.assertIn(reason, str(refusal))
        self.assertIn(str(status), str(refusal))

    def test_error_bodies(self):
        sentence = "The field 'args' must be an array."
        self.check(400, json.dumps({"error": sentence, "args": [], "kwargs": {}}), sentence, error=sentence)
        self.check(400, json.dumps({"error": sentence, "args": [], "kwargs": {"field": "args"}}), sentence, "args", sentence)
        self.check(400, json.dumps({"error": sentence, "field": "args"}), sentence, "args", sentence)
        uri = "wamp.error.not_authorized"
        body = json.dumps({"error": uri, "args": ["session not authorized"], "kwargs": {}})
        # The second is how Crossbar.io answers: 200, because the request as such went well.
        for status in (403, 200):
            self.check(status, body, "session not authorized (wamp.error.not_authorized)", error=uri)

    def test_other_bodies(self):
        self.check(400, "bad or missing content type ('None')\n", "bad or missing content type ('None')")
        self.check(502, "<html><body>Bad Gateway</body></html>", "Bad Gateway", phrase="Bad Gateway")
        self.check(500, "", "Internal Server Error", phrase="Internal Server Error")
        for body in ('{"id":"7"}', '{"id":true}', "[7]", "{}", "{"):
            self.check(200, body, "the answer has no publication id")

    def test_pickle(self):
        refusal = pickle.loads(pickle.dumps(PublicationError(400, "why", "args", "{}", "uri")))
        self.assertEqual((refusal.status, refusal.reason, refusal.field, refusal.error), (400, "why", "args", "uri"))

    def test_connection_survives_a_refusal(self):
        with Server(answer(400, '{"error":"no"}'), OK) as server, Client(server.url()) as client:
            with self.assertRaises(PublicationError):
                client.publish("t")
            client.publish("t")
            self.assertEqual(server.connections, 1)

    def test_answer_is_heard_although_the_body_was_not_read(self):
        with Server(REFUSE_UNREAD) as server, Client(server.url()) as client:
            with self.assertRaises(PublicationError) as caught:
                client.publish("t", "x" * 4_000_000)
            self.assertEqual(caught.exception.status, 413)
            self.assertEqual(len(server.received), 1)


class Reconnect(unittest.TestCase):
    def test_connection_is_kept(self):
        with Server() as server, Client(server.url()) as client:
            for _ in range(3):
                client.publish("t")
            self.assertEqual([request.connection for request in server.received], [1, 1, 1])

    def test_idle_close_is_noticed_before_sending(self):
        with Server(close_after=True) as server, Client(server.url(), key="k", secret="s") as client:
            client.publish("t")
            self.assertTrue(server.closed.acquire(timeout=PATIENCE))
            client.publish("t")
            # Replaced, not repeated: the second request used up one sequence number only.
            self.assertEqual([request.query["seq"] for request in server.received], ["1", "2"])
            self.assertEqual(server.connections, 2)

    def test_kept_connection_that_ends_without_an_answer_is_retried_once(self):
        with Server(OK, CLOSE, OK) as server, Client(server.url(), key="k", secret="s") as client:
            client.publish("t", 1)
            self.assertEqual(client.publish("t", 2), 4532703899599182)
            first, lost, again = server.received
            self.assertEqual((lost.connection, again.connection), (1, 2))
            self.assertEqual(lost.body, again.body)
            self.assertEqual((lost.query["seq"], again.query["seq"]), ("2", "3"))
            for name in ("nonce", "signature"):
                self.assertNotEqual(lost.query[name], again.query[name])

    def test_second_failure_is_final(self):
        with Server(OK, CLOSE, CLOSE) as server, Client(server.url()) as client:
            client.publish("t")
            with self.assertRaises(TransportError):
                client.publish("t")
            self.assertEqual(len(server.received), 3)

    def test_fresh_connection_is_never_retried(self):
        with Server(CLOSE) as server, Client(server.url()) as client:
            with self.assertRaises(TransportError):
                client.publish("t")
            self.assertEqual(len(server.received), 1)

    def test_begun_answer_is_never_retried(self):
        for begun in (b"H", b"HTTP/1.1 202 Accepted\r\n", OK[:-3]):
            with Server(OK, begun, OK) as server:
                with Client(server.url()) as client:
                    client.publish("t")
                    server.close_after = True
                    with self.assertRaises(TransportError):
                        client.publish("t")
                    self.assertEqual(len(server.received), 2)
                    client.publish("t")

    def test_timeout_is_never_retried(self):
        with Server(OK, HANG) as server, Client(server.url(), timeout=0.2) as client:
            client.publish("t")
            with self.assertRaises(TransportError) as caught:
                client.publish("t")
            self.assertIn("within 0.2 seconds", str(caught.exception))
            self.assertEqual(len(server.received), 2)

    def test_server_that_says_close(self):
        with Server(answer(200, '{"id":1}', headers="Connection: close\r\n")) as server:
            with Client(server.url()) as client:
                client.publish("t")
                client.publish("t")
                self.assertEqual([request.connection for request in server.received], [1, 2])

    def test_nobody_there(self):
        with Server() as server:
            url = server.url()
        with Client(url) as client, self.assertRaises(TransportError) as caught:
            client.publish("t")
        self.assertIsInstance(caught.exception, OSError)
        self.assertIsInstance(caught.exception, Error)
        self.assertIn("cannot connect to 127.0.0.1:", str(caught.exception))

    def test_use_after_close(self):
        with Server() as server, Client(server.url()) as client:
            client.publish("t")
            client.close()
            client.publish("t")
            self.assertEqual(server.connections, 2)


class Threads(unittest.TestCase):
    def test_shared_client(self):
        with Server() as server, Client(server.url(), key="k", secret="s") as client:
            failures = []

            def work():
                try:
                    for _ in range(25):
                        client.publish("t", 1)
                except Exception as failure:
                    failures.append(failure)

            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
            self.assertEqual(failures, [])
            self.assertEqual([int(request.query["seq"]) for request in server.received], list(range(1, 201)))
            self.assertEqual(server.connections, 1)


class Arguments(unittest.TestCase):
    def check(self, kind, sentence, *args, **kwargs):
        with self.assertRaisesRegex(kind, re.escape(sentence)):
            Client(*args, **kwargs)

    def test_mistakes(self):
        url = "http://127.0.0.1:1/"
        self.check(ValueError, "both, or neither", url, key="k")
        self.check(ValueError, "both, or neither", url, secret="s")
        self.check(ValueError, "must not be empty", url, key="", secret="s")
        self.check(TypeError, "key must be a string", url, key=5, secret="s")
        self.check(TypeError, "timeout must be a number", url, timeout="5")
        self.check(TypeError, "timeout must be a number", url, timeout=True)
        self.check(TypeError, "timeout must be a number", url, timeout=None)
        self.check(ValueError, "timeout must be a positive", url, timeout=0)
        self.check(ValueError, "timeout must be a positive", url, timeout=float("nan"))
        self.check(TypeError, "context must be an ssl.SSLContext", url, context=True)

    def test_nothing_is_sent_after_a_mistake(self):
        with Server() as server, Client(server.url()) as client:
            for call in (
                lambda: client.publish(),
                lambda: client.publish(5),
                lambda: client.publish(""),
                lambda: client.publish("t", object()),
                lambda: client.publish("t", float("nan")),
                lambda: client.publish("t", options=[]),
                lambda: client.publish_many([{"topic": "a"}, {"topic": 5}]),
            ):
                with self.assertRaises((TypeError, ValueError)):
                    call()
            self.assertEqual(server.connections, 0)


if __name__ == "__main__":
    unittest.main()
