#!/usr/bin/env python3
"""Scans well-known Python packages as code that a plugin brings along: honest code should not be suspicious.

The wheels are those of tests/wheels/scan.json, fetched once into $PLUGBAY_TEST_CACHE (~/.cache/plugbay-test) and checked by
their hashes. Each is unpacked into the vendor/ of a plugin that does nothing, and nothing of it is run. Uses
target/debug/plugbay or target/release/plugbay, whichever is newer; PLUGBAY_BIN names another. Exit code 1 if more than
3 % are suspicious, or one is malicious.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from lib.cache import CacheError, Wheel, fetch
from lib.service import ROOT, TARGET, find_binary

LOCK = ROOT / "tests" / "wheels" / "scan.json"
PLATFORM = [f"--platform=manylinux_2_{minor}_x86_64" for minor in (34, 28, 27, 24, 17, 12, 5)]
TARGET_OPTIONS = [*PLATFORM, "--platform=manylinux2014_x86_64", "--python-version=3.11", "--implementation=cp"]
TARGET_OPTIONS += ["--abi=cp311", "--abi=abi3", "--abi=none"]
VERDICTS = ("clean", "notes", "suspicious", "malicious")
#: Of a hundred packages, so many may need a look.
MOST_SUSPICIOUS = 3


def scan(binary: Path, wheel: Wheel) -> dict[str, Any]:
    """What the program says of a plugin with this wheel in it."""
    folder = Path(tempfile.mkdtemp(prefix="scan-", dir=TARGET))
    try:
        with zipfile.ZipFile(wheel.path) as archive:
            archive.extractall(folder / "vendor")
        (folder / "plugin.yaml").write_text("name: carrier\nversion: 1.0.0\nmain: main.py\n")
        (folder / "main.py").write_text("class Carrier:\n    def execute(self, context):\n        return {}\n")
        done = subprocess.run(
            [str(binary), "scan", str(folder), "--json"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode not in (0, 4):
            raise CacheError(f"{wheel.name}: exit code {done.returncode}: {done.stderr.strip()}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found
    finally:
        shutil.rmtree(folder)


def main() -> int:
    wheels = [Wheel(name, **row) for name, row in json.loads(LOCK.read_text()).items()]
    try:
        fetch(wheels, TARGET_OPTIONS)
    except CacheError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    binary = find_binary()
    TARGET.mkdir(parents=True, exist_ok=True)
    counts = dict.fromkeys(VERDICTS, 0)
    rows = []
    for wheel in wheels:
        print(f"-- {wheel.name} {wheel.version}", file=sys.stderr)
        found = scan(binary, wheel)
        counts[found["verdict"]] += 1
        # The plugin's own three lines have no hits.
        rules = sorted({hit["rule"] for hit in found["findings"]})
        whole = "all" if found["complete"] else "up to a limit"
        rows.append((wheel.name, wheel.version, str(found["files"]), whole, found["verdict"], ", ".join(rules)))
    print(f"{len(wheels)} packages: " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS) + ".\n")
    print("| package | version | files | read | verdict | rules |\n| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    allowed = len(wheels) * MOST_SUSPICIOUS // 100
    return 1 if counts["suspicious"] > allowed or counts["malicious"] else 0


if __name__ == "__main__":
    sys.exit(main())
