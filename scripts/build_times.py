#!/usr/bin/env python3
"""Measures how long plugbay takes to build, at one commit or at several for comparison.

Usage: scripts/build_times.py FOLDER [REVISION...]

FOLDER takes a clone of each revision (default: HEAD), where its programs stay. Sources of dependencies are fetched
before, so that no network is measured. Prints a table in Markdown. An hour for two revisions on two slow cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Where a line is added, and the crate or module that it belongs to; the first file that is there counts.
EDITED = {
    "api": ["crates/api/src/permit.rs", "src/api/permit.rs"],
    "domain": ["crates/domain/src/name.rs", "src/domain/name.rs"],
}


def seconds(clone: Path, *arguments: str) -> float:
    """How long one run of cargo takes."""
    environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
    began = time.monotonic()
    subprocess.run(["cargo", *arguments, "--locked", "--quiet"], cwd=clone, env=environment, check=True)
    return time.monotonic() - began


def edited(clone: Path, candidates: list[str]) -> float:
    """A check after a new function in one file, the least of three: the first may find a cold disk."""
    path = next(clone / name for name in candidates if (clone / name).exists())
    before = path.read_text()
    found = []
    for number in range(3):
        # A private function: what other crates see of this one stays.
        path.write_text(f"{before}\n#[expect(dead_code, reason = \"measured\")]\nfn measured_{number}() {{}}\n")
        found.append(seconds(clone, "check"))
    path.write_text(before)
    return min(found)


def measure(folder: Path, revision: str) -> dict[str, float]:
    """Every figure of one revision."""
    clone = folder / revision
    if not clone.exists():
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        subprocess.run(["git", "checkout", "--quiet", revision], cwd=clone, check=True)
    subprocess.run(["cargo", "fetch", "--locked", "--quiet"], cwd=clone, check=True)
    found = {}
    found["`cargo build --release`, nothing built"] = seconds(clone, "build", "--release", "--bin", "plugbay")
    print(f"{revision}: release {found['`cargo build --release`, nothing built']:.0f} s", file=sys.stderr, flush=True)
    found["`cargo build`, nothing built"] = seconds(clone, "build")
    seconds(clone, "check")
    for name, candidates in EDITED.items():
        found[f"`cargo check` after an edit in {name}"] = edited(clone, candidates)
    found["size of the program, MB"] = (clone / "target/release/plugbay").stat().st_size / 1e6
    print(f"{revision}: {found}", file=sys.stderr, flush=True)
    return found


def main() -> int:
    """Measures what is asked for."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    revisions = [
        subprocess.run(["git", "rev-parse", "--short=7", name], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
        for name in sys.argv[2:] or ["HEAD"]
    ]
    found = {revision: measure(folder, revision) for revision in revisions}
    last = found[revisions[-1]]
    shows_ratio = len(revisions) > 1
    head = ["seconds", *revisions, *(["last / first"] if shows_ratio else [])]
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for what in last:
        figures = [found[revision][what] for revision in revisions]
        cells = [f"{figure:.1f}" for figure in figures]
        if shows_ratio:
            cells.append(f"{figures[-1] / figures[0]:.2f}")
        print(f"| {what} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
