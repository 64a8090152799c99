"""Measures the install of a large plugin, the memory it takes, and the start of the service. See scripts/bench.sh."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

import report
from report import Report, Row, memory, progress

from lib.packages import Package, make_package, package_differs  # noqa: E402
from lib.service import Service, ServiceError, find_binary, run_client  # noqa: E402

MB = 1_000_000
# Packed, this is 50 MB.
CONTENT_BYTES = 55_350_000
FILES = 2000
REPEATS = 5


def timed(action: Callable[[], None]) -> float:
    # What others or earlier steps have written is not this one's to wait for.
    os.sync()
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


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


def measure(folder: Path) -> Report:
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
    return Report([
        Row(f"install of {size:.1f} MB, {len(package.files)} files", ours, "s"),
        Row("sha256sum + tar xzf of the same", theirs, "s"),
        Row("install against sha256sum + tar xzf", ours / theirs, "×", 3),
        Row("memory above idle during install (largest of 5)", max(peaks) - idle, "MiB", 32),
        Row("memory when idle", idle, "MiB", 40),
        Row("start to healthy", statistics.median(starts) * 1000, "ms", 300),
        Row("start to healthy with an empty data directory", empty_start * 1000, "ms"),
        Row("start to ready, with every plugin verified", ready, "s"),
    ])


if __name__ == "__main__":
    sys.exit(report.run("install", measure))
