"""Runs a plugin without a service, through the same code as in its sandbox.

    async with Harness(MyPlugin, {"greeting": "Hello"}) as plugin:
        plugin.host["kv.get"] = {"found": True, "value": 3}
        answer = await plugin.execute({"user": "Ada"})

Arguments and answers pass through JSON, so what cannot be sent fails here as it would there.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from types import TracebackType
from typing import Any, Callable, Union

from plugbay.errors import PERMISSION_DENIED
from plugbay.runner.dispatch import Dispatcher
from plugbay.runner.loading import Entry
from plugbay.runner.logs import NotificationHandler

#: The answer of a host function: a result, an exception to raise, or a function from parameters to either.
HostAnswer = Union[Any, Callable[["dict[str, Any]"], Any]]


class PluginFailed(Exception):
    """The plugin raised. The message reads `ValueError: bad thing`."""

    def __init__(self, message: str, code: int, kind: str, trace: str) -> None:
        super().__init__(message)
        self.code = code
        self.kind = kind
        self.trace = trace


class Denied(Exception):
    """As an answer in `Harness.host`: the permission is missing."""

    def __init__(self, permission: str, how: str = "plugbay approve") -> None:
        super().__init__(f"permission `{permission}` is not granted")
        self.permission = permission
        self.how = how


class Harness:
    """A plugin class that runs in this process. Use it with `async with`, which initializes and cleans up.

    `chat` is its `chat.kind` of plugin.yaml.
    """

    congested = False

    def __init__(
        self,
        plugin: type,
        config: dict[str, Any] | None = None,
        max_concurrency: int = 16,
        chat: str | None = None,
    ) -> None:
        self._entry = Entry(plugin, sys.modules.get(plugin.__module__), chat=chat)
        self._config = config or {}
        self._max_concurrency = max_concurrency
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last_id = 0
        #: Answers of host functions by name, such as `kv.get`. What is not here is an error for the plugin.
        self.host: dict[str, HostAnswer] = {}
        #: Host functions that were called: name and parameters.
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.logs: list[dict[str, Any]] = []
        self.progress: list[dict[str, Any]] = []
        self.chunks: list[Any] = []

    @property
    def instance(self) -> Any:
        """The plugin itself."""
        return self._dispatcher.instance

    async def __aenter__(self) -> Harness:
        self._loop = asyncio.get_running_loop()
        self._dispatcher = Dispatcher(lambda: self._entry, self, self._loop, self._loop.create_future())
        self._handler = NotificationHandler(self._dispatcher)
        root = logging.getLogger()
        root.addHandler(self._handler)
        self._level = root.level
        root.setLevel(logging.INFO)
        try:
            limits = {"max_concurrency": self._max_concurrency}
            plugin = {"id": "plugin_test", "name": "test", "version": "0.0.0"}
            await self._ask(
                "initialize", {"protocol": 1, "plugin": plugin, "config": self._config, "grants": [], "limits": limits}
            )
        except BaseException:
            self._remove_handler()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._ask("shutdown", {})
        finally:
            self._remove_handler()

    def _remove_handler(self) -> None:
        root = logging.getLogger()
        root.removeHandler(self._handler)
        root.setLevel(self._level)

    async def execute(self, context: Any, method: str = "execute", stream: bool = False) -> Any:
        """What the plugin answers; with `stream` its chunks are in `chunks`. Raises `PluginFailed`."""
        return await self.invoke(method, {"context": context}, stream)

    async def hook(self, name: str, message: dict[str, Any]) -> Any:
        """What `on_message` or `on_file_upload` answers."""
        return await self.invoke(name, message)

    async def command(self, command: str, *arguments: str) -> Any:
        """What `on_command` answers."""
        return await self.invoke("on_command", {"command": command, "args": list(arguments)})

    async def feed(
        self, *texts: str, kind: str = "content", context: Any = None, method: str = "process_stream", max_hold: int = 64
    ) -> tuple[str, Any]:
        """Feeds a filter with these texts, one after the other: what leaves, and what it answered at the end."""
        call = f"call_{self._last_id + 1}"
        message = {"id": "r0", "role": "assistant", "content": "", "metadata": {"max_hold": max_hold}}
        params = {"message": message, "context": context or {}}
        asked = {"method": method, "params": params, "call": call, "feed": True, "idle_ms": 1000, "stream": True}
        before = len(self.chunks)
        answered = asyncio.ensure_future(self._ask("invoke", asked))
        await asyncio.sleep(0)
        for seq, text in enumerate(texts):
            data = [{"choice": 0, "kind": kind, "text": text}]
            self._tell({"method": "feed", "params": {"call": call, "seq": seq, "data": data}})
        self._tell({"method": "feed_end", "params": {"call": call, "reason": "end"}})
        answer = await answered
        return "".join(entry["text"] for chunk in self.chunks[before:] for entry in chunk), answer

    async def health(self) -> Any:
        """The plugin's health as the service would see it."""
        return await self._ask("health", {})

    async def configure(self, config: dict[str, Any]) -> Any:
        """Gives a new configuration; `{"applied": false}` says that the service would restart the plugin."""
        return await self._ask("configure", {"config": config})

    async def invoke(self, method: str, params: dict[str, Any], stream: bool = False) -> Any:
        """Any call. Cancelling this cancels the call in the plugin."""
        call = f"call_{self._last_id + 1}"
        asked = {"method": method, "params": params, "call": call, "deadline_ms": 30000, "stream": stream}
        try:
            return await self._ask("invoke", asked)
        except asyncio.CancelledError:
            self._tell({"method": "cancel", "params": {"call": call, "reason": "client"}})
            raise

    async def _ask(self, method: str, params: dict[str, Any]) -> Any:
        self._last_id += 1
        answered: asyncio.Future[Any] = self._loop.create_future()
        self._waiting[self._last_id] = answered
        self._tell({"id": self._last_id, "method": method, "params": params})
        return await answered

    def _tell(self, message: dict[str, Any]) -> None:
        self._dispatcher.receive(json.loads(json.dumps({"jsonrpc": "2.0", **message})))

    # -- What the plugin's side calls ----------------------------------------------------------------------------

    def send(self, line: bytes) -> None:
        """Takes a line of the plugin, from any thread."""
        self._loop.call_soon_threadsafe(self._receive, json.loads(line))

    async def drain(self) -> None:
        """Everything is read at once here."""

    def _receive(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method is None:
            self._answered(message)
        elif "id" in message:
            self._answer_host(message["id"], method, message["params"])
        elif method == "log":
            self.logs.append(message["params"])
        elif method == "progress":
            self.progress.append(message["params"])
        elif method == "chunk":
            self.chunks.append(message["params"]["data"])

    def _answered(self, message: dict[str, Any]) -> None:
        future = self._waiting.pop(message["id"])
        if future.done():
            return
        error = message.get("error")
        if error is None:
            future.set_result(message["result"])
        else:
            data = error.get("data") or {}
            failed = PluginFailed(error["message"], error["code"], data.get("kind", ""), data.get("trace", ""))
            future.set_exception(failed)

    def _answer_host(self, id: int, method: str, params: dict[str, Any]) -> None:
        self.requests.append((method, params))
        found = self.host.get(method, LookupError(f"the test has no answer for `{method}`: set harness.host"))
        try:
            result = found(params) if callable(found) else found
        except Exception as error:
            result = error
        if isinstance(result, Denied):
            data = {"permission": result.permission, "how": result.how}
            return self._tell({"id": id, "error": {"code": PERMISSION_DENIED, "message": str(result), "data": data}})
        if isinstance(result, Exception):
            return self._tell({"id": id, "error": {"code": -32000, "message": str(result)}})
        self._tell({"id": id, "result": result})
