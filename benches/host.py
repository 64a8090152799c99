"""Measures what plugins ask of the service and what leaves them, beside the floors they stand on. See scripts/bench.sh."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import report
from report import MIB, ROOT, Report, Row, ServiceError, memory, progress
from served import IMAGE, Bench

ROUNDS = 5
REQUESTS = 2_000
DOWNLOAD = 200 * MIB
NAME = "bench-asking"
# How often the memory of the service is looked at during a download, in seconds.
LOOK = 0.01


def build_bridge(share: Path) -> Path:
    bridge = share / "bridge"
    options = ["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-C", "panic=abort"]
    subprocess.run(["rustc", *options, "-o", bridge, ROOT / "benches" / "plugins" / "bridge.rs"], check=True)
    return bridge


def begin(bench: Bench, bridge: Path, origin: str, target: str) -> str:
    """Starts a bridge, and returns where it listens."""
    child = subprocess.Popen([bridge, origin, target], stdout=subprocess.PIPE, text=True)
    bench.children.append(child)
    assert child.stdout is not None
    return child.stdout.readline().strip()


def install(bench: Bench, folder: Path, target: str) -> None:
    copy = folder / NAME
    shutil.copytree(ROOT / "benches" / "plugins" / "asking", copy)
    manifest = copy / "plugin.yaml"
    manifest.write_text(manifest.read_text().replace("host.plugbay.internal:PORT", target))
    bench.install(copy)
    bench.ask(200, "POST", f"/api/plugins/{NAME}/permissions/approve", {"grant": ["network_access"]})
    bench.enable(NAME)


def asked(bench: Bench, **context: object) -> object:
    answer = bench.ask(200, "POST", f"/api/plugins/{NAME}/execute", {"context": context})
    if not answer["success"]:
        raise ServiceError(f"{NAME}: {answer}")
    return answer["result"]


def requests(bench: Bench) -> tuple[float, float]:
    """Microseconds of `kv.get`, and of a request that the service only refuses."""
    found = []
    for number in range(ROUNDS):
        progress(f"requests, round {number + 1} of {ROUNDS}")
        found.append(asked(bench, what="requests", count=REQUESTS))
    return tuple(statistics.median(times[what] for times in found) for what in ("kv", "ping"))  # type: ignore[index, return-value]


def bare(share: Path, path: Path) -> float:
    """Seconds of the same download by the same client, over a socket bridge that does nothing else."""
    shell = f"/share/bridge tcp:9000 unix:/share/{path.name} >/dev/null & exec python3 /asking/main.py 9000 {DOWNLOAD}"
    mounts = [f"--volume={share}:/share", f"--volume={ROOT / 'benches' / 'plugins' / 'asking'}:/asking:ro"]
    line = ["docker", "run", "--rm", "--network=none", "--cpus=2", *mounts, IMAGE, "sh", "-c", shell]
    return float(subprocess.run(line, check=True, capture_output=True, text=True).stdout)


def most_memory(pid: int, done: threading.Event, found: list[float]) -> None:
    while not done.is_set():
        found.append(memory(pid, "VmRSS"))
        time.sleep(LOOK)


def downloads(bench: Bench, share: Path, path: Path, target: str) -> tuple[float, float, float]:
    """Seconds of a download by the plugin and by the bare bridge in turns, and MiB by which the service grew or shrank."""
    own, floor = [], []
    asked(bench, what="download", bytes=DOWNLOAD, target=target)
    before = memory(bench.service.pid, "VmRSS")
    found, done = [before], threading.Event()
    looking = threading.Thread(target=most_memory, args=(bench.service.pid, done, found))
    looking.start()
    try:
        for number in range(ROUNDS):
            progress(f"downloads, round {number + 1} of {ROUNDS}")
            floor.append(bare(share, path))
            own.append(float(str(asked(bench, what="download", bytes=DOWNLOAD, target=target))))
    finally:
        done.set()
        looking.join()
    return statistics.median(own), statistics.median(floor), max(abs(mib - before) for mib in found)


def measure(folder: Path) -> Report:
    share = folder / "share"
    share.mkdir()
    bridge = build_bridge(share)
    path = share / "bare.sock"
    with Bench(folder) as bench:
        port = begin(bench, bridge, "tcp:0", f"zeros:{DOWNLOAD}")
        # As plugins call the machine that the service runs on.
        target = f"host.plugbay.internal:{port}"
        begin(bench, bridge, f"unix:{path}", f"tcp:{port}")
        path.chmod(0o666)
        with bench.service.config.open("a") as config:
            config.write(f'egress: {{ allow_private: ["{target}"] }}\n')
        bench.start()
        install(bench, folder, target)
        kv, ping = requests(bench)
        own, floor, grown = downloads(bench, share, path, target)
        bench.service.stop()
    rows = [
        Row("kv.get from a Python plugin", kv, "µs", 250),
        Row("a request that is only refused, same runner", ping, "µs"),
        Row("kv.get against it", kv / ping, "×", 3),
        Row("200 MiB through a bare socket bridge, per second", DOWNLOAD / MIB / floor, "MiB"),
        Row("200 MiB through the way out of a plugin, per second", DOWNLOAD / MIB / own, "MiB"),
        Row("way out against bare bridge", floor / own, "×", 0.6, least=True),
        Row("memory of the service during downloads, largest change", grown, "MiB", 16),
    ]
    return Report(rows)


if __name__ == "__main__":
    sys.exit(report.run("host", measure))
