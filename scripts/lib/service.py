"""A plugbay service for scripts: start it, talk to it, stop it or kill it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
BOUNDARY = "plugbay-boundary-5a1e0c"
PIECE = 256 * 1024


class ServiceError(Exception):
    """The service did not do what a script needs before it can begin."""


def find_binary(*profiles: str) -> Path:
    """PLUGBAY_BIN, or the newest binary that was built with one of the profiles."""
    if os.environ.get("PLUGBAY_BIN"):
        named = Path(os.environ["PLUGBAY_BIN"]).resolve()
        if not os.access(named, os.X_OK):
            raise ServiceError(f"PLUGBAY_BIN: {named} is not a program")
        return named
    built = [path for path in (TARGET / profile / "plugbay" for profile in profiles) if path.exists()]
    if not built:
        raise ServiceError(f"plugbay is not built yet: cargo build{' --release' if 'debug' not in profiles else ''}")
    return max(built, key=lambda path: path.stat().st_mtime)


def environment() -> dict[str, str]:
    """The environment without the settings of another installation."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PLUGBAY_")}


def run_client(binary: Path, *arguments: object) -> dict[str, Any]:
    """Runs a command that needs no service and returns its JSON."""
    line = [str(binary), "--json", *map(str, arguments)]
    done = subprocess.run(line, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServiceError(f"{' '.join(line)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


class Answer:
    """An answer. Without a body (`None`) only its head arrived, which counts: the status was said."""

    def __init__(self, status: int, body: bytes | None) -> None:
        self.status = status
        self.body = body

    def __str__(self) -> str:
        return f"{self.status} {'(cut off)' if self.body is None else self.body[:400].decode(errors='replace')}"


class Service:
    """One data directory and the process that serves it now."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.binary = binary
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "service.log"
        self.config = folder / "plugbay.yaml"
        self.config.write_text("")
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._token = ""

    @property
    def pid(self) -> int:
        assert self._process is not None, "the service is not running"
        return self._process.pid

    def start(self, until: str = "/readyz", seconds: float = 30) -> float:
        """Starts the service and returns the seconds from exec to the first 200 of `until`; `/readyz` may lack the engine."""
        line = [self.binary, "serve", "--config", self.config, "--data-dir", self.data, "--listen", "127.0.0.1:0"]
        with open(self.log, "wb") as log:
            begun = time.monotonic()
            self._process = subprocess.Popen(
                line, cwd=self.folder, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )
        self.port, self._token = 0, ""
        while time.monotonic() - begun < seconds:
            if self._answers(until):
                return time.monotonic() - begun
            if self._process.poll() is not None:
                break
            time.sleep(0.001)
        text = self.log.read_text(errors="replace")
        self.kill()
        raise ServiceError(f"the service was not ready within {seconds} s; its log:\n{text}")

    def _answers(self, path: str) -> bool:
        if not self.port:
            found = re.search(rb"Listening on http://127\.0\.0\.1:(\d+)", self.log.read_bytes())
            if not found:
                return False
            self.port = int(found[1])
        try:
            answer = self._exchange("GET", path, None, {})
            if path == "/readyz" and answer.body is not None:
                # What is measured here needs no engine.
                checks = json.loads(answer.body)["checks"]
                return all(found == "ok" for check, found in checks.items() if check != "engine")
            return answer.status == 200
        except (OSError, http.client.HTTPException):
            return False

    def kill(self) -> None:
        """Ends the process at once, as a crash does."""
        self._end(signal.SIGKILL, 10)

    def stop(self) -> int:
        """Asks the process to end and returns its exit code."""
        return self._end(signal.SIGTERM, 30)

    def close(self) -> None:
        """Ends what still runs, also after a failure: a service that is killed leaves sandboxes and mounts behind."""
        try:
            self.stop()
        except ServiceError:
            self.kill()

    def _end(self, how: signal.Signals, seconds: float) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServiceError(f"the service did not end within {seconds:.0f} s of {how.name}") from None

    def request(self, method: str, path: str, body: Any = None, more: dict[str, str] | None = None) -> Answer:
        """Sends JSON, or nothing, as the administrator."""
        headers = self._authorization()
        if body is not None:
            headers = self.headers()
            body = json.dumps(body).encode()
        return self._exchange(method, path, body, {**headers, **(more or {})})

    def upload(self, path: str, archive: Path) -> Answer:
        """Sends an archive with the signature beside it, in pieces."""
        signature = archive.with_name(archive.name + ".minisig").read_bytes()
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="signature"\r\n\r\n'.encode() + signature +
            f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="plugin"\r\n\r\n'.encode()
        )
        tail = f"\r\n--{BOUNDARY}--\r\n".encode()

        def pieces() -> Any:
            yield head
            with open(archive, "rb") as file:
                while piece := file.read(PIECE):
                    yield piece
            yield tail

        headers = self._authorization()
        headers["Content-Type"] = f"multipart/form-data; boundary={BOUNDARY}"
        headers["Content-Length"] = str(len(head) + archive.stat().st_size + len(tail))
        return self._exchange("POST", path, pieces(), headers)

    def headers(self) -> dict[str, str]:
        """Those of a request with JSON, as the administrator."""
        return {**self._authorization(), "Content-Type": "application/json"}

    def expect(self, status: int, answer: Answer) -> Any:
        """The JSON of an answer that must have this status."""
        if answer.status != status or answer.body is None:
            raise ServiceError(f"expected {status}, found {answer}")
        return json.loads(answer.body) if answer.body else None

    def _authorization(self) -> dict[str, str]:
        if not self._token:
            self._token = (self.data / "admin.token").read_text().strip()
        return {"Authorization": f"Bearer {self._token}"}

    def _exchange(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            try:
                return Answer(answer.status, answer.read())
            except (OSError, http.client.IncompleteRead):
                return Answer(answer.status, None)
        finally:
            connection.close()
