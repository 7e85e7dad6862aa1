"""A WebSub subscriber made of the standard library: what its author reads in section 5 and 7 of the recommendation, and no more.

Knows the challenge, the signature and the answers. It keeps everything that the hub says in a queue.
"""

import dataclasses
import hashlib
import hmac
import http.client
import http.server
import json
import queue
import threading
import urllib.parse

from stentor_node import DEADLINE_SECONDS

FORM = "application/x-www-form-urlencoded"


@dataclasses.dataclass
class Said:
    """One request of the hub."""

    method: str
    path: str
    query: dict[str, str]
    headers: http.client.HTTPMessage
    body: bytes

    def signed_by(self, secret: str) -> bool:
        """Section 7: `method=signature`, over the body as it came."""
        method, _, signature = self.headers["X-Hub-Signature"].partition("=")
        return hmac.compare_digest(signature, hmac.new(secret.encode(), self.body, method).hexdigest())


class Subscriber:
    """A server on a port of its own. `answer` says with which status deliveries are answered."""

    def __init__(self, answer=lambda said: 204):
        self.said: queue.Queue[Said] = queue.Queue()
        subscriber = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                self._take(lambda said: (200, said.query.get("hub.challenge", "").encode()))

            def do_POST(self):
                self._take(lambda said: (answer(said), b""))

            def _take(self, decide):
                url = urllib.parse.urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                said = Said(self.command, url.path, dict(urllib.parse.parse_qsl(url.query)), self.headers, body)
                status, content = decide(said)
                # Before the answer: the next request may come over another connection, and so by another thread.
                subscriber.said.put(said)
                self.send_response(status)
                if status != 204:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, path: str = "/callback") -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def next(self, method: str) -> Said:
        """The next thing that the hub says, which has to be of this method."""
        said = self.said.get(timeout=DEADLINE_SECONDS)
        assert said.method == method, f"{said} instead of a {method}"
        return said

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def ask(hub: str, *fields: tuple[str, str]) -> tuple[int, str]:
    """One request to a hub, as a form; fields may come again. Gives status and text."""
    return send(hub, urllib.parse.urlencode(fields).encode(), FORM)


def send(url: str, body: bytes, content_type: str) -> tuple[int, str]:
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=DEADLINE_SECONDS)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body, {"Content-Type": content_type})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def publish(hub: str, topic: str, content: bytes, content_type: str = "text/plain") -> str:
    """Sends content itself, which the hub distributes as it is; gives the publication's id."""
    status, text = send(f"{hub}?{urllib.parse.urlencode({'topic': topic})}", content, content_type)
    assert status == 202, f"{status} {text}"
    return str(json.loads(text)["id"])
