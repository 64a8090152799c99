#!/usr/bin/env python3
"""Packs a plugin with each of the Python packages that authors use most, and lets it use them in its sandbox.

The wheels are those of tests/wheels/lock.json, fetched once into $PLUGBAY_TEST_CACHE (~/.cache/plugbay-test) and checked by
their hashes; tests/wheels/main.py is the plugin. Uses target/debug/plugbay or target/release/plugbay, whichever is newer;
PLUGBAY_BIN names another. Progress goes to stderr, the table to stdout.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.cache import CacheError, Wheel, fetch
from lib.service import ROOT, TARGET, Service, ServiceError, find_binary, run_client

HERE = ROOT / "tests" / "wheels"
LOCK = HERE / "lock.json"
PACKAGES = [
    "numpy", "pandas", "pydantic", "pillow", "lxml", "cryptography", "orjson", "aiohttp", "httpx", "requests",
]
#: Newest first, as pip wants them. Debian 12 has glibc 2.36; wheels for newer ones than 2.28 are rare.
PLATFORM = [f"--platform=manylinux_2_{minor}_x86_64" for minor in (28, 27, 24, 17, 12, 5)]
TARGET_OPTIONS = [*PLATFORM, "--platform=manylinux2014_x86_64", "--python-version=3.11", "--implementation=cp"]
MANIFEST = """\
name: wheel-{package}
version: 1.0.0
main: main.py
class: Wheel
description: Uses {package}
author: plugbay
license: MIT
dependencies: ["{package}=={version}"]
resources: {{ memory_mb: 512, cpus: 2.0, timeout_seconds: 60 }}
"""


@dataclass(frozen=True)
class Lock:
    """Every wheel, and which of them each package needs."""

    wheels: dict[str, Wheel]
    needs: dict[str, list[str]]

    @staticmethod
    def read() -> Lock:
        found = json.loads(LOCK.read_text())
        return Lock({name: Wheel(name, **row) for name, row in found["wheels"].items()}, found["needs"])

    def write(self) -> None:
        wheels = {
            name: {"version": wheel.version, "file": wheel.file, "sha256": wheel.sha256}
            for name, wheel in sorted(self.wheels.items())
        }
        LOCK.write_text(json.dumps({"wheels": wheels, "needs": self.needs}, indent=1) + "\n")

    def of(self, package: str) -> list[Wheel]:
        return [self.wheels[name] for name in self.needs[package]]


def resolve() -> Lock:
    """Asks pip for the newest versions that fit each other."""
    wheels: dict[str, Wheel] = {}
    needs: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as work:
        constraints = Path(work) / "constraints.txt"
        # Together first, so that no two packages get different versions of a third one.
        for wanted in (PACKAGES, *([package] for package in PACKAGES)):
            constraints.write_text("".join(f"{wheel.name}=={wheel.version}\n" for wheel in wheels.values()))
            rows = _report(wanted, constraints, Path(work) / "nothing")
            for row in rows:
                name = row["metadata"]["name"].lower().replace("_", "-").replace(".", "-")
                file = row["download_info"]["url"].rsplit("/", 1)[1]
                digest = row["download_info"]["archive_info"]["hashes"]["sha256"]
                wheels[name] = Wheel(name, row["metadata"]["version"], file, digest)
            if len(wanted) == 1:
                names = {row["metadata"]["name"].lower().replace("_", "-").replace(".", "-") for row in rows}
                needs[wanted[0]] = sorted(names)
    return Lock(wheels, needs)


def _report(wanted: list[str], constraints: Path, nothing: Path) -> list[dict[str, Any]]:
    line = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", "install", "--quiet", "--dry-run"]
    line += ["--ignore-installed", "--only-binary=:all:", *TARGET_OPTIONS, "--target", str(nothing), "--report", "-"]
    done = subprocess.run([*line, "--constraint", str(constraints), *wanted], stdout=subprocess.PIPE, check=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout)["install"]
    return rows


class Run:
    """A service of one engine, and the plugins that were tried in it."""

    def __init__(self, folder: Path, engine: str, image: str, lock: Lock) -> None:
        self.folder = folder
        self.binary = find_binary("debug", "release")
        self.lock = lock
        self.engine = engine
        self.service = Service(self.binary, folder)
        settings = "limits: { start_seconds: 60 }\n"
        self.service.config.write_text(settings + f"sandbox: {{ engine: {engine}, images: {{ python: {image!r} }} }}\n")
        self.key = folder / "key"

    def start(self) -> None:
        run_client(self.binary, "keygen", "--no-password", "--output", self.key)
        self.service.start()
        key = Path(f"{self.key}.pub").read_text().splitlines()[1]
        self.ask(201, "POST", "/api/keys", {"public_key": key, "label": "wheels", "names": ["wheel-*"]})

    def ask(self, status: int, method: str, path: str, body: Any = None) -> Any:
        return self.service.expect(status, self.service.request(method, path, body))

    def try_package(self, package: str) -> tuple[str, ...]:
        """The cells of its row; raises `ServiceError` if the plugin cannot use it."""
        wheels = self.lock.of(package)
        links = self.folder / "wheels"
        shutil.rmtree(links, ignore_errors=True)
        links.mkdir()
        for path in fetch(wheels, TARGET_OPTIONS):
            (links / path.name).symlink_to(path)
        version = self.lock.wheels[package].version
        source = self.folder / f"wheel-{package}"
        source.mkdir()
        shutil.copy2(HERE / "main.py", source)
        (source / "plugin.yaml").write_text(MANIFEST.format(package=package, version=version))
        archive = self.folder / f"{package}.tar.gz"
        begun = time.monotonic()
        run_client(self.binary, "pack", source, "--output", archive, "--find-links", links)
        packed = time.monotonic() - begun
        run_client(self.binary, "sign", archive, "--key", f"{self.key}.key")
        self.service.expect(201, self.service.upload("/api/plugins/install", archive))
        name = f"wheel-{package}"
        self.ask(200, "POST", f"/api/plugins/{name}/enable")
        begun = time.monotonic()
        answer = self.ask(200, "POST", f"/api/plugins/{name}/execute", {"context": {"package": package}})
        used = time.monotonic() - begun
        if answer.get("result") != {"version": version, "works": True}:
            raise ServiceError(f"{package} {version} under the engine {self.engine}: {answer.get('error') or answer}")
        self.ask(200, "POST", f"/api/plugins/{name}/disable")
        size = archive.stat().st_size / 1_000_000
        return package, version, self.engine, f"{len(wheels)}", f"{size:.1f} MB", f"{packed:.1f} s", f"{used * 1000:.0f} ms"


HEAD = ("package", "version", "engine", "wheels", "archive", "pack", "first use")


def run(engines: list[str], packages: list[str], image: str) -> int:
    lock = Lock.read()
    failures = 0
    print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD))
    for engine in engines:
        TARGET.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="wheels-", dir=TARGET))
        tried = Run(folder, engine, image, lock)
        try:
            tried.start()
            for package in packages:
                try:
                    row = tried.try_package(package)
                except (ServiceError, CacheError) as error:
                    failures += 1
                    print(f"error: {error}", file=sys.stderr, flush=True)
                    row = (package, lock.wheels[package].version, engine, "", "", "", "FAILED")
                print("| " + " | ".join(row) + " |", flush=True)
            if tried.service.stop() != 0:
                raise ServiceError("the service did not end well")
        finally:
            tried.service.close()
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if failures else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"(default: {' '.join(PACKAGES)})")
    parser.add_argument("--engine", action="append", choices=["docker", "process"], help="may be repeated (default: docker)")
    parser.add_argument("--image", default="plugbay/python:3", help="image of sandboxes (default: %(default)s)")
    parser.add_argument("--lock", action="store_true", help="write tests/wheels/lock.json anew, with today's versions")
    arguments = parser.parse_args()
    unknown = set(arguments.packages) - set(PACKAGES)
    if unknown:
        parser.error(f"no such package here: {', '.join(sorted(unknown))}; expected some of: {' '.join(PACKAGES)}")
    try:
        if arguments.lock:
            resolve().write()
            return 0
        return run(arguments.engine or ["docker"], arguments.packages or PACKAGES, arguments.image)
    except (ServiceError, OSError, subprocess.SubprocessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
