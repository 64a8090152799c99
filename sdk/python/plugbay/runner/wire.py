"""Lines of JSON on the socket. Knows their form and their limits, not what they mean."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from typing import Any, Callable

#: The longest line in both directions, without its end.
MAX_LINE = 4 * 1024 * 1024
#: How deep a value may nest; the service ends the session of a plugin that sends more.
MAX_DEPTH = 64
PROTOCOL_BROKEN = 70
SERVICE_GONE = 75

# `ensure_ascii=False` makes lone surrogates fail in `encode`, here, where the author can be told.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Unsendable(ValueError):
    """A value that JSON, or the limits of a message, cannot hold."""


def encode(message: dict[str, Any]) -> bytes:
    """The line for a message, or `Unsendable`."""
    try:
        line = _encode(message).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Unsendable(str(error)) from error
    if len(line) > MAX_LINE:
        raise Unsendable(f"it takes {len(line)} bytes; at most {MAX_LINE} can be sent at once")
    # Counting is quick, and with fewer brackets than the limit nothing can nest deeper than that.
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH and _depth(message) > MAX_DEPTH:
        raise Unsendable(f"it nests deeper than {MAX_DEPTH} levels")
    return line + b"\n"


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        children: list[Any] = []
        for container in level:
            items = container.values() if isinstance(container, dict) else container
            children.extend(item for item in items if isinstance(item, (dict, list, tuple)))
        level = children
    return depth


class Wire(asyncio.Protocol):
    """The connection. All writes happen in the loop's thread, whole lines each, so lines never mix."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Future[int]) -> None:
        self._loop = loop
        self._ended = ended
        self._thread = threading.get_ident()
        self._transport: asyncio.Transport | None = None
        self._rest = bytearray()
        self._count = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self.receiver: Callable[[dict[str, Any]], None] = lambda _: None

    @property
    def congested(self) -> bool:
        """Whether the service does not read as fast as the plugin writes."""
        return not self._writable.is_set()

    def send(self, line: bytes) -> None:
        """Sends a line, from any thread."""
        if threading.get_ident() == self._thread:
            self._write(line)
        else:
            self._loop.call_soon_threadsafe(self._write, line)

    def _write(self, line: bytes) -> None:
        if self._transport is not None:
            self._transport.write(line)

    async def drain(self) -> None:
        """Waits while the service does not read."""
        await self._writable.wait()

    async def close(self) -> None:
        """Waits a little until what was sent has left."""
        try:
            await asyncio.wait_for(self._flushed(), 2)
        except asyncio.TimeoutError:
            pass

    async def _flushed(self) -> None:
        while self._transport is not None and self._transport.get_write_buffer_size():
            await asyncio.sleep(0.001)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ready."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def pause_writing(self) -> None:
        """The buffer is full."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The buffer has emptied."""
        self._writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        """The service is gone, and nobody is left to work for: no cleanup, no flushing, which could block."""
        os._exit(SERVICE_GONE if not self._ended.done() else self._ended.result())

    def data_received(self, data: bytes) -> None:
        """Splits what came into lines. The usual case, one whole line, is not copied."""
        if self._ended.done():
            return
        if self._rest:
            # Looks for the end in what is new only, so a long line costs its length once.
            if b"\n" not in data:
                return self._keep(data)
            head, data = data.split(b"\n", 1)
            self._rest += head
            line = bytes(self._rest)
            self._rest.clear()
            if not self._line(line):
                return
        *lines, rest = data.split(b"\n")
        for line in lines:
            if not self._line(line):
                return
        if rest:
            self._keep(rest)

    def _keep(self, data: bytes) -> None:
        self._rest += data
        if len(self._rest) > MAX_LINE:
            self._broken(f"is longer than {MAX_LINE} bytes")

    def _line(self, line: bytes) -> bool:
        self._count += 1
        if len(line) > MAX_LINE:
            return self._broken(f"is longer than {MAX_LINE} bytes")
        try:
            message = json.loads(str(line, "utf-8"))
        except UnicodeDecodeError:
            return self._broken("is not UTF-8")
        except (ValueError, RecursionError) as error:
            return self._broken(f"is not JSON: {error}")
        if not isinstance(message, dict):
            return self._broken("is not a JSON object")
        self.receiver(message)
        return True

    def _broken(self, what: str) -> bool:
        if not self._ended.done():
            # `_count` has the lines before this one when the line is not complete.
            number = self._count + 1 if self._rest else self._count
            print(f"plugbay.runner: the service broke the protocol: line {number} {what}", file=sys.stderr)
            self._ended.set_result(PROTOCOL_BROKEN)
        return False
