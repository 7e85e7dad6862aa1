"""Publishes a text at the hub. Usage: python publish.py [TEXT [TOPIC [HUB]]]"""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request

# The node is called directly, whatever proxy the environment names.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def publish(hub, topic, content, content_type):
    """Whatever is posted with a topic in the query is distributed as it is. When this returns, it is on the disk."""
    url = hub + "?" + urllib.parse.urlencode({"topic": topic})
    request = urllib.request.Request(url, content, {"Content-Type": content_type})
    try:
        with OPENER.open(request, timeout=60) as answer:
            return json.load(answer)["id"]
    except urllib.error.HTTPError as refusal:
        reason = refusal.read().decode("utf-8", "replace").strip()
        raise RuntimeError("refused with status {}: {}".format(refusal.code, reason)) from None


def main(text="Hello, world", topic="http://127.0.0.1:8080/topics/news", hub="http://127.0.0.1:8080/hub"):
    number = publish(hub, topic, text.encode("utf-8"), "text/plain; charset=utf-8")
    print("published with ID {}".format(number))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:4])
    except OSError as error:
        sys.exit("The node does not answer: {}\nIs it running? Start it with: stentor start".format(error))
    except Exception as error:
        sys.exit("Not published: {}".format(error))
