"""TLS endpoints with a certificate of an authority that only the test trusts."""

import asyncio
import pathlib
import socket
import ssl
import tempfile
import unittest

import node_config
from stentor_node import DEADLINE_SECONDS, Node, NodeTest, need, run
from test_pusher import curl
from wamp_session import SERIALIZERS, session


def authority(folder: pathlib.Path) -> None:
    """An authority `ca.pem`, and `key.pem` with `cert.pem` for 127.0.0.1 and localhost signed by it."""
    openssl = need("openssl")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run(openssl, "req", "-x509", *new_key, "-days", "2", "-subj", "/CN=Test Authority", "-keyout", "ca.key",
        "-out", "ca.pem", "-addext", "keyUsage=critical,keyCertSign,cRLSign", cwd=folder)  # fmt: skip
    run(openssl, "req", *new_key, "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "node.csr", cwd=folder)
    extensions = "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n"
    (folder / "node.ext").write_text(extensions)
    run(openssl, "x509", "-req", "-in", "node.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
        "-days", "2", "-extfile", "node.ext", "-out", "cert.pem", cwd=folder)  # fmt: skip


class Tls(NodeTest):
    @classmethod
    def boot(cls) -> Node:
        folder = tempfile.TemporaryDirectory(prefix="stentor-tls-")
        cls.addClassCleanup(folder.cleanup)
        cls.certificates = pathlib.Path(folder.name)
        authority(cls.certificates)
        strict = {"secure": node_config.pusher(require_tls=True)}
        config = node_config.node(
            node_config.web(strict),
            node_config.web(strict, tls={"certificate": "cert.pem", "key": "key.pem"}),
        )
        files = {name: (cls.certificates / name).read_bytes() for name in ("cert.pem", "key.pem")}
        return Node.start(config, files)

    @property
    def authority(self) -> str:
        return str(self.certificates / "ca.pem")

    def test_https(self):
        status, body = curl(f"{self.node.url('https')}/push", "--cacert", self.authority)
        self.assertEqual(status, 200, body)

    def test_https_is_not_trusted_by_others(self):
        with self.assertRaises(AssertionError):
            curl(f"{self.node.url('https')}/push")

    def test_require_tls(self):
        status, body = curl(f"{self.node.url('https')}/secure", "--cacert", self.authority)
        self.assertEqual(status, 200, body)
        status, body = curl(f"{self.node.url('http')}/secure")
        self.assertEqual(status, 403, body)
        self.assertIn("error", body)

    def test_client(self):
        import crossbarconnect

        trust = ssl.create_default_context(cafile=self.authority)
        client = crossbarconnect.Client(f"{self.node.url('https')}/secure", context=trust)
        self.assertIsInstance(client.publish("com.myapp.topic1", "Hello, world!"), int)

    def test_wss(self):
        trust = ssl.create_default_context(cafile=self.authority)

        async def body():
            url = self.node.url("https").replace("https", "wss") + "/ws"
            async with session(url, SERIALIZERS["json"](), ssl=trust) as one:
                heard = asyncio.Queue()
                await one.subscribe(heard.put_nowait, "com.myapp.topic1")
                await asyncio.to_thread(curl, f"{self.node.url('https')}/secure", "--cacert", self.authority)
                async with asyncio.timeout(DEADLINE_SECONDS):
                    self.assertEqual(await heard.get(), "Hello, world")

        asyncio.run(body())

    def test_versions(self):
        host, port = self.node.url("https").removeprefix("https://").split(":")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version):
                trust = ssl.create_default_context(cafile=self.authority)
                trust.minimum_version = trust.maximum_version = version
                with (
                    socket.create_connection((host, int(port)), timeout=DEADLINE_SECONDS) as plain,
                    trust.wrap_socket(plain, server_hostname="localhost") as secure,
                ):
                    self.assertEqual(secure.version(), {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name])


if __name__ == "__main__":
    unittest.main()
