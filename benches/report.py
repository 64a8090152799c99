"""Rows with goals, tables, and the record in benches/RESULTS.md: what the measuring programs have in common."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from lib.service import TARGET, ServiceError  # noqa: E402

RESULTS = ROOT / "benches" / "RESULTS.md"
MIB = 1024 * 1024


@dataclass(frozen=True)
class Row:
    """One figure, and what it must not be above (or, with `least`, below)."""

    what: str
    value: float
    unit: str
    goal: Optional[float] = None
    least: bool = False

    @property
    def met(self) -> bool:
        if self.goal is None:
            return True
        return self.value >= self.goal if self.least else self.value <= self.goal

    def cells(self) -> tuple[str, ...]:
        digits = 2 if self.unit in ("s", "×", "%") else 1 if self.unit in ("MiB", "MB") else 0
        goal = "" if self.goal is None else f"{'≥' if self.least else '≤'} {self.goal:g} {self.unit}"
        met = "" if self.goal is None else "met" if self.met else "not met"
        return self.what, f"{self.value:,.{digits}f} {self.unit}", goal, met


@dataclass(frozen=True)
class Report:
    """What a program prints: a table of rows, after other tables of its own."""

    rows: list[Row]
    before: str = ""

    def text(self) -> str:
        rows = table(("measured", "value", "goal", ""), [row.cells() for row in self.rows])
        return f"{self.before}\n\n{rows}" if self.before else rows


def table(head: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    every = [head, *lines]
    widths = [max(len(line[column]) for line in every) for column in range(len(head))]
    text = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in every]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def memory(pid: int, field: str) -> float:
    """MiB of a field of /proc/<pid>/status."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / MIB
    raise ServiceError(f"/proc/{pid}/status has no {field}")


def machine() -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    load = os.getloadavg()[0]
    kernel = platform.release().split("-")[0]
    return f"{os.cpu_count()} cores ({model}), {platform.system()} {kernel}, load before {load:.1f}"


def interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def run(name: str, measure: Callable[[Path], Report]) -> int:
    """Measures in a folder that is removed afterwards, prints, and judges or records when asked to."""
    parser = argparse.ArgumentParser(prog=f"scripts/bench.sh {name}")
    parser.add_argument("--judge", action="store_true", help="exit code 1 if a goal is missed")
    parser.add_argument("--record", action="store_true", help="write the table into benches/RESULTS.md")
    arguments = parser.parse_args()
    # Ended by another program, it must not leave the service behind.
    signal.signal(signal.SIGTERM, interrupt)
    TARGET.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=TARGET))
    about = machine()
    try:
        report = measure(folder)
    except (ServiceError, OSError, subprocess.SubprocessError) as error:
        progress(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        progress("interrupted")
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = f"{about}\n\n{report.text()}"
    print(text)
    if arguments.record:
        with open(RESULTS, "a") as results:
            results.write(f"\n## {datetime.date.today()}: {name}\n\n{text}\n")
    return 1 if arguments.judge and not all(row.met for row in report.rows) else 0
