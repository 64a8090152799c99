"""What all groups of methods have in common: where the service is, and how it is asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, Iterator
from urllib.parse import quote, urlencode

from plugbay.transport import Transport

DEFAULT_URL = "http://127.0.0.1:8000"
Object = Dict[str, Any]


class Asking:
    """A service that is asked over HTTP."""

    def __init__(self, url: str | None = None, token: str | None = None, timeout: float = 60.0) -> None:
        self.url = (url or os.environ.get("PLUGBAY_URL") or DEFAULT_URL).rstrip("/")
        self._transport = Transport(self.url, token or _find_token(), timeout)
        self._timeout = timeout

    def _ask(self, method: str, path: str, body: Object | None = None, timeout: float | None = None) -> Object:
        return self._transport.send_json(method, path, body, timeout or self._timeout)

    def _pages(self, path: str, key: str, asked: Object) -> Iterator[Object]:
        """Every element of a list that comes in pages."""
        asked = {**asked, "limit": "100"}
        while True:
            page = self._ask("GET", path + query(asked))
            yield from page[key]
            cursor = page.get("next_cursor")
            if not cursor:
                return
            asked["cursor"] = str(cursor)


def plugin(plugin_id: str, rest: str = "") -> str:
    """The address of a plugin, or of something below it."""
    return f"/api/plugins/{segment(plugin_id, 'the id or name of a plugin')}{rest}"


def segment(text: str, what: str) -> str:
    """One segment of an address."""
    # Quoted, so that a name such as `a/../b` cannot become another address.
    name = quote(text, safe="")
    if name in ("", ".", ".."):
        raise ValueError(f"expected {what}, found {text!r}")
    return name


def query(asked: Object) -> str:
    """The query of an address, without what is None; nothing where all is."""
    given = {name: value for name, value in asked.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def given(**fields: Any) -> Object:
    """A body without the fields that are None: absent means the default, also where null would mean something."""
    return {name: value for name, value in fields.items() if value is not None}


def _find_token() -> str | None:
    token = os.environ.get("PLUGBAY_TOKEN")
    if token:
        return token
    path = Path(os.environ.get("PLUGBAY_DATA_DIR") or "./data") / "admin.token"
    try:
        return path.read_text().strip()
    except OSError:
        # Not an error yet: the service says what is missing, and how to get it.
        return None
