"""The client over TLS.

With the ``openssl`` program the whole way is walked, with a certificate made for this run. Without it the same questions are
asked of a stand-in for the socket layer: is a TLS connection made, with the given context, and verified by default?
"""

import http.client
import os
import shutil
import ssl
import subprocess
import tempfile
import unittest
from unittest import mock

from support import OK, PATIENCE, Server

from crossbarconnect import Client, TransportError

OPENSSL = shutil.which("openssl")


class Settings(unittest.TestCase):
    """What holds with and without a certificate at hand."""

    def test_context_is_handed_on(self):
        context = ssl.create_default_context()
        with mock.patch.object(http.client, "HTTPSConnection") as made:
            Client("https://example.com/push", timeout=1.5, context=context)
        made.assert_called_once_with("example.com", 443, timeout=1.5, context=context)

    def test_default_verifies(self):
        with mock.patch.object(http.client, "HTTPSConnection") as made:
            Client("https://example.com:8443/push")
        context = made.call_args[1]["context"]
        self.assertEqual(context.verify_mode, ssl.CERT_REQUIRED)
        self.assertTrue(context.check_hostname)

    def test_plain_http_ignores_it(self):
        with Server() as server, Client(server.url(), context=ssl.create_default_context()) as client:
            client.publish("t")


class Handshake(unittest.TestCase):
    """The way through: on a real connection where a certificate can be made, else on a stand-in."""

    def test_publish(self):
        if OPENSSL is None:
            return self.publish_over_a_stand_in()
        with tempfile.TemporaryDirectory() as folder:
            trusting = self.make_certificate(folder)
            with Server(close_after=True, context=self.serving) as server:
                with Client(server.url(), key="k", secret="s", context=trusting) as client:
                    self.assertEqual(client.publish("t", "\u00e9"), 4532703899599182)
                    self.assertTrue(server.closed.acquire(timeout=PATIENCE))
                    client.publish("t", 2)
                self.assertEqual([request.query["seq"] for request in server.received], ["1", "2"])
            with Server(context=self.serving) as server, Client(server.url(), context=trusting) as client:
                client.publish("t")
                client.publish("t")
                self.assertEqual(server.connections, 1)
            with Server(context=self.serving) as server, Client(server.url()) as client:
                with self.assertRaises(TransportError) as caught:
                    client.publish("t")
                self.assertIsInstance(caught.exception.__cause__, ssl.SSLCertVerificationError)
                self.assertEqual(server.received, [])

    def make_certificate(self, folder: str) -> ssl.SSLContext:
        """Leaves the server's side in ``self.serving`` and gives back the side of a client that trusts it."""
        key, certificate = os.path.join(folder, "key.pem"), os.path.join(folder, "certificate.pem")
        subprocess.run(
            [OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
            + ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.serving.load_cert_chain(certificate, key)
        return ssl.create_default_context(cafile=certificate)

    def publish_over_a_stand_in(self) -> None:
        context = ssl.create_default_context()
        with Server(OK) as server, mock.patch.object(
            context, "wrap_socket", side_effect=lambda plain, server_hostname: plain
        ) as wrapped:
            with Client(server.url().replace("http:", "https:"), context=context) as client:
                self.assertEqual(client.publish("t"), 4532703899599182)
        self.assertEqual(wrapped.call_args[1], {"server_hostname": "127.0.0.1"})

    def test_stand_in(self):
        """The replacement is itself kept in working order where it is not needed."""
        self.publish_over_a_stand_in()


if __name__ == "__main__":
    unittest.main()
