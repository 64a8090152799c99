"""Calls enabled plugins all the time while others are killed, callers hang up and readers are slow. See chaos.sh."""

from __future__ import annotations

import http.client
import json
import random
import shutil
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from lib.service import ROOT, Service, ServiceError, find_binary, run_client

PLUGINS = [f"chaos-steady-{number}" for number in range(6)]
#: Killed all the time, and not among those whose answers count.
VICTIM = "chaos-victim"
#: Seconds from one call of a plugin to the next, and until a call counts as not answered. The service holds calls while a
#: plugin is started again, so they come late and not in vain.
PAUSE, PATIENCE = 0.02, 5.0
#: Seconds between two kills of the victim, and between two callers who hang up.
VICTIM_EVERY, HANG_UP_EVERY = 2.0, 0.03
#: Readers at one time, and seconds after which another one takes the place of each.
SLOW_READERS, READS_FOR = 20, 30.0
#: Share of time, in percent, in which plugins must have answered.
LEAST = 99.9
#: Seconds from a kill of the service until every plugin answers again.
BACK_WITHIN = 10.0
SERVICE_KILLS = 3
MANIFEST = """\
name: {name}
version: 1.0.0
main: main.py
class: Target
description: Is called while others are killed
author: plugbay
license: MIT
resources: {{ memory_mb: 64, tmp_mb: 1, cpus: 1, timeout_seconds: 10 }}
"""


@dataclass
class Caller:
    """Calls one plugin again and again, and sums up the time in which it answered and in which it did not."""

    service: Service
    plugin: str
    ended: threading.Event
    answered: float = 0.0
    silent: float = 0.0
    calls: int = 0
    longest: float = 0.0
    refusals: dict[str, int] = field(default_factory=dict)
    connection: Optional[http.client.HTTPConnection] = None

    def run(self) -> None:
        last, gap = time.monotonic(), 0.0
        while not self.ended.wait(PAUSE):
            works = self.call()
            now = time.monotonic()
            # From the end of one call to the end of the next.
            if works:
                self.answered += now - last
                gap = 0.0
            else:
                self.silent += now - last
                gap += now - last
                self.longest = max(self.longest, gap)
            last = now
            self.calls += 1
        if self.connection:
            self.connection.close()

    def call(self) -> bool:
        """Whether the plugin answered; a connection that broke is made anew for the next call."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=PATIENCE)
            self.connection.request("POST", f"/api/plugins/{self.plugin}/execute", b"{}", self.service.headers())
            answer = self.connection.getresponse()
            body = json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.refuse(type(error).__name__)
            if self.connection:
                self.connection.close()
            self.connection = None
            return False
        if answer.status == 200 and body.get("result") == "here":
            return True
        self.refuse(str(body.get("code", answer.status)))
        return False

    def refuse(self, what: str) -> None:
        self.refusals[what] = self.refusals.get(what, 0) + 1


class Uptime:
    """A service with plugins, and everything that is done to it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.binary = find_binary("release", "debug")
        self.service = Service(self.binary, folder)
        # Callers who hang up and readers who are slow hold connections for a while.
        self.service.config.write_text("server: { max_connections: 4096 }\n")
        self.failures: list[dict[str, Any]] = []
        self.counts: dict[str, Any] = {"plugins": len(PLUGINS), "kills": 0, "victim_kills": 0, "hang_ups": 0, "slow_readers": 0}
        self.ended = threading.Event()

    def fail(self, what: str, **details: object) -> None:
        self.failures.append({"what": what, **details})
        print(f"{what} {details}", file=sys.stderr)

    def install(self) -> None:
        key = self.folder / "key"
        run_client(self.binary, "keygen", "--no-password", "--output", key)
        text = Path(f"{key}.pub").read_text().splitlines()[1]
        self.ask(201, "POST", "/api/keys", {"public_key": text, "label": "chaos", "names": ["chaos-*"]})
        for name in [*PLUGINS, VICTIM]:
            source = self.folder / name
            source.mkdir()
            shutil.copy2(ROOT / "tests" / "chaos" / "main.py", source)
            (source / "plugin.yaml").write_text(MANIFEST.format(name=name))
            archive = self.folder / f"{name}.tar.gz"
            run_client(self.binary, "pack", source, "--output", archive)
            run_client(self.binary, "sign", archive, "--key", f"{key}.key")
            self.service.expect(201, self.service.upload("/api/plugins/install", archive))
            self.ask(200, "POST", f"/api/plugins/{name}/enable")

    def ask(self, status: int, method: str, path: str, body: Any = None) -> Any:
        return self.service.expect(status, self.service.request(method, path, body))

    # -- What is done to it -------------------------------------------------------------------------------------

    def kill_plugin(self, name: str) -> None:
        try:
            self.service.request("POST", f"/api/plugins/{name}/execute", {"context": {}, "method": "die"})
        except (OSError, http.client.HTTPException):
            # The answer to this call may be lost; what counts is that the process is gone.
            pass

    def kill_in_turn(self, every: float) -> None:
        turn = 0
        while not self.ended.wait(every):
            self.kill_plugin(PLUGINS[turn % len(PLUGINS)])
            self.counts["kills"] += 1
            turn += 1

    def kill_victim(self) -> None:
        while not self.ended.wait(VICTIM_EVERY):
            self.kill_plugin(VICTIM)
            self.counts["victim_kills"] += 1
            row = self.ask(200, "GET", f"/api/plugins/{VICTIM}")
            if row["status"] == "quarantined":
                self.service.request("POST", f"/api/plugins/{VICTIM}/enable")

    def hang_up(self) -> None:
        """Callers who send a call and are gone, some before the whole of it is sent."""
        while not self.ended.wait(HANG_UP_EVERY):
            request = self.raw(self.random.choice([*PLUGINS, VICTIM]), b'{"context":{"seconds":0.5}}')
            cut = self.random.choice([len(request), len(request), self.random.randrange(1, len(request))])
            try:
                with self.connect() as connection:
                    # Nothing is left for the kernel to send: the other side sees a reset at once.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.sendall(request[:cut])
            except OSError:
                continue
            self.counts["hang_ups"] += 1

    def read_slowly(self) -> None:
        """Callers who take a stream a byte at a time. One comes per second, also in the place of one whose time is over."""
        readers: dict[socket.socket, float] = {}
        while not self.ended.wait(1):
            if len(readers) < SLOW_READERS:
                connection = self.connect(buffer=4096)
                name = PLUGINS[self.counts["slow_readers"] % len(PLUGINS)]
                connection.sendall(self.raw(name, b'{"method":"stream"}', "Accept: text/event-stream\r\n"))
                readers[connection] = time.monotonic()
                self.counts["slow_readers"] += 1
            for connection in list(readers):
                try:
                    if not connection.recv(1) or time.monotonic() - readers[connection] > READS_FOR:
                        raise ConnectionError
                except OSError:
                    connection.close()
                    del readers[connection]
        for connection in readers:
            connection.close()

    def connect(self, buffer: Optional[int] = None) -> socket.socket:
        connection = socket.socket()
        connection.settimeout(PATIENCE)
        if buffer is not None:
            # Else the kernel would take megabytes for a reader before the writer has to wait.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.connect(("127.0.0.1", self.service.port))
        return connection

    def raw(self, plugin: str, body: bytes, more: str = "") -> bytes:
        headers = "".join(f"{name}: {value}\r\n" for name, value in self.service.headers().items())
        head = f"POST /api/plugins/{plugin}/execute HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}{more}Content-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    # -- The whole ----------------------------------------------------------------------------------------------

    def run(self, seconds: float, every: float) -> None:
        self.service.start("/healthz")
        self.install()
        callers = [Caller(self.service, name, self.ended) for name in PLUGINS]
        work = [caller.run for caller in callers]
        work += [lambda: self.kill_in_turn(every), self.kill_victim, self.hang_up, self.read_slowly]
        threads = [threading.Thread(target=one, daemon=True) for one in work]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self.ended.set()
        for thread in threads:
            thread.join(30)
        self.judge(callers)
        # A start begins its log anew.
        shutil.copy2(self.service.log, self.folder / "calls.log")
        self.kill_service()
        if self.service.stop() != 0:
            self.fail("the service did not end well")

    def judge(self, callers: list[Caller]) -> None:
        answered, silent = (sum(getattr(caller, name) for caller in callers) for name in ("answered", "silent"))
        share = 100 * answered / (answered + silent)
        refusals: dict[str, int] = {}
        for caller in callers:
            for what, times in caller.refusals.items():
                refusals[what] = refusals.get(what, 0) + times
        self.counts.update(
            calls=sum(caller.calls for caller in callers),
            refusals=refusals,
            longest_silence=round(max(caller.longest for caller in callers), 2),
            answered_percent=round(share, 3),
        )
        print(f"enabled plugins answered in {share:.3f} % of the time", file=sys.stderr)
        if share < LEAST:
            self.fail("plugins answered too little", percent=round(share, 3), least=LEAST)

    def kill_service(self) -> None:
        """Kills the service itself, and takes the time until every plugin answers again."""
        longest = 0.0
        for _ in range(SERVICE_KILLS):
            began = time.monotonic()
            self.service.kill()
            self.service.start("/healthz")
            open_ones = [Caller(self.service, name, threading.Event()) for name in PLUGINS]
            while open_ones and time.monotonic() - began < 6 * BACK_WITHIN:
                open_ones = [caller for caller in open_ones if not caller.call()]
                # Not as fast as it can: the starts need the processors.
                time.sleep(PAUSE)
            longest = max(longest, time.monotonic() - began)
        self.counts["service_kills"] = SERVICE_KILLS
        self.counts["longest_until_all_answer"] = round(longest, 2)
        if longest > BACK_WITHIN:
            self.fail("the plugins were away too long after a kill of the service", seconds=round(longest, 2))
