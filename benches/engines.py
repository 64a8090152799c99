"""The same plugins under Docker and under bubblewrap, in turns on the same machine: a column for each."""

from __future__ import annotations

import contextlib
import os
import statistics
from pathlib import Path

from report import Row, progress, table
from served import SETTINGS, Bench, copies, python_echo

ENGINES = ("docker", "process")
NATIVE, PYTHON = "bench-native-000", "bench-python"
STARTS = 15
ROUNDS = 5
NEEDS = Path("/usr/bin/bwrap")


def can_compare() -> bool:
    """The process engine needs root and bubblewrap."""
    return os.geteuid() == 0 and NEEDS.exists()


def prepare(bench: Bench, engine: str) -> None:
    bench.service.config.write_text(f"{SETTINGS}sandbox: {{ engine: {engine} }}\n")
    bench.start()
    for source in (*copies(bench.folder, 1), python_echo(bench.folder)):
        bench.install(source)
    for name in (NATIVE, PYTHON):
        bench.enable(name)
        shown = bench.ask(200, "GET", f"/api/plugins/{name}")
        assert shown["isolation"] == engine, shown


def compare(folder: Path) -> tuple[list[Row], str]:
    """Rows with their goals, and a table with a column per engine."""
    found: dict[str, dict[str, list[float]]] = {}
    with contextlib.ExitStack() as stack:
        benches = {}
        for engine in ENGINES:
            own = folder / engine
            own.mkdir()
            benches[engine] = stack.enter_context(Bench(own))
            prepare(benches[engine], engine)
        for number in range(STARTS):
            progress(f"both engines, start {number + 1} of {STARTS}")
            for name in (NATIVE, PYTHON):
                for engine, bench in benches.items():
                    bench.disable(name)
                    found.setdefault(f"enable, {name}", {}).setdefault(engine, []).append(bench.enable(name) * 1e3)
        for number in range(ROUNDS):
            progress(f"both engines, calls {number + 1} of {ROUNDS}")
            for name in (NATIVE, PYTHON):
                for engine, bench in benches.items():
                    one, many = bench.execute(1, name), bench.execute(64, name)
                    found.setdefault(f"execute, {name}", {}).setdefault(engine, []).append(one["p50_us"])
                    many_row = found.setdefault(f"execute, {name}, 64 callers", {})
                    many_row.setdefault(engine, []).append(many["per_second"])
        for bench in benches.values():
            bench.service.stop()
    medians = {what: {engine: statistics.median(runs) for engine, runs in by.items()} for what, by in found.items()}
    units = {"enable": "ms", "execute": "µs", "callers": "per second"}

    def unit(what: str) -> str:
        return units["callers"] if what.endswith("callers") else units[what.split(",")[0]]

    lines = [(what, *(f"{by[engine]:,.1f} {unit(what)}" for engine in ENGINES)) for what, by in medians.items()]
    cold = medians[f"enable, {PYTHON}"]
    rows = [
        Row("enable without Docker, Python echo", cold["process"], "ms", 100),
        Row("the same, against Docker in the same run", cold["process"] / cold["docker"], "×", 1),
        Row("enable without Docker, native echo", medians[f"enable, {NATIVE}"]["process"], "ms", 100),
    ]
    return rows, table(("both engines", *ENGINES), lines)
