"""What each message of the service does.

Tasks: one per call, one per lifecycle request. Threads: a pool for the calls of synchronous functions, one thread for
synchronous lifecycle functions, so that a plugin whose calls block still answers `health`.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Awaitable, Callable, Coroutine

from plugbay.call import Call
from plugbay.host import Host
from plugbay.runner.channel import HostChannel
from plugbay.runner.feed import DEFAULT_HOLD, Feed
from plugbay.runner.health import health
from plugbay.runner.invoke import Invoker
from plugbay.runner.loading import Entry
from plugbay.runner.outcome import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    Outlet,
    Refused,
    answer,
    describe,
    notification,
    raised,
)
from plugbay.runner.wire import Unsendable
from plugbay.version import __version__

PROTOCOL = 1
START_FAILED = 1
#: How long `shutdown` waits for calls; the service gives ten seconds for everything.
DRAIN_SECONDS = 5.0
DEFAULT_CONCURRENCY = 16
DEFAULT_STREAMS = 128


def _max_hold(params: dict[str, Any]) -> int:
    """Characters that the filter may hold back."""
    message = params.get("message")
    metadata = message.get("metadata") if isinstance(message, dict) else None
    found = metadata.get("max_hold") if isinstance(metadata, dict) else None
    return found if isinstance(found, int) else DEFAULT_HOLD


class StartError(Exception):
    """`initialize` said no."""


class Dispatcher:
    """A plugin and everything the service may ask of it."""

    def __init__(
        self,
        load: Callable[[], Entry],
        outlet: Outlet,
        loop: asyncio.AbstractEventLoop,
        ended: asyncio.Future[int],
    ) -> None:
        self._load = load
        self._outlet = outlet
        self._loop = loop
        self._ended = ended
        self._channel = HostChannel(outlet, loop)
        self._lifecycle = ThreadPoolExecutor(1, "plugin-lifecycle")
        self._instance: Any = None
        self._invoker: Invoker | None = None
        self._started = False
        self._calls: dict[str, tuple[Call, asyncio.Task[None]]] = {}
        # Keeps tasks alive: the loop holds only weak references.
        self._tasks: set[asyncio.Task[None]] = set()
        self._dropped_logs = 0
        self._requests: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {
            "initialize": self._initialize,
            "health": self._health,
            "configure": self._configure,
            "shutdown": self._shutdown,
        }

    @property
    def instance(self) -> Any:
        """The plugin; `None` before `initialize`."""
        return self._instance

    def receive(self, message: dict[str, Any]) -> None:
        """Takes one message. Never blocks and never raises."""
        method = message.get("method")
        if method is None:
            return self._channel.answered(message)
        params = message.get("params")
        if not isinstance(params, dict):
            params = {}
        if "id" not in message:
            notes = {"cancel": self._cancel, "feed": self._feed, "feed_end": self._end_feed}
            if method in notes:
                notes[method](params)
            return
        id = message["id"]
        if method == "invoke":
            self._invoke(id, params)
        else:
            self._start(self._serve(id, str(method), params))

    # -- Calls ------------------------------------------------------------------------------------------------

    def _invoke(self, id: Any, params: dict[str, Any]) -> None:
        name, method, given = params.get("call"), params.get("method"), params.get("params")
        if not isinstance(name, str) or not isinstance(method, str) or not isinstance(given, dict):
            refused = Refused(INVALID_PARAMS, "invoke: expected {call: string, method: string, params: object}")
            return self._outlet.send(raised(id, refused))
        if name in self._calls:
            return self._outlet.send(raised(id, Refused(INVALID_PARAMS, f"`{name}` is in flight already")))
        deadline = params.get("deadline_ms")
        deadline = deadline if isinstance(deadline, int) else None
        call = Call(name, method, deadline, params.get("trace"), params.get("stream") is True, self._notify)
        if params.get("feed") is True:
            call.feed = Feed(call, self._outlet, self._loop, _max_hold(given))
        self._calls[name] = (call, self._start(self._run(id, call, given)))

    async def _run(self, id: Any, call: Call, params: dict[str, Any]) -> None:
        try:
            if self._invoker is None or not self._started:
                raise Refused(INVALID_REQUEST, "the plugin is not initialized")
            line = answer(id, await self._invoker.run(call, params))
        except BaseException as error:  # noqa: BLE001
            # Also when cancelled: the service learns by the answer that nothing runs any more. And `sys.exit`
            # in a plugin, or an exception of its own that is no `Exception`, must not end the calls of others.
            line = raised(id, error)
        finally:
            del self._calls[call.id]
        self._outlet.send(line)

    def _feed(self, params: dict[str, Any]) -> None:
        found = self._calls.get(str(params.get("call")))
        if found is not None and found[0].feed is not None:
            found[0].feed.push(params)

    def _end_feed(self, params: dict[str, Any]) -> None:
        found = self._calls.get(str(params.get("call")))
        if found is not None and found[0].feed is not None:
            found[0].feed.end()

    def _cancel(self, params: dict[str, Any]) -> None:
        found = self._calls.get(str(params.get("call")))
        if found is not None:
            self._cancel_call(*found, str(params.get("reason", "client")))

    def _cancel_call(self, call: Call, task: asyncio.Task[None], reason: str) -> None:
        call.cancel(reason)
        # In the next step: a task that is cancelled before its first one would never answer.
        self._loop.call_soon(self._cancel_task, call, task)

    def _cancel_task(self, call: Call, task: asyncio.Task[None]) -> None:
        # A thread ends by itself, and the answer must not come before that.
        if self._invoker is None or not self._invoker.runs_in_thread(call):
            task.cancel()

    # -- Lifecycle --------------------------------------------------------------------------------------------

    async def _serve(self, id: Any, method: str, params: dict[str, Any]) -> None:
        serve = self._requests.get(method)
        try:
            if serve is None:
                raise Refused(METHOD_NOT_FOUND, f"unknown method `{method}`")
            if self._instance is None and method in ("health", "configure"):
                raise Refused(INVALID_REQUEST, "the plugin is not initialized")
            line = answer(id, await serve(params))
        except BaseException as error:  # noqa: BLE001 -- a question without an answer is waited for
            line = raised(id, error)
            if method == "initialize":
                self._end(START_FAILED)
        self._outlet.send(line)
        if method == "shutdown":
            self._end(0)

    async def _initialize(self, params: dict[str, Any]) -> Any:
        if self._instance is not None:
            raise Refused(INVALID_REQUEST, "the plugin is initialized already")
        if params.get("protocol") != PROTOCOL:
            raise StartError(f"expected protocol {PROTOCOL}, found {params.get('protocol')!r}")
        plugin = params.get("plugin")
        name = plugin.get("name") if isinstance(plugin, dict) else None
        limits = params.get("limits")
        concurrency = limits.get("max_concurrency") if isinstance(limits, dict) else None
        streams = limits.get("max_streams") if isinstance(limits, dict) else None
        entry = self._load()
        log = logging.getLogger(name if isinstance(name, str) else "plugin")
        self._instance = instance = entry.create(params.get("config") or {}, Host(self._channel), log)
        functions = entry.functions(instance)
        concurrency = concurrency if isinstance(concurrency, int) and concurrency > 0 else DEFAULT_CONCURRENCY
        streams = streams if isinstance(streams, int) and streams > 0 else DEFAULT_STREAMS
        self._invoker = Invoker(functions, (concurrency, streams), self._loop, self._outlet)
        if await self._own("initialize") is False:
            raise StartError("initialize() returned False")
        self._started = True
        return {
            "protocol": PROTOCOL,
            "sdk": f"python/{__version__}",
            "methods": sorted(functions),
            "commands": list(entry.commands),
        }

    async def _health(self, _: dict[str, Any]) -> Any:
        try:
            found = health(await self._own("health_check"))
            # What cannot be sent is the check's mistake, and still an answer.
            notification("health", found)
            return found
        except BaseException as error:  # noqa: BLE001
            return {"status": "unhealthy", "error": describe(error)}

    async def _configure(self, params: dict[str, Any]) -> Any:
        if not callable(getattr(self._instance, "configure", None)):
            # The service starts the plugin anew with its new configuration.
            return {"applied": False}
        return {"applied": await self._own("configure", params.get("config") or {}) is not False}

    async def _shutdown(self, _: dict[str, Any]) -> Any:
        tasks = [task for _, task in self._calls.values()]
        for call, task in list(self._calls.values()):
            self._cancel_call(call, task, "shutdown")
        if tasks:
            await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
        if self._started:
            await self._own("cleanup")
        return {}

    async def _own(self, name: str, *arguments: Any) -> Any:
        """Runs a lifecycle function of the plugin, should it have it."""
        function = getattr(self._instance, name, None)
        if not callable(function):
            return None
        if inspect.iscoroutinefunction(function):
            return await function(*arguments)
        context = contextvars.copy_context()
        result = await self._loop.run_in_executor(self._lifecycle, lambda: context.run(function, *arguments))
        return await result if inspect.isawaitable(result) else result

    # -- Outwards ---------------------------------------------------------------------------------------------

    def log(self, params: dict[str, Any]) -> None:
        """Sends a `log` notification. Dropped and counted while the service does not read: memory is the plugin's."""
        if self._outlet.congested:
            self._dropped_logs += 1
            return
        if self._dropped_logs:
            params["fields"]["dropped_before"] = self._dropped_logs
            self._dropped_logs = 0
        self._notify("log", params)

    def _notify(self, method: str, params: dict[str, Any]) -> None:
        try:
            self._outlet.send(notification(method, params))
        except Unsendable:
            # Notes are not worth an exception in the code that writes them.
            pass

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _end(self, code: int) -> None:
        # After the answer that is sent in this same step of the loop.
        self._loop.call_soon(lambda: None if self._ended.done() else self._ended.set_result(code))
