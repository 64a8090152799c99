"""Takes the time of requests to the service, and of downloads. Run as a program, it downloads without plugbay."""

from __future__ import annotations

import os
import socket
import statistics
import sys
import time
from typing import Any, Awaitable, Callable
from urllib.parse import urlsplit

PIECE = 256 * 1024


class Asking:
    """What is measured, by the name under `what`."""

    host: Any

    async def execute(self, context: dict[str, Any]) -> Any:
        """Take the time of one thing."""
        if context["what"] == "download":
            proxy = urlsplit(os.environ["http_proxy"])
            assert proxy.hostname is not None and proxy.port is not None
            return download(proxy.hostname, proxy.port, context["bytes"], through=context["target"])
        await self.host.kv.set("key", {"a": "value"})
        return {
            "kv": await median_us(lambda: self.host.kv.get("key"), context["count"]),
            "ping": await median_us(self.refused, context["count"]),
        }

    async def refused(self) -> None:
        """A request that the service answers without doing anything: no key is a number."""
        import plugbay

        try:
            await self.host.kv.get(7)
        except plugbay.HostError:
            return
        raise AssertionError("kv.get(7) was not refused")


async def median_us(ask: Callable[[], Awaitable[Any]], count: int) -> float:
    """Microseconds of one request, one after the other."""
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        await ask()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e6


def download(host: str, port: int, count: int, through: str = "") -> float:
    """Seconds until everything has come."""
    piece = bytearray(PIECE)
    begun = time.perf_counter()
    with socket.create_connection((host, port)) as connection:
        if through:
            connection.sendall(f"CONNECT {through} HTTP/1.1\r\nHost: {through}\r\n\r\n".encode())
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1)
            assert b" 200 " in head.split(b"\r\n")[0], head
        # Raw bytes may come only after some have been sent.
        connection.sendall(b"go\n")
        got = 0
        while found := connection.recv_into(piece):
            got += found
    assert got == count, got
    return time.perf_counter() - begun


if __name__ == "__main__":
    time.sleep(0.2)
    print(download("127.0.0.1", int(sys.argv[1]), int(sys.argv[2])), flush=True)
