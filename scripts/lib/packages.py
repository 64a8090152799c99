"""Plugin archives for scripts, and whether an unpacked package is one of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

MAIN = b"class Example:\n    def execute(self, context):\n        return context\n"


@dataclass(frozen=True)
class Package:
    """An archive, and what must be in it: every file's path with the sha256 of its content."""

    name: str
    version: str
    archive: Path
    digest: str
    files: dict[str, str]


def make_package(
    folder: Path, name: str, version: str, kind: str, count: int, size: int, source: random.Random
) -> Package:
    """Writes an archive with `count` files beside manifest and program, `size` bytes together.

    Nine tenths of each file are random, the rest is text, so the archive is nearly as large as its content.
    """
    manifest = f"name: {name}\nversion: {version}\nmain: main.py\ndescription: For tests\nauthor: plugbay\nlicense: MIT\n"
    files = {"plugin.yaml": manifest.encode(), "main.py": MAIN}
    for number in range(count):
        length = size // count
        text = b"the same line of text, again and again\n" * (length // 390 + 1)
        noise = source.getrandbits(8 * (length * 9 // 10 + 1)).to_bytes(length * 9 // 10 + 1, "little")
        files[f"data/{number % 16:02}/{number:05}.bin"] = (noise + text)[:length]
    archive = folder / f"{name}-{version}.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as output:
            for path, content in files.items():
                output.writestr(path, content)
    else:
        # Python's default level; the time and the name in the header would change the bytes of equal archives.
        with open(archive, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
            with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as output:
                for path, content in files.items():
                    entry = tarfile.TarInfo(path)
                    entry.size = len(content)
                    output.addfile(entry, io.BytesIO(content))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return Package(name, version, archive, digest, {path: hashlib.sha256(c).hexdigest() for path, c in files.items()})


def package_differs(unpacked: Path, package: Package) -> Optional[str]:
    """What the first difference is, if there is one."""
    found = {path.relative_to(unpacked).as_posix(): path for path in unpacked.rglob("*")}
    folders = {parent.as_posix() for path in package.files for parent in Path(path).parents} - {"."}
    for path in found.keys() ^ (package.files.keys() | folders):
        return f"{path} is {'not expected' if path in found else 'missing'}"
    for path, digest in package.files.items():
        if found[path].is_symlink() or not found[path].is_file():
            return f"{path} is not a file"
        if hashlib.sha256(found[path].read_bytes()).hexdigest() != digest:
            return f"{path} has another content"
    return None
