"""Host functions: what is sent, what comes back, what is refused."""

from __future__ import annotations

import time

from support import RunnerCase

HOST = """
    import plugbay

    class Plugin:
        async def initialize(self):
            self.before = None

        async def execute(self, context):
            return await self.host.kv.get("count", 7)

        @plugbay.method
        def sync(self, context):
            self.host.kv.set("count", None, expires_seconds=60).wait()
            return self.host.db.query("chat", "SELECT ?", [1]).wait()["rows"]

        @plugbay.method
        async def blobs(self, context):
            insert = ("INSERT INTO t VALUES (:b)", {"b": b"\\x00"})
            await self.host.db.transaction("chat", [("DELETE FROM t", []), insert])
            rows = (await self.host.db.query("chat", "SELECT ?", (b"\\xff", 2)))["rows"]
            return [str(rows), rows[0][0] == b"\\xff"]

        @plugbay.method
        async def fetch(self, context):
            answer = await self.host.http.fetch("https://api.example.com/", "POST", json={"a": 1})
            return [answer.status, answer.ok, answer.json(), answer.headers]

        @plugbay.method
        async def denied(self, context):
            try:
                await self.host.chat.send("hello")
            except plugbay.PermissionDenied as error:
                return [str(error), error.permission, error.how]

        @plugbay.method
        async def uncaught(self, context):
            await self.host.plugins.execute("other", {"a": 1})

        @plugbay.method
        async def wrong(self, context):
            self.host.kv.get("count").wait()
"""


class HostTest(RunnerCase):
    def test_a_value_makes_the_round_trip(self) -> None:
        service = self.run_plugin(HOST)
        for result, expected in (({"found": True, "value": 3}, 3), ({"found": False}, 7)):
            call = service.invoke("execute", {"context": {}}, "call_h")
            request = service.next_request()
            self.assertEqual(request["method"], "kv.get")
            self.assertEqual(request["params"], {"key": "count", "call": "call_h"})
            service.send({"id": request["id"], "result": result})
            self.assertEqual(service.answer(call)["result"], expected)

    def test_synchronous_code_waits(self) -> None:
        service = self.run_plugin(HOST)
        call = service.invoke("sync", {"context": {}}, "call_s")
        request = service.next_request()
        self.assertEqual(
            request["params"], {"key": "count", "value": None, "expires_seconds": 60, "call": "call_s"}
        )
        service.send({"id": request["id"], "result": {}})
        request = service.next_request()
        self.assertEqual(
            request["params"], {"name": "chat", "sql": "SELECT ?", "params": [1], "call": "call_s"}
        )
        service.send({"id": request["id"], "result": {"columns": ["?"], "rows": [[1]], "truncated": False}})
        self.assertEqual(service.answer(call)["result"], [[1]])

    def test_bytes_go_to_databases_and_come_back(self) -> None:
        service = self.run_plugin(HOST)
        call = service.invoke("blobs", {"context": {}}, "call_b")
        request = service.next_request()
        statements = [
            {"sql": "DELETE FROM t", "params": []},
            {"sql": "INSERT INTO t VALUES (:b)", "params": {"b": {"base64": "AA=="}}},
        ]
        self.assertEqual(request["params"], {"name": "chat", "statements": statements, "call": "call_b"})
        service.send({"id": request["id"], "result": {"results": []}})
        request = service.next_request()
        self.assertEqual(request["params"]["params"], [{"base64": "/w=="}, 2])
        rows = [[{"base64": "/w=="}, 2]]
        service.send({"id": request["id"], "result": {"columns": ["a", "b"], "rows": rows, "truncated": False}})
        self.assertEqual(service.answer(call)["result"], ["[[b'\\xff', 2]]", True])

    def test_a_cancelled_call_does_not_wait_on(self) -> None:
        service = self.run_plugin(HOST)
        call = service.invoke("sync", {"context": {}}, "call_c")
        request = service.next_request()
        began = time.monotonic()
        service.cancel("call_c")
        self.assertEqual(service.answer(call)["error"]["data"]["kind"], "CancelledError")
        self.assert_quick(began, 1)
        service.send({"id": request["id"], "result": {}})
        self.assertEqual(service.ask("health")["result"], {"status": "healthy"})

    def test_a_stream_is_read_to_its_end_and_closed(self) -> None:
        for define, loop, call in (("async def", "async for", "await self.host.http.stream(url)"), ("def", "for", "self.host.http.stream(url).wait()")):
            text = f"""
                class Reads:
                    {define} execute(self, context):
                        url, found = "https://api.example.com/", []
                        stream = {call}
                        {loop} piece in stream:
                            found.append(piece.decode())
                        return [stream.status, stream.ok, found]
            """
            service = self.run_plugin(text)
            id = service.invoke("execute", {"context": {}})
            said = [
                {"status": 200, "headers": {}, "stream": "stream_1"},
                {"data": "a"},
                {"data_base64": "Yg=="},
                {"end": True},
                {},
            ]
            methods = []
            for result in said:
                request = service.next_request()
                methods.append((request["method"], request["params"].get("stream")))
                service.send({"id": request["id"], "result": result})
            self.assertEqual(service.answer(id)["result"], [200, True, ["a", "b"]], define)
            reads = [("http.read", "stream_1")] * 3
            self.assertEqual(methods, [("http.stream", None), *reads, ("http.close", "stream_1")])

    def test_fetch_sends_json_and_reads_json(self) -> None:
        service = self.run_plugin(HOST)
        call = service.invoke("fetch", {"context": {}}, "call_f")
        request = service.next_request()
        self.assertEqual(
            request["params"],
            {
                "url": "https://api.example.com/",
                "method": "POST",
                "headers": {"content-type": "application/json"},
                "body": '{"a": 1}',
                "call": "call_f",
            },
        )
        service.send({"id": request["id"], "result": {"status": 201, "headers": {"x": "y"}, "body_base64": "WzFd"}})
        self.assertEqual(service.answer(call)["result"], [201, True, [1], {"x": "y"}])

    def test_a_missing_permission_says_what_would_grant_it(self) -> None:
        service = self.run_plugin(HOST)
        call = service.invoke("denied", {"context": {}})
        data = {"permission": "chat_access", "how": "plugbay approve demo --grant chat_access"}
        error = {"code": -32001, "message": "permission-denied", "data": data}
        service.send({"id": service.next_request()["id"], "error": error})
        self.assertEqual(
            service.answer(call)["result"], ["permission-denied", "chat_access", data["how"]]
        )

    def test_an_error_that_is_not_caught_is_the_calls_error(self) -> None:
        service = self.run_plugin(HOST)
        call = service.invoke("uncaught", {"context": {}})
        request = service.next_request()
        self.assertEqual(request["params"]["context"], {"a": 1})
        self.assertEqual(request["params"]["method"], "execute")
        service.send({"id": request["id"], "error": {"code": -32010, "message": "`other` is not enabled"}})
        self.assertEqual(service.answer(call)["error"]["message"], "HostError: `other` is not enabled")

    def test_waiting_in_the_loop_is_an_error_and_not_a_hang(self) -> None:
        service = self.run_plugin(HOST)
        error = service.answer(service.invoke("wrong", {"context": {}}))["error"]
        self.assertIn("use `await` here", error["message"])
