"""The methods of chat plugins: how the service's parameters become arguments, and answers become what it reads."""

from __future__ import annotations

import inspect
from typing import Any, Callable

#: The methods that a plugin of each kind may have.
METHODS = {
    "message_processor": ("process_message", "process_stream"),
    "backend_provider": ("chat", "list_models", "embed", "count_tokens"),
    "feature_extension": ("extend",),
    "middleware": ("process_request", "process_response"),
}
#: Those that it must have; middleware must have one of its two.
PROMISED = {
    "message_processor": ("process_message",),
    "backend_provider": ("chat", "list_models"),
    "feature_extension": ("extend",),
}


def adapt(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The method as a function of the parameters alone, asynchronous where the method is."""
    if name == "process_message":
        return _each_message(function)
    if name == "process_stream":
        return _adapted(function, lambda params: (params.get("stream"), params.get("context")))
    if name == "list_models":
        return _adapted(function, lambda params: ())
    if name in ("process_request", "process_response"):
        key = name.removeprefix("process_")
        return _adapted(function, lambda params: (params.get(key),))
    return _adapted(function, lambda params: (params.get("context"),))


def _adapted(function: Callable[..., Any], arguments: Callable[[dict[str, Any]], tuple[Any, ...]]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        async def asynchronous(params: dict[str, Any]) -> Any:
            return await function(*arguments(params))

        return asynchronous
    if inspect.isasyncgenfunction(function):

        async def streaming(params: dict[str, Any]) -> Any:
            async for chunk in function(*arguments(params)):
                yield chunk

        return streaming
    if inspect.isgeneratorfunction(function):

        def generating(params: dict[str, Any]) -> Any:
            return (yield from function(*arguments(params)))

        return generating

    def synchronous(params: dict[str, Any]) -> Any:
        return function(*arguments(params))

    return synchronous


def _each_message(function: Callable[..., Any]) -> Callable[..., Any]:
    """Calls the method once for each message, in their order. `None` says that a message stays as it is."""
    if inspect.iscoroutinefunction(function):

        async def asynchronous(params: dict[str, Any]) -> list[Any]:
            context = params.get("context")
            return [await function(message, context) for message in params.get("messages") or ()]

        return asynchronous

    def synchronous(params: dict[str, Any]) -> list[Any]:
        context = params.get("context")
        return [function(message, context) for message in params.get("messages") or ()]

    return synchronous
