"""One call: finds its arguments, runs its function where it belongs, streams what it yields."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import Any, AsyncGenerator, Callable, Generator, cast

from plugbay.call import CURRENT, Call
from plugbay.runner.chat import METHODS
from plugbay.runner.feed import Blocked, Feed
from plugbay.runner.loading import COMMAND_HANDLER
from plugbay.runner.outcome import INVALID_PARAMS, METHOD_NOT_FOUND, Outlet, Refused, notification

# They take all of the parameters.
_CHAT = frozenset(name for names in METHODS.values() for name in names)

# Results that need no second look, which saves a few tests per call.
_PLAIN = frozenset((dict, list, str, int, float, bool, type(None)))


class Invoker:
    """Runs the functions of a plugin: asynchronous ones in the loop, others in threads."""

    def __init__(
        self,
        functions: dict[str, Callable[..., Any]],
        most: tuple[int, int],
        loop: asyncio.AbstractEventLoop,
        outlet: Outlet,
    ) -> None:
        self.functions = functions
        # Calling these runs nothing yet, so they are called in the loop.
        self._lazy = {name for name, function in functions.items() if _is_lazy(function)}
        concurrency, streams = most
        self._places = asyncio.Semaphore(concurrency)
        self._pool = ThreadPoolExecutor(concurrency, "plugin-call")
        # What lasts has places of its own, and would keep the threads of all others.
        self._streams = asyncio.Semaphore(streams)
        self._stream_pool = ThreadPoolExecutor(streams, "plugin-stream")
        self._loop = loop
        self._outlet = outlet
        self._in_thread: set[Call] = set()

    def runs_in_thread(self, call: Call) -> bool:
        """Whether a thread works for the call now. Threads cannot be interrupted, only asked."""
        return call in self._in_thread

    async def run(self, call: Call, params: dict[str, Any]) -> Any:
        """The result of a call, or whatever its function raised."""
        function = self.functions.get(call.method)
        if function is None:
            raise Refused(METHOD_NOT_FOUND, f"the plugin does not offer `{call.method}`")
        CURRENT.set(call)
        if call.feed is not None:
            async with self._streams:
                return await self._fed(call, call.feed, function, params)
        arguments = _arguments(call.method, params)
        async with self._streams if call.lasts else self._places:
            if call.method in self._lazy:
                result = function(*arguments)
            else:
                result = await self._threaded(call, function, *arguments)
                if call.cancelled and type(result) not in _PLAIN:
                    # A coroutine or a generator, which must not begin after all.
                    raise asyncio.CancelledError(call.reason)
            if inspect.isawaitable(result):
                result = await result
            if type(result) in _PLAIN:
                return result
            chunks = Chunks(call, self._outlet)
            if inspect.isasyncgen(result):
                return await _stream(cast("AsyncGenerator[Any, Any]", result), chunks)
            if inspect.isgenerator(result):
                return await self._threaded(call, self._stream_in_thread, call, result, chunks)
            return result

    async def _fed(self, call: Call, feed: Feed, function: Callable[..., Any], params: dict[str, Any]) -> Any:
        """Feeds a filter, and lets go what it yields."""
        try:
            if call.method.startswith("on_"):
                await self._fed_hook(call, feed, function, params)
            elif call.method in self._lazy:
                result = function({**params, "stream": feed})
                if inspect.isawaitable(result):
                    result = await result
                if inspect.isasyncgen(result):
                    await _fed_generator(result, feed)
                elif inspect.isgenerator(result):
                    await self._threaded(call, self._feed_in_thread, call, result, feed)
                else:
                    raise TypeError(f"`{call.method}` yields what is to leave; it returned {type(result).__name__}")
            else:
                raise TypeError(f"`{call.method}` yields what is to leave: write it as a generator")
            await feed.settle(last=True)
        except Blocked as blocked:
            return blocked.answer
        return None

    async def _fed_hook(self, call: Call, feed: Feed, function: Callable[..., Any], params: dict[str, Any]) -> None:
        """Calls a hook for each delta; `None` lets it go as it is."""
        while feed.waiting or await feed.next_line():
            while feed.waiting:
                delta = feed.take()
                given = {**params, "chunk": delta}
                if call.method in self._lazy:
                    said = await function(given)
                else:
                    said = await self._threaded(call, function, given)
                allowed = said is None or (isinstance(said, dict) and said.get("action") == "allow")
                feed.add(delta.get("text", "") if allowed else said)

    def _feed_in_thread(self, call: Call, generator: Generator[Any, Any, Any], feed: Feed) -> None:
        try:
            for value in generator:
                feed.add(value)
                if call.cancelled:
                    return
        finally:
            generator.close()

    async def _threaded(self, call: Call, function: Callable[..., Any], *arguments: Any) -> Any:
        context = contextvars.copy_context()
        self._in_thread.add(call)
        try:
            pool = self._stream_pool if call.lasts else self._pool
            return await self._loop.run_in_executor(pool, context.run, _guarded, function, arguments)
        finally:
            self._in_thread.discard(call)

    def _stream_in_thread(self, call: Call, generator: Generator[Any, Any, Any], chunks: Chunks) -> Any:
        try:
            while not call.cancelled:
                try:
                    chunk = next(generator)
                except StopIteration as end:
                    return chunks.result(end.value)
                if call.stream:
                    # Waits in the loop, so a service that does not read slows the generator down.
                    asyncio.run_coroutine_threadsafe(chunks.add(chunk), self._loop).result()
                else:
                    chunks.collect(chunk)
        finally:
            generator.close()
        return None


class Chunks:
    """What a generator yields: sent at once when the caller streams, else kept for the answer."""

    def __init__(self, call: Call, outlet: Outlet) -> None:
        self._call = call
        self._outlet = outlet
        self._seq = 0
        self._kept: list[Any] = []

    def collect(self, chunk: Any) -> None:
        """Keeps a chunk."""
        self._kept.append(chunk)

    async def add(self, chunk: Any) -> None:
        """Sends or keeps a chunk."""
        if not self._call.stream:
            return self.collect(chunk)
        line = notification("chunk", {"call": self._call.id, "seq": self._seq, "data": chunk})
        self._seq += 1
        self._outlet.send(line)
        await self._outlet.drain()

    def result(self, returned: Any = None) -> Any:
        """The answer: what the generator returned, or the chunks."""
        return returned if self._call.stream else self._kept


async def _stream(generator: AsyncGenerator[Any, Any], chunks: Chunks) -> Any:
    try:
        async for chunk in generator:
            await chunks.add(chunk)
            # A generator that never waits would keep the loop from reading `cancel`.
            await asyncio.sleep(0)
    finally:
        await generator.aclose()
    return chunks.result()


async def _fed_generator(generator: AsyncGenerator[Any, Any], feed: Feed) -> None:
    try:
        async for value in generator:
            feed.add(value)
    finally:
        await generator.aclose()


def _is_lazy(function: Callable[..., Any]) -> bool:
    # Asks the function itself and not what it wraps: a synchronous wrapper may do work of its own.
    checks = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
    return any(check(function) for check in checks)


def _guarded(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return function(*arguments)
    except StopIteration as error:
        # A future refuses to carry it, and the call would never be answered.
        raise RuntimeError("the function raised StopIteration") from error


def _arguments(method: str, params: dict[str, Any]) -> tuple[Any, ...]:
    if method == COMMAND_HANDLER:
        command, arguments = params.get("command"), params.get("args", [])
        if not isinstance(command, str) or not isinstance(arguments, list):
            raise Refused(INVALID_PARAMS, "on_command: expected {command: string, args: array}")
        return (command, arguments)
    if method.startswith("on_") or method in _CHAT:
        return (params,)
    if "context" not in params:
        raise Refused(INVALID_PARAMS, f"{method}: expected {{context: …}}")
    return (params["context"],)
