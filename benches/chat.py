"""Measures models by way of plugins beside the same model server asked directly. See scripts/bench.sh."""

from __future__ import annotations

import http.client
import json
import shutil
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any, Optional

import report
from report import ROOT, Report, Row, ServiceError, memory, progress
from served import Bench

from clients import Llama, install, prepare, let_in  # noqa: E402

ROUNDS = 5
REQUESTS = 200
CALLERS = 8
TOKENS = 500
SECONDS = 2.0
MEMBERS = (
    ("pass-first", "{ kind: middleware, timeout_ms: 1000 }"),
    ("pass-second", "{ kind: middleware, timeout_ms: 1000 }"),
    ("pass-third", "{ kind: message_processor, timeout_ms: 1000 }"),
    ("pass-fourth", "{ kind: message_processor, timeout_ms: 1000 }"),
    ("pass-fifth", "{ kind: feature_extension, timeout_ms: 1000 }"),
)


FED = "{ kind: message_processor, of: [response], sees: deltas, timeout_ms: 5000 }"


class Caller:
    """A connection that is kept, to the server itself or to plugbay."""

    def __init__(self, port: int, token: Optional[str]) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.headers = {"Content-Type": "application/json"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"

    def post(self, **more: Any) -> http.client.HTTPResponse:
        body = {"model": "tiny", "messages": [{"role": "user", "content": "hello there"}], "seed": 1, **more}
        try:
            self.connection.request("POST", "/v1/chat/completions", json.dumps(body), self.headers)
            answer = self.connection.getresponse()
        except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
            # The model server closes what was idle for five seconds.
            self.connection.close()
            self.connection.request("POST", "/v1/chat/completions", json.dumps(body), self.headers)
            answer = self.connection.getresponse()
        if answer.status != 200:
            raise ServiceError(f"a model was not asked: {answer.status} {answer.read()[:400]!r}")
        return answer

    def ask(self) -> float:
        """Milliseconds of an answer of one token."""
        begun = time.perf_counter()
        self.post(max_tokens=1).read()
        return (time.perf_counter() - begun) * 1000

    def stream(self) -> tuple[float, float]:
        """Milliseconds to the first chunk with a text, and chunks a second."""
        begun, first, count = time.perf_counter(), 0.0, 0
        answer = self.post(max_tokens=TOKENS, stream=True, ignore_eos=True)
        while line := answer.readline():
            if line.startswith(b"data: {") and b'"content":"' in line and b'"content":""' not in line:
                first = first or (time.perf_counter() - begun) * 1000
                count += 1
        return first, count / (time.perf_counter() - begun)


def throughput(port: int, token: Optional[str]) -> float:
    """Answers of one token a second, for several callers."""
    counts, until = [0] * CALLERS, time.monotonic() + SECONDS

    def run(number: int) -> None:
        caller = Caller(port, token)
        while time.monotonic() < until:
            caller.ask()
            counts[number] += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


def p99(values: list[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]


def latencies(*callers: Caller) -> list[list[float]]:
    """Milliseconds of each caller, in turns."""
    found: list[list[float]] = [[] for _ in callers]
    for number in range(ROUNDS):
        progress(f"latencies, round {number + 1} of {ROUNDS}")
        for caller, values in zip(callers, found):
            values.extend(caller.ask() for _ in range(REQUESTS))
    return found


def take_part(bench: Bench, folder: Path, name: str, section: str) -> None:
    copy = folder / name
    shutil.copytree(ROOT / "benches" / "plugins" / "passing", copy)
    manifest = copy / "plugin.yaml"
    manifest.write_text(manifest.read_text().replace("name: passing", f"name: {name}") + f"chat: {section}\n")
    bench.install(copy)
    bench.ask(200, "POST", f"/api/plugins/{name}/permissions/approve", {"grant": ["chat_access"]})
    bench.enable(name)


def measure(folder: Path) -> Report:
    llama = Llama(install(), folder)
    try:
        return against(folder, llama)
    finally:
        llama.stop()


def against(folder: Path, llama: Llama) -> Report:
    with Bench(folder) as bench:
        with bench.service.config.open("a") as file:
            file.write(f'egress: {{ allow_private: ["host.plugbay.internal:{llama.port}"] }}\n')
        config = bench.service.config
        config.write_text(config.read_text().replace("server: {", "server: { requests_per_second: 0,"))
        bench.start()
        llama.until_ready()
        bench.install(prepare(folder, llama))
        let_in(bench.service, llama)
        direct, own = Caller(llama.port, None), Caller(bench.service.port, bench.token())
        plain = latencies(direct, own)
        streams: list[list[tuple[float, float]]] = [[], []]
        rates: list[list[float]] = [[], []]
        for number in range(ROUNDS):
            progress(f"streams and callers, round {number + 1} of {ROUNDS}")
            for values, caller in zip(streams, (direct, own)):
                values.append(caller.stream())
            rates[0].append(throughput(llama.port, None))
            rates[1].append(throughput(bench.service.port, bench.token()))
        take_part(bench, folder, "pass-deltas", FED)
        filtered: list[list[tuple[float, float]]] = [[], []]
        for number in range(ROUNDS):
            progress(f"streams through a filter, round {number + 1} of {ROUNDS}")
            for values, caller in zip(filtered, (direct, own)):
                values.append(caller.stream())
        bench.ask(204, "DELETE", "/api/plugins/pass-deltas")
        for name, section in MEMBERS:
            take_part(bench, folder, name, section)
        members = latencies(direct, own)
        used = memory(bench.service.pid, "VmRSS")
        bench.service.stop()
    floor, added = statistics.median(plain[0]), statistics.median(plain[1]) - statistics.median(plain[0])
    with_members = statistics.median(members[1]) - statistics.median(members[0])
    first = [statistics.median(values[0] for values in found) for found in streams]
    speed = [statistics.median(values[1] for values in found) for found in streams]
    fed = [statistics.median(values[1] for values in found) for found in filtered]
    rate = [statistics.median(found) for found in rates]
    rows = [
        Row("the model server itself, one token, 1 caller", floor * 1000, "µs"),
        Row("added by plugbay, median", added * 1000, "µs", 400),
        Row("added by plugbay, p99", (p99(plain[1]) - p99(plain[0])) * 1000, "µs", 1500),
        Row("five Python plugins more, median", (with_members - added) * 1000, "µs", 1200),
        Row("first token, added", (first[1] - first[0]) * 1000, "µs", 500),
        Row("one stream, chunks a second against direct", speed[1] / speed[0], "×", 0.85, least=True),
        Row("the same through a Python delta filter", fed[1] / fed[0], "×", 0.6, least=True),
        Row(f"{CALLERS} callers, answers a second against direct", rate[1] / rate[0], "×", 0.7, least=True),
        Row("memory of the service with six plugins", used, "MiB"),
    ]
    return Report(rows)


if __name__ == "__main__":
    sys.exit(report.run("chat", measure))
