"""The container engine without plugbay: what its own operations cost."""

from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.parse
from typing import Any, Optional

from report import ServiceError

SOCKET = "/var/run/docker.sock"


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(SOCKET)


def ask(method: str, path: str, body: Optional[dict[str, Any]] = None) -> bytes:
    connection = _Connection("docker")
    try:
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, f"/v1.41{path}", None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        found = answer.read()
    finally:
        connection.close()
    if answer.status >= 400:
        raise ServiceError(f"the engine answers {answer.status} to {method} {path}: {found[:300]!r}")
    return found


def create(body: dict[str, Any]) -> str:
    identity: str = json.loads(ask("POST", "/containers/create", body))["Id"]
    return identity


def start(container: str) -> None:
    ask("POST", f"/containers/{container}/start")


def wait(container: str) -> None:
    ask("POST", f"/containers/{container}/wait")


def remove(container: str) -> None:
    ask("DELETE", f"/containers/{container}?force=true&v=true")


def ids_of(plugin: str) -> list[str]:
    """Containers that plugbay runs for a plugin."""
    filters = json.dumps({"label": [f"plugbay.plugin={plugin}"]})
    found = json.loads(ask("GET", "/containers/json?filters=" + urllib.parse.quote(filters)))
    return [container["Id"] for container in found]


def create_and_start(body: dict[str, Any]) -> float:
    """Seconds that the engine takes to have it running."""
    begun = time.monotonic()
    container = create(body)
    start(container)
    took = time.monotonic() - begun
    remove(container)
    return took


def exec_once(container: str, command: list[str]) -> float:
    """Seconds of one `docker exec`, from its order to the end of its output."""
    begun = time.monotonic()
    order = {"Cmd": command, "AttachStdout": True, "AttachStderr": True}
    identity = json.loads(ask("POST", f"/containers/{container}/exec", order))["Id"]
    ask("POST", f"/exec/{identity}/start", {"Detach": False, "Tty": False})
    return time.monotonic() - begun


def run_once(body: dict[str, Any]) -> float:
    """Seconds of one `docker run --rm`."""
    begun = time.monotonic()
    container = create(body)
    start(container)
    wait(container)
    remove(container)
    return time.monotonic() - begun
