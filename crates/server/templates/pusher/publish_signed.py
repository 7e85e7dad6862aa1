"""Publishes an event to the HTTP Pusher service with a signed request. Usage: python publish_signed.py [URL]"""

import sys

# The same pair is in the node's configuration. The secret signs and never travels.
KEY = "foobar"
SECRET = "secret"

try:
    from crossbarconnect import Client
except ImportError:
    # Without the package (pip install crossbarconnect) this is all that a signed request takes.
    import base64
    import datetime
    import hashlib
    import hmac
    import json
    import secrets
    import urllib.error
    import urllib.parse
    import urllib.request

    class Client:
        def __init__(self, url, key, secret):
            self.url, self.key, self.secret, self.seq = url, key, secret, 0
            # The node is called directly, whatever proxy the environment names.
            self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def publish(self, topic, *args, **kwargs):
            body = json.dumps({"topic": topic, "args": args, "kwargs": kwargs}).encode("ascii")
            request = urllib.request.Request(self.signed_url(body), body, {"Content-Type": "application/json"})
            try:
                with self.opener.open(request, timeout=5) as answer:
                    return json.load(answer)["id"]
            except urllib.error.HTTPError as refusal:
                reason = refusal.read().decode("utf-8", "replace").strip()
                raise RuntimeError("refused with status {}: {}".format(refusal.code, reason)) from None

        def signed_url(self, body):
            self.seq += 1
            now = datetime.datetime.now(datetime.timezone.utc)
            timestamp = "{}.{:03d}Z".format(now.strftime("%Y-%m-%dT%H:%M:%S"), now.microsecond // 1000)
            seq, nonce = str(self.seq), str(secrets.randbelow(2**53 + 1))
            # HMAC[SHA256]_{secret} (key | timestamp | seq | nonce | body), and no separators.
            signed = (self.key + timestamp + seq + nonce).encode("utf-8") + body
            mac = hmac.new(self.secret.encode("utf-8"), signed, hashlib.sha256).digest()
            signature = base64.urlsafe_b64encode(mac).decode("ascii")
            fields = {"timestamp": timestamp, "seq": seq, "key": self.key, "nonce": nonce, "signature": signature}
            return self.url + "?" + urllib.parse.urlencode(fields)


def main(url="http://127.0.0.1:8080/pushsigned"):
    client = Client(url, key=KEY, secret=SECRET)
    event_id = client.publish("com.myapp.topic1", "Hello, signed world!", 23)
    print("event published with ID {}".format(event_id))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:2])
    except OSError as error:
        sys.exit("The server does not answer: {}\nIs the node running? Start it with: stentor start".format(error))
    except Exception as error:
        sys.exit("Not published: {}".format(error))
