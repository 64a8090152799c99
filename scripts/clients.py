#!/usr/bin/env python3
"""Lets official clients talk to a real model server by way of plugbay.

The server is llama.cpp's, with a model of random weights that is made here: real tokens, tools and schemas in no time.
It and the clients come from the Python package index, in the versions of tests/parts/requirements.txt. Needs an engine.
With --all come clients for Node, LangChain and a scanner of compatibility (campaign `clients`).
Uses target/debug/plugbay or target/release/plugbay, whichever is newer; PLUGBAY_BIN names another.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from contract import ContractError, Tools, run, stamp, stamped
from lib.service import ROOT, TARGET, Service, ServiceError, find_binary, run_client

PARTS = ROOT / "tests" / "parts"
BACKEND = ROOT / "tests" / "fixtures" / "plugins" / "relaying"
#: Seconds until the model server must answer.
PATIENCE = 60.0
#: The token of a quotation mark, without which texts in arguments come to no end.
QUOTE = str(3 + ord('"'))
#: Tests of llm-comply that must pass: all but that with a picture, and one that needs a model that talks sense.
COMPLIANT = 7


def install(name: str = "clients", requirements: str = "requirements.txt") -> Path:
    """A Python with the server and the clients, or with other packages, installed once."""
    venv = TARGET / "venvs" / name
    wanted = (PARTS / requirements).read_text()
    if not stamped(venv, wanted):
        shutil.rmtree(venv, ignore_errors=True)
        run(sys.executable, "-m", "venv", venv, cwd=ROOT)
        pip = [venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        run(*pip, "--requirement", PARTS / requirements, cwd=ROOT, says="pip")
        # Last, so that an interrupted installation is done again.
        (venv / "made-from").write_text(stamp(wanted))
    return venv / "bin" / "python"


class Llama:
    """A model server, and what its tool token is."""

    def __init__(self, python: Path, folder: Path) -> None:
        model = folder / "tiny.gguf"
        self.tool_token = run(python, PARTS / "tiny_gguf.py", model, cwd=folder).split()[-1]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "llama.log"
        with open(self.log, "wb") as log:
            line = [str(python), str(PARTS / "llama_server.py"), str(model), str(self.port)]
            self.process = subprocess.Popen(line, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def until_ready(self) -> None:
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        log = self.log.read_text(errors="replace")[-4000:]
        raise ServiceError(f"the model server does not answer; its log:\n{log}")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def prepare(folder: Path, llama: Llama) -> Path:
    """The plugin that asks the model server."""
    copy = folder / "relaying"
    shutil.copytree(BACKEND, copy)
    for name in ("plugin.yaml", "main.py"):
        file = copy / name
        text = file.read_text().replace("PORT", str(llama.port))
        file.write_text(text.replace('models: ["*"]', "models: [tiny, tiny-brief]"))
    return copy


def let_in(service: Service, llama: Llama) -> None:
    """Lets it run. A model of random weights calls tools, and comes to an end, only if it is made to."""
    force = {"tool_choice": "required", "logit_bias": {llama.tool_token: 50, "2": 100, QUOTE: 6}}
    of_model = {"tiny-brief": {"logit_bias": {"2": 5}, "seed": 3}}
    config = {"key": "any-key-will-do", "with_tools": force, "of_model": of_model}
    at, grants = "/api/plugins/relaying", {"grant": ["chat_access", "network_access"]}
    service.expect(200, service.request("PUT", f"{at}/config", config, {"If-Match": "*"}))
    service.expect(200, service.request("POST", f"{at}/permissions/approve", grants))
    service.expect(200, service.request("POST", f"{at}/enable"))


def backend(binary: Path, service: Service, folder: Path, llama: Llama) -> None:
    """Installs it, signed by an author of its own, and lets it run."""
    archive, key = folder / "relaying.tar.gz", folder / "author"
    run_client(binary, "pack", prepare(folder, llama), "--output", archive)
    run_client(binary, "keygen", "--no-password", "--output", key)
    run_client(binary, "sign", archive, "--key", f"{key}.key")
    public = Path(f"{key}.pub").read_text().strip().splitlines()[-1]
    trusted = {"public_key": public, "label": "tests", "names": ["relaying"]}
    service.expect(201, service.request("POST", "/api/keys", trusted))
    service.expect(201, service.upload("/api/plugins/install", archive))
    let_in(service, llama)


def comply(python: Path, service: Service, key: str, folder: Path) -> None:
    """Compares answers with OpenAI's own schemas. The model sees no pictures."""
    base = f"http://127.0.0.1:{service.port}/v1"
    line = [str(python.with_name("llm-comply")), "--format", "openai-chat", "--json", "-u", base]
    line += ["-k", key, "-m", "tiny-brief"]
    done = subprocess.run(line, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    try:
        results = json.loads(done.stdout)["results"]
    except (ValueError, KeyError):
        said = f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
        raise ContractError(f"llm-comply ended with {done.returncode}: {said}") from None
    passed = [result for result in results if result["status"] == "passed"]
    failed = [f"{result['id']}: {result}" for result in results if result["status"] != "passed"]
    if len(passed) < COMPLIANT:
        exchanges = service.expect(200, service.request("GET", "/api/chat/exchanges?outcome=failed"))["exchanges"]
        failed += [str(step) for exchange in exchanges for step in exchange["steps"] if step["reason"]]
        raise ContractError(f"llm-comply: {len(passed)} of {len(results)} passed\n" + "\n".join(failed))
    print(f"llm-comply: {len(passed)} of {len(results)}")


def others(service: Service, tokens: list[str], folder: Path) -> None:
    """Clients for Node, LangChain, and a scanner of compatibility, which asks for all that it can think of."""
    tools = Tools()
    tools.install()
    modules = TARGET / "clients" / "npm"
    tools.add_packages(PARTS / "node", modules)
    base = f"http://127.0.0.1:{service.port}/v1"
    shutil.copy2(PARTS / "node" / "clients.mjs", modules)
    print(run(*tools.node, modules / "clients.mjs", base, *tokens, cwd=folder, says="clients for Node"), end="")
    line = [install("langchain", "langchain.txt"), PARTS / "langchain_client.py", base, tokens[0]]
    print(run(*line, cwd=folder, says="LangChain"), end="")
    canary = [*tools.node, modules / "node_modules" / "compatcanary" / "src" / "cli.js", "scan"]
    canary += ["--base-url", base, "--model", "tiny", "--profile", "chat", "--api-key", tokens[0]]
    print(run(*canary, cwd=folder, says="compatcanary"), end="")


def main() -> int:
    with_others = sys.argv[1:] == ["--all"]
    if sys.argv[1:] and not with_others:
        print("usage: clients.py [--all]", file=sys.stderr)
        return 2
    try:
        python, binary = install(), find_binary("debug", "release")
        with tempfile.TemporaryDirectory(prefix="plugbay-clients-") as name:
            folder = Path(name)
            llama = Llama(python, folder)
            try:
                service = Service(binary, folder)
                allowed = f'"host.plugbay.internal:{llama.port}"'
                service.config.write_text(f"egress: {{ allow_private: [{allowed}] }}\n")
                service.start()
                try:
                    llama.until_ready()
                    backend(binary, service, folder, llama)
                    tokens = []
                    for scope in ("chat", "read"):
                        made = service.request("POST", "/api/tokens", {"label": scope, "scopes": [scope]})
                        tokens.append(service.expect(201, made)["token"])
                    base = f"http://127.0.0.1:{service.port}/v1"
                    line = [python, PARTS / "openai_client.py", base, *tokens, llama.url, llama.tool_token]
                    print(run(*line, cwd=folder, says="OpenAI's client for Python"), end="")
                    line = [python, PARTS / "anthropic_client.py", base.removesuffix("/v1"), *tokens]
                    print(run(*line, cwd=folder, says="Anthropic's client for Python"), end="")
                    comply(python, service, tokens[0], folder)
                    if with_others:
                        others(service, tokens, folder)
                finally:
                    service.close()
            finally:
                llama.stop()
    except (ServiceError, ContractError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("official clients: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
