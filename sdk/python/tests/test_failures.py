"""What goes wrong: in the plugin, at its start, on the wire."""

from __future__ import annotations

import time

from support import RunnerCase, Service

ECHO = """
    class Echo:
        async def execute(self, context):
            return context
"""


class StartTest(RunnerCase):
    def refused(self, text: str, *arguments: str) -> dict[str, object]:
        service = self.start(text, *arguments)
        answer = service.initialize()
        self.assertEqual(service.end()[0], 1)
        error: dict[str, object] = answer["error"]
        self.assertEqual(error["code"], -32000)
        return error

    def test_a_raising_initialize_shows_its_traceback(self) -> None:
        error = self.refused("""
            class Plugin:
                def execute(self, context): ...

                async def initialize(self):
                    self.connect()

                def connect(self):
                    raise ConnectionError("no database")
        """)
        self.assertEqual(error["message"], "ConnectionError: no database")
        data = error["data"]
        assert isinstance(data, dict)
        self.assertEqual(data["kind"], "ConnectionError")
        self.assertIn("in connect", data["trace"])
        self.assertIn("main.py", data["trace"])
        self.assertNotIn("dispatch.py", data["trace"])

    def test_initialize_may_say_no(self) -> None:
        error = self.refused("""
            class Plugin:
                def execute(self, context): ...
                def initialize(self): return False
        """)
        self.assertEqual(error["message"], "StartError: initialize() returned False")

    def test_a_raising_init_fails_the_start(self) -> None:
        error = self.refused("""
            class Plugin:
                def __init__(self, config): self.key = config["key"]
                def execute(self, context): ...
        """)
        self.assertEqual(error["message"], "KeyError: 'key'")

    def test_an_import_error_shows_where(self) -> None:
        error = self.refused("import not_there\n")
        self.assertEqual(error["message"], "ModuleNotFoundError: No module named 'not_there'")
        data = error["data"]
        assert isinstance(data, dict)
        self.assertIn('main.py", line 1', data["trace"])

    def test_exiting_while_imported_fails_the_start(self) -> None:
        self.assertEqual(self.refused("import sys\nsys.exit(3)\n")["message"], "SystemExit: 3")

    def test_a_syntax_error_shows_the_line(self) -> None:
        data = self.refused("class Plugin:\n    def execute(:\n")["data"]
        assert isinstance(data, dict)
        self.assertEqual(data["kind"], "SyntaxError")
        self.assertIn("def execute(:", data["trace"])

    def test_the_class_must_be_there_and_be_one(self) -> None:
        two = "class A:\n    def execute(self, c): ...\nclass B(A): ...\n"
        cases = [
            ("x = 1\n", (), "`main.py` defines no class with a method `execute`"),
            (two, (), "several classes with `execute`: `A`, `B`; say which"),
            (two, ("--class", "C"), "`main.py` has no class `C`"),
            (ECHO, ("--hook", "on_message"), "declares the hook `on_message`, but `main` has no such"),
            (ECHO, ("--command", "/a"), "declares `/a`, but `main` has no function or method `on_command`"),
        ]
        for text, arguments, expected in cases:
            self.assertIn(expected, str(self.refused(text, *arguments)["message"]))

    def test_a_missing_file_is_named(self) -> None:
        service = Service(self.folder, "--main", "src/start.py")
        self.addCleanup(service.close)
        self.assertIn("`src/start.py` (`main` in plugin.yaml) is not", service.initialize()["error"]["message"])

    def test_wrong_arguments_end_with_2(self) -> None:
        service = Service(self.folder, "--mainly", "main.py")
        self.addCleanup(service.close)
        code, _, err = service.end()
        self.assertEqual(code, 2)
        self.assertIn("--main", err)


class CallTest(RunnerCase):
    def test_an_exception_is_told_and_the_next_call_works(self) -> None:
        service = self.run_plugin("""
            import sys

            class Plugin:
                async def execute(self, context):
                    kind = context["kind"]
                    if kind == "value":
                        raise ValueError("bad thing")
                    if kind == "exit":
                        sys.exit(4)
                    if kind == "empty":
                        raise KeyError
                    if kind == "surrogate":
                        raise ValueError("\\ud800")
                    return "fine"
        """)
        error = service.execute({"kind": "value"})["error"]
        self.assertEqual((error["code"], error["message"]), (-32000, "ValueError: bad thing"))
        self.assertEqual(error["data"]["kind"], "ValueError")
        self.assertIn('raise ValueError("bad thing")', error["data"]["trace"])
        self.assertEqual(service.execute({"kind": "exit"})["error"]["message"], "SystemExit: 4")
        self.assertEqual(service.execute({"kind": "empty"})["error"]["message"], "KeyError")
        self.assertEqual(service.execute({"kind": "surrogate"})["error"]["message"], "ValueError: \\ud800")
        self.assertEqual(service.execute({"kind": ""})["result"], "fine")

    def test_a_synchronous_exception_is_told_the_same_way(self) -> None:
        service = self.run_plugin("""
            class Plugin:
                def execute(self, context):
                    if context == "stop":
                        raise StopIteration
                    raise OSError("full")
        """)
        error = service.execute({})["error"]
        self.assertEqual((error["message"], error["data"]["kind"]), ("OSError: full", "OSError"))
        self.assertNotIn("thread.py", error["data"]["trace"])
        self.assertIn("StopIteration", service.execute("stop")["error"]["message"])

    def test_a_result_that_json_cannot_hold_is_an_error(self) -> None:
        service = self.run_plugin("""
            def deep(levels):
                return [deep(levels - 1)] if levels else []

            RESULTS = {
                "object": object(), "nan": float("nan"), "surrogate": "\\ud800", "deep": deep(70),
                "large": "x" * (4 * 1024 * 1024), "wide": [[1]] * 1000,
            }

            class Plugin:
                async def execute(self, context):
                    return RESULTS[context]
        """)
        cases = [
            ("object", "Object of type object is not JSON serializable"),
            ("nan", "not JSON compliant"),
            ("surrogate", "surrogates not allowed"),
            ("deep", "nests deeper than 64 levels"),
            ("large", "at most 4194304"),
        ]
        for name, expected in cases:
            error = service.execute(name)["error"]
            self.assertEqual((error["code"], error["data"]["kind"]), (-32000, "Unsendable"))
            self.assertTrue(error["message"].startswith("Unsendable: the result cannot be sent as JSON: "))
            self.assertIn(expected, error["message"])
        self.assertEqual(len(service.execute("wide")["result"]), 1000)

    def test_calls_before_initialize_and_unknown_methods_are_refused(self) -> None:
        service = self.start(ECHO)
        self.assertEqual(service.execute({})["error"]["code"], -32600)
        self.assertEqual(service.ask("health")["error"]["code"], -32600)
        service.initialize()
        self.assertEqual(service.ask("dance")["error"]["code"], -32601)
        self.assertEqual(service.ask("invoke", {"method": "execute"})["error"]["code"], -32602)
        self.assertEqual(service.initialize()["error"]["code"], -32600)

    def test_exiting_in_a_background_task_ends_the_process(self) -> None:
        service = self.run_plugin("""
            import asyncio, sys, time

            async def leave():
                sys.exit(5)

            class Plugin:
                async def execute(self, context):
                    asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)
                    self.task = asyncio.create_task(leave())
                    await asyncio.sleep(60)
        """)
        service.invoke("execute", {"context": {}})
        code, _, err = service.end()
        self.assertEqual(code, 5)
        self.assertIn("in leave", err)

    def test_a_failing_cleanup_is_told_and_still_ends(self) -> None:
        service = self.run_plugin("""
            class Plugin:
                def execute(self, context): ...
                def cleanup(self): raise OSError("busy")
        """)
        self.assertEqual(service.ask("shutdown")["error"]["message"], "OSError: busy")
        self.assertEqual(service.end()[0], 0)


class WireTest(RunnerCase):
    def broken_by(self, data: bytes) -> str:
        service = self.run_plugin(ECHO)
        try:
            service.socket.sendall(data)
        except ConnectionError:
            pass
        code, _, err = service.end()
        self.assertEqual(code, 70)
        self.assertEqual(err.count("\n"), 1, err)
        self.assertTrue(err.startswith("plugbay.runner: the service broke the protocol: line 2 "), err)
        return err

    def test_garbage_ends_the_runner(self) -> None:
        self.assertIn("is not JSON", self.broken_by(b"hello\n"))
        self.assertIn("is not a JSON object", self.broken_by(b"[1]\n"))
        self.assertIn("is not UTF-8", self.broken_by(b'{"a":"\xff"}\n'))
        self.assertIn("is not JSON", self.broken_by(b"[" * 100000 + b"\n"))

    def test_a_line_that_is_too_long_ends_the_runner(self) -> None:
        self.assertIn("is longer than 4194304 bytes", self.broken_by(b" " * (4 * 1024 * 1024 + 1)))

    def test_a_line_of_the_largest_size_is_served(self) -> None:
        service = self.run_plugin("class P:\n    async def execute(self, c): return len(c)\n")
        service.last_id += 1
        head = b'{"jsonrpc":"2.0","id":%d,"method":"invoke","params":{"method":"execute","call":"c",' % service.last_id
        head += b'"params":{"context":"'
        size = 4 * 1024 * 1024 - len(head) - len(b'"}}}')
        service.socket.sendall(head + b"x" * size + b'"}}}\n')
        self.assertEqual(service.answer(service.last_id)["result"], size)

    def test_messages_may_arrive_in_any_pieces(self) -> None:
        service = self.run_plugin(ECHO)
        ids = [101, 102, 103]
        line = '{"id":%d,"method":"invoke","params":{"method":"execute","call":"%d","params":{"context":"é"}}}\n'
        data = "".join(line % (id, id) for id in ids).encode()
        for start in range(0, len(data), 7):
            service.socket.sendall(data[start : start + 7])
            time.sleep(0.0005)
        self.assertEqual([service.answer(id)["result"] for id in ids], ["é"] * 3)

    def test_a_gone_service_ends_the_runner_at_once(self) -> None:
        service = self.run_plugin("""
            import time

            class Plugin:
                def execute(self, context): time.sleep(60)
                def cleanup(self): print("never")
        """)
        service.invoke("execute", {"context": {}})
        service.ask("health")
        began = time.monotonic()
        service.input.close()
        service.socket.close()
        self.assertEqual(service.end(), (75, "", ""))
        self.assert_quick(began, 0.5)

    def test_a_service_that_does_not_read_costs_no_memory(self) -> None:
        service = self.run_plugin("""
            import logging

            class Plugin:
                async def execute(self, context):
                    for _ in range(3000):
                        logging.info("x" * 1000)
                    return None
        """)
        call = service.invoke("execute", {"context": {}})
        time.sleep(0.3)
        service.answer(call)
        logging = service.notified("log")
        self.assertLess(len(logging), 3000)
        service.execute({})
        self.assertTrue(any("dropped_before" in params["fields"] for params in service.notified("log")))
