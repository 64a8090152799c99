"""Plugins: install, update, run, look."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from plugbay.client.asking import Asking, Object, given, plugin
from plugbay.client.asking import query as _query
from plugbay.client.stream import EventStream
from plugbay.transport import multipart

SIGNATURE_SUFFIX = ".minisig"
#: Beyond the call's own time, for the queue and the way.
_MARGIN_SECONDS = 10.0
#: A stream without events says every 15 seconds that it is still there.
_SILENCE_SECONDS = 60.0


class CallFailed(Exception):
    """The plugin answered that it failed. `kind` is the exception's kind, `answer` the whole answer."""

    def __init__(self, answer: Object) -> None:
        super().__init__(str(answer.get("error") or answer.get("message") or "the plugin answered without success"))
        self.kind = str(answer.get("error_kind") or "")
        self.call_id = str(answer.get("call_id") or "")
        self.answer = answer


class Plugins(Asking):
    """Plugins are addressed by id or by name."""

    def install_plugin(
        self,
        plugin_path: str | os.PathLike[str] | None = None,
        plugin_url: str | None = None,
        signature_path: str | os.PathLike[str] | None = None,
    ) -> str:
        """Installs an archive, from here or fetched by the service; gives the plugin's id.

        The signature is the file beside the archive that ends in `.minisig`, unless `signature_path` names another.
        """
        installed = self._bring("/api/plugins/install", plugin_path, plugin_url, signature_path)
        return str(installed["plugin_id"])

    def update_plugin(
        self,
        plugin_id: str,
        plugin_path: str | os.PathLike[str] | None = None,
        plugin_url: str | None = None,
        signature_path: str | os.PathLike[str] | None = None,
        allow_downgrade: bool = False,
    ) -> Object:
        """Brings another version. With `status` `pending_approval` the old one serves on.

        A version that does not work raises `update-rolled-back`, and the old one serves on as well.
        """
        path = plugin(plugin_id, "/update") + ("?allow_downgrade=true" if allow_downgrade else "")
        return self._bring(path, plugin_path, plugin_url, signature_path)

    def rollback_plugin(
        self, plugin_id: str, version: str | None = None, restore_data: bool = False
    ) -> Object:
        """Goes back to an earlier version, the one before if none is named; with `restore_data` to what it kept then."""
        body: Object = {"restore_data": restore_data}
        if version is not None:
            body["version"] = version
        return self._ask("POST", plugin(plugin_id, "/rollback"), body)

    def enable_plugin(self, plugin_id: str) -> Object:
        """Starts a plugin, now and after every restart of the service."""
        return self._ask("POST", plugin(plugin_id, "/enable"))

    def disable_plugin(self, plugin_id: str, cascade: bool = False) -> Object:
        """Stops a plugin. Enabled plugins that require it are stopped before it with `cascade`, and refuse it without."""
        return self._ask("POST", plugin(plugin_id, "/disable") + ("?cascade=true" if cascade else ""))

    def execute_plugin(
        self, plugin_id: str, context: Any, method: str | None = None, timeout_ms: int | None = None
    ) -> Object:
        """Calls a plugin: `{"success", "result" or "error", "execution_time", "call_id"}`.

        A plugin that fails is an answer with `success` false; what the service refuses raises.
        """
        body, timeout = _call(context, method, timeout_ms)
        return self._ask("POST", plugin(plugin_id, "/execute"), body, timeout)

    def call_plugin(
        self, plugin_id: str, context: Any = None, method: str | None = None, timeout_ms: int | None = None
    ) -> Any:
        """Calls a plugin and gives its result. A plugin that fails raises `CallFailed`."""
        answer = self.execute_plugin(plugin_id, {} if context is None else context, method, timeout_ms)
        if not answer.get("success"):
            raise CallFailed(answer)
        return answer.get("result")

    def stream_plugin(
        self, plugin_id: str, context: Any = None, method: str | None = None, timeout_ms: int | None = None
    ) -> EventStream:
        """Calls a plugin and gives what it yields as it comes: `chunk`, `progress`, and at the end `result`.

        The data of `result` is the answer of `execute_plugin`. What the service refuses or ends raises.
        """
        body, timeout = _call({} if context is None else context, method, timeout_ms)
        path = plugin(plugin_id, "/execute")
        return EventStream(lambda: self._transport.open("POST", path, body, timeout), last="result")

    def list_plugins(self, status: str = "all", query: str | None = None) -> list[Object]:
        """Every plugin with that status: all, installed, enabled, disabled or quarantined."""
        return list(self._pages("/api/plugins", "plugins", {"status": status, **given(q=query)}))

    def list_tools(self, form: str | None = None) -> list[Object]:
        """Tools of enabled plugins that the token may use; with `openai` or `mcp` in that form alone."""
        return list(self._pages("/api/tools", "tools", given(form=form)))

    def get_plugin_info(self, plugin_id: str) -> Object:
        """Everything about one plugin."""
        return self._ask("GET", plugin(plugin_id))

    def uninstall_plugin(self, plugin_id: str, purge: bool = False) -> None:
        """Removes a plugin; with `purge` its data too."""
        self._ask("DELETE", plugin(plugin_id, "?purge=true" if purge else ""))

    def get_manifest(self, plugin_id: str) -> Object:
        """The manifest of the version that serves."""
        return self._ask("GET", plugin(plugin_id, "/manifest"))

    def list_versions(self, plugin_id: str) -> Object:
        """The versions that are kept: `versions`, `serving`, `floor`, `pending`."""
        return self._ask("GET", plugin(plugin_id, "/versions"))

    def get_health(self, plugin_id: str) -> Object:
        """Its health as it said last, and its failures."""
        return self._ask("GET", plugin(plugin_id, "/health"))

    def get_scan(self, plugin_id: str) -> Object:
        """What reading its code said: `verdict`, `policy`, `findings`; `pending` of a version that waits."""
        return self._ask("GET", plugin(plugin_id, "/scan"))

    def scan_plugin(self, plugin_id: str) -> Object:
        """Has the service read its code again, and gives what that said."""
        return self._ask("POST", plugin(plugin_id, "/scan"))

    def get_stats(self, plugin_id: str) -> Object:
        """What it uses: processor, memory, processes, network, data."""
        return self._ask("GET", plugin(plugin_id, "/stats"))

    def get_metrics(self, plugin_id: str) -> Object:
        """How often it was called, and how that ended."""
        return self._ask("GET", plugin(plugin_id, "/metrics"))

    def list_calls(self, plugin_id: str) -> list[Object]:
        """Its latest calls."""
        return list(self._ask("GET", plugin(plugin_id, "/calls"))["calls"])

    def reset_breaker(self, plugin_id: str) -> Object:
        """Lets calls through again."""
        return self._ask("POST", plugin(plugin_id, "/breaker/reset"))

    def get_limits(self, plugin_id: str) -> Object:
        """The limits in force, and where they come from."""
        return self._ask("GET", plugin(plugin_id, "/limits"))

    def set_limits(self, plugin_id: str, limits: Object) -> Object:
        """Sets the operator's limits as a whole, such as `{"memory_mb": 512}`; a plugin that runs is started anew."""
        return self._ask("PUT", plugin(plugin_id, "/limits"), limits)

    def read_logs(self, plugin_id: str, tail: int | None = None, since: str | None = None) -> list[Object]:
        """The lines that the plugin logged or printed."""
        path = plugin(plugin_id, "/logs") + _query({"tail": tail, "since": since})
        return self._transport.send_lines("GET", path, self._timeout)

    def follow_logs(self, plugin_id: str, tail: int | None = None) -> EventStream:
        """The lines as they come, as events `log`, after the last `tail` ones."""
        path = plugin(plugin_id, "/logs") + _query({"tail": tail, "follow": "true"})
        return EventStream(lambda: self._transport.open("GET", path, None, _SILENCE_SECONDS))

    def follow_events(self) -> EventStream:
        """Every change of a plugin's state as it happens, as events `plugin.state`."""
        return EventStream(lambda: self._transport.open("GET", "/api/events", None, _SILENCE_SECONDS))

    def _bring(
        self,
        path: str,
        plugin_path: str | os.PathLike[str] | None,
        plugin_url: str | None,
        signature_path: str | os.PathLike[str] | None,
    ) -> Object:
        if (plugin_path is None) == (plugin_url is None):
            raise ValueError("expected one of `plugin_path` and `plugin_url`")
        if plugin_path is None:
            if signature_path is not None:
                # The service fetches the signature from beside the archive.
                raise ValueError("`signature_path` goes with `plugin_path`")
            return self._ask("POST", path, {"url": plugin_url})
        return self._upload(path, Path(plugin_path), signature_path)

    def _upload(self, path: str, archive: Path, signature_path: str | os.PathLike[str] | None) -> Object:
        parts = {"file": archive.read_bytes()}
        beside = archive.with_name(archive.name + SIGNATURE_SUFFIX)
        if signature_path is not None:
            parts["signature"] = Path(signature_path).read_bytes()
        elif beside.exists():
            parts["signature"] = beside.read_bytes()
        # Without a signature too: whether that is acceptable is for the service to say.
        body, content_type = multipart(parts)
        return self._transport.send("POST", path, body, content_type, self._timeout)


def _call(context: Any, method: str | None, timeout_ms: int | None) -> tuple[Object, float]:
    """The body of a call, and how long its answer may take."""
    # Without a time of its own the manifest decides, which may allow ten minutes.
    timeout = 600.0 if timeout_ms is None else timeout_ms / 1000
    return {"context": context, **given(method=method, timeout_ms=timeout_ms)}, timeout + _MARGIN_SECONDS
