"""Generators, cancelling, progress, logging and what is printed."""

from __future__ import annotations

import time

from support import RunnerCase

STREAMS = """
    import asyncio, plugbay

    class Plugin:
        closed = False

        async def execute(self, context):
            for n in range(context["n"]):
                yield {"n": n}

        @plugbay.method
        def numbers(self, context):
            yield from range(context["n"])
            return "all"

        @plugbay.method
        async def endless(self, context):
            try:
                while True:
                    yield "tick"
            finally:
                self.closed = True

        @plugbay.method
        def endless_sync(self, context):
            try:
                while True:
                    yield "tick"
            finally:
                self.closed = True

        @plugbay.method
        async def was_closed(self, context):
            return self.closed

        @plugbay.method
        def fails(self, context):
            yield 1
            raise ValueError("halfway")

        @plugbay.method
        async def unsendable(self, context):
            yield 1
            yield object()
"""


class StreamTest(RunnerCase):
    def test_chunks_are_sent_as_they_come(self) -> None:
        service = self.run_plugin(STREAMS)
        call = service.invoke("execute", {"context": {"n": 3}}, "call_a", stream=True)
        self.assertIsNone(service.answer(call)["result"])
        self.assertEqual(
            service.notified("chunk"), [{"call": "call_a", "seq": seq, "data": {"n": seq}} for seq in range(3)]
        )
        service.notifications.clear()
        call = service.invoke("numbers", {"context": {"n": 3}}, "call_b", stream=True)
        self.assertEqual(service.answer(call)["result"], "all")
        self.assertEqual(service.notified("chunk"), [{"call": "call_b", "seq": n, "data": n} for n in range(3)])

    def test_without_a_stream_the_chunks_are_the_result(self) -> None:
        service = self.run_plugin(STREAMS)
        self.assertEqual(service.execute({"n": 2})["result"], [{"n": 0}, {"n": 1}])
        self.assertEqual(service.answer(service.invoke("numbers", {"context": {"n": 2}}))["result"], [0, 1])
        self.assertEqual(service.execute({"n": 0})["result"], [])
        self.assertEqual(service.notified("chunk"), [])

    def test_a_stream_that_fails_says_so_after_its_chunks(self) -> None:
        service = self.run_plugin(STREAMS)
        error = service.answer(service.invoke("fails", {"context": {}}, stream=True))["error"]
        self.assertEqual(error["message"], "ValueError: halfway")
        error = service.answer(service.invoke("unsendable", {"context": {}}, stream=True))["error"]
        self.assertIn("not JSON serializable", error["message"])
        self.assertEqual(len(service.notified("chunk")), 2)

    def test_an_endless_stream_can_be_cancelled(self) -> None:
        for name in ("endless", "endless_sync"):
            service = self.run_plugin(STREAMS)
            call = service.invoke(name, {"context": {}}, "call_e", stream=True)
            while not service.notified("chunk"):
                service.read()
            # Nothing is read for a while: the plugin waits and does not fill its memory.
            time.sleep(0.1)
            service.cancel("call_e")
            service.answer(call)
            self.assertLess(len(service.notified("chunk")), 50000)
            self.assertIs(service.answer(service.invoke("was_closed", {"context": {}}))["result"], True)


class CancelTest(RunnerCase):
    def test_an_asynchronous_call_ends_and_others_go_on(self) -> None:
        service = self.run_plugin("""
            import asyncio

            class Plugin:
                seen = None

                async def execute(self, context):
                    try:
                        await asyncio.sleep(context["seconds"])
                    except asyncio.CancelledError:
                        self.seen = "cancelled"
                        raise
                    return self.seen
        """)
        long = service.invoke("execute", {"context": {"seconds": 60}}, "call_long")
        other = service.invoke("execute", {"context": {"seconds": 0.1}})
        began = time.monotonic()
        service.cancel("call_long")
        self.assertEqual(service.answer(long)["error"]["data"]["kind"], "CancelledError")
        self.assertEqual(service.answer(other)["result"], "cancelled")
        self.assert_quick(began, 1)

    def test_a_call_cancelled_before_it_ran_is_answered(self) -> None:
        service = self.run_plugin("class P:\n    async def execute(self, c): return 1\n")
        call = '{"id":%d,"method":"invoke","params":{"method":"execute","call":"c%d","params":{"context":1}}}\n'
        cancel = '{"method":"cancel","params":{"call":"c%d","reason":"client"}}\n'
        service.socket.sendall("".join(call % (n, n) + cancel % n for n in (50, 51)).encode())
        self.assertIn("id", service.answer(50))
        self.assertIn("id", service.answer(51))

    def test_synchronous_code_sees_that_it_was_cancelled(self) -> None:
        service = self.run_plugin("""
            import plugbay

            class Plugin:
                def execute(self, context):
                    call = plugbay.current_call()
                    plugbay.progress(1, "running")
                    while not call.cancelled:
                        call.sleep(10)
                    return [call.id, call.reason, 29 < call.remaining < 30]
        """)
        call = service.invoke("execute", {"context": {}}, "call_sync")
        while not service.notified("progress"):
            service.read()
        began = time.monotonic()
        service.cancel("call_sync")
        self.assertEqual(service.answer(call)["result"], ["call_sync", "deadline", True])
        self.assert_quick(began, 1)

    def test_shutdown_cancels_what_runs_and_then_cleans_up(self) -> None:
        service = self.run_plugin("""
            import asyncio

            class Plugin:
                async def execute(self, context):
                    try:
                        await asyncio.sleep(60)
                    finally:
                        print("interrupted")

                async def cleanup(self):
                    print("cleaned")
        """)
        service.invoke("execute", {"context": {}})
        service.ask("health")
        service.ask("shutdown")
        self.assertEqual(service.end()[:2], (0, "interrupted\ncleaned\n"))


class NotesTest(RunnerCase):
    def test_logging_and_progress_carry_their_call(self) -> None:
        service = self.run_plugin("""
            import asyncio, logging, plugbay

            class Plugin:
                async def execute(self, context):
                    plugbay.progress(50, "halfway")
                    logging.getLogger("deep").debug("hidden")
                    try:
                        1 / 0
                    except ZeroDivisionError:
                        logging.exception("odd: %s", 1, extra={"user": {"a": 1}})
                    await asyncio.to_thread(self.log.critical, "from a thread")
        """)
        plugin_call = service.invoke("execute", {"context": {}}, "call_n")
        service.answer(plugin_call)
        self.assertEqual(service.notified("progress"), [{"call": "call_n", "percent": 50, "message": "halfway"}])
        first, second = service.notified("log")
        self.assertEqual((first["level"], first["message"]), ("error", "odd: 1"))
        self.assertEqual((first["fields"]["call"], first["fields"]["user"]), ("call_n", "{'a': 1}"))
        self.assertIn("ZeroDivisionError", first["fields"]["trace"])
        self.assertEqual((second["message"], second["fields"]["call"]), ("from a thread", "call_n"))

    def test_what_is_printed_stays_on_stdout(self) -> None:
        service = self.run_plugin("""
            import os, sys

            class Plugin:
                async def execute(self, context):
                    print("to stdout")
                    print("to stderr", file=sys.stderr)
                    return [os.getcwd() == os.environ["PLUGIN_DIR"], os.environ["PLUGIN_ID"]]
        """)
        self.assertEqual(service.execute({})["result"], [True, "plugin_1"])
        service.ask("shutdown")
        self.assertEqual(service.end(), (0, "to stdout\n", "to stderr\n"))
