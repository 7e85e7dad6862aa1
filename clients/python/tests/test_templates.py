"""The scripts of the node template ``pusher``: with the package, and with the standard library alone."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import unittest

from support import OK, PATIENCE, Server, answer

HERE = os.path.dirname(os.path.abspath(__file__))
TEMPLATE = os.path.join(HERE, *[os.pardir] * 3, "crates", "server", "templates", "pusher")
PACKAGE = os.path.join(HERE, os.pardir, "src")

#: With the package on the path, and so that it cannot be imported even where it is installed.
WAYS = (PACKAGE, None)

HIDE = (
    "import runpy, sys; sys.modules['crossbarconnect'] = None; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def run(script, way, *args):
    path = os.path.join(TEMPLATE, script)
    command = [sys.executable, path] if way else [sys.executable, "-c", HIDE, path]
    # A proxy that is not there: the scripts must not ask it.
    environment = dict(os.environ, PYTHONPATH=way or "", http_proxy="http://127.0.0.1:9", NO_PROXY="", no_proxy="")
    return subprocess.run(
        command + list(args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, timeout=PATIENCE, text=True
    )


class Scripts(unittest.TestCase):
    def test_publish(self):
        for way in WAYS:
            with self.subTest(way=way), Server() as server:
                done = run("publish.py", way, server.url())
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertIn("4532703899599182", done.stdout)
                events = [json.loads(request.body) for request in server.received]
                self.assertEqual(
                    [(event.get("args", []), event.get("kwargs", {})) for event in events],
                    [([], {}), (["Hello, world!", 23], {})]
                    + [([i], {"sq": i * i, "msg": "Hello, world!"}) for i in range(5)],
                )
                self.assertEqual({event["topic"] for event in events}, {"com.myapp.topic1"})
                self.assertEqual({request.headers["content-type"] for request in server.received}, {"application/json"})

    def test_publish_signed(self):
        for way in WAYS:
            with self.subTest(way=way), Server() as server:
                done = run("publish_signed.py", way, server.url("/pushsigned"))
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                (request,) = server.received
                query = request.query
                self.assertRegex(query["timestamp"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
                signed = "".join(query[name] for name in ("key", "timestamp", "seq", "nonce")).encode("ascii") + request.body
                mac = hmac.new(b"secret", signed, hashlib.sha256).digest()
                self.assertEqual(query["key"], "foobar")
                self.assertEqual(query["signature"], base64.urlsafe_b64encode(mac).decode("ascii"))

    def test_failures(self):
        with Server() as server:
            nobody = server.url()
        for way in WAYS:
            for script in ("publish.py", "publish_signed.py"):
                with self.subTest(way=way, script=script):
                    done = run(script, way, nobody)
                    self.assertEqual((done.returncode, done.stdout), (1, ""))
                    self.assertIn("stentor start", done.stderr)
                    self.assertNotIn("Traceback", done.stderr)
                    with Server(answer(401, '{"error":"The signature is wrong."}'), OK) as server:
                        done = run(script, way, server.url())
                    self.assertEqual(done.returncode, 1)
                    self.assertIn("The signature is wrong.", done.stderr)
                    self.assertIn("401", done.stderr)
                    self.assertNotIn("Traceback", done.stderr)


if __name__ == "__main__":
    unittest.main()
