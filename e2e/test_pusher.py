"""The walk of the pusher's documentation, command by command, and its Python client."""

import json
import os
import pathlib
import sys
import tempfile
import unittest

from stentor_node import Node, NodeTest, binary, need, run

HERE = pathlib.Path(__file__).parent

# What `init --template pusher` makes, as documented; the node directory has our own name.
FILES = [
    ".stentor/config.json",
    "publish.py",
    "publish_signed.py",
    "README.md",
    "web/wamp.js",
    "web/index.html",
]


def curl(url: str, *more: str) -> tuple[int, dict]:
    """The documented command line, its address replaced; status and body of the answer."""
    event = '{"topic": "com.myapp.topic1", "args": ["Hello, world"]}'
    output = run(
        need("curl"), "-sS", "-w", "\n%{http_code}", *more, "-H", "Content-Type: application/json", "-d", event, url,
        cwd=HERE,
    )  # fmt: skip
    body, status = output.rsplit("\n", 1)
    return int(status), json.loads(body)


class Template(NodeTest):
    """`init`, `start`, `curl`, `publish.py` and `publish_signed.py` in one folder."""

    @classmethod
    def boot(cls) -> Node:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="stentor-"))
        run(binary(), "init", "--template", "pusher", cwd=folder)
        cls.missing = [name for name in FILES if not (folder / name).is_file()]
        config = folder / ".stentor" / "config.json"
        config.write_text(config.read_text().replace("8080", "0"))
        # Started as documented, without naming a directory.
        return Node.start_in(folder, 1)

    def test_files(self):
        self.assertEqual(self.missing, [])

    def test_curl(self):
        status, body = curl(f"{self.node.url('http')}/push")
        # The template's service is called `pusher`, and a pusher answers 202.
        self.assertEqual(status, 202, body)
        self.assertIsInstance(body["id"], int)

    def test_page_is_served(self):
        page = run(need("curl"), "-sSf", f"{self.node.url('http')}/", cwd=HERE)
        self.assertIn("<html", page.lower())
        script = run(need("curl"), "-sSf", f"{self.node.url('http')}/wamp.js", cwd=HERE)
        self.assertIn("autobahn", script)

    def _script(self, name: str) -> str:
        """Runs a script of the template, its address replaced, with the client installed as users install it."""
        script = self.node.folder / name
        address = self.node.url("http").removeprefix("http://")
        text = script.read_text()
        copy = script.with_name(f"e2e_{name}")
        copy.write_text(text.replace("127.0.0.1:8080", address).replace("localhost:8080", address))
        self.assertNotEqual(copy.read_text(), text, "the script names no address to replace")
        return run(os.environ.get("E2E_PYTHON", sys.executable), str(copy), cwd=self.node.folder)

    def test_publish(self):
        self.assertRegex(self._script("publish.py"), r"\d")

    def test_publish_signed(self):
        self.assertRegex(self._script("publish_signed.py"), r"\d")

    def test_unsigned_is_refused_where_a_signature_is_asked_for(self):
        status, body = curl(f"{self.node.url('http')}/pushsigned")
        self.assertIn(status, (400, 401), body)
        self.assertIn("error", body)


class Client(NodeTest):
    """`crossbarconnect` as the documentation shows it."""

    @classmethod
    def boot(cls) -> Node:
        return Node.start(json.loads((HERE / "reference" / "standalone.json").read_text().replace("9000", "0").replace("8080", "0")))

    def test_publish(self):
        import crossbarconnect

        client = crossbarconnect.Client(f"{self.node.url('http')}/")
        first = client.publish("com.myapp.topic1", "Hello, world!", 23)
        second = client.publish("com.myapp.topic1", sq=1, msg="keywords", options={"exclude": [1]})
        self.assertIsInstance(first, int)
        self.assertNotEqual(first, second)

    def test_standalone_curl(self):
        status, body = curl(f"{self.node.url('http')}/")
        self.assertEqual(status, 202, body)

    def test_what_is_wrong_is_said(self):
        for event, status in [
            ('{"args": []}', 400),
            ('{"topic": "a..b"}', 400),
            ('{"topic": "com.a", "args": {}}', 400),
            ("[", 400),
        ]:
            with self.subTest(event=event):
                output = run(
                    need("curl"), "-sS", "-w", "\n%{http_code}", "-H", "Content-Type: application/json",
                    "-d", event, f"{self.node.url('http')}/", cwd=HERE,
                )  # fmt: skip
                body, found = output.rsplit("\n", 1)
                self.assertEqual(int(found), status, body)
                self.assertIn("error", json.loads(body))


if __name__ == "__main__":
    unittest.main()
