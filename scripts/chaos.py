"""Kills the service at random moments of installs, updates and uninstalls, or plugins that are called. See chaos.sh."""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from lib.packages import Package, make_package, package_differs
from lib.service import TARGET, Service, ServiceError, find_binary, run_client
from lib.uptime import Uptime

KIB = 1024
# Name, format, number of files, bytes of them all together.
PLUGINS = [
    ("chaos-tiny", "tar.gz", 1, 500),
    ("chaos-many", "tar.gz", 300, 300 * KIB),
    ("chaos-zip", "zip", 20, 400 * KIB),
    ("chaos-middle", "tar.gz", 10, 1024 * KIB),
    ("chaos-large", "tar.gz", 40, 4096 * KIB),
]
UPDATED = "chaos-updated"
AUDIT_ACTIONS = {"install": "plugin.installed", "update": "plugin.updated", "uninstall": "plugin.uninstalled"}
# This one is sometimes taken away while the service is killed.
REMOVED = "chaos-many"


class Operation(threading.Thread):
    """One request that may or may not be answered before the service dies."""

    def __init__(self, service: Service, kind: str, package: Package) -> None:
        super().__init__(daemon=True)
        self.service = service
        self.kind = kind
        self.package = package
        self.status: int | None = None
        self.text = ""
        self.ended_at = 0.0

    def run(self) -> None:
        name, archive = self.package.name, self.package.archive
        try:
            if self.kind == "install":
                answer = self.service.upload("/api/plugins/install", archive)
            elif self.kind == "update":
                answer = self.service.upload(f"/api/plugins/{name}/update", archive)
            else:
                answer = self.service.request("DELETE", f"/api/plugins/{name}")
            self.status, self.text = answer.status, str(answer)
        except (OSError, http.client.HTTPException) as error:
            self.text = repr(error)
        self.ended_at = time.monotonic()

    @property
    def acknowledged(self) -> bool:
        return self.status == {"install": 201, "update": 200, "uninstall": 204}[self.kind]


class Chaos:
    """The service, what was sent to it, and what was found."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.binary = find_binary("release", "debug")
        self.service = Service(self.binary, folder)
        self.key = folder / "key"
        self.failures: list[dict[str, Any]] = []
        self.run_number = 0
        self.counts = {"kills": 0, "kills_inside": 0, "acknowledged": 0, "present": 0, "absent": 0}
        self.head = ""
        self.killed_at = 0.0
        self.by_digest: dict[str, Package] = {}
        # The version of each plugin that is installed, as far as answers tell.
        self.installed: dict[str, str] = {}
        self.next_update = 1
        self.pool = {row[0]: self.make(row[0], "1.0.0", *row[1:]) for row in PLUGINS}

    def make(self, name: str, version: str, kind: str, files: int, size: int) -> Package:
        package = make_package(self.folder, name, version, kind, files, size, self.random)
        run_client(self.binary, "sign", package.archive, "--key", f"{self.key}.key")
        self.by_digest[package.digest] = package
        return package

    def fail(self, what: str, **details: object) -> None:
        self.failures.append({"run": self.run_number, "what": what, **details})
        print(f"run {self.run_number}: {what} {details}", file=sys.stderr)

    # -- One run ------------------------------------------------------------------------------------------------

    def operations(self) -> list[Operation]:
        """Makes room, then chooses what the next kill will meet."""
        chosen = []
        for name, package in self.pool.items():
            if name in self.installed and name == REMOVED and self.random.random() < 0.5:
                chosen.append(Operation(self.service, "uninstall", package))
                continue
            if name in self.installed and self.random.random() < 0.7:
                self.service.expect(204, self.service.request("DELETE", f"/api/plugins/{name}"))
                del self.installed[name]
            if name not in self.installed:
                chosen.append(Operation(self.service, "install", package))
        kind = "update" if UPDATED in self.installed else "install"
        version = f"1.{self.next_update}.0"
        self.next_update += 1
        chosen.append(Operation(self.service, kind, self.make(UPDATED, version, "tar.gz", 12, 128 * KIB)))
        return chosen

    def measure(self) -> float:
        """Seconds from the first request to the last answer, without a kill."""
        begun = time.monotonic()
        operations = self.operations()
        begun = time.monotonic()
        self.let_run(operations)
        seconds = time.monotonic() - begun
        for operation in operations:
            if not operation.acknowledged:
                raise ServiceError(f"{operation.kind} {operation.package.name} without any kill: {operation.text}")
        self.settle(operations)
        return seconds

    def let_run(self, operations: list[Operation], kill_after: float | None = None) -> None:
        for operation in operations:
            operation.start()
        if kill_after is not None:
            time.sleep(kill_after)
            self.killed_at = time.monotonic()
            self.service.kill()
        for operation in operations:
            operation.join(60)

    def settle(self, operations: list[Operation]) -> None:
        """Notes what the answers promise. What was not answered stays open until the service is asked."""
        for operation in operations:
            name = operation.package.name
            if operation.acknowledged and operation.kind == "uninstall":
                self.installed.pop(name, None)
            elif operation.acknowledged:
                self.installed[name] = operation.package.version

    def one_run(self, longest: float) -> None:
        operations = self.operations()
        self.let_run(operations, self.random.uniform(0, longest))
        open_ones = [operation for operation in operations if operation.status is None]
        self.counts["kills"] += 1
        self.counts["kills_inside"] += bool(open_ones)
        for operation in operations:
            self.counts["acknowledged"] += operation.acknowledged
            lost_early = operation.status is None and operation.ended_at < self.killed_at
            if lost_early or (operation.status is not None and not operation.acknowledged):
                self.fail("unexpected answer", kind=operation.kind, plugin=operation.package.name, text=operation.text)
        self.settle(operations)
        self.check_killed_database()
        self.service.start()
        self.check_audit_rows(operations)
        self.check_after_start(open_ones)

    # -- Checks -------------------------------------------------------------------------------------------------

    def check_killed_database(self) -> None:
        """Looks at a copy, so that the service itself meets the database as the kill left it."""
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir(mode=0o700)
        for file in self.service.data.iterdir():
            # The index of the log holds nothing that is not in the log.
            if file.is_file() and not file.name.endswith("-shm"):
                shutil.copy2(file, copy / file.name)
        self.check_database(copy)

    def check_database(self, data: Path) -> None:
        database = sqlite3.connect(data / "plugbay.db")
        try:
            result = database.execute("PRAGMA integrity_check").fetchall()
        except sqlite3.Error as error:
            result = [(str(error),)]
        finally:
            database.close()
        if result != [("ok",)]:
            self.fail("integrity_check", result=[row[0] for row in result][:5])
        try:
            run_client(self.binary, "audit", "verify", "--data-dir", data, "--expect", self.head)
        except ServiceError as error:
            self.fail("audit verify", text=str(error))

    def check_audit_rows(self, operations: list[Operation]) -> None:
        """What was done is in the audit log, and nothing else is."""
        entries = self.service.expect(200, self.service.request("GET", "/api/audit?limit=100"))["entries"]
        known = int(self.head.split(":")[0])
        written = [(row["action"], row["plugin"], row["detail"].get("version")) for row in entries if row["seq"] > known]
        plugins = self.plugins()
        for operation in operations:
            package, action = operation.package, AUDIT_ACTIONS[operation.kind]
            serving = plugins.get(package.name, {}).get("version")
            done = serving is None if operation.kind == "uninstall" else serving == package.version
            rows = written.count((action, package.name, package.version))
            if rows != done:
                self.fail("audit and registry differ", plugin=package.name, action=action, rows=rows, done=done)

    def plugins(self) -> dict[str, Any]:
        rows = self.service.expect(200, self.service.request("GET", "/api/plugins"))["plugins"]
        return {row["name"]: row for row in rows}

    def check_after_start(self, open_ones: list[Operation]) -> None:
        """Every plugin is wholly there or not at all, and what was promised is there."""
        service, data = self.service, self.service.data
        self.head = service.expect(200, service.request("GET", "/api/audit/verify"))["head"]
        left = [entry.name for entry in (data / "staging").iterdir()]
        if left:
            self.fail("staging is not empty", left=left)
        plugins = self.plugins()
        still_open = {operation.package.name for operation in open_ones}
        self.compare_promises(plugins, still_open)
        for operation in open_ones:
            serving = plugins.get(operation.package.name, {}).get("version")
            done = serving is None if operation.kind == "uninstall" else serving == operation.package.version
            self.counts["present" if done else "absent"] += 1
            before = self.installed.get(operation.package.name)
            if not done and serving != before:
                self.fail("neither before nor after", plugin=operation.package.name, before=before, found=serving)
        self.installed = {name: row["version"] for name, row in plugins.items()}

        referenced = set()
        for name in plugins:
            versions = service.expect(200, service.request("GET", f"/api/plugins/{name}/versions"))
            if versions["serving"] not in [row["version"] for row in versions["versions"]]:
                self.fail("the serving version is not recorded", plugin=name)
            referenced |= {row["digest"].split(":")[1] for row in versions["versions"]}
        for digest in referenced:
            self.check_content(digest)
        archives = {path.name for path in (data / "archives").iterdir()}
        for missing_or_left in archives ^ {digest + end for digest in referenced for end in ("", ".minisig")}:
            self.fail("archives/ and the registry differ", file=missing_or_left)
        for missing_or_left in {path.name for path in (data / "packages").iterdir()} ^ referenced:
            self.fail("packages/ and the registry differ", folder=missing_or_left)

    def compare_promises(self, plugins: dict[str, Any], still_open: set[str]) -> None:
        for name, version in self.installed.items():
            if name not in still_open and plugins.get(name, {}).get("version") != version:
                found = plugins.get(name, {}).get("version")
                self.fail("an acknowledged version is not there", plugin=name, expected=version, found=found)
        for name, row in plugins.items():
            if name not in self.installed and name not in still_open:
                self.fail("an uninstalled plugin is there", plugin=name)
            if row["status"] != "installed" or row["signature"] != "valid":
                self.fail("not intact", plugin=name, status=row["status"], signature=row["signature"])

    def check_content(self, digest: str) -> None:
        package, data = self.by_digest.get(digest), self.service.data
        if package is None:
            self.fail("a digest that nobody sent", digest=digest)
            return
        archive = data / "archives" / digest
        if not archive.is_file() or hashlib.sha256(archive.read_bytes()).hexdigest() != digest:
            self.fail("an archive is not what its name says", plugin=package.name, digest=digest)
        kept, sent = data / "archives" / f"{digest}.minisig", package.archive.with_name(package.archive.name + ".minisig")
        if not kept.is_file() or kept.read_bytes() != sent.read_bytes():
            self.fail("a signature is not what was sent", plugin=package.name, digest=digest)
        difference = package_differs(data / "packages" / digest, package)
        if difference:
            self.fail("a package is not its archive", plugin=package.name, digest=digest, difference=difference)

    # -- The whole ----------------------------------------------------------------------------------------------

    def run(self, runs: int) -> None:
        service = self.service
        service.start()
        public_key = Path(f"{self.key}.pub").read_text().splitlines()[1]
        body = {"public_key": public_key, "label": "chaos", "names": ["chaos-*"]}
        service.expect(201, service.request("POST", "/api/keys", body))
        times = sorted(self.measure() for _ in range(3))
        self.check_after_start([])
        longest = 1.5 * times[1]
        print(f"{self.binary.parent.name} build; without a kill: {times[1] * 1000:.0f} ms", file=sys.stderr)
        for self.run_number in range(1, runs + 1):
            self.one_run(longest)
            if self.run_number % 10 == 0:
                print(f"{self.run_number} of {runs} runs, {len(self.failures)} failures", file=sys.stderr)
        # What was cut off can be done again.
        self.run_number += 1
        self.measure()
        self.check_after_start([])
        if service.stop() != 0:
            self.fail("the service did not end well")
        self.check_database(service.data)


def interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def arguments_of_main() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/chaos.sh", description="Kills things and checks what is left.")
    parser.add_argument("work", choices=["install", "calls"], help="what the service does meanwhile")
    parser.add_argument("amount", type=int, help="install: how many kills; calls: seconds")
    parser.add_argument("--every", type=float, default=30, help="calls: seconds between kills of plugins (default: 30)")
    parser.add_argument("--seed", type=int, default=None, help="repeat the random choices of another run")
    parser.add_argument("--keep", action="store_true", help="keep the data directory; after failures it is kept anyway")
    arguments = parser.parse_args()
    if arguments.amount < 1:
        parser.error("amount: expected at least 1")
    return arguments


def main() -> int:
    arguments = arguments_of_main()
    seed = random.SystemRandom().randrange(1 << 32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", file=sys.stderr)

    # Ended by another program, or started where Ctrl-C is ignored, it must not leave the service behind.
    for end in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(end, interrupt)
    begun = time.monotonic()
    # Not in /tmp, which may be memory: what a kill leaves is a matter of the disk.
    TARGET.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=TARGET))
    chaos: Chaos | Uptime | None = None
    keep = arguments.keep
    try:
        if arguments.work == "install":
            run_client(find_binary("release", "debug"), "keygen", "--no-password", "--output", folder / "key")
            chaos = Chaos(folder, seed)
        else:
            chaos = Uptime(folder, seed)
        try:
            if isinstance(chaos, Chaos):
                chaos.run(arguments.amount)
            else:
                chaos.run(arguments.amount, arguments.every)
        except (ServiceError, OSError, http.client.HTTPException) as error:
            chaos.fail("the run ended early", error=str(error))
        keep = keep or bool(chaos.failures)
        seconds = round(time.monotonic() - begun, 1)
        amount = {"runs" if arguments.work == "install" else "called_seconds": arguments.amount}
        result = {"work": arguments.work, **amount, **chaos.counts, "failures": chaos.failures, "seconds": seconds, "seed": seed}
        print(json.dumps(result))
        return 1 if chaos.failures else 0
    except ServiceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        if chaos:
            chaos.service.close()
        if keep:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
