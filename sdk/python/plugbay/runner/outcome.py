"""What goes back to the service: answers, errors, notifications, and how an exception is told."""

from __future__ import annotations

import concurrent.futures.thread
import os
import traceback
from typing import Any, Protocol

from plugbay.runner.logs import clean
from plugbay.runner.wire import Unsendable, encode

RAISED = -32000
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
MAX_TRACE = 16 * 1024
_RUNNER = os.path.dirname(os.path.abspath(__file__))
_POOL = concurrent.futures.thread.__file__


class Outlet(Protocol):
    """Where lines go: the wire, or the harness of the tests."""

    @property
    def congested(self) -> bool:
        """Whether they are not read."""

    def send(self, line: bytes) -> None:
        """Sends a line, from any thread."""

    async def drain(self) -> None:
        """Waits until lines are read."""


class Refused(Exception):
    """A request that cannot be served, with its JSON-RPC code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def answer(id: Any, result: Any) -> bytes:
    """The line that answers a request."""
    try:
        return encode({"jsonrpc": "2.0", "id": id, "result": result})
    except Unsendable as error:
        return failure(id, RAISED, f"Unsendable: the result cannot be sent as JSON: {error}", "Unsendable", "")


def failure(id: Any, code: int, message: str, kind: str | None = None, trace: str = "") -> bytes:
    """The line that answers a request with an error."""
    error: dict[str, Any] = {"code": code, "message": clean(message)}
    if kind is not None:
        error["data"] = {"kind": clean(kind), "trace": trace}
    return encode({"jsonrpc": "2.0", "id": id, "error": error})


def raised(id: Any, error: BaseException) -> bytes:
    """The line that answers a request whose code raised. Never raises itself: the request would stay unanswered."""
    try:
        if isinstance(error, Refused):
            return failure(id, error.code, str(error))
        return failure(id, RAISED, describe(error), kind_of(error), trace(error))
    except BaseException:  # noqa: BLE001 -- whatever an author's class does when it is looked at
        return failure(id, RAISED, "an exception that cannot be told", "Exception", "")


def notification(method: str, params: dict[str, Any]) -> bytes:
    """The line of a notification, or `Unsendable`."""
    return encode({"jsonrpc": "2.0", "method": method, "params": params})


def kind_of(error: BaseException) -> str:
    """The name of its class: a class can have any text for a name, and a metaclass anything at all."""
    name = type.__dict__["__name__"].__get__(type(error))
    return "".join(character if character.isprintable() else "?" for character in name)


def describe(error: BaseException) -> str:
    """`ValueError: bad thing`."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 -- also what would end the runner
        text = "(its text cannot be had)"
    kind = kind_of(error)
    return f"{kind}: {text}" if text else kind


def trace(error: BaseException) -> str:
    """The traceback, without the runner's own frames; its end, should it be long."""
    told = traceback.TracebackException.from_exception(error)
    told.stack = traceback.StackSummary.from_list([frame for frame in told.stack if _is_the_authors(frame.filename)])
    text = clean("".join(told.format()))
    if len(text) <= MAX_TRACE:
        return text
    # From the beginning of a line: the service finds secrets line by line, and not halves of them.
    return "…\n" + text[-MAX_TRACE:].partition("\n")[2]


def _is_the_authors(file: str) -> bool:
    if file == _POOL or file.startswith("<frozen importlib"):
        return False
    return os.path.dirname(os.path.abspath(file)) != _RUNNER
