"""An answer that a plugin is fed while it comes: what it takes in, what it lets go, and what it holds back.

The service sends lines of deltas. A line is answered once, when all of its deltas are taken: by what the plugin has yielded
meanwhile. What it has taken in and not yielded for is held back as far as it may be, so that nothing is lost should it fail.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, AsyncIterator, Iterator

from plugbay.call import Call
from plugbay.runner.outcome import Outlet, notification

#: Characters that a filter may hold back, unless the service says otherwise.
DEFAULT_HOLD = 64


class Blocked(Exception):
    """The plugin refuses the answer: its last word."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(answer.get("reason"))
        self.answer = answer


class _Strand:
    """One text of the answer: what was yielded for it, and how much was taken in without that."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.open = 0
        self.swallow = False
        self.touched = False


class Feed:
    """The deltas of one answer, for `async for` and, in a thread, for `for`."""

    def __init__(self, call: Call, outlet: Outlet, loop: asyncio.AbstractEventLoop, max_hold: int) -> None:
        self._call = call
        self._outlet = outlet
        self._loop = loop
        self._max_hold = max_hold
        self._lines: deque[tuple[int, list[Any]]] = deque()
        self._items: deque[dict[str, Any]] = deque()
        self._news = asyncio.Event()
        self._ended = False
        self._exhausted = False
        self._read: int | None = None
        self._seq = 0
        self._strands: dict[Any, _Strand] = {}
        self._last: Any = (0, "content", None)

    # -- What the service sends -----------------------------------------------------------------------------------

    def push(self, params: dict[str, Any]) -> None:
        """Takes a line."""
        seq, data = params.get("seq"), params.get("data")
        if isinstance(seq, int) and isinstance(data, list):
            self._lines.append((seq, data))
            self._news.set()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._news.set()

    # -- What the plugin does -------------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self

    async def __anext__(self) -> dict[str, Any]:
        """The next delta: `choice`, `kind`, `text`, and of a tool's arguments `id` and `name`."""
        while not self._items:
            if not await self.next_line():
                raise StopAsyncIteration
        return self.take()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        while not self._items:
            more = asyncio.run_coroutine_threadsafe(self.next_line(), self._loop)
            if not self._call.wait_for(more, None):
                raise StopIteration
        return self.take()

    async def next_line(self) -> bool:
        """Answers for the line before, and takes the next one; `False` when there is none any more."""
        await self.settle()
        while not self._lines:
            if self._ended:
                self._exhausted = True
                return False
            self._news.clear()
            await self._news.wait()
        self._read, items = self._lines.popleft()
        self._items.extend(item for item in items if isinstance(item, dict))
        return True

    @property
    def waiting(self) -> bool:
        """Whether a delta of the line is left."""
        return bool(self._items)

    def take(self) -> dict[str, Any]:
        """The next delta of the line."""
        item = self._items.popleft()
        self._last = (item.get("choice", 0), item.get("kind", "content"), item.get("id"))
        strand = self._strands.setdefault(self._last, _Strand())
        strand.open += len(item.get("text", ""))
        strand.touched = True
        return item

    def add(self, value: Any) -> None:
        """What was yielded: a text in place of what was taken in, or `{"text", "hold"?, "swallow"?}`."""
        if value is None:
            return
        if isinstance(value, str):
            value = {"text": value}
        if not isinstance(value, dict):
            raise TypeError(f"a filter yields texts or {{'text': …}}, not {type(value).__name__}")
        action = value.get("action")
        if action == "block":
            raise Blocked(value)
        if action is not None:
            raise ValueError(f"a filter of deltas cannot yield the action {action!r}: yield a text, or block")
        choice, kind, id = self._last
        key = (value.get("choice", choice), value.get("kind", kind), value.get("id", id))
        strand = self._strands.get(key)
        if strand is None:
            raise ValueError(f"nothing of {key[1]!r} in answer {key[0]} was taken in")
        text, hold = value.get("text", ""), value.get("hold", 0)
        if not isinstance(text, str) or not isinstance(hold, int):
            raise TypeError("`text` is a text and `hold` a number of characters")
        if hold > min(strand.open, self._max_hold):
            most = min(strand.open, self._max_hold)
            raise ValueError(f"hold: {hold} is more than can be held back now, which is {most}")
        strand.out.append(text)
        strand.open = hold
        strand.swallow = value.get("swallow") is True
        strand.touched = True

    async def settle(self, last: bool = False) -> None:
        """Sends what was yielded since the line before.

        With `last` all of it is decided, unless the plugin left before it had taken in everything.
        """
        last = last and self._exhausted
        data = []
        for (choice, kind, id), strand in self._strands.items():
            if not strand.touched and not (last and strand.open):
                continue
            hold = 0 if last or kind == "tool" else min(strand.open, self._max_hold)
            entry = {"choice": choice, "kind": kind, "text": "".join(strand.out), "hold": hold}
            if id is not None:
                entry["id"] = id
            if strand.swallow:
                entry["swallow"] = True
            data.append(entry)
            strand.out, strand.touched = [], False
        if self._read is None and not data:
            return
        chunk = {"call": self._call.id, "seq": self._seq, "read": self._read, "data": data}
        self._seq += 1
        self._read = None
        self._outlet.send(notification("chunk", {name: value for name, value in chunk.items() if value is not None}))
        await self._outlet.drain()
