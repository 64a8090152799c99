"""Calls a plugbay service: `PluginService` over its REST API.

    service = PluginService()
    plugin_id = await service.install_plugin(plugin_path="my-plugin-1.0.0.tar.gz")
    await service.enable_plugin(plugin_id)
    answer = await service.execute_plugin(plugin_id, {"user": "Ada"})

Address and token come from `PLUGBAY_URL` and `PLUGBAY_TOKEN`, or the token from the file `admin.token` in
`PLUGBAY_DATA_DIR`, as for the command line. Each method runs in a thread, so it never blocks the loop.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, AsyncIterator, Dict
from urllib.parse import quote, urlencode

from plugbay.transport import PluginServiceError, Transport, multipart

__all__ = ["PluginService", "PluginServiceError"]

DEFAULT_URL = "http://127.0.0.1:8000"
SIGNATURE_SUFFIX = ".minisig"
#: Beyond the call's own time, for the queue and the way.
_MARGIN_SECONDS = 10.0
_Object = Dict[str, Any]


class PluginService:
    """A service, and what can be asked of it. Plugins are addressed by id or by name."""

    def __init__(self, url: str | None = None, token: str | None = None, timeout: float = 60.0) -> None:
        self.url = (url or os.environ.get("PLUGBAY_URL") or DEFAULT_URL).rstrip("/")
        self._transport = Transport(self.url, token or _find_token(), timeout)
        self._timeout = timeout

    async def install_plugin(
        self,
        plugin_path: str | os.PathLike[str] | None = None,
        plugin_url: str | None = None,
        signature_path: str | os.PathLike[str] | None = None,
    ) -> str:
        """Installs an archive, from here or fetched by the service; gives the plugin's id.

        The signature is the file beside the archive that ends in `.minisig`, unless `signature_path` names another.
        """
        installed = await self._bring("/api/plugins/install", plugin_path, plugin_url, signature_path)
        return str(installed["plugin_id"])

    async def update_plugin(
        self,
        plugin_id: str,
        plugin_path: str | os.PathLike[str] | None = None,
        plugin_url: str | None = None,
        signature_path: str | os.PathLike[str] | None = None,
        allow_downgrade: bool = False,
    ) -> _Object:
        """Brings another version. With `status` `pending_approval` the old one serves on.

        A version that does not work raises `update-rolled-back`, and the old one serves on as well.
        """
        path = _plugin(plugin_id, "/update") + ("?allow_downgrade=true" if allow_downgrade else "")
        return await self._bring(path, plugin_path, plugin_url, signature_path)

    async def rollback_plugin(
        self, plugin_id: str, version: str | None = None, restore_data: bool = False
    ) -> _Object:
        """Goes back to an earlier version, the one before if none is named; with `restore_data` to what it kept then."""
        body: _Object = {"restore_data": restore_data}
        if version is not None:
            body["version"] = version
        return await self._ask("POST", _plugin(plugin_id, "/rollback"), body)

    async def enable_plugin(self, plugin_id: str) -> _Object:
        """Starts a plugin, now and after every restart of the service."""
        return await self._ask("POST", _plugin(plugin_id, "/enable"))

    async def disable_plugin(self, plugin_id: str, cascade: bool = False) -> _Object:
        """Stops a plugin. Enabled plugins that require it are stopped before it with `cascade`, and refuse it without."""
        return await self._ask("POST", _plugin(plugin_id, "/disable") + ("?cascade=true" if cascade else ""))

    async def execute_plugin(
        self, plugin_id: str, context: _Object, method: str | None = None, timeout_ms: int | None = None
    ) -> _Object:
        """Calls a plugin: `{"success", "result" or "error", "execution_time", "call_id"}`.

        A plugin that fails is an answer with `success` false; what the service refuses raises.
        """
        body: _Object = {"context": context}
        if method is not None:
            body["method"] = method
        if timeout_ms is not None:
            body["timeout_ms"] = timeout_ms
        # Without a time of its own the manifest decides, which may allow ten minutes.
        timeout = 600.0 if timeout_ms is None else timeout_ms / 1000
        return await self._ask("POST", _plugin(plugin_id, "/execute"), body, timeout + _MARGIN_SECONDS)

    async def list_plugins(self, status: str = "all", query: str | None = None) -> list[_Object]:
        """Every plugin with that status: all, installed, enabled, disabled or quarantined."""
        return [plugin async for plugin in self._pages(status, query)]

    async def get_plugin_info(self, plugin_id: str) -> _Object:
        """Everything about one plugin."""
        return await self._ask("GET", _plugin(plugin_id))

    async def uninstall_plugin(self, plugin_id: str, purge: bool = False) -> None:
        """Removes a plugin; with `purge` its data too."""
        await self._ask("DELETE", _plugin(plugin_id, "?purge=true" if purge else ""))

    async def _pages(self, status: str, query: str | None) -> AsyncIterator[_Object]:
        asked = {"status": status, "limit": "100"}
        if query is not None:
            asked["q"] = query
        while True:
            page = await self._ask("GET", f"/api/plugins?{urlencode(asked)}")
            for plugin in page["plugins"]:
                yield plugin
            cursor = page.get("next_cursor")
            if not cursor:
                return
            asked["cursor"] = str(cursor)

    async def _bring(
        self,
        path: str,
        plugin_path: str | os.PathLike[str] | None,
        plugin_url: str | None,
        signature_path: str | os.PathLike[str] | None,
    ) -> _Object:
        if (plugin_path is None) == (plugin_url is None):
            raise ValueError("expected one of `plugin_path` and `plugin_url`")
        if plugin_path is None:
            if signature_path is not None:
                # The service fetches the signature from beside the archive.
                raise ValueError("`signature_path` goes with `plugin_path`")
            return await self._ask("POST", path, {"url": plugin_url})
        return await asyncio.to_thread(self._upload, path, Path(plugin_path), signature_path)

    def _upload(self, path: str, archive: Path, signature_path: str | os.PathLike[str] | None) -> _Object:
        parts = {"file": archive.read_bytes()}
        beside = archive.with_name(archive.name + SIGNATURE_SUFFIX)
        if signature_path is not None:
            parts["signature"] = Path(signature_path).read_bytes()
        elif beside.exists():
            parts["signature"] = beside.read_bytes()
        # Without a signature too: whether that is acceptable is for the service to say.
        body, content_type = multipart(parts)
        return self._transport.send("POST", path, body, content_type, self._timeout)

    async def _ask(self, method: str, path: str, body: _Object | None = None, timeout: float | None = None) -> _Object:
        return await asyncio.to_thread(self._transport.send_json, method, path, body, timeout or self._timeout)


def _plugin(plugin_id: str, rest: str = "") -> str:
    # Quoted, so that a name such as `a/../b` cannot become another address.
    name = quote(plugin_id, safe="")
    if name in ("", ".", ".."):
        raise ValueError(f"expected the id or name of a plugin, found {plugin_id!r}")
    return f"/api/plugins/{name}{rest}"


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
