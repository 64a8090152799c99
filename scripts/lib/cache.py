"""Files that tests download, kept by name, version and hash.

They lie in `$PLUGBAY_TEST_CACHE` (`~/.cache/plugbay-test`), as NAME/VERSION/SHA256/FILE. Every use checks the hash again:
a file that is not what the lock says is a failure, never a reason to fetch it once more.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


class CacheError(Exception):
    """A file is not to be had, or is not the one that is meant."""


@dataclass(frozen=True)
class Wheel:
    """One line of a lock: a file of the Python package index."""

    name: str
    version: str
    file: str
    sha256: str

    @property
    def path(self) -> Path:
        return folder() / self.name / self.version / self.sha256 / self.file


def folder() -> Path:
    """Where downloads are kept."""
    named = os.environ.get("PLUGBAY_TEST_CACHE")
    return Path(named).resolve() if named else Path.home() / ".cache" / "plugbay-test"


def sha256(path: Path) -> str:
    """The hash of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(1024 * 1024):
            digest.update(piece)
    return digest.hexdigest()


def fetch(wheels: list[Wheel], platform: list[str]) -> list[Path]:
    """The files, from the cache or, with pip, from the index; `platform` holds pip's options for the target."""
    missing = [wheel for wheel in wheels if not wheel.path.exists()]
    for wheel in missing:
        _download(wheel, platform)
    for wheel in wheels:
        found = sha256(wheel.path)
        if found != wheel.sha256:
            raise CacheError(f"{wheel.path} has the hash {found}, expected {wheel.sha256}; look why, then remove the file")
    return [wheel.path for wheel in wheels]


def _download(wheel: Wheel, platform: list[str]) -> None:
    place = wheel.path.parent
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=place.parent) as fresh:
        asked = Path(fresh) / "requirements.txt"
        asked.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
        got = Path(fresh) / "got"
        line = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        line += ["--only-binary=:all:", "--require-hashes", *platform, "--dest", str(got), "--requirement", str(asked)]
        done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = "\n".join(done.stderr.strip().splitlines()[-4:])
            raise CacheError(
                f"{wheel.name} {wheel.version} is not in {folder()}, and pip does not get it (is there a network?):\n{last}"
            )
        place.mkdir(exist_ok=True)
        (got / wheel.file).replace(wheel.path)
