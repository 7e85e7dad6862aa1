"""The bytes of a request, without a network."""

import datetime
import unittest

import support  # noqa: F401  (finds the package)

from crossbarconnect import _wire


class Signature(unittest.TestCase):
    def test_known_vector(self):
        """Recorded from the original client on the wire, and accepted by a Crossbar.io of 2014 and of today."""
        event = _wire.event("com.myapp.topic1", ["\u00e9", 23], {"msg": "x"}, {"exclude": [1]})
        body = _wire.body(event)
        self.assertEqual(
            body,
            b'{"topic":"com.myapp.topic1","options":{"exclude":[1]},"args":["\\u00e9",23],"kwargs":{"msg":"x"}}',
        )
        self.assertEqual(len(body), 96)
        credentials = _wire.Credentials("foobar", "secret")
        stamp = "2026-11-22T00:19:14.527Z"
        self.assertEqual(
            _wire.signature(credentials, stamp, 1, 5576599056441004, body),
            "L893V2F0J3YId2VByknGtUfjwAklqMiwzjfqwAj5Srs=",
        )
        self.assertEqual(
            _wire.target("/pushsigned", credentials, stamp, 1, 5576599056441004, body),
            "/pushsigned?timestamp=2026-11-22T00%3A19%3A14.527Z&seq=1&key=foobar&nonce=5576599056441004"
            "&signature=L893V2F0J3YId2VByknGtUfjwAklqMiwzjfqwAj5Srs%3D",
        )

    def test_alphabet_is_url_safe_and_padded(self):
        credentials = _wire.Credentials("k", "s")
        signatures = [_wire.signature(credentials, "t", seq, 0, b"") for seq in range(200)]
        self.assertTrue(all(len(one) == 44 and one.endswith("=") for one in signatures))
        self.assertTrue(any("-" in one for one in signatures) and any("_" in one for one in signatures))
        self.assertFalse(any("+" in one or "/" in one for one in signatures))

    def test_secret_is_not_shown(self):
        self.assertNotIn("hush", repr(_wire.Credentials("k", "hush")))


class Timestamp(unittest.TestCase):
    def check(self, moment, expected):
        self.assertEqual(_wire.timestamp(moment), expected)

    def test_three_digits_always(self):
        utc = datetime.timezone.utc
        east = datetime.timezone(datetime.timedelta(hours=2))
        self.check(datetime.datetime(2011, 10, 14, 16, 59, 51, 123999, utc), "2011-10-14T16:59:51.123Z")
        self.check(datetime.datetime(2011, 10, 14, 16, 59, 51, 0, utc), "2011-10-14T16:59:51.000Z")
        self.check(datetime.datetime(2011, 1, 2, 3, 4, 5, 6000, utc), "2011-01-02T03:04:05.006Z")
        self.check(datetime.datetime(2011, 1, 1, 1, 0, 0, 0, east), "2010-12-31T23:00:00.000Z")


class Body(unittest.TestCase):
    def check(self, expected, *parts):
        self.assertEqual(_wire.body(_wire.event(*parts)), expected)

    def test_empty_parts_are_omitted(self):
        self.check(b'{"topic":"t"}', "t")
        self.check(b'{"topic":"t"}', "t", (), {}, {})
        self.check(b'{"topic":"t","args":[null]}', "t", [None])
        self.check(b'{"topic":"t","kwargs":{"a":1}}', "t", (), {"a": 1})
        self.check(b'{"topic":"t","options":{"exclude":[1]},"args":[1]}', "t", (1,), None, {"exclude": [1]})

    def test_ascii_only(self):
        self.check(b'{"topic":"t","args":["\\ud83d\\ude00\\u2028\\u00e9\\u0000"]}', "t", ["\U0001f600\u2028\u00e9\0"])


class Mistakes(unittest.TestCase):
    def check(self, kind, sentence, call, *parts):
        with self.assertRaises(kind) as caught:
            call(*parts)
        self.assertIn(sentence, str(caught.exception))

    def test_url(self):
        for url in (None, 5, b"http://a/"):
            self.check(TypeError, "url must be a string", _wire.endpoint, url)
        for url in ("", "a/b", "ftp://a/b", "ws://a/b"):
            self.check(ValueError, "must start with http", _wire.endpoint, url)
        for url in ("http:///p", "http://:80/p"):
            self.check(ValueError, "must name a host", _wire.endpoint, url)
        for url in ("http://a:0/", "http://a:65536/", "http://a:x/"):
            self.check(ValueError, "port between 1 and 65535", _wire.endpoint, url)
        self.check(ValueError, "query", _wire.endpoint, "http://a/p?q=1")
        self.check(ValueError, "query", _wire.endpoint, "http://a/p?")
        self.check(ValueError, "fragment", _wire.endpoint, "http://a/p#f")
        self.check(ValueError, "user name", _wire.endpoint, "http://u:p@a/p")
        self.check(ValueError, "spaces or control", _wire.endpoint, "http://a/p\r\nX: y")

    def test_event(self):
        self.check(TypeError, "topic must be a string", _wire.event, None)
        self.check(ValueError, "topic must not be empty", _wire.event, "")
        self.check(TypeError, "options must be a dictionary", _wire.event, "t", None, None, [1])
        self.check(TypeError, "args must be a list", _wire.event, "t", "abc")
        self.check(TypeError, "kwargs must be a dictionary", _wire.event, "t", None, [1])

    def test_json(self):
        loop = []
        loop.append(loop)
        for value in (float("nan"), float("inf"), loop):
            self.check(ValueError, "cannot be written as JSON", _wire.body, [value])
        for value in (object(), {1, 2}, b"bytes"):
            self.check(TypeError, "cannot be written as JSON", _wire.body, [value])

    def test_batch(self):
        self.check(TypeError, "event 3 must be a dictionary", _wire.event_from, "t", 3)
        self.check(ValueError, "event 0 has no topic", _wire.event_from, {"args": []}, 0)
        self.check(ValueError, "unknown key 'arg'", _wire.event_from, {"topic": "t", "arg": []}, 0)
        self.check(TypeError, "event 1: args must be a list", _wire.event_from, {"topic": "t", "args": 5}, 1)


class Endpoints(unittest.TestCase):
    def check(self, url, *expected):
        self.assertEqual(_wire.endpoint(url), expected)

    def test_parts(self):
        self.check("http://a", False, "a", 80, "/")
        self.check("https://a/push", True, "a", 443, "/push")
        self.check("http://a:8080/x/y", False, "a", 8080, "/x/y")
        self.check("http://[::1]:8080/push", False, "::1", 8080, "/push")
        self.check("http://a/caf\u00e9", False, "a", 80, "/caf%C3%A9")
        self.check("http://a/caf%C3%A9", False, "a", 80, "/caf%C3%A9")


if __name__ == "__main__":
    unittest.main()
