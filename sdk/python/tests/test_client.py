"""`PluginService` against a small server that notes what it is asked."""

from __future__ import annotations

import email
import http.server
import json
import os
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import support  # noqa: F401  (puts the package on the path)

from plugbay.client import PluginService, PluginServiceError


class Handler(http.server.BaseHTTPRequestHandler):
    answers: dict[str, tuple[int, Any]]
    seen: list[dict[str, Any]]

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = {"line": f"{self.command} {self.path}", "headers": self.headers, "body": body}
        self.seen.append(asked)
        status, answer = self.answers.get(asked["line"], (404, {"code": "not-found", "detail": asked["line"]}))
        if status == 0:
            time.sleep(1)
            return
        data = b"" if answer is None else answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = handle_any

    def log_message(self, *_: Any) -> None:
        pass


class ClientTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.seen: list[dict[str, Any]] = []
        handler = type("H", (Handler,), {"answers": self.answers, "seen": self.seen})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.service = PluginService(self.url, "pbt_test")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def parts(self, index: int = -1) -> dict[str, bytes]:
        asked = self.seen[index]
        head = f"Content-Type: {asked['headers']['Content-Type']}\r\n\r\n".encode()
        found = {}
        for part in email.message_from_bytes(head + asked["body"]).walk():
            if not part.is_multipart():
                name = part.get_param("name", header="content-disposition")
                found[str(name)] = part.get_payload(decode=True)
        return found  # type: ignore[return-value]

    async def test_a_plugin_from_install_to_uninstall(self) -> None:
        archive = self.folder / "a-1.0.0.tar.gz"
        archive.write_bytes(b"\x1f\x8b\r\n--binary\r\n\x00")
        (self.folder / "a-1.0.0.tar.gz.minisig").write_bytes(b"signature")
        self.answers.update({
            "POST /api/plugins/install": (201, {"plugin_id": "plugin_1", "name": "a"}),
            "POST /api/plugins/plugin_1/enable": (200, {"status": "enabled"}),
            "POST /api/plugins/plugin_1/execute": (200, {"success": True, "result": 1}),
            "GET /api/plugins/plugin_1": (200, {"plugin_id": "plugin_1", "status": "enabled"}),
            "POST /api/plugins/plugin_1/update?allow_downgrade=true": (200, {"status": "updated"}),
            "POST /api/plugins/plugin_1/rollback": (200, {"status": "rolled_back"}),
            "POST /api/plugins/plugin_1/disable": (200, {"status": "disabled"}),
            "POST /api/plugins/plugin_1/disable?cascade=true": (200, {"status": "disabled", "also_disabled": ["b"]}),
            "DELETE /api/plugins/plugin_1?purge=true": (204, None),
        })
        service = self.service
        plugin_id = await service.install_plugin(plugin_path=archive)
        self.assertEqual(plugin_id, "plugin_1")
        self.assertEqual(self.parts(), {"file": archive.read_bytes(), "signature": b"signature"})
        self.assertEqual(self.seen[0]["headers"]["Authorization"], "Bearer pbt_test")
        self.assertEqual((await service.enable_plugin(plugin_id))["status"], "enabled")
        answer = await service.execute_plugin(plugin_id, {"a": 1}, method="m", timeout_ms=500)
        self.assertEqual(answer, {"success": True, "result": 1})
        self.assertEqual(json.loads(self.seen[-1]["body"]), {"context": {"a": 1}, "method": "m", "timeout_ms": 500})
        self.assertEqual((await service.get_plugin_info(plugin_id))["status"], "enabled")
        updated = await service.update_plugin(plugin_id, plugin_path=archive, allow_downgrade=True)
        self.assertEqual(updated["status"], "updated")
        back = await service.rollback_plugin(plugin_id, version="1.0.0", restore_data=True)
        self.assertEqual(back["status"], "rolled_back")
        self.assertEqual(json.loads(self.seen[-1]["body"]), {"restore_data": True, "version": "1.0.0"})
        self.assertEqual((await service.disable_plugin(plugin_id))["status"], "disabled")
        self.assertEqual((await service.disable_plugin(plugin_id, cascade=True))["also_disabled"], ["b"])
        self.assertIsNone(await service.uninstall_plugin(plugin_id, purge=True))

    async def test_install_from_an_address(self) -> None:
        self.answers["POST /api/plugins/install"] = (201, {"plugin_id": "plugin_2"})
        self.assertEqual(await self.service.install_plugin(plugin_url="https://a.example/a.tar.gz"), "plugin_2")
        self.assertEqual(json.loads(self.seen[0]["body"]), {"url": "https://a.example/a.tar.gz"})

    async def test_a_list_is_read_to_its_last_page(self) -> None:
        first, second = "GET /api/plugins?status=enabled&limit=100", "&cursor=x%2Fy"
        self.answers[first] = (200, {"plugins": [{"name": "a"}], "total": 2, "next_cursor": "x/y"})
        self.answers[first + second] = (200, {"plugins": [{"name": "b"}], "total": 2, "next_cursor": None})
        plugins = await self.service.list_plugins(status="enabled")
        self.assertEqual([plugin["name"] for plugin in plugins], ["a", "b"])

    async def test_a_refusal_is_raised_with_its_code(self) -> None:
        problem = {"code": "plugin-not-enabled", "detail": "`a` is disabled", "how": "plugbay enable a", "status": 409}
        self.answers["POST /api/plugins/a/execute"] = (409, problem)
        with self.assertRaises(PluginServiceError) as caught:
            await self.service.execute_plugin("a", {})
        error = caught.exception
        self.assertEqual((error.code, error.detail, error.how, error.status), (
            "plugin-not-enabled", "`a` is disabled", "plugbay enable a", 409))
        self.assertEqual(error.body, problem)
        self.assertEqual(str(error), "plugin-not-enabled: `a` is disabled (plugbay enable a)")

    async def test_what_is_not_plugbay_is_noticed(self) -> None:
        for status in (200, 502):
            self.answers["GET /api/plugins/a"] = (status, b"<html>")
            with self.assertRaises(PluginServiceError) as caught:
                await self.service.get_plugin_info("a")
            self.assertEqual((caught.exception.code, caught.exception.status), ("not-plugbay", status))

    async def test_redirects_are_not_followed(self) -> None:
        self.answers["GET /api/plugins/a"] = (302, {})
        with self.assertRaises(PluginServiceError):
            await self.service.get_plugin_info("a")
        self.assertEqual(len(self.seen), 1)

    async def test_no_answer_is_unreachable(self) -> None:
        self.answers["GET /api/plugins/a"] = (0, None)
        for service in (PluginService("http://127.0.0.1:1", "t"), PluginService(self.url, "t", timeout=0.1)):
            with self.assertRaises(PluginServiceError) as caught:
                await service.get_plugin_info("a")
            self.assertEqual((caught.exception.code, caught.exception.status), ("unreachable", 0))

    async def test_an_id_cannot_become_another_address(self) -> None:
        with self.assertRaises(PluginServiceError):
            await self.service.get_plugin_info("a/../../keys?x=1")
        self.assertEqual(self.seen[0]["line"], "GET /api/plugins/a%2F..%2F..%2Fkeys%3Fx%3D1")
        for wrong in ("", "..", "."):
            with self.assertRaises(ValueError):
                await self.service.get_plugin_info(wrong)

    async def test_address_and_token_come_from_the_environment(self) -> None:
        self.answers["GET /api/plugins/a"] = (200, {})
        (self.folder / "admin.token").write_text("pbt_file\n")
        for environment, token in (
            ({"PLUGBAY_TOKEN": "pbt_env"}, "pbt_env"),
            ({"PLUGBAY_DATA_DIR": str(self.folder)}, "pbt_file"),
        ):
            with mock.patch.dict(os.environ, {"PLUGBAY_URL": self.url + "/", **environment}, clear=True):
                await PluginService().get_plugin_info("a")
            self.assertEqual(self.seen[-1]["headers"]["Authorization"], f"Bearer {token}")

    async def test_wrong_arguments_are_errors_before_anything_is_sent(self) -> None:
        with self.assertRaises(ValueError):
            await self.service.install_plugin()
        with self.assertRaises(ValueError):
            await self.service.install_plugin(plugin_path="a", plugin_url="b")
        with self.assertRaises(ValueError):
            PluginService("ftp://a")
        self.assertEqual(self.seen, [])
