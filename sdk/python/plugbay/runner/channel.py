"""Host functions: requests of the plugin to the service, in the plugin's own id space."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from plugbay.errors import HostError, host_error
from plugbay.runner.outcome import Outlet
from plugbay.runner.wire import Unsendable, encode

#: The service stops reading when more are open, which would hold up answers too.
MAX_OPEN = 64


class HostChannel:
    """Sends requests and hands their answers to whoever waits."""

    def __init__(self, outlet: Outlet, loop: asyncio.AbstractEventLoop) -> None:
        self._outlet = outlet
        self._loop = loop
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last_id = 0
        self._free = asyncio.Semaphore(MAX_OPEN)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that answers arrive in."""
        return self._loop

    async def request(self, method: str, params: dict[str, Any]) -> Any:
        """Sends a request and gives its result, or raises `HostError`."""
        # What waits for a stream has a place of its own in the service.
        async with contextlib.nullcontext() if method == "http.read" else self._free:
            self._last_id += 1
            id = self._last_id
            try:
                line = encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
            except Unsendable as error:
                raise HostError(f"{method}: the parameters cannot be sent as JSON: {error}") from None
            answered: asyncio.Future[Any] = self._loop.create_future()
            self._waiting[id] = answered
            try:
                self._outlet.send(line)
                return await answered
            finally:
                del self._waiting[id]

    def answered(self, message: dict[str, Any]) -> None:
        """Takes an answer. One that nobody waits for belongs to a cancelled call."""
        id = message.get("id")
        future = self._waiting.get(id) if isinstance(id, int) else None
        if future is None or future.done():
            return
        if message.get("error") is not None:
            future.set_exception(host_error(message["error"]))
        else:
            future.set_result(message.get("result"))
