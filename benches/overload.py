"""Measures a plugin that is flooded, and another one beside it. See scripts/bench.sh."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

import report
from report import ROOT, Report, Row, ServiceError, progress
from served import Bench, copies

ROUNDS = 5
SECONDS = 4
CALM, SLOW = "bench-native-000", "bench-slow"
# Calls that the flooded plugin works on, calls that wait for it, and how many it can answer in a second.
PLACES, QUEUE = 16, 16
CAPACITY = PLACES / 0.05
# As many callers as could be served ten times over, who call ten times as often as it can answer.
CALLERS = 10 * (PLACES + QUEUE)
RATE = 10 * CAPACITY / CALLERS
SETTINGS = f"""\
server: {{ max_connections: 4096 }}
limits: {{ queue: {QUEUE} }}
"""
Figures = dict[str, dict[str, float]]


def line(bench: Bench, callers: int, name: str, **options: object) -> list[str]:
    where = ["--port", bench.service.port, "--token", bench.token(), "--callers", callers, "--may-refuse"]
    more = [f"--{option}={value}" for option, value in options.items()]
    return [str(part) for part in [bench.load, "http", *where, *more, f"/api/plugins/{name}/execute"]]


def read(child: subprocess.Popen[str]) -> Figures:
    output, errors = child.communicate()
    if child.returncode != 0:
        raise ServiceError(f"load: {errors.strip()[-600:]}")
    found: Figures = json.loads(output)
    return found


def begin(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def beside(bench: Bench, flood: Optional[dict[str, Any]]) -> tuple[Figures, Optional[Figures]]:
    """A calm caller's calls, and what became of a flood that begins before them and ends after."""
    flooding = begin(line(bench, CALLERS, SLOW, seconds=SECONDS + 2, **flood)) if flood is not None else None
    if flooding is not None:
        try:
            # It goes on: what follows is measured while it does.
            flooding.wait(1)
        except subprocess.TimeoutExpired:
            pass
    calm = read(begin(line(bench, 1, CALM, rate=200, seconds=SECONDS)))
    return calm, None if flooding is None else read(flooding)


def median(found: list[Figures], kind: str, field: str) -> float:
    return statistics.median(figures[kind][field] for figures in found)


def measure(folder: Path) -> Report:
    with Bench(folder) as bench:
        bench.service.config.write_text(SETTINGS)
        bench.start()
        for copy in copies(folder, 1):
            bench.install(copy)
        bench.install(ROOT / "benches" / "plugins" / "slow")
        bench.enable(CALM)
        bench.enable(SLOW)
        quiet: list[Figures] = []
        calm: list[Figures] = []
        flooded: list[Figures] = []
        for number in range(ROUNDS):
            progress(f"round {number + 1} of {ROUNDS}")
            quiet.append(beside(bench, None)[0])
            beside_flood, flood = beside(bench, {"rate": RATE})
            assert flood is not None
            calm.append(beside_flood)
            flooded.append(flood)
        progress("callers who do not wait at all")
        stormed, storm = beside(bench, {})
        assert storm is not None
        restarts = bench.ask(200, "GET", f"/api/plugins/{SLOW}")["restarts"]
        answer = bench.execute(1, SLOW)
        bench.service.stop()
    before, during = median(quiet, "good", "p99_us"), median(calm, "good", "p99_us")
    refused = sum(figures["refused"]["count"] for figures in [*calm, stormed])
    rows = [
        Row("calls that the flooded plugin can answer per second", CAPACITY, ""),
        Row("calls that it gets per second", sum(median(flooded, kind, "per_second") for kind in ("good", "refused")), ""),
        Row("calls that it answers per second", median(flooded, "good", "per_second"), "", 0.8 * CAPACITY, least=True),
        Row("p99 of those", median(flooded, "good", "p99_us") / 1000, "ms"),
        Row("median of its refusals", median(flooded, "refused", "p50_us"), "µs", 5_000),
        Row("p99 of its refusals", median(flooded, "refused", "p99_us"), "µs"),
        Row("refused calls of the other plugin, all runs", refused, "", 0),
        Row("p99 of the other plugin without the flood", before, "µs"),
        Row("p99 of the other plugin during the flood", during, "µs"),
        Row("the same, against the p99 without", during / before, "×"),
        Row("callers who do not wait: refusals per second", storm["refused"]["per_second"], ""),
        Row("callers who do not wait: median of refusals", storm["refused"]["p50_us"], "µs"),
        Row("callers who do not wait: p99 of the other plugin", stormed["good"]["p99_us"], "µs"),
        Row("median of the flooded plugin afterwards", answer["p50_us"] / 1000, "ms"),
        Row("its restarts", restarts, "", 0),
    ]
    return Report(rows)


if __name__ == "__main__":
    sys.exit(report.run("overload", measure))
