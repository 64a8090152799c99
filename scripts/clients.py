#!/usr/bin/env python3
"""Lets official clients talk to a real model server by way of plugbay.

The server is llama.cpp's, with a model of random weights that is made here: real tokens, tools and schemas in no time. It
and the clients come from the Python package index, in the versions of tests/parts/requirements.txt. Needs an engine. Uses
target/debug/plugbay or target/release/plugbay, whichever is newer; PLUGBAY_BIN names another.
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

from contract import ContractError, run, stamp, stamped
from lib.service import ROOT, TARGET, Service, ServiceError, find_binary, run_client

PARTS = ROOT / "tests" / "parts"
BACKEND = ROOT / "tests" / "fixtures" / "plugins" / "relaying"
#: Seconds until the model server must answer.
PATIENCE = 60.0
#: The token of a quotation mark, without which texts in arguments come to no end.
QUOTE = str(3 + ord('"'))
#: Tests of llm-comply that must pass: all but that with a picture, and one that needs a model that talks sense.
COMPLIANT = 7


def install() -> Path:
    """The Python with the server and the clients, installed once."""
    venv = TARGET / "venvs" / "clients"
    wanted = (PARTS / "requirements.txt").read_text()
    if not stamped(venv, wanted):
        shutil.rmtree(venv, ignore_errors=True)
        run(sys.executable, "-m", "venv", venv, cwd=ROOT)
        pip = [venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        run(*pip, "--requirement", PARTS / "requirements.txt", cwd=ROOT, says="pip")
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
        raise ServiceError(f"the model server does not answer; its log:\n{self.log.read_text(errors='replace')[-4000:]}")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def backend(binary: Path, service: Service, folder: Path, llama: Llama) -> None:
    """Runs the plugin that asks the model server. A model of random weights calls tools, and comes to
    an end, only if it is made to."""
    force = {"tool_choice": "required", "logit_bias": {llama.tool_token: 50, "2": 100, QUOTE: 6}}
    config = {"key": "any-key-will-do", "with_tools": force, "of_model": {"tiny-brief": {"logit_bias": {"2": 5}, "seed": 3}}}
    copy = folder / "relaying"
    shutil.copytree(BACKEND, copy)
    for name in ("plugin.yaml", "main.py"):
        file = copy / name
        file.write_text(file.read_text().replace("PORT", str(llama.port)).replace('models: ["*"]', "models: [tiny, tiny-brief]"))
    run_client(binary, "pack", copy, "--output", folder / "relaying.tar.gz")
    key = folder / "author"
    run_client(binary, "keygen", "--no-password", "--output", key)
    run_client(binary, "sign", folder / "relaying.tar.gz", "--key", f"{key}.key")
    public = Path(f"{key}.pub").read_text().strip().splitlines()[-1]
    service.expect(201, service.request("POST", "/api/keys", {"public_key": public, "label": "tests", "names": ["relaying"]}))
    service.expect(201, service.upload("/api/plugins/install", folder / "relaying.tar.gz"))
    at = "/api/plugins/relaying"
    service.expect(200, service.request("PUT", f"{at}/config", config, {"If-Match": "*"}))
    grants = {"grant": ["chat_access", "network_access"]}
    service.expect(200, service.request("POST", f"{at}/permissions/approve", grants))
    service.expect(200, service.request("POST", f"{at}/enable"))


def comply(python: Path, service: Service, key: str, folder: Path) -> None:
    """Compares answers with OpenAI's own schemas. The model sees no pictures, and what it says by chance is not looked at."""
    base = f"http://127.0.0.1:{service.port}/v1"
    line = [python.with_name("llm-comply"), "--format", "openai-chat", "-u", base, "-k", key, "-m", "tiny-brief", "--json"]
    done = subprocess.run(list(map(str, line)), cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    try:
        results = json.loads(done.stdout)["results"]
    except (ValueError, KeyError):
        raise ContractError(f"llm-comply ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}") from None
    passed = [result for result in results if result["status"] == "passed"]
    failed = [f"{result['id']}: {result}" for result in results if result["status"] != "passed"]
    if len(passed) < COMPLIANT:
        exchanges = service.expect(200, service.request("GET", "/api/chat/exchanges?outcome=failed"))["exchanges"]
        failed += [str(step) for exchange in exchanges for step in exchange["steps"] if step["reason"]]
        raise ContractError(f"llm-comply: {len(passed)} of {len(results)} passed\n" + "\n".join(failed))
    print(f"llm-comply: {len(passed)} of {len(results)}")


def main() -> int:
    try:
        python, binary = install(), find_binary("debug", "release")
        with tempfile.TemporaryDirectory(prefix="plugbay-clients-") as name:
            folder = Path(name)
            llama = Llama(python, folder)
            try:
                service = Service(binary, folder)
                service.config.write_text(
                    f'egress: {{ allow_private: ["host.plugbay.internal:{llama.port}"] }}\nserver: {{ requests_per_second: 0 }}\n'
                )
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
                    comply(python, service, tokens[0], folder)
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
