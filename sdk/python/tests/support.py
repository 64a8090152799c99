"""Starts the real runner with a socket as fd 3, and speaks the service's side of the protocol."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
from pathlib import Path
from typing import Any

SDK = Path(__file__).resolve().parent.parent
# For tests that import the package themselves, from wherever they are started.
sys.path.insert(0, str(SDK))
RUNNER = SDK / "plugbay" / "runner"


class Service:
    """The service's end of the socket, and the process at the other."""

    def __init__(self, folder: Path, *arguments: str, as_module: bool = False) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(10)
        self.socket = ours
        self.input = ours.makefile("rb")
        self.last_id = 0
        self.notifications: list[dict[str, Any]] = []
        self.answers: dict[int, dict[str, Any]] = {}
        self.requests: list[dict[str, Any]] = []
        how = ["-B", "-m", "plugbay.runner"] if as_module else ["-I", "-B", str(RUNNER)]
        environment = {"PLUGIN_ID": "plugin_1", "PLUGIN_DIR": str(folder), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        if as_module:
            environment["PYTHONPATH"] = str(SDK)
        # A shell moves the socket to fd 3: Python can hand on a descriptor, but not renumber it.
        command = f'exec 3<&{theirs.fileno()}; exec "$0" "$@"'
        self.process = subprocess.Popen(
            ["bash", "-c", command, sys.executable, *how, *arguments],
            cwd=folder,
            env=environment,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        theirs.close()

    def send(self, message: dict[str, Any]) -> None:
        self.socket.sendall(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def request(self, method: str, params: dict[str, Any]) -> int:
        self.last_id += 1
        self.send({"id": self.last_id, "method": method, "params": params})
        return self.last_id

    def read(self) -> dict[str, Any]:
        """Takes one message and puts it where it belongs."""
        line = self.input.readline()
        if not line:
            raise EOFError("the runner closed the socket")
        message: dict[str, Any] = json.loads(line)
        if "method" not in message:
            self.answers[message["id"]] = message
        elif "id" in message:
            self.requests.append(message)
        else:
            self.notifications.append(message)
        return message

    def answer(self, id: int) -> dict[str, Any]:
        while id not in self.answers:
            self.read()
        return self.answers.pop(id)

    def ask(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        return self.answer(self.request(method, params or {}))

    def initialize(self, config: dict[str, Any] | None = None, max_concurrency: int = 16) -> dict[str, Any]:
        plugin = {"id": "plugin_1", "name": "demo", "version": "1.0.0"}
        limits = {"max_concurrency": max_concurrency, "message_bytes": 4194304}
        params = {"protocol": 1, "plugin": plugin, "config": config or {}, "grants": [], "limits": limits}
        return self.ask("initialize", params)

    def invoke(self, method: str, params: dict[str, Any], call: str = "", stream: bool = False) -> int:
        call = call or f"call_{self.last_id + 1}"
        asked = {"method": method, "params": params, "call": call, "deadline_ms": 30000, "stream": stream}
        return self.request("invoke", asked)

    def feed(self, method: str, lines: list[list[dict[str, Any]]], params: dict[str, Any] | None = None) -> Any:
        """The answer of a call that is fed these lines."""
        call = f"call_{self.last_id + 1}"
        asked = {"method": method, "params": params or {}, "call": call, "feed": True, "idle_ms": 1000, "stream": True}
        id = self.request("invoke", asked)
        for seq, data in enumerate(lines):
            self.send({"method": "feed", "params": {"call": call, "seq": seq, "data": data}})
        self.send({"method": "feed_end", "params": {"call": call, "reason": "end"}})
        return self.answer(id)

    def execute(self, context: Any, stream: bool = False) -> dict[str, Any]:
        return self.answer(self.invoke("execute", {"context": context}, stream=stream))

    def cancel(self, call: str) -> None:
        self.send({"method": "cancel", "params": {"call": call, "reason": "deadline"}})

    def next_request(self) -> dict[str, Any]:
        while not self.requests:
            self.read()
        return self.requests.pop(0)

    def notified(self, method: str) -> list[dict[str, Any]]:
        return [message["params"] for message in self.notifications if message["method"] == method]

    def end(self) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a process that is about to end."""
        out, err = self.process.communicate(timeout=10)
        return self.process.returncode, out, err

    def close(self) -> None:
        self.input.close()
        self.socket.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class RunnerCase(unittest.TestCase):
    """A test with a package folder of its own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def start(self, text: str, *arguments: str, as_module: bool = False) -> Service:
        """Starts the runner on a `main.py`; `initialize` is the test's business."""
        self.write("main.py", text)
        service = Service(self.folder, "--main", "main.py", *arguments, as_module=as_module)
        self.addCleanup(service.close)
        return service

    def run_plugin(self, text: str, *arguments: str, config: dict[str, Any] | None = None) -> Service:
        """Starts the runner and the plugin."""
        service = self.start(text, *arguments)
        answer = service.initialize(config)
        self.assertIn("result", answer, answer)
        return service

    def assert_quick(self, began: float, seconds: float) -> None:
        self.assertLess(time.monotonic() - began, seconds)

    def assert_gone(self, pid: int) -> None:
        with self.assertRaises(ProcessLookupError):
            os.kill(pid, 0)
