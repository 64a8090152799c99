"""Runs one plugin: what the service starts inside the sandbox.

    python3 -I -B /…/plugbay/runner --main main.py [--class MyPlugin] [--hook on_message]… [--command /hello]…
        [--chat message_processor]
    python3 -m plugbay.runner --main main.py …

- fd 3 is a connected stream socket to the service. `hello` was said already; the runner begins by reading.
- The current folder is the package folder, and `PLUGIN_DIR` says the same where it is set.
- `--main`, `--class`, `--hook`, `--command`, `--chat` are what plugin.yaml says; reading YAML is not the runner's
  business. What `--hook` and `--command` name, and the methods of the kind that `--chat` names, must be there, else the
  start fails.

Prefer the first form, which needs an absolute path: with `-m` Python looks into the package folder before its own
library, and a plugin's `logging.py` would be taken for Python's.

Exit codes: 0 after `shutdown`, 1 when the start failed (the answer to `initialize` says why), 2 wrong arguments or no
socket, 70 when the service broke the protocol, 75 when the service went away.
"""

import sys

if not __package__:
    # Started as a folder: that folder is first on the path, where the package's parent belongs.
    sys.path[0] = __file__.rsplit("/", 3)[0]

import argparse
import asyncio
import os
import socket
import traceback

from plugbay.runner.chat import METHODS
from plugbay.runner.dispatch import Dispatcher
from plugbay.runner.loading import Source
from plugbay.runner.logs import install
from plugbay.runner.wire import SERVICE_GONE, Wire

SOCKET_FD = 3


def parse(arguments: list[str]) -> Source:
    """The command line as what to load."""
    parser = argparse.ArgumentParser(prog="plugbay.runner", allow_abbrev=False)
    parser.add_argument("--main", required=True)
    parser.add_argument("--class", dest="class_name")
    parser.add_argument("--hook", action="append", default=[])
    parser.add_argument("--command", action="append", default=[])
    parser.add_argument("--chat", choices=METHODS)
    found = parser.parse_args(arguments)
    root = os.path.abspath(os.environ.get("PLUGIN_DIR") or os.getcwd())
    return Source(root, found.main, found.class_name, tuple(found.hook), tuple(found.command), found.chat)


async def serve(source: Source, connection: socket.socket) -> None:
    """Speaks with the service until the end, and ends the process."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()
    wire = Wire(loop, ended)
    dispatcher = Dispatcher(source.load, wire, loop, ended)
    install(dispatcher)
    wire.receiver = dispatcher.receive
    await loop.create_connection(lambda: wire, sock=connection)
    code = await ended
    if code != SERVICE_GONE:
        await wire.close()
    # From inside the loop: leaving it would wait for the plugin's threads and tasks.
    os._exit(code)


def main() -> None:
    """Prepares the process and serves."""
    source = parse(sys.argv[1:])
    try:
        connection = socket.socket(fileno=SOCKET_FD)
        connection.setblocking(False)
        # A child process of the plugin must not hold the connection open.
        os.set_inheritable(SOCKET_FD, False)
    except OSError as error:
        print(f"plugbay.runner: fd {SOCKET_FD} is not a socket: {error}", file=sys.stderr)
        sys.exit(2)
    for stream in (sys.stdout, sys.stderr):
        # What is printed is seen at once, and is not lost at the end.
        getattr(stream, "reconfigure")(line_buffering=True)
    # Not `asyncio.run`, which at the end waits for the plugin's tasks and threads.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(serve(source, connection))
    except BaseException as error:
        # Such as `sys.exit` in a background task of the plugin.
        traceback.print_exc()
        os._exit(error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1)


if __name__ == "__main__":
    main()
