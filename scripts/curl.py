#!/usr/bin/env python3
"""Prints the requests of docs/api-examples.md as curl commands.

    scripts/curl.py                       all of them
    scripts/curl.py plugins/install       those whose method and address contain the words
    scripts/curl.py --check               whether each is a command that a shell can read

The commands take the address from PLUGBAY_URL and the token from PLUGBAY_TOKEN. `…` stands for what only you know, such as
a public key or the id of a conversation: replace it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "api-examples.md"


def blocks(text: str) -> list[list[str]]:
    """The request of each block: everything before its first empty line."""
    return [block.split("\n\n", 1)[0].splitlines() for block in re.findall(r"^```http\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


def command(request: list[str]) -> str:
    """One request as curl sends it."""
    method, path = request[0].split(" ", 1)
    parts, headers, body = [], [], ""
    for line in request[1:]:
        if line.startswith("@"):
            name, file = line[1:].split("=", 1)
            parts.append(f"-F {shlex.quote(f'{name}=@{file}')}")
        elif not body and not line.startswith("{"):
            headers.append(f"-H {shlex.quote(line)}")
        else:
            body += line.strip() + " "
    words = ["curl -sS --fail-with-body"]
    if "text/event-stream" in " ".join(headers):
        words.append("--no-buffer")
    # curl chooses GET and POST by itself.
    if method != ("POST" if parts or body else "GET"):
        words.append(f"-X {method}")
    words += ['-H "Authorization: Bearer $PLUGBAY_TOKEN"', *headers, *parts]
    if body:
        words += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(body.strip())}"]
    lines = [words[0]]
    for word in [*words[1:], f'"$PLUGBAY_URL"{shlex.quote(path)}']:
        if len(lines[-1]) + len(word) > 110:
            lines[-1] += " \\"
            lines.append("    " + word)
        else:
            lines[-1] += " " + word
    return "\n".join(lines)


def main() -> int:
    found = [(block[0], command(block)) for block in blocks(DOCUMENT.read_text("utf-8"))]
    words = sys.argv[1:]
    if words == ["--check"]:
        for title, text in found:
            done = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                print(f"error: {title}: {done.stderr}", file=sys.stderr)
                return 1
        print(f"{len(found)} requests of {DOCUMENT.name} are commands")
        return 0 if found else 1
    if words and words[0].startswith("-"):
        print(__doc__)
        return 0 if words[0] in ("-h", "--help") else 2
    chosen = [(title, text) for title, text in found if all(word.lower() in title.lower() for word in words)]
    for title, text in chosen:
        print(f"# {title}\n{text}\n")
    return 0 if chosen else 1


if __name__ == "__main__":
    sys.exit(main())
