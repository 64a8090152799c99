"""Answers that come as server-sent events."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Callable, Generator, Iterator

from plugbay.transport import Incoming, PluginServiceError, problem


@dataclass(frozen=True)
class StreamEvent:
    """One event: `chunk`, `progress` and `result` of a call, `log` of logs, `plugin.state` of events.

    `missed` says how many were left out because they were not read in time.
    """

    kind: str
    data: Any


class EventStream:
    """Events as they come. The request is sent when the first one is asked for; `close` may come from any thread.

    With `last`, the stream has to end with that event, and one that ends without it was cut off.
    """

    def __init__(self, open: Callable[[], Incoming], last: str | None = None) -> None:
        self._open = open
        self._last = last
        self._incoming: Incoming | None = None
        self._events: Generator[StreamEvent, None, None] | None = None
        self._closed = False
        self._lock = threading.Lock()

    def __iter__(self) -> EventStream:
        return self

    def __next__(self) -> StreamEvent:
        if self._closed:
            raise StopIteration
        if self._events is None:
            incoming = self._open()
            with self._lock:
                self._incoming = incoming
                if self._closed:
                    incoming.abort()
            self._events = self._read(incoming)
        try:
            event = next(self._events)
        except BaseException:
            self.close()
            raise
        if event.kind == self._last:
            self.close()
        return event

    def __enter__(self) -> EventStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the request. A call whose caller goes is cancelled by the service."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._incoming is not None:
                self._incoming.abort()
        if self._events is not None:
            # Refused while another thread is in it; `abort` has woken that one, and it ends by itself.
            with contextlib.suppress(ValueError):
                self._events.close()

    def _read(self, incoming: Incoming) -> Generator[StreamEvent, None, None]:
        for kind, data in events(incoming.lines()):
            if self._closed:
                return
            if kind == "error":
                body = _parsed(data)
                status = body.get("status") if isinstance(body, dict) else None
                raise problem(status if isinstance(status, int) else 0, data.encode())
            yield _event(kind, data)
            if kind == self._last:
                return
        if self._last is not None and not self._closed:
            how = "call again; the service may have stopped meanwhile"
            raise PluginServiceError("cut-off", f"the stream ended without the event `{self._last}`", how)


def events(lines: Iterator[bytes]) -> Iterator[tuple[str, str]]:
    """Name and data of each event; comments are passed over."""
    kind = "message"
    data: list[str] = []
    for line in lines:
        text = line.rstrip(b"\r\n").decode("utf-8", "replace")
        if not text:
            if data:
                yield kind, "\n".join(data)
            kind, data = "message", []
            continue
        field, _, value = text.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "event":
            kind = value
        elif field == "data":
            data.append(value)


def _event(kind: str, data: str) -> StreamEvent:
    value = _parsed(data)
    if kind == "chunk" and isinstance(value, dict):
        # `seq` only counts them, and a connection keeps their order.
        value = value.get("data")
    return StreamEvent(kind, value)


def _parsed(data: str) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        how = "check that PLUGBAY_URL names a plugbay service"
        raise PluginServiceError("not-plugbay", "the data of an event is not JSON", how) from None
