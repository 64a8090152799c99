"""Starts a plugin under the real shim and plays the service, without Docker.

What this leaves out is the sandbox: everything runs as the user who runs the tests.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Optional

ROOT = Path(__file__).resolve().parents[2]
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "plugins"
RUNNER = ROOT / "sdk" / "python" / "plugbay" / "runner"
#: Longest wait for anything.
PATIENCE = 10.0
SHIM = ROOT / "shim"


def shim() -> Path:
    """The shim, built anew when its source is newer."""
    path = BUILT / "shim"
    sources = [SHIM / "rustc.args", *(SHIM / "src").rglob("*.rs")]
    if not path.exists() or path.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        BUILT.mkdir(parents=True, exist_ok=True)
        fresh = BUILT / f"shim.{os.getpid()}"
        subprocess.run(["rustc", f"@{SHIM / 'rustc.args'}", "-o", str(fresh), str(SHIM / "src" / "main.rs")], check=True)
        fresh.rename(path)
    return path


class Session:
    """One started plugin, seen from the service."""

    def __init__(self, folder: Path, runtime: str, main: str, *options: str, config: Optional[dict[str, Any]] = None):
        """Starts it; `options` are the runner's for python, the shim's for exec. `config` None leaves out initialize."""
        self._directory = tempfile.TemporaryDirectory(prefix="plugbay-")
        run_dir = Path(self._directory.name)
        host, log = self._listen(run_dir / "host.sock"), self._listen(run_dir / "log.sock")
        (run_dir / "nonce").write_text("nonce-of-the-test")
        program = [str(folder / main)]
        flags: list[str] = []
        if runtime == "python":
            program = [sys.executable, "-I", "-B", str(RUNNER), "--main", main, *options]
        else:
            flags = list(options)
        self.process = subprocess.Popen(
            [str(shim()), "--runtime", runtime, "--run-dir", str(run_dir), *flags, "--", *program],
            cwd=folder,
            env={"PLUGIN_ID": "plugin_1", "PLUGIN_DIR": str(folder), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
        )
        self.socket = self._accept(host)
        self._log = self._accept(log)
        self.input = self.socket.makefile("rb")
        self.last_id = 0
        self.notifications: list[dict[str, Any]] = []
        self.answers: dict[int, dict[str, Any]] = {}
        self.hello = self.read()
        self.initialized: dict[str, Any] = {}
        if config is not None:
            self.initialized = self.initialize(config)

    @staticmethod
    def _listen(path: Path) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(1)
        listener.settimeout(PATIENCE)
        return listener

    @staticmethod
    def _accept(listener: socket.socket) -> socket.socket:
        connection, _ = listener.accept()
        listener.close()
        connection.settimeout(PATIENCE)
        return connection

    def send(self, message: dict[str, Any]) -> None:
        """Sends one message."""
        self.socket.sendall(json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False).encode() + b"\n")

    def read(self) -> dict[str, Any]:
        """Takes one message and puts it where it belongs."""
        line = self.input.readline()
        if not line:
            raise EOFError("the plugin closed the socket:\n" + self.log())
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self.notifications.append(message)
        else:
            self.answers[message["id"]] = message
        return message

    def request(self, method: str, params: dict[str, Any]) -> int:
        """Sends a request and says its id."""
        self.last_id += 1
        self.send({"id": self.last_id, "method": method, "params": params})
        return self.last_id

    def answer(self, id: int) -> dict[str, Any]:
        """Waits for the answer to a request."""
        while id not in self.answers:
            self.read()
        return self.answers.pop(id)

    def ask(self, method: str, params: Optional[dict[str, Any]] = None) -> Any:
        """The result of a request."""
        answer = self.answer(self.request(method, params or {}))
        if "result" not in answer:
            raise AssertionError(f"{method}: {answer['error']}\n{self.log()}")
        return answer["result"]

    def initialize(self, config: dict[str, Any]) -> dict[str, Any]:
        """The first request of every session."""
        plugin = {"id": "plugin_1", "name": "example", "version": "1.0.0"}
        limits = {"max_concurrency": 16, "message_bytes": 4194304}
        params = {"protocol": 1, "plugin": plugin, "config": config, "grants": [], "limits": limits}
        found: dict[str, Any] = self.ask("initialize", params)
        return found

    def invoke(self, method: str, context: Any, stream: bool = False) -> int:
        """Sends a call and says its id; the call is named after it."""
        return self.invoke_all(method, [context], stream)[0]

    def invoke_all(self, method: str, contexts: list[Any], stream: bool = False) -> list[int]:
        """Sends many calls in one piece and says their ids."""
        lines, ids = [], []
        for context in contexts:
            self.last_id += 1
            ids.append(self.last_id)
            given = {"method": method, "params": {"context": context}, "call": f"call_{self.last_id}"}
            params = {**given, "deadline_ms": 5000, "stream": stream}
            message = {"jsonrpc": "2.0", "id": self.last_id, "method": "invoke", "params": params}
            lines.append(json.dumps(message, ensure_ascii=False).encode() + b"\n")
        self.socket.sendall(b"".join(lines))
        return ids

    def call(self, method: str, context: Any, stream: bool = False) -> dict[str, Any]:
        """The whole answer to a call."""
        return self.answer(self.invoke(method, context, stream))

    def result(self, method: str, context: Any, stream: bool = False) -> Any:
        """The result of a call."""
        answer = self.call(method, context, stream)
        if "result" not in answer:
            raise AssertionError(f"{method}: {answer['error']}\n{self.log()}")
        return answer["result"]

    def chunks(self) -> list[dict[str, Any]]:
        """What was streamed."""
        return [message["params"] for message in self.notifications if message["method"] == "chunk"]

    def log(self) -> str:
        """What came on the log's socket, after a little time."""
        self._log.settimeout(0.2)
        text = b""
        try:
            while piece := self._log.recv(65536):
                text += piece
        except TimeoutError:
            pass
        return text.decode(errors="replace")

    def shutdown(self) -> int:
        """Ends the session as the service does, and says the shim's exit code."""
        self.ask("shutdown")
        return self.process.wait(PATIENCE)

    def hang_up(self) -> int:
        """Goes away without a word, and says the shim's exit code."""
        self.input.close()
        self.socket.close()
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """Leaves nothing behind."""
        self.input.close()
        self.socket.close()
        self._log.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._directory.cleanup()
