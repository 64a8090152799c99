"""Measures the install of a large plugin, the memory it takes, and the start of the service. See scripts/bench.sh."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Optional

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from lib.packages import Package, make_package, package_differs  # noqa: E402
from lib.service import TARGET, Service, ServiceError, find_binary, run_client  # noqa: E402

MB = 1_000_000
MIB = 1024 * 1024
# Packed, this is 50 MB.
CONTENT_BYTES = 55_350_000
FILES = 2000
REPEATS = 5
RESULTS = ROOT / "benches" / "RESULTS.md"
HEAD = """# Results

Written by `scripts/bench.sh install --record`, newest last. Another machine gives other numbers; the ratio is what to
compare. What is measured:

- *install*: `POST /api/plugins/install` of a signed tar.gz with 2,000 files, from the first byte sent to the last byte
  of the answer, on disk for good when answered. *sha256sum + tar xzf*: both commands on the same file and disk, which
  wait for no disk. In turns, each after `sync`, medians of 5. Nothing is removed meanwhile: ext4 passes over inodes
  that were removed in the last minutes, one by one, which can take longer than all the rest. For the same reason a run
  soon after another, or beside a build, is slower for both.
- *memory*: resident set (VmRSS, VmHWM) of the service. Idle: two seconds after the start with an empty data directory.
- *start*: from exec to the first 200 of `/healthz`, median of 5, with the 5 plugins installed. Ready (`/readyz`) is later:
  everything stored has been verified by then.
"""


class Row:
    """One line of the table."""

    def __init__(self, what: str, value: float, unit: str, goal: Optional[float] = None) -> None:
        self.what = what
        self.value = value
        self.unit = unit
        self.goal = goal

    @property
    def met(self) -> bool:
        return self.goal is None or self.value <= self.goal

    def cells(self) -> tuple[str, str, str, str]:
        digits = 2 if self.unit in ("s", "×") else 1 if self.unit == "MiB" else 0
        goal = "" if self.goal is None else f"≤ {self.goal:g} {self.unit}"
        met = "" if self.goal is None else "met" if self.met else "not met"
        return self.what, f"{self.value:.{digits}f} {self.unit}", goal, met


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def timed(action: Callable[[], None]) -> float:
    # What others or earlier steps have written is not this one's to wait for.
    os.sync()
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


def memory(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / MIB
    raise ServiceError(f"/proc/{pid}/status has no {field}")


def reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def baseline(package: Package, folder: Path) -> float:
    """Seconds of sha256sum and tar xzf of the archive."""
    archive, into = package.archive, folder / "unpacked" / package.name
    into.mkdir(parents=True)

    def both() -> None:
        subprocess.run(["sha256sum", archive], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["tar", "xzf", archive, "-C", into], check=True)

    return timed(both)


def install(service: Service, package: Package) -> tuple[float, float]:
    """Seconds of one install, and the peak of the memory meanwhile."""
    reset_peak(service.pid)

    def upload() -> None:
        service.expect(201, service.upload("/api/plugins/install", package.archive))

    seconds = timed(upload)
    peak = memory(service.pid, "VmHWM")
    difference = package_differs(service.data / "packages" / package.digest, package)
    if difference:
        raise ServiceError(f"the installed package is not its archive: {difference}")
    return seconds, peak


def measure(folder: Path) -> list[Row]:
    binary = find_binary("release")
    progress(f"making {REPEATS} archives")
    key = folder / "key"
    run_client(binary, "keygen", "--no-password", "--output", key)
    packages = []
    for number in range(REPEATS):
        name, source = f"large-{'abcdefgh'[number]}", random.Random(number)
        package = make_package(folder, name, "1.0.0", "tar.gz", FILES, CONTENT_BYTES, source)
        run_client(binary, "sign", package.archive, "--key", f"{key}.key")
        packages.append(package)

    service = Service(binary, folder)
    try:
        empty_start = service.start("/healthz")
        body = {"public_key": Path(f"{key}.pub").read_text().splitlines()[1], "label": "bench", "names": ["large-*"]}
        time.sleep(2)
        idle = memory(service.pid, "VmRSS")
        service.expect(201, service.request("POST", "/api/keys", body))
        installs, peaks, baselines = [], [], []
        for package in packages:
            progress(f"install and sha256sum + tar, {len(installs) + 1} of {REPEATS}")
            seconds, peak = install(service, package)
            installs.append(seconds)
            peaks.append(peak)
            baselines.append(baseline(package, folder))
        progress("starts")
        service.stop()
        starts: list[float] = []
        for _ in range(REPEATS):
            starts.append(service.start("/healthz"))
            service.stop()
        ready = service.start("/readyz")
    finally:
        service.kill()

    size = package.archive.stat().st_size / MB
    ours, theirs = statistics.median(installs), statistics.median(baselines)
    return [
        Row(f"install of {size:.1f} MB, {len(package.files)} files", ours, "s"),
        Row("sha256sum + tar xzf of the same", theirs, "s"),
        Row("install against sha256sum + tar xzf", ours / theirs, "×", 3),
        Row("memory above idle during install (largest of 5)", max(peaks) - idle, "MiB", 32),
        Row("memory when idle", idle, "MiB", 40),
        Row("start to healthy", statistics.median(starts) * 1000, "ms", 300),
        Row("start to healthy with an empty data directory", empty_start * 1000, "ms"),
        Row("start to ready, with every plugin verified", ready, "s"),
    ]


def machine() -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    load = os.getloadavg()[0]
    kernel = platform.release().split("-")[0]
    return f"{os.cpu_count()} cores ({model}), {platform.system()} {kernel}, load before {load:.1f}"


def table(rows: list[Row]) -> str:
    lines = [("measured", "value", "goal", ""), *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    text = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench.sh install")
    parser.add_argument("--judge", action="store_true", help="exit code 1 if a goal is missed")
    parser.add_argument("--record", action="store_true", help="write the table into benches/RESULTS.md")
    arguments = parser.parse_args()
    # Ended by another program, it must not leave the service behind.
    signal.signal(signal.SIGTERM, interrupt)
    TARGET.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=TARGET))
    about = machine()
    try:
        rows = measure(folder)
    except (ServiceError, OSError, subprocess.CalledProcessError) as error:
        progress(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        progress("interrupted")
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = f"{about}\n\n{table(rows)}"
    print(text)
    if arguments.record:
        before = RESULTS.read_text() if RESULTS.exists() else HEAD
        RESULTS.write_text(f"{before}\n## {datetime.date.today()}\n\n{text}\n")
    return 1 if arguments.judge and not all(row.met for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
