"""Publishes events to the node. Usage: python publish.py [URL]"""

import sys

try:
    from crossbarconnect import Client
except ImportError:
    # Without the package (pip install crossbarconnect) this is all that a request without a signature takes.
    import json
    import urllib.error
    import urllib.request

    class Client:
        def __init__(self, url):
            self.url = url
            # The node is called directly, whatever proxy the environment names.
            self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def publish(self, topic, *args, **kwargs):
            body = json.dumps({"topic": topic, "args": args, "kwargs": kwargs}).encode("ascii")
            request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
            try:
                with self.opener.open(request, timeout=5) as answer:
                    return json.load(answer)["id"]
            except urllib.error.HTTPError as refusal:
                reason = refusal.read().decode("utf-8", "replace").strip()
                raise RuntimeError("refused with status {}: {}".format(refusal.code, reason)) from None


def main(url="http://127.0.0.1:8080/push"):
    client = Client(url)

    # An event without payload.
    client.publish("com.myapp.topic1")

    # An event with positional payload. The result is the id of the publication.
    event_id = client.publish("com.myapp.topic1", "Hello, world!", 23)
    print("event published with ID {}".format(event_id))

    # Events with positional and keyword payload.
    for i in range(5):
        client.publish("com.myapp.topic1", i, sq=i * i, msg="Hello, world!")
    print("5 more events published")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:2])
    except OSError as error:
        sys.exit("The server does not answer: {}\nIs the node running? Start it with: stentor start".format(error))
    except Exception as error:
        sys.exit("Not published: {}".format(error))
