#!/usr/bin/env python3
"""Runs what README.md tells its readers to run.

Every block of shell commands after the line `<!-- tested by scripts/readme.py -->` is run in the order of the file, all in
one shell and in an empty folder, until one command fails. A line that ends in `&` starts the service; the next one waits
until it is ready. A comment `# prints TEXT` means that TEXT must be in the output of its command.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))

from service import ROOT, ServiceError, environment, find_binary

BLOCK = re.compile(r"^<!-- tested by scripts/readme\.py -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTS = re.compile(r"\s#\s+prints (.+)$")
PORT = "8000"
#: Longest time for everything, in seconds.
PATIENCE = 300

# What the commands run in. A command's output is kept, so that it can be looked through.
SHELL = r"""
set -eu
exec </dev/null
service=
stop() {
    code=$?
    trap - EXIT
    if [ -n "$service" ]; then kill "$service" 2>/dev/null || true; wait "$service" || true; fi
    if [ "$code" != 0 ] && [ -s service.log ]; then printf '\n-- the end of the log of the service\n'; tail -n 20 service.log; fi
    exit "$code"
}
trap stop EXIT
trap 'exit 143' TERM
started() {
    service=$!
    for _ in $(seq 300); do
        if ready; then return 0; fi
        kill -0 "$service" 2>/dev/null || break
        sleep 0.1
    done
    echo "error: the service is not ready" >&2
    return 1
}
failed() {
    code=$?
    cat .output
    echo "error: exit code $code" >&2
    exit "$code"
}
printed() {
    cat .output
    if [ -n "$1" ] && ! grep -qF -- "$1" .output; then
        echo "error: expected in its output: $1" >&2
        exit 1
    fi
}
ready() {
    python3 - "$PLUGBAY_URL/readyz" <<'PYTHON' 2>/dev/null
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
sys.exit(0 if opener.open(sys.argv[1], timeout=5).status == 200 else 1)
PYTHON
}
"""


def commands(text: str) -> list[str]:
    """The commands of all marked blocks; lines that a backslash joins are one command."""
    joined = "".join(BLOCK.findall(text)).replace("\\\n", "\\\n\0")
    lines = joined.replace("\\\n\0", "\0").split("\n")
    return [line.replace("\0", "\\\n") for line in lines if line.strip() and not line.strip().startswith("#")]


def script(found: list[str]) -> str:
    """A shell script that shows and runs the commands."""
    parts = [SHELL]
    for command in found:
        parts.append(f"printf '$ %s\\n' {shlex.quote(command)}")
        expected = PRINTS.search(command)
        if re.search(r"&\s*(#.*)?$", command):
            parts.append(f"{{ {command}\n}} >service.log 2>&1\nstarted")
        else:
            text = shlex.quote(expected[1].strip() if expected else "")
            parts.append(f"{{ {command}\n}} >.output 2>&1 || failed\nprinted {text}")
    return "\n".join(parts) + "\n"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(readme: Path, binary: Path) -> None:
    """Runs the file's blocks, or raises `ServiceError`."""
    found = commands(readme.read_text(encoding="utf-8"))
    if not found:
        raise ServiceError(f"{readme}: no block is marked with `<!-- tested by scripts/readme.py -->`")
    # Not below TMPDIR, which may be too long for the paths of sockets.
    folder = Path(tempfile.mkdtemp(prefix="plugbay-readme-", dir="/tmp"))
    port = free_port()
    variables = {
        **environment(),
        "HOME": str(folder),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PLUGBAY_URL": f"http://127.0.0.1:{port}",
        "PLUGBAY__SERVER__LISTEN": f"127.0.0.1:{port}",
        "PLUGBAY__SERVER__RUN_DIR": str(folder / "run"),
    }
    if variables.get("DOCKER_HOST"):
        variables["PLUGBAY__SANDBOX__DOCKER_HOST"] = variables["DOCKER_HOST"]
    (folder / "bin").mkdir()
    (folder / "bin" / "plugbay").symlink_to(binary)
    (folder / "work").mkdir()
    code = script([command.replace(f"127.0.0.1:{PORT}", f"127.0.0.1:{port}") for command in found])
    shell = subprocess.Popen(["bash", "-c", code], cwd=folder / "work", env=variables)
    try:
        status = shell.wait(PATIENCE)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        # The shell ends the service, also when it was interrupted itself.
        shell.terminate()
        shell.wait()
        raise ServiceError("interrupted, or not done in time") from None
    if str(folder) in Path("/proc/self/mounts").read_text(encoding="utf-8"):
        # Deleting now would delete what is mounted.
        raise ServiceError(f"something is still mounted below {folder}, which therefore stays")
    shutil.rmtree(folder)
    if status != 0:
        raise ServiceError(f"{readme.name}: this command failed (exit code {status})")
    print(f"{readme.name}: {len(found)} commands work as written")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / "README.md", help="(default: README.md)")
    arguments = parser.parse_args()
    try:
        run(arguments.file, find_binary("debug", "release"))
    except (ServiceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
