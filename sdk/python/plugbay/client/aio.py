"""The client for asynchronous code. Each method runs in a thread, so it never blocks the loop."""

from __future__ import annotations

import asyncio
import functools
from types import TracebackType
from typing import TYPE_CHECKING, Any, Awaitable, Callable, TypeVar

from plugbay.client.service import SyncPluginService
from plugbay.client.stream import EventStream, StreamEvent

if TYPE_CHECKING:
    # Python 3.9 has neither at run time, where nothing asks for them.
    from typing_extensions import Concatenate, ParamSpec

    P = ParamSpec("P")
R = TypeVar("R")


class AsyncEventStream:
    """Events as they come, for `async for`. A loop that is left early closes it with `aclose`, or by `async with`."""

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncEventStream:
        return self

    async def __anext__(self) -> StreamEvent:
        try:
            event = await asyncio.to_thread(next, self._stream, None)
        except asyncio.CancelledError:
            # The thread waits for a byte that may never come.
            self._stream.close()
            raise
        if event is None:
            raise StopAsyncIteration
        return event

    async def __aenter__(self) -> AsyncEventStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the request."""
        self._stream.close()


def _awaited(
    method: Callable[Concatenate[SyncPluginService, P], R],
) -> Callable[Concatenate[PluginService, P], Awaitable[R]]:
    """The method, to be awaited."""

    async def awaited(self: PluginService, /, *arguments: P.args, **named: P.kwargs) -> R:
        return await asyncio.to_thread(method, self.sync, *arguments, **named)

    functools.update_wrapper(awaited, method)
    return awaited


def _iterated(
    method: Callable[Concatenate[SyncPluginService, P], EventStream],
) -> Callable[Concatenate[PluginService, P], AsyncEventStream]:
    """The method, whose events are awaited one by one."""

    def iterated(self: PluginService, /, *arguments: P.args, **named: P.kwargs) -> AsyncEventStream:
        return AsyncEventStream(method(self.sync, *arguments, **named))

    functools.update_wrapper(iterated, method)
    return iterated


class PluginService:
    """A service, and what can be asked of it. Plugins are addressed by id or by name.

    `sync` is the same service without `await`; `SyncPluginService` documents each method.
    """

    def __init__(self, url: str | None = None, token: str | None = None, timeout: float = 60.0) -> None:
        self.sync = SyncPluginService(url, token, timeout)

    @property
    def url(self) -> str:
        """The address of the service."""
        return self.sync.url

    install_plugin = _awaited(SyncPluginService.install_plugin)
    update_plugin = _awaited(SyncPluginService.update_plugin)
    rollback_plugin = _awaited(SyncPluginService.rollback_plugin)
    enable_plugin = _awaited(SyncPluginService.enable_plugin)
    disable_plugin = _awaited(SyncPluginService.disable_plugin)
    execute_plugin = _awaited(SyncPluginService.execute_plugin)
    call_plugin = _awaited(SyncPluginService.call_plugin)
    stream_plugin = _iterated(SyncPluginService.stream_plugin)
    list_plugins = _awaited(SyncPluginService.list_plugins)
    list_tools = _awaited(SyncPluginService.list_tools)
    get_plugin_info = _awaited(SyncPluginService.get_plugin_info)
    uninstall_plugin = _awaited(SyncPluginService.uninstall_plugin)
    get_manifest = _awaited(SyncPluginService.get_manifest)
    list_versions = _awaited(SyncPluginService.list_versions)
    get_health = _awaited(SyncPluginService.get_health)
    get_scan = _awaited(SyncPluginService.get_scan)
    scan_plugin = _awaited(SyncPluginService.scan_plugin)
    get_stats = _awaited(SyncPluginService.get_stats)
    get_metrics = _awaited(SyncPluginService.get_metrics)
    list_calls = _awaited(SyncPluginService.list_calls)
    reset_breaker = _awaited(SyncPluginService.reset_breaker)
    get_limits = _awaited(SyncPluginService.get_limits)
    set_limits = _awaited(SyncPluginService.set_limits)
    read_logs = _awaited(SyncPluginService.read_logs)
    follow_logs = _iterated(SyncPluginService.follow_logs)
    follow_events = _iterated(SyncPluginService.follow_events)
    get_permissions = _awaited(SyncPluginService.get_permissions)
    approve_plugin = _awaited(SyncPluginService.approve_plugin)
    revoke_permissions = _awaited(SyncPluginService.revoke_permissions)
    get_config = _awaited(SyncPluginService.get_config)
    set_config = _awaited(SyncPluginService.set_config)
    unset_config = _awaited(SyncPluginService.unset_config)
    validate_config = _awaited(SyncPluginService.validate_config)
    add_key = _awaited(SyncPluginService.add_key)
    list_keys = _awaited(SyncPluginService.list_keys)
    revoke_key = _awaited(SyncPluginService.revoke_key)
    create_token = _awaited(SyncPluginService.create_token)
    list_tokens = _awaited(SyncPluginService.list_tokens)
    revoke_token = _awaited(SyncPluginService.revoke_token)
    list_audit = _awaited(SyncPluginService.list_audit)
    verify_audit = _awaited(SyncPluginService.verify_audit)
    begin_conversation = _awaited(SyncPluginService.begin_conversation)
    list_conversations = _awaited(SyncPluginService.list_conversations)
    post_message = _awaited(SyncPluginService.post_message)
    post_file = _awaited(SyncPluginService.post_file)
    list_messages = _awaited(SyncPluginService.list_messages)
