"""What quickstart.sh cannot say in shell: is the demonstration's outcome the right one, and why that engine."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def check(folder: Path, version: str, digest: str, answer: str) -> None:
    """Ends with a message unless `show`, `list` and `exec` said what they must; without `answer` any result is right."""
    shown = json.loads((folder / "show.json").read_text())
    listed = [plugin["name"] for plugin in json.loads((folder / "list.json").read_text())["plugins"]]
    called = json.loads((folder / "exec.json").read_text())
    expected = {"name": "hello", "version": version, "digest": digest, "signature": "valid", "status": "enabled"}
    found = {key: shown.get(key) for key in expected}
    if found != expected:
        sys.exit(f"`plugbay show` says {found}; expected {expected}")
    # The plugin of an earlier run may have been changed since.
    if called.get("success") is not True or (answer and called.get("result") != answer):
        sys.exit(f"`plugbay exec` says {called}; expected the result {answer!r}")
    if listed.count("hello") != 1:
        sys.exit(f"`plugbay list` says {listed}; expected hello in it")


def why(log: Path) -> None:
    """Prints the reason for the engine that the last start gave, if the log still has it."""
    reason = "the strongest engine that answers is taken"
    for line in log.read_text(errors="replace").splitlines():
        try:
            message = json.loads(line).get("message", "")
        except ValueError:
            continue
        if message.startswith("Plugins run "):
            reason = message
    print(reason)


def main() -> None:
    what, *arguments = sys.argv[1:]
    if what == "check":
        folder, version, digest, answer = arguments
        check(Path(folder), version, digest, answer)
    elif what == "why":
        why(Path(arguments[0]))
    else:
        sys.exit(f"expected check or why, found {what}")


if __name__ == "__main__":
    main()
