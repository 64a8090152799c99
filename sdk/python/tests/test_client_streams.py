"""What `PluginService` reads as it comes, and the groups of methods beside plugins."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
import unittest
from typing import Any, Callable

import support  # noqa: F401  (puts the package on the path)

from plugbay.client import CallFailed, PluginService, PluginServiceError, StreamEvent, SyncPluginService

EVENTS = "text/event-stream"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers from a table; an answer of events stays open until the test lets go."""

    table: dict[str, tuple[int, str, bytes, dict[str, str]]]
    seen: list[tuple[str, Any, Any]]
    gone: threading.Event

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        line = f"{self.command} {self.path}"
        self.seen.append((line, json.loads(body) if body else None, self.headers))
        status, kind, data, headers = self.table[line]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name, value)
        if kind != EVENTS:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()
        self.close_connection = True
        if kind == EVENTS and data.startswith(b": open"):
            # Until the client has gone, which ends this read.
            self.connection.settimeout(10)
            self.gone_or_not()

    def gone_or_not(self) -> None:
        try:
            if self.connection.recv(1) == b"":
                self.gone.set()
        except OSError:
            self.gone.set()

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def log_message(self, *_: Any) -> None:
        pass


class Served(unittest.IsolatedAsyncioTestCase):
    """A test with a server of its own."""

    def setUp(self) -> None:
        self.table: dict[str, tuple[int, str, bytes, dict[str, str]]] = {}
        self.seen: list[tuple[str, Any, Any]] = []
        self.gone = threading.Event()
        handler = type("H", (Handler,), {"table": self.table, "seen": self.seen, "gone": self.gone})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        url = f"http://127.0.0.1:{server.server_port}"
        self.service = PluginService(url, "pbt_test")
        self.sync = SyncPluginService(url, "pbt_test")

    def events(self, line: str, *events: str) -> None:
        self.table[line] = (200, EVENTS, "".join(events).encode(), {})

    def json(self, line: str, answer: Any, status: int = 200, **headers: str) -> None:
        self.table[line] = (status, "application/json", json.dumps(answer).encode(), headers)


class StreamTest(Served):
    async def test_a_call_is_streamed(self) -> None:
        answer = {"success": True, "result": None, "call_id": "call_1"}
        self.events(
            "POST /api/plugins/a/execute",
            'event: chunk\ndata: {"seq":0,"data":{"number":0}}\n\n: still here\n\n',
            'event: progress\ndata: {"percent":50.0,"message":"half"}\n\n',
            f"event: result\r\ndata: {json.dumps(answer)}\r\n\r\n",
            "event: chunk\ndata: after the end\n\n",
        )
        found = [event async for event in self.service.stream_plugin("a", {"to": 1}, method="count", timeout_ms=900)]
        self.assertEqual(found, [
            StreamEvent("chunk", {"number": 0}),
            StreamEvent("progress", {"percent": 50.0, "message": "half"}),
            StreamEvent("result", answer),
        ])
        _, body, headers = self.seen[0]
        self.assertEqual(body, {"context": {"to": 1}, "method": "count", "timeout_ms": 900})
        self.assertEqual(headers["Accept"], EVENTS)
        self.assertEqual([event.kind for event in self.sync.stream_plugin("a")], ["chunk", "progress", "result"])

    async def test_a_stream_that_fails_raises(self) -> None:
        problem = {"code": "plugin-timeout", "detail": "too slow", "how": "ask for more", "status": 504}
        self.events("POST /api/plugins/a/execute", 'event: chunk\ndata: {"seq":0,"data":1}\n\n',
                    f"event: error\ndata: {json.dumps(problem)}\n\n")
        stream = self.service.stream_plugin("a")
        self.assertEqual((await stream.__anext__()).data, 1)
        with self.assertRaises(PluginServiceError) as caught:
            await stream.__anext__()
        self.assertEqual((caught.exception.code, caught.exception.status), ("plugin-timeout", 504))

    async def test_a_refusal_is_raised_before_the_first_event(self) -> None:
        self.json("POST /api/plugins/a/execute", {"code": "plugin-busy", "detail": "full"}, 503)
        with self.assertRaises(PluginServiceError) as caught:
            async for _ in self.service.stream_plugin("a"):
                self.fail("nothing was sent")
        self.assertEqual(caught.exception.code, "plugin-busy")

    async def test_what_is_cut_off_or_no_stream_is_noticed(self) -> None:
        self.events("POST /api/plugins/a/execute", 'event: chunk\ndata: {"seq":0,"data":1}\n\n')
        self.json("POST /api/plugins/b/execute", {"success": True})
        self.events("POST /api/plugins/c/execute", "event: chunk\ndata: <html>\n\n")
        for name, code in (("a", "cut-off"), ("b", "not-plugbay"), ("c", "not-plugbay")):
            with self.assertRaises(PluginServiceError) as caught:
                [event async for event in self.service.stream_plugin(name)]
            self.assertEqual(caught.exception.code, code)

    async def test_logs_are_followed_until_the_reader_leaves(self) -> None:
        self.events("GET /api/plugins/a/logs?tail=5&follow=true", ': open\n\nevent: log\ndata: {"text":"one"}\n\n',
                    'event: missed\ndata: {"count":3}\n\n')
        async with self.service.follow_logs("a", tail=5) as lines:
            self.assertEqual(await lines.__anext__(), StreamEvent("log", {"text": "one"}))
            self.assertEqual(await lines.__anext__(), StreamEvent("missed", {"count": 3}))
        self.assertTrue(await asyncio.to_thread(self.gone.wait, 5), "the connection is still open")

    async def test_cancelling_a_reader_ends_its_request(self) -> None:
        self.events("GET /api/events", ': open\n\nevent: plugin.state\ndata: {"plugin":"a"}\n\n')
        events = self.service.follow_events()
        self.assertEqual((await events.__anext__()).kind, "plugin.state")
        waiting = asyncio.ensure_future(events.__anext__())
        with self.assertRaises(asyncio.TimeoutError):
            await asyncio.wait_for(waiting, 0.05)
        self.assertTrue(await asyncio.to_thread(self.gone.wait, 5), "the connection is still open")
        with self.assertRaises(StopAsyncIteration):
            await events.__anext__()


class GroupTest(Served):
    async def test_a_result_is_given_and_a_failure_raised(self) -> None:
        self.json("POST /api/plugins/a/execute", {"success": True, "result": [1]})
        self.assertEqual(await self.service.call_plugin("a"), [1])
        self.assertEqual(self.seen[0][1], {"context": {}})
        self.assertEqual(self.sync.call_plugin("a", ["any", "JSON"]), [1])
        failed = {"success": False, "error": "ValueError: no", "error_kind": "ValueError", "call_id": "call_2"}
        self.json("POST /api/plugins/a/execute", failed)
        with self.assertRaises(CallFailed) as caught:
            await self.service.call_plugin("a", {})
        error = caught.exception
        self.assertEqual((str(error), error.kind, error.call_id), ("ValueError: no", "ValueError", "call_2"))
        self.assertEqual(error.answer, failed)

    async def test_permissions(self) -> None:
        self.json("GET /api/plugins/a/permissions", {"pending": []})
        self.json("POST /api/plugins/a/permissions/approve", {"records": []})
        self.json("POST /api/plugins/a/permissions/revoke", {"records": []})
        self.assertEqual(await self.service.get_permissions("a"), {"pending": []})
        scoped = {"permission": "filesystem_read", "scope": ["docs"]}
        await self.service.approve_plugin("a", ["chat_access"], deny=[scoped], accept_risks=["data-egress"], note="seen")
        self.assertEqual(self.seen[-1][1], {
            "grant": ["chat_access"], "deny": [scoped], "accept_risks": ["data-egress"], "note": "seen"})
        await self.service.revoke_permissions("a", ["chat_access"])
        self.assertEqual(self.seen[-1][1], {"permissions": ["chat_access"]})

    async def test_configuration_carries_its_etag(self) -> None:
        for line in ("GET /api/plugins/a/config", "PUT /api/plugins/a/config", "DELETE /api/plugins/a/config/port"):
            # Names of headers have no case.
            self.json(line, {"config": {}}, etag='"3"')
        self.json("POST /api/plugins/a/config/validate", {"config": {}})
        found = await self.service.get_config("a")
        self.assertEqual(found, {"config": {}, "etag": '"3"'})
        await self.service.set_config("a", {"port": 1}, found["etag"])
        self.assertEqual((self.seen[-1][1], self.seen[-1][2]["If-Match"]), ({"port": 1}, '"3"'))
        await self.service.unset_config("a", "port")
        self.assertEqual(self.seen[-1][2]["If-Match"], "*")
        await self.service.validate_config("a", {"port": 1})
        with self.assertRaises(ValueError):
            await self.service.unset_config("a", "..")

    async def test_logs_are_lines(self) -> None:
        lines = b'{"text":"one"}\n{"text":"two"}\n'
        self.table["GET /api/plugins/a/logs?tail=2"] = (200, "application/x-ndjson", lines, {})
        self.assertEqual(await self.service.read_logs("a", tail=2), [{"text": "one"}, {"text": "two"}])

    async def test_chat(self) -> None:
        messages = "/api/chat/conversations/conversation_1/messages"
        self.json("POST /api/chat/conversations", {"id": "conversation_1"}, 201)
        self.json(f"POST {messages}", {"answers": []})
        self.json(f"GET {messages}?limit=100", {"messages": [{"text": "hello"}], "next_cursor": None})
        self.json("GET /api/chat/conversations?limit=100", {"conversations": [], "next_cursor": None})
        begun = await self.service.begin_conversation("support")
        await self.service.post_message(begun["id"], "hello", user="ada")
        self.assertEqual(self.seen[-1][1], {"text": "hello", "user": "ada"})
        await self.service.post_file(begun["id"], "a.txt", b"hello", "text/plain")
        self.assertEqual(self.seen[-1][1]["file"]["content_base64"], "aGVsbG8=")
        self.assertEqual(await self.service.list_messages(begun["id"]), [{"text": "hello"}])
        self.assertEqual(await self.service.list_conversations(), [])

    async def test_tokens_keys_and_the_audit_log(self) -> None:
        self.json("POST /api/tokens", {"token": "pbt_x"}, 201)
        self.json("GET /api/tools?form=openai&limit=100", {"tools": [{"name": "fs"}], "next_cursor": None})
        self.json("GET /api/tokens", {"tokens": [{"label": "ci"}], "total": 1})
        self.json("DELETE /api/tokens/token_1", {"revoked_at": "now"})
        self.json("GET /api/plugins/fs/scan", {"verdict": "clean"})
        self.json("POST /api/plugins/fs/scan", {"verdict": "notes"})
        self.json("POST /api/keys", {"key_id": "A1"}, 201)
        self.json("GET /api/keys", {"keys": [], "total": 0})
        self.json("DELETE /api/keys/A1?reason=lost", {"key_id": "A1"})
        self.json("GET /api/audit?plugin=a&limit=100", {"entries": []})
        self.json("GET /api/audit/verify", {"ok": True})
        await self.service.create_token("ci", ["read"], plugins=[])
        # No plugins at all is not the same as all of them.
        self.assertEqual(self.seen[-1][1], {"label": "ci", "scopes": ["read"], "plugins": []})
        await self.service.create_token("model", ["execute"], tools=["fs.*"], read_only=True)
        limited = {"label": "model", "scopes": ["execute"], "tools": ["fs.*"], "read_only": True}
        self.assertEqual(self.seen[-1][1], limited)
        self.assertEqual(await self.service.list_tokens(), [{"label": "ci"}])
        self.assertEqual(await self.service.list_tools("openai"), [{"name": "fs"}])
        self.assertEqual((await self.service.get_scan("fs"))["verdict"], "clean")
        self.assertEqual((await self.service.scan_plugin("fs"))["verdict"], "notes")
        await self.service.revoke_token("token_1")
        await self.service.add_key("RWQ", "acme", ["acme-*"])
        self.assertEqual(self.seen[-1][1], {"public_key": "RWQ", "label": "acme", "names": ["acme-*"]})
        self.assertEqual(await self.service.list_keys(), [])
        await self.service.revoke_key("A1", reason="lost")
        self.assertEqual(await self.service.list_audit(plugin="a"), [])
        self.assertTrue((await self.service.verify_audit())["ok"])

    async def test_both_forms_have_the_same_methods(self) -> None:
        def methods(of: type) -> set[str]:
            return {name for name in dir(of) if not name.startswith("_") and callable(getattr(of, name))}

        self.assertEqual(methods(PluginService), methods(SyncPluginService))
        documented: Callable[..., Any] = PluginService.enable_plugin
        self.assertEqual(documented.__doc__, SyncPluginService.enable_plugin.__doc__)


if __name__ == "__main__":
    unittest.main()
