"""Subscribes to a topic and prints each webhook. Usage: python subscribe.py [TOPIC [PORT]]

Where a hub wants a bearer token, it is taken from the environment variable HUB_TOKEN.

Nothing but the topic's URL has to be known: the topic says which hub it has. Ctrl-C unsubscribes. With a PORT, Ctrl-C only
leaves: what is published meanwhile waits until the program is started with the same PORT again, as the same subscriber.
"""

import collections
import hashlib
import hmac
import http.server
import json
import os
import re
import secrets
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

# The node is called directly, whatever proxy the environment names.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Callback(http.server.BaseHTTPRequestHandler):
    """What the hub calls. `topic`, `place`, `secret`, `wanted` and `confirmed` are set below."""

    protocol_version = "HTTP/1.1"
    # A hub tries again when it got no answer, so that a publication may come twice. The last thousand are known again.
    seen = collections.deque(maxlen=1000)

    def do_GET(self):
        """The hub asks whether we really want this, and we show that we do by giving its challenge back."""
        url = urllib.parse.urlsplit(self.path)
        fields = dict(urllib.parse.parse_qsl(url.query))
        mode, topic = fields.get("hub.mode"), fields.get("hub.topic")
        if url.path != self.place or topic != self.topic:
            return self.answer(404)
        if mode == "denied":
            print("The hub denies the subscription: {}".format(fields.get("hub.reason", "without a reason")), flush=True)
            return self.answer(200)
        if mode != self.wanted or "hub.challenge" not in fields:
            return self.answer(404)
        self.answer(200, fields["hub.challenge"])
        self.confirmed.set()
        if mode == "subscribe":
            print("Subscribed for {} seconds; {}".format(fields.get("hub.lease_seconds"), self.end), flush=True)

    def do_POST(self):
        """A webhook. The hub sends the next one when this one is answered, so that they come in order."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != self.place:
            return self.answer(404)
        if is_genuine(self.headers.get("X-Hub-Signature", ""), self.secret, body):
            publication = self.headers.get("Stentor-Publication")
            if publication not in self.seen:
                self.seen.append(publication)
                kind, number = self.headers.get("Content-Type"), self.headers.get("Stentor-Sequence")
                print("#{} {}: {}".format(number, kind, body.decode("utf-8", "replace")), flush=True)
        else:
            print("Ignored a request with a wrong signature", flush=True)
        self.answer(204)

    def answer(self, status, text=""):
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode("ascii"))

    def log_message(self, *args):
        pass


def is_genuine(header, secret, body):
    """Whether the signature, `method=hex`, was made with our secret."""
    method, _, digits = header.partition("=")
    if method not in ("sha1", "sha256", "sha384", "sha512"):
        return False
    expected = hmac.new(secret.encode("ascii"), body, getattr(hashlib, method)).hexdigest()
    return hmac.compare_digest(expected, digits)


def discover(topic):
    """The hub of a topic and the name that the topic goes by: both are in the `Link` headers of its answer."""
    try:
        headers = OPENER.open(topic, timeout=10).headers
    except urllib.error.HTTPError as refusal:
        # Nothing has been published yet; the links are there all the same.
        headers = refusal.headers
    found = re.findall(r'<([^>]*)>\s*;\s*rel="?([\w-]+)', ", ".join(headers.get_all("Link", [])))
    links = {rel: url for url, rel in found}
    if "hub" not in links:
        raise RuntimeError("{} names no hub".format(topic))
    return links["hub"], links.get("self", topic)


def known(port):
    """The path of our callback and our secret, as a file keeps them for each port.

    Only the hub is told, so that nobody else can call or sign. The hub knows a subscription by its callback: with the same
    one it is renewed, and what waits for it comes.
    """
    made = {"path": "/webhook/" + secrets.token_urlsafe(16), "secret": secrets.token_urlsafe(16)}
    if port:
        name = "subscriber-{}.json".format(port)
        try:
            with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(made, file)
        except FileExistsError:
            with open(name) as file:
                made = json.load(file)
    return made["path"], made["secret"]


def ask(hub, mode, topic, callback):
    fields = {"hub.mode": mode, "hub.topic": topic, "hub.callback": callback}
    if mode == "subscribe":
        fields["hub.secret"] = Callback.secret
    request = urllib.request.Request(hub, urllib.parse.urlencode(fields).encode("ascii"))
    if "HUB_TOKEN" in os.environ:
        request.add_header("Authorization", "Bearer " + os.environ["HUB_TOKEN"])
    try:
        OPENER.open(request, timeout=10).close()
    except urllib.error.HTTPError as refusal:
        reason = refusal.read().decode("utf-8", "replace").strip()
        raise RuntimeError("the hub refuses with status {}: {}".format(refusal.code, reason)) from None


def main(topic="http://127.0.0.1:8080/topics/news", port="0"):
    hub, topic = discover(topic)
    Callback.topic, Callback.wanted, Callback.confirmed = topic, "subscribe", threading.Event()
    Callback.place, Callback.secret = known(int(port))
    Callback.end = "Ctrl-C leaves, and it goes on" if int(port) else "Ctrl-C ends it"
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Callback)
    except OSError as error:
        raise RuntimeError("port {} of this machine cannot be listened on: {}".format(port, error)) from None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    callback = "http://127.0.0.1:{}{}".format(server.server_address[1], Callback.place)
    ask(hub, "subscribe", topic, callback)
    try:
        # A subscription ends with its lease; a program that runs for longer asks again in time.
        threading.Event().wait()
    except KeyboardInterrupt:
        if int(port):
            return print("Left; what is published waits for the next start with the port {}".format(port))
        Callback.wanted, Callback.confirmed = "unsubscribe", threading.Event()
        ask(hub, "unsubscribe", topic, callback)
        print("Unsubscribed" if Callback.confirmed.wait(5) else "The hub did not ask whether to unsubscribe")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:3])
    except OSError as error:
        sys.exit("The node does not answer: {}\nIs it running? Start it with: stentor start".format(error))
    except Exception as error:
        sys.exit("Not subscribed: {}".format(error))
