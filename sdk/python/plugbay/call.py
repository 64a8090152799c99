"""The call that is being served: who asked, how long there is, whether it was cancelled."""

from __future__ import annotations

import concurrent.futures
import contextvars
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Optional

if TYPE_CHECKING:
    from plugbay.runner.feed import Feed

Notify = Callable[[str, "dict[str, Any]"], None]


class Call:
    """One call, from `invoke` to its answer. `current_call()` gives it to the code that serves it."""

    def __init__(
        self,
        id: str,
        method: str,
        deadline_ms: int | None = None,
        trace: str | None = None,
        stream: bool = False,
        notify: Notify | None = None,
    ) -> None:
        self.id = id
        self.method = method
        #: The caller's W3C traceparent.
        self.trace = trace
        #: Whether the caller reads chunks as they come.
        self.stream = stream
        #: What the call is fed with, if it is.
        self.feed: Feed | None = None
        #: Why the call was cancelled: `deadline`, `client` or `shutdown`.
        self.reason: str | None = None
        self._cancelled = threading.Event()
        self._deadline = None if deadline_ms is None else time.monotonic() + deadline_ms / 1000
        self._notify = notify
        self._waits: set[concurrent.futures.Future[Any]] = set()
        self._lock = threading.Lock()

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more. Synchronous code asks this in its loops and returns."""
        return self._cancelled.is_set()

    @property
    def lasts(self) -> bool:
        """Whether it has no deadline: it goes on as long as there is something to say."""
        return self._deadline is None

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline, never below 0."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def sleep(self, seconds: float) -> bool:
        """Sleeps in synchronous code, but wakes up when the call is cancelled. True if it was."""
        return self._cancelled.wait(seconds)

    def progress(self, percent: float, message: str = "") -> None:
        """Tells the caller how far the call is."""
        if self._notify is not None:
            self._notify("progress", {"call": self.id, "percent": percent, "message": message})

    def cancel(self, reason: str) -> None:
        """Marks the call as cancelled and wakes its threads that wait for a host function."""
        with self._lock:
            self.reason = reason
            self._cancelled.set()
            waits = list(self._waits)
        for wait in waits:
            wait.cancel()

    def wait_for(self, future: concurrent.futures.Future[Any], timeout: float | None) -> Any:
        """Blocks the calling thread until the future is done, the time is over or the call is cancelled."""
        with self._lock:
            self._waits.add(future)
            cancelled = self.cancelled
        if cancelled:
            future.cancel()
        try:
            return future.result(timeout)
        finally:
            with self._lock:
                self._waits.discard(future)


# Follows the call into its tasks and, copied by the runner, into its thread.
CURRENT: contextvars.ContextVar[Optional[Call]] = contextvars.ContextVar("plugbay_call", default=None)


def current_call() -> Call | None:
    """The call this code serves; `None` outside of calls, as in `initialize`."""
    return CURRENT.get()


def progress(percent: float, message: str = "") -> None:
    """Tells the caller how far the current call is. Does nothing outside of calls."""
    call = CURRENT.get()
    if call is not None:
        call.progress(percent, message)
