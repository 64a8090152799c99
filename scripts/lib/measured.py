"""Writes what a campaign measured into docs/measured/. See campaign.sh.

    measured.py write NAME SECONDS < TEXT   the whole file, with date, commit and machine; refuses paths of this machine
    measured.py rows < LINES                a table of the JSON objects among the lines
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "measured"


def machine() -> str:
    """Cores, memory and kernel."""
    cpus = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    gigabytes = int(memory[1]) / 1024 / 1024 if memory else 0
    kernel = platform.release().split("-")[0]
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux") if hasattr(platform, "freedesktop_os_release") else "Linux"
    return f"{os.cpu_count()} cores ({cpus[0] if cpus else 'unknown'}), {gigabytes:.0f} GiB of memory, Linux {kernel}, {system}"


def commit() -> str:
    """What was measured; `+` where the tree has changes that are in no commit."""
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return (git("rev-parse", "--short=10", "HEAD") or "unknown") + ("+" if git("status", "--porcelain", "--", ".", ":!docs/measured") else "")


def program() -> str:
    """How the program was built, as far as its place tells."""
    named = os.environ.get("PLUGBAY_BIN")
    folder = Path(named).resolve().parent.name if named else "release"
    return f"{folder} build" if folder in ("debug", "release") else "another build, named by PLUGBAY_BIN"


def write(name: str, seconds: str) -> None:
    """Replaces the campaign's file."""
    text = sys.stdin.read().strip()
    for path in {str(ROOT), str(Path.home())} - {"/"}:
        if path in text:
            sys.exit(f"error: the text names a path of this machine, {path}; nothing is written")
    load = os.getloadavg()
    head = (
        f"# {name}\n\nWritten by `scripts/campaign.sh {name}`. Another machine gives other numbers.\n\n"
        f"| | |\n| --- | --- |\n| date | {datetime.date.today()} |\n| commit | {commit()} |\n| machine | {machine()} |\n"
        f"| program | {program()} |\n"
        f"| load at the end | {load[0]:.1f}, {load[2]:.1f} over 15 minutes |\n| took | {seconds} s |\n\n"
    )
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.md").write_text(head + text + "\n")


def rows() -> None:
    """A table for each object: its keys and values."""
    for line in sys.stdin:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if not isinstance(found, dict):
            continue
        print("| what | value |\n| --- | --- |")
        for key, value in found.items():
            shown = ", ".join(f"{name} {number}" for name, number in value.items()) if isinstance(value, dict) else value
            print(f"| {key.replace('_', ' ')} | {shown if shown not in ('', []) else 'none'} |")
        print()


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"] and len(sys.argv) == 4:
        write(*sys.argv[2:])
    elif sys.argv[1:] == ["rows"]:
        rows()
    else:
        sys.exit(__doc__)
