"""A real stentor process for one Python test: the sister of node.mjs.

Knows the command line, the readiness lines on standard error and the folder. It never sleeps: it reads the server's
lines until all transports listen, and it stops the server by its own process id.
"""

import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

# How long a start, a stop or a command may take before the test says so.
DEADLINE_SECONDS = 20


def binary() -> str:
    """The server under test; told by the runner, so that no other build is tested by accident."""
    try:
        return os.environ["STENTOR_BIN"]
    except KeyError:
        raise RuntimeError("STENTOR_BIN is not set: run these tests with `cargo xtask e2e`") from None


def need(program: str) -> str:
    """The path of a program, or a sentence that says how to get it."""
    found = shutil.which(program)
    if not found:
        raise RuntimeError(f"this test needs {program}: `apt-get install {program}`")
    return found


def run(*command: str, cwd: str | os.PathLike, check: bool = True) -> str:
    """Runs a command to its end and gives its standard output; a failure shows everything that it said."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    if check and done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Node:
    """A running server. `start` returns when every transport listens."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.log: list[str] = []
        self._listening: list[dict] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._process: subprocess.Popen | None = None

    @classmethod
    def start(cls, config: dict, files: dict[str, bytes] | None = None) -> "Node":
        """Writes the configuration, and files beside it, into a fresh node directory and starts the server on it."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="stentor-"))
        cbdir = folder / ".stentor"
        cbdir.mkdir()
        (cbdir / "config.json").write_text(json.dumps(config, indent=2))
        for name, content in (files or {}).items():
            (cbdir / name).write_bytes(content)
        transports = sum(len(worker.get("transports", [])) for worker in config["workers"])
        return cls.start_in(folder, transports, "--cbdir", str(cbdir))

    @classmethod
    def start_in(cls, folder: pathlib.Path, transports: int, *args: str) -> "Node":
        """Starts the server in a folder that has a node directory, and waits for that many transports."""
        node = cls(folder)
        try:
            node._spawn(args)
            node._wait(transports)
        except BaseException:
            node.stop()
            raise
        return node

    def _spawn(self, args: tuple[str, ...]) -> None:
        command = [binary(), "start", *args, "--log-format", "json"]
        self._process = subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        """Reads to the end, for a server with a full pipe stands still."""
        for line in self._process.stderr:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _wait(self, transports: int) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(self._listening) < transports:
            try:
                line = self._lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                said = "\n".join(self.log)
                raise AssertionError(f"{transports} transport(s) should listen; the server said:\n{said}")
            self.log.append(line)
            fields = _fields(line)
            if fields.get("message") == "listening":
                self._listening.append(fields)

    def url(self, scheme: str) -> str:
        """The address of the first transport whose URL has this scheme, without a slash at its end."""
        for fields in self._listening:
            if fields.get("url", "").startswith(f"{scheme}://"):
                # A node that listens on all interfaces is reached on the loopback.
                return f"{scheme}://{fields['address'].replace('0.0.0.0', '127.0.0.1')}"
        raise AssertionError(f"no transport listens on {scheme}: {self._listening}")

    def ws(self, path: str = "/ws") -> str:
        """The WebSocket path of the plain web transport."""
        return self.url("http").replace("http", "ws", 1) + path

    def stop(self) -> int | None:
        """SIGTERM to our own child; its exit code. The folder goes with it."""
        process = self._process
        try:
            if process is None:
                return None
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            return process.wait(timeout=DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError("the server did not stop after SIGTERM") from None
        finally:
            if process is not None and process.stderr is not None and process.poll() is not None:
                process.stderr.close()
            shutil.rmtree(self.folder, ignore_errors=True)


def _fields(line: str) -> dict:
    """The fields of a structured log line, flat or under `fields`; nothing for a line of another kind."""
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    if not isinstance(record, dict):
        return {}
    nested = record.get("fields")
    return {**record, **(nested if isinstance(nested, dict) else {})}


class NodeTest(unittest.TestCase):
    """A test case whose class starts one server, and checks that it stops well."""

    node: Node

    @classmethod
    def boot(cls) -> Node:
        raise NotImplementedError

    @classmethod
    def setUpClass(cls) -> None:
        cls.node = cls.boot()

    @classmethod
    def tearDownClass(cls) -> None:
        code = cls.node.stop()
        assert code == 0, f"the server ended with {code} after SIGTERM"
