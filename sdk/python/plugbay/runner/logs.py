"""Python's `logging` to `log` notifications."""

from __future__ import annotations

import logging
import traceback
from typing import Any, Protocol

from plugbay.call import CURRENT

MAX_TEXT = 64 * 1024
# What every record has; anything else came by `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"))


class Notifier(Protocol):
    """Where records go."""

    def log(self, params: dict[str, Any]) -> None:
        """Sends a `log` notification, from any thread."""


class NotificationHandler(logging.Handler):
    """Sends each record to the service."""

    def __init__(self, notifier: Notifier) -> None:
        super().__init__()
        self._notifier = notifier

    def emit(self, record: logging.LogRecord) -> None:
        """Sends one record. Never raises: a line less must not break the plugin."""
        try:
            self._notifier.log(_params(record))
        except Exception:
            self.handleError(record)


def _params(record: logging.LogRecord) -> dict[str, Any]:
    level = next((word for number, word in _LEVELS if record.levelno >= number), "debug")
    fields: dict[str, Any] = {"logger": record.name}
    call = CURRENT.get()
    if call is not None:
        fields["call"] = call.id
    for name, value in vars(record).items():
        if name not in _STANDARD:
            simple = value is None or isinstance(value, (bool, int, float))
            fields[name] = value if simple else clean(str(value))
    if record.exc_info and record.exc_info[0] is not None:
        fields["trace"] = clean("".join(traceback.format_exception(*record.exc_info)))
    return {"level": level, "message": clean(record.getMessage()), "fields": fields}


def clean(text: str) -> str:
    """Text that can be sent: not endless, no lone surrogates."""
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT] + "…"
    return text.encode("utf-8", "backslashreplace").decode()


def install(notifier: Notifier) -> NotificationHandler:
    """Makes everything from `info` upwards go to the service; a plugin may set levels of its own."""
    handler = NotificationHandler(notifier)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    return handler
