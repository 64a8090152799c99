"""Updates a plugin twenty times while it is called two thousand times a second. See scripts/bench.sh."""

from __future__ import annotations

import collections
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import report
from report import ROOT, Report, Row, ServiceError, progress
from served import Bench

from lib.service import run_client  # noqa: E402

UPDATES = 20
# Each caller waits for its answer, so there are many: while calls are held, others go on coming.
CALLERS = 1_000
RATE = 2
SECONDS = 45
NAME = "ledger"
MANNERS = ("good", "does-not-start", "unhealthy", "dies-when-asked")


def version(bench: Bench, number: int, manner: str) -> Path:
    """The ledger as another version with another manner."""
    copy = bench.folder / f"{NAME}-{number}"
    shutil.copytree(ROOT / "tests" / "fixtures" / "plugins" / NAME, copy)
    for file, what, value in (
        ("plugin.yaml", "version: 1.0.0", f"version: 1.0.{number}"),
        ("plugin.yaml", "memory_mb: 64", "cpus: 1, memory_mb: 64"),
        ("main.py", 'VERSION = "1.0.0"', f'VERSION = "1.0.{number}"'),
        ("main.py", 'MANNER = "good"', f'MANNER = "{manner}"'),
    ):
        path = copy / file
        text = path.read_text()
        if what not in text:
            raise ServiceError(f"{path} has no `{what}`")
        path.write_text(text.replace(what, value))
    archive = bench.folder / f"{copy.name}.tar.gz"
    run_client(bench.binary, "pack", copy, "-o", archive)
    run_client(bench.binary, "sign", archive, "--key", f"{bench.key}.key")
    return archive


def call(bench: Bench) -> subprocess.Popen[str]:
    """Callers, of whom the first that is not answered well ends all."""
    where = ["--port", bench.service.port, "--token", bench.token()]
    options = ["--callers", CALLERS, "--rate", RATE, "--seconds", SECONDS]
    return bench.spawn("http", *where, *options, f"/api/plugins/{NAME}/execute")


def update(bench: Bench, number: int, serving: int) -> tuple[int, float]:
    """One update; says what serves after it, and how long it took."""
    manner = MANNERS[number % len(MANNERS)]
    archive = version(bench, number, manner)
    begun = time.monotonic()
    answer = bench.service.upload(f"/api/plugins/{NAME}/update", archive)
    took = time.monotonic() - begun
    bench.service.expect(200 if manner == "good" else 409, answer)
    serving = number if manner == "good" else serving
    shown = bench.ask(200, "GET", f"/api/plugins/{NAME}")["version"]
    if shown != f"1.0.{serving}":
        raise ServiceError(f"after update {number}, which is {manner}, {shown} serves and not 1.0.{serving}")
    return serving, took


def written(bench: Bench) -> collections.Counter[str]:
    answer = bench.ask(200, "POST", f"/api/plugins/{NAME}/execute", {"method": "read", "context": {}})
    return collections.Counter(str(answer["result"]).split())


def measure(folder: Path) -> Report:
    with Bench(folder) as bench:
        bench.start()
        archive = version(bench, 0, "good")
        bench.service.expect(201, bench.service.upload("/api/plugins/install", archive))
        bench.enable(NAME)
        callers = call(bench)
        time.sleep(1)
        serving, good, others = 0, [], []
        for number in range(1, UPDATES + 1):
            progress(f"update {number} of {UPDATES}")
            before = serving
            serving, took = update(bench, number, serving)
            (others if serving == before else good).append(took)
            if callers.poll() is not None:
                break
        progress("waiting for the callers")
        said, _ = callers.communicate()
        if callers.returncode != 0:
            raise ServiceError("a call was not answered well")
        found = json.loads(said)
        book = written(bench)
        bench.service.stop()
    twice = sum(times - 1 for times in book.values())
    rows = [
        Row("calls per second during 20 updates", found["per_second"], "/s", 1_900, least=True),
        Row("calls made, each answered well", found["count"], ""),
        Row("calls that ran twice, by the plugin's own book", twice, "", 0),
        Row("calls that were answered and are not in the book", found["count"] - len(book), "", 0),
        Row("a call, median", found["p50_us"] / 1_000, "ms"),
        Row("a call, 99th percentile", found["p99_us"] / 1_000, "ms"),
        Row("longest call", found["max_us"] / 1_000, "ms", 2_000),
        Row("an update that takes over", statistics.median(good) * 1_000, "ms"),
        Row("an update that does not", statistics.median(others) * 1_000, "ms"),
    ]
    return Report(rows)


if __name__ == "__main__":
    sys.exit(report.run("update", measure))
