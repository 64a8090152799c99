"""A service with plugins, and the programs that it is compared with: what the measuring programs run."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Iterator, Optional

from report import ROOT, TARGET, ServiceError
import engine

from lib.service import Service, find_binary, run_client  # noqa: E402

IMAGE = "plugbay/python:3"
# Seconds of one run.
SECONDS = 1.0
SETTINGS = """\
server: { max_connections: 4096 }
limits: { queue: 4096 }
"""


class Bench:
    """A service with plugins, and the programs that it is compared with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.binary = find_binary("release")
        self.load = TARGET / "release" / "examples" / "load"
        self.key = folder / "key"
        self.service = Service(self.binary, folder)
        self.service.config.write_text(SETTINGS)
        self.children: list[subprocess.Popen[str]] = []
        self.containers: list[str] = []

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_error: object) -> None:
        for child in self.children:
            child.kill()
            child.wait()
        for container in self.containers:
            engine.remove(container)
        self.service.kill()

    def start(self) -> None:
        run_client(self.binary, "keygen", "--no-password", "--output", self.key)
        self.service.start("/healthz")
        key = Path(f"{self.key}.pub").read_text().splitlines()[1]
        self.ask(201, "POST", "/api/keys", {"public_key": key, "label": "bench", "names": ["*"]})

    def ask(self, status: int, method: str, path: str, body: Any = None) -> Any:
        return self.service.expect(status, self.service.request(method, path, body))

    def install(self, source: Path) -> None:
        archive = self.folder / f"{source.name}.tar.gz"
        run_client(self.binary, "pack", source, "-o", archive)
        run_client(self.binary, "sign", archive, "--key", f"{self.key}.key")
        self.service.expect(201, self.service.upload("/api/plugins/install", archive))
        archive.unlink()

    def enable(self, name: str) -> float:
        begun = time.monotonic()
        self.ask(200, "POST", f"/api/plugins/{name}/enable")
        return time.monotonic() - begun

    def disable(self, name: str) -> None:
        self.ask(200, "POST", f"/api/plugins/{name}/disable")

    def token(self) -> str:
        return (self.service.data / "admin.token").read_text().strip()

    def measure(self, *arguments: object) -> dict[str, float]:
        line = [str(self.load), *map(str, arguments)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServiceError(f"{arguments[0]}: {done.stderr.strip()[-600:]}")
        found: dict[str, float] = json.loads(done.stdout)
        return found

    def http(self, callers: int, *paths: str, port: Optional[int] = None, **more: object) -> dict[str, float]:
        options = [f"--{name}={value}" for name, value in {"seconds": SECONDS, **more}.items()]
        where = ["--port", self.service.port if port is None else port, "--token", self.token()]
        return self.measure("http", *where, "--callers", callers, *options, *paths)

    def execute(self, callers: int, *names: str, **more: object) -> dict[str, float]:
        return self.http(callers, *(f"/api/plugins/{name}/execute" for name in names), **more)

    def spawn(self, *arguments: object) -> subprocess.Popen[str]:
        line = [str(self.load), *map(str, arguments)]
        child = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.children.append(child)
        return child

    def run_lines(self, share: Path, **settings: Any) -> str:
        """A container of the engine's own, closed as those of plugins are, with the program that sends lines back."""
        body = {"Image": IMAGE, "NetworkDisabled": True, **settings}
        mounts = [{"Type": "bind", "Source": str(share), "Target": "/share"}]
        body["HostConfig"] = {"NetworkMode": "none", "Mounts": mounts}
        container = engine.create(body)
        self.containers.append(container)
        engine.start(container)
        return container


def copies(folder: Path, count: int) -> Iterator[Path]:
    """The native echo under many names; what it may use is not what is measured."""
    source = ROOT / "plugins" / "native-echo"
    subprocess.run([source / "build.sh"], check=True)
    manifest = (source / "plugin.yaml").read_text()
    for number in range(count):
        name = f"bench-native-{number:03}"
        copy = folder / name
        copy.mkdir()
        shutil.copy(source / "native-echo", copy)
        text = manifest.replace("name: native-echo", f"name: {name}").replace("build: ./build.sh\n", "")
        (copy / "plugin.yaml").write_text(text.replace("memory_mb: 32", "memory_mb: 32, cpus: 2"))
        yield copy


SCHEMA = """
tools:
  - name: echo
    description: Sends back what it gets
    method: execute
    input:
      type: object
      properties:
        number: { type: integer, minimum: 0 }
        user: { type: string, minLength: 1, maxLength: 64, pattern: "^[a-z_]+$" }
        message: { type: string, maxLength: 4096 }
        mode: { enum: [plain, loud] }
        tags: { type: array, items: { type: string }, maxItems: 16 }
      required: [number, user, message]
      additionalProperties: false
"""


def tool_echo(folder: Path) -> Path:
    """The native echo, as a tool whose arguments are checked. To be made after the copies, which build it."""
    source = ROOT / "plugins" / "native-echo"
    copy = folder / "bench-tool"
    copy.mkdir()
    shutil.copy(source / "native-echo", copy)
    text = (source / "plugin.yaml").read_text().replace("name: native-echo", "name: bench-tool")
    text = text.replace("build: ./build.sh\n", "").replace("memory_mb: 32", "memory_mb: 32, cpus: 2")
    (copy / "plugin.yaml").write_text(text.rstrip("\n") + SCHEMA)
    return copy


def python_echo(folder: Path) -> Path:
    copy = folder / "bench-python"
    shutil.copytree(ROOT / "plugins" / "echo", copy, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    manifest = (copy / "plugin.yaml").read_text().replace("name: echo", "name: bench-python")
    (copy / "plugin.yaml").write_text(manifest.replace("memory_mb: 64", "memory_mb: 64, cpus: 2, max_concurrency: 128"))
    return copy
