"""Measures calls, starts and memory beside the floors they stand on. See scripts/bench.sh."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

import report
from report import MIB, ROOT, Report, Row, ServiceError, memory, progress, table
import engine
import engines
from served import IMAGE, SECONDS, Bench, copies, python_echo, tool_echo

ROUNDS = 5
MANY = 100
AT_BOOT = 50
STARTS = 10
STREAMS, CHUNKS = 100, 100


# -- Calls ----------------------------------------------------------------------------------------------------------

NATIVE, PYTHON, TOOL = "bench-native-000", "bench-python", "bench-tool"
FLOOR, SOCKET = "HTTP echo (actix-web)", "raw socket echo in a container"
EXECUTE, EXECUTE_PYTHON = "execute, native echo", "execute, Python echo"
EXECUTE_TOOL = "execute, native echo with a schema"
Figures = dict[str, dict[int, dict[str, float]]]


def median_of(runs: list[dict[str, float]]) -> dict[str, float]:
    return {field: statistics.median(run[field] for run in runs) for field in runs[0]}


def calls(bench: Bench, lines: Path) -> Figures:
    """Medians over rounds in which everything takes its turn, so that a busy machine is busy for all."""
    floor = bench.spawn("floor")
    assert floor.stdout is not None
    port = int(floor.stdout.readline())
    sockets = {callers: socket_floor(bench, lines.parent, callers) for callers in (1, 64)}
    kinds: dict[str, Callable[[int], dict[str, float]]] = {
        SOCKET: lambda callers: sockets[callers](),
        FLOOR: lambda callers: bench.http(callers, "/echo", port=port),
        EXECUTE: lambda callers: bench.execute(callers, NATIVE),
        EXECUTE_TOOL: lambda callers: bench.execute(callers, TOOL),
        EXECUTE_PYTHON: lambda callers: bench.execute(callers, PYTHON),
    }
    runs: dict[str, dict[int, list[dict[str, float]]]] = {what: {1: [], 64: []} for what in kinds}
    for number in range(ROUNDS):
        progress(f"calls, round {number + 1} of {ROUNDS}")
        for callers in (1, 64):
            for what, kind in kinds.items():
                runs[what][callers].append(kind(callers))
    return {what: {callers: median_of(found) for callers, found in by.items()} for what, by in runs.items()}


def socket_floor(bench: Bench, share: Path, callers: int) -> Callable[[], dict[str, float]]:
    path = share / f"lines-{callers}.sock"
    child = bench.spawn("socket", "--listen", path, "--callers", callers, "--seconds", SECONDS)
    assert child.stdin is not None and child.stdout is not None
    stdin, stdout = child.stdin, child.stdout
    assert stdout.readline() == "listening\n"
    bench.run_lines(share, Entrypoint=["/share/lines", f"/share/{path.name}"])

    def once() -> dict[str, float]:
        stdin.write("\n")
        stdin.flush()
        found: dict[str, float] = json.loads(stdout.readline())
        return found

    return once


def others(bench: Bench, share: Path) -> dict[str, float]:
    """Seconds of a call by other means: attach, exec, run."""
    progress("attach, exec and run")
    attached = bench.run_lines(share, Entrypoint=["/share/lines"], OpenStdin=True, AttachStdin=True, AttachStdout=True)
    attach = bench.measure("attach", "--container", attached, "--seconds", 2)
    once = {
        "Image": IMAGE, "NetworkDisabled": True, "Entrypoint": ["/bin/true"], "HostConfig": {"NetworkMode": "none"},
    }
    return {
        "attach": attach["p50_us"] / 1e6,
        "exec": statistics.median(engine.exec_once(attached, ["/bin/true"]) for _ in range(20)),
        "run": statistics.median(engine.run_once(once) for _ in range(STARTS)),
    }


# -- Starts ---------------------------------------------------------------------------------------------------------


def starts(bench: Bench) -> dict[str, float]:
    """Seconds from the order to enable until a plugin has answered that it is ready; in turns with the engine's own."""
    own, native, python, restarts = [], [], [], []
    body = bench.ask(200, "GET", f"/api/plugins/{NATIVE}/sandbox/plan")["body"]
    # With its labels the service would take it for one of its own.
    del body["Labels"]
    for mount in body["HostConfig"]["Mounts"]:
        # Some are there only while the plugin runs; any others cost the engine the same.
        if not Path(mount["Source"]).exists():
            is_file = mount["Target"].startswith("/etc/")
            mount["Source"] = str(bench.service.config if is_file else bench.folder)
    for number in range(STARTS):
        progress(f"starts, round {number + 1} of {STARTS}")
        own.append(engine.create_and_start(body))
        for name, found in ((NATIVE, native), (PYTHON, python)):
            bench.disable(name)
            found.append(bench.enable(name))
        restarts.append(restart(bench))
    every = {"engine": own, "native": native, "python": python, "restart": restarts}
    return {what: statistics.median(found) for what, found in every.items()}


def restart(bench: Bench) -> float:
    """Seconds from a kill of the container until the plugin answers again."""
    [container] = engine.ids_of(NATIVE)
    begun = time.monotonic()
    engine.ask("POST", f"/containers/{container}/kill")
    while True:
        answer = bench.service.request("POST", f"/api/plugins/{NATIVE}/execute", {"context": {}})
        if answer.status == 200 and engine.ids_of(NATIVE) not in ([], [container]):
            return time.monotonic() - begun
        time.sleep(0.005)


def boot(bench: Bench) -> float:
    """Seconds from the start of the service until all of its enabled plugins are active."""
    progress(f"{AT_BOOT} plugins at boot")
    bench.service.stop()
    begun = time.monotonic()
    bench.service.start("/healthz")
    while True:
        plugins = bench.ask(200, "GET", "/api/plugins?status=enabled&limit=200")["plugins"]
        active = sum(plugin["state"] == "active" for plugin in plugins)
        if len(plugins) == AT_BOOT == active:
            return time.monotonic() - begun
        time.sleep(0.02)


# -- Figures of a plugin and of many --------------------------------------------------------------------------------


def idle_python(bench: Bench) -> tuple[float, float]:
    """MiB and per cent of a processor that the Python plugin takes while nobody calls it."""
    progress("an idle Python plugin")
    stats = lambda: bench.ask(200, "GET", f"/api/plugins/{PYTHON}/stats")  # noqa: E731
    [container] = engine.ids_of(PYTHON)

    def used() -> float:
        figures = json.loads(engine.ask("GET", f"/containers/{container}/stats?stream=false&one-shot=true"))
        return float(figures["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9

    before, begun = used(), time.monotonic()
    time.sleep(10)
    percent = 100 * (used() - before) / (time.monotonic() - begun)
    return float(stats()["memory_mb"]), percent


def streaming(bench: Bench) -> tuple[float, float]:
    """Seconds of many streams at one time, and of their generators alone in a container of the same size."""
    progress("streams")
    source = ROOT / "benches" / "plugins" / "ticker"
    bench.install(source)
    bench.enable("bench-ticker")
    whole, alone = [], []
    for _ in range(3):
        line = ["docker", "run", "--rm", "--network=none", "--cpus=2", f"--volume={source}:/ticker:ro", IMAGE]
        done = subprocess.run([*line, "python3", "/ticker/main.py", str(STREAMS)], check=True, capture_output=True)
        alone.append(float(done.stdout))
        order = ["--port", bench.service.port, "--token", bench.token(), "--callers", STREAMS, "--chunks", CHUNKS]
        path = "/api/plugins/bench-ticker/execute"
        whole.append(bench.measure("stream", *order, "--body", "{}", path)["seconds"])
    bench.disable("bench-ticker")
    return statistics.median(whole), statistics.median(alone)


def under_attack(bench: Bench) -> tuple[float, float]:
    """The p99 of a calm caller's calls, and while another plugin takes all that it can get."""
    progress("a neighbour that spins")
    bench.install(ROOT / "benches" / "plugins" / "spinner")
    bench.enable("bench-spinner")
    calm = lambda: bench.execute(1, NATIVE, rate=200, seconds=5)["p99_us"]  # noqa: E731
    quiet = calm()
    token = bench.token()
    line = [bench.binary, "exec", "bench-spinner", '{"seconds": 10}']
    address = {"PLUGBAY_URL": f"http://127.0.0.1:{bench.service.port}", "PLUGBAY_TOKEN": token}
    spinning = subprocess.Popen(line, env={**os.environ, **address}, stdout=subprocess.DEVNULL)
    time.sleep(1)
    attacked = calm()
    if spinning.wait() != 0:
        raise ServiceError("the spinning plugin did not answer")
    bench.disable("bench-spinner")
    return quiet, attacked


def many(bench: Bench) -> tuple[float, float, float]:
    """Calls per second to one of many plugins and to all of them in turns, and the memory of the service then."""
    names = [f"bench-native-{number:03}" for number in range(MANY)]
    for number, name in enumerate(names[1:], 2):
        progress(f"enabling {number} of {MANY}")
        bench.enable(name)
    one, turns = [], []
    for number in range(ROUNDS):
        progress(f"{MANY} plugins, round {number + 1} of {ROUNDS}")
        one.append(bench.execute(64, NATIVE)["per_second"])
        turns.append(bench.execute(64, *names)["per_second"])
    return statistics.median(one), statistics.median(turns), memory(bench.service.pid, "VmRSS")


def health_us(bench: Bench) -> float:
    """How long the service takes to ask the plugin for its health, in microseconds as a caller sees it."""
    times = []
    for _ in range(200):
        begun = time.monotonic()
        bench.ask(200, "GET", f"/api/plugins/{NATIVE}/health")
        times.append(time.monotonic() - begun)
    return statistics.median(times) * 1e6


# -- All of it ------------------------------------------------------------------------------------------------------


def calls_table(figures: Figures) -> str:
    head = ("calls", "1 caller: median", "p99", "64 callers: per second", "median", "p99")
    lines = []
    for what, by in figures.items():
        one, many_callers = by[1], by[64]
        cells = [f"{one['p50_us']:.0f} µs", f"{one['p99_us']:.0f} µs", f"{many_callers['per_second']:,.0f}"]
        cells += [f"{many_callers['p50_us']:.0f} µs", f"{many_callers['p99_us']:.0f} µs"]
        lines.append((what, *cells))
    return table(head, lines)


def measure(folder: Path) -> Report:
    share = folder / "share"
    share.mkdir()
    lines = share / "lines"
    source = ROOT / "benches" / "plugins" / "lines.rs"
    options = ["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-C", "panic=abort"]
    subprocess.run(["rustc", *options, "-o", lines, source], check=True)
    with Bench(folder) as bench:
        bench.start()
        idle = memory(bench.service.pid, "VmRSS")
        progress(f"installing {MANY + 2} plugins")
        for copy in copies(folder, MANY):
            bench.install(copy)
        bench.install(python_echo(folder))
        bench.install(tool_echo(folder))
        bench.enable(NATIVE)
        bench.enable(TOOL)
        bench.enable(PYTHON)
        memory_mib, cpu_percent = idle_python(bench)
        figures = calls(bench, lines)
        bench.disable(TOOL)
        other = others(bench, share)
        start = starts(bench)
        whole, alone = streaming(bench)
        quiet, attacked = under_attack(bench)
        health = health_us(bench)
        bench.disable(PYTHON)
        one, turns, resident = many(bench)
        for number in range(AT_BOOT, MANY):
            bench.disable(f"bench-native-{number:03}")
        booted = boot(bench)
        bench.service.stop()
    call = figures[EXECUTE][1]["p50_us"]
    floors = figures[SOCKET][1]["p50_us"] + figures[FLOOR][1]["p50_us"]
    schema = figures[EXECUTE_TOOL][1]["p50_us"] - call
    throughput = figures[EXECUTE][64]["per_second"] / figures[FLOOR][64]["per_second"]
    rows = [
        Row("execute against socket + HTTP echo, 1 caller", call / floors, "×", 1.25),
        Row("execute against HTTP echo, throughput at 64 callers", throughput, "×", 0.6, least=True),
        Row("a schema of the arguments beside none, 1 caller, median", schema, "µs", 10),
        Row("one line over the engine's attach", other["attach"] * 1e6, "µs"),
        Row("one exec in a running container", other["exec"] * 1000, "ms"),
        Row("exec per call against execute", other["exec"] * 1e6 / call, "×", 100, least=True),
        Row("one container per call", other["run"] * 1000, "ms"),
        Row("container per call against execute", other["run"] * 1e6 / call, "×", 500, least=True),
        Row("execute with one plugin, 64 callers, per second", one, ""),
        Row(f"execute over {MANY} plugins in turns, 64 callers, per second", turns, ""),
        Row(f"{MANY} plugins against one, throughput", turns / one, "×", 0.45, least=True),
        Row("the engine's own create + start of the same body", start["engine"] * 1000, "ms"),
        Row("enable, native echo", start["native"] * 1000, "ms"),
        Row("enable against the engine's own", start["native"] / start["engine"], "×", 1.2),
        Row("enable, Python echo", start["python"] * 1000, "ms"),
        Row("killed container until it answers again", start["restart"] * 1000, "ms"),
        Row(f"start of the service with {AT_BOOT} plugins until all are active", booted, "s", 6),
        Row(f"{STREAMS} streams of {CHUNKS} chunks at 10 ms", whole, "s"),
        Row("streams against their generators alone", whole / alone, "×", 1.15),
        Row("service without plugins", idle, "MiB"),
        Row(f"service with {MANY} plugins enabled", resident, "MiB", 60),
        Row("idle Python plugin, memory", memory_mib * MIB / 1e6, "MB", 100),
        Row("idle Python plugin, processor", cpu_percent, "%", 1),
        Row("p99 of a calm caller", quiet, "µs"),
        Row("p99 of a calm caller while another plugin spins", attacked, "µs"),
        Row("the same, against the calm p99", attacked / quiet, "×"),
        Row("GET …/health", health, "µs"),
    ]
    tables = calls_table(figures)
    if engines.can_compare():
        both = folder / "both"
        both.mkdir()
        more, columns = engines.compare(both)
        rows += more
        tables += "\n" + columns
    return Report(rows, tables)


if __name__ == "__main__":
    sys.exit(report.run("call", measure))
