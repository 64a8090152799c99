"""A plugin in the usual shape, from start to end."""

from __future__ import annotations

import time

from support import RunnerCase

COUNTER = '''
    import logging
    from typing import Any, Dict, Optional

    logger = logging.getLogger(__name__)


    class CounterPlugin:
        def __init__(self, config: Dict[str, Any]):
            self.config = config
            self.step = config.get("step", 1)
            self.total = 0
            logger.info(f"step is {self.step}")

        async def initialize(self) -> bool:
            self.total = self.config.get("start", 0)
            return True

        async def execute(self, context: Dict[str, Any]) -> Dict[str, Any]:
            try:
                self.total += self.step * len(context["words"])
                return {"success": True, "result": self.total, "message": "counted"}
            except KeyError as error:
                return {"success": False, "error": f"missing {error}"}

        async def cleanup(self) -> None:
            print("cleaned up")

        def health_check(self) -> Dict[str, Any]:
            return {"status": "healthy", "total": self.total}


    async def on_message(message: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        if message["text"].startswith("count"):
            return {"text": str(len(message["text"]))}
        return None


    def on_file_upload(file_info: Dict[str, Any]) -> Dict[str, Any]:
        return {"seen": file_info["name"]}


    async def on_command(command: str, args: list) -> Dict[str, Any]:
        return {"command": command, "args": args}
'''


class ClassPluginTest(RunnerCase):
    def test_it_lives_from_initialize_to_shutdown(self) -> None:
        service = self.start(COUNTER, "--class", "CounterPlugin", "--hook", "on_message", "--command", "/count")
        result = service.initialize({"step": 2, "start": 10})["result"]
        self.assertEqual(result["protocol"], 1)
        self.assertEqual(result["sdk"], "python/0.1.0")
        self.assertEqual(result["methods"], ["execute", "on_command", "on_file_upload", "on_message"])
        self.assertEqual(result["commands"], ["/count"])
        self.assertEqual(service.notified("log")[0]["message"], "step is 2")

        answer = service.execute({"words": ["a", "b"]})
        self.assertEqual(answer["result"], {"success": True, "result": 14, "message": "counted"})
        self.assertEqual(service.execute({})["result"], {"success": False, "error": "missing 'words'"})
        self.assertEqual(service.ask("health")["result"], {"status": "healthy", "total": 14})

        hook = service.invoke("on_message", {"text": "count me", "user": "ada"})
        self.assertEqual(service.answer(hook)["result"], {"text": "8"})
        silent = service.invoke("on_message", {"text": "no"})
        self.assertIsNone(service.answer(silent)["result"])
        upload = service.invoke("on_file_upload", {"id": "1", "name": "a.txt"})
        self.assertEqual(service.answer(upload)["result"], {"seen": "a.txt"})
        command = service.invoke("on_command", {"command": "/count", "args": ["x", "y z"]})
        self.assertEqual(service.answer(command)["result"], {"command": "/count", "args": ["x", "y z"]})

        self.assertEqual(service.ask("shutdown")["result"], {})
        self.assertEqual(service.end(), (0, "cleaned up\n", ""))

    def test_the_class_is_found_without_its_name(self) -> None:
        service = self.start(COUNTER, as_module=True)
        self.assertIn("result", service.initialize())

    def test_a_synchronous_plugin_runs_in_threads(self) -> None:
        service = self.run_plugin("""
            import time

            class Plugin:
                def initialize(self):
                    return True

                def execute(self, context):
                    time.sleep(0.2)
                    return context["n"]

                def cleanup(self):
                    print("done")
        """)
        began = time.monotonic()
        calls = [service.invoke("execute", {"context": {"n": n}}) for n in range(10)]
        self.assertEqual(service.ask("health")["result"], {"status": "healthy"})
        self.assert_quick(began, 0.2)
        self.assertEqual([service.answer(call)["result"] for call in calls], list(range(10)))
        self.assert_quick(began, 1)
        service.ask("shutdown")
        self.assertEqual(service.end(), (0, "done\n", ""))

    def test_asynchronous_calls_run_together_up_to_the_limit(self) -> None:
        service = self.start("""
            import asyncio

            class Plugin:
                running = most = 0

                async def execute(self, context):
                    self.running += 1
                    self.most = max(self.most, self.running)
                    await asyncio.sleep(0.2)
                    self.running -= 1
                    return self.most
        """)
        service.initialize(max_concurrency=5)
        began = time.monotonic()
        calls = [service.invoke("execute", {"context": {}}) for _ in range(10)]
        self.assertEqual(max(service.answer(call)["result"] for call in calls), 5)
        self.assert_quick(began, 1)

    def test_host_and_log_are_there_before_init(self) -> None:
        service = self.run_plugin("""
            class Plugin:
                def __init__(self, config):
                    self.log.warning("early", extra={"answer": 42})
                    self.has_host = hasattr(self, "host")

                def execute(self, context):
                    return self.has_host
        """)
        self.assertIs(service.execute({})["result"], True)
        self.assertEqual(
            service.notified("log"),
            [{"level": "warn", "message": "early", "fields": {"logger": "demo", "answer": 42}}],
        )

    def test_only_what_is_offered_can_be_called(self) -> None:
        service = self.run_plugin("""
            import plugbay

            class Plugin(plugbay.Plugin):
                async def execute(self, context):
                    return None

                @plugbay.method
                def shout(self, context):
                    return context["text"].upper()

                def secret(self, context):
                    return "?"
        """)
        shout = service.invoke("shout", {"context": {"text": "hi"}})
        self.assertEqual(service.answer(shout)["result"], "HI")
        for name in ("secret", "initialize", "cleanup", "__init__", "missing"):
            refused = service.answer(service.invoke(name, {"context": {}}))
            self.assertEqual(refused["error"]["code"], -32601, name)

    def test_configure_is_applied_or_left_to_a_restart(self) -> None:
        service = self.run_plugin("""
            class Plugin:
                async def configure(self, config):
                    self.greeting = config["greeting"]

                async def execute(self, context):
                    return self.greeting
        """)
        self.assertEqual(service.ask("configure", {"config": {"greeting": "Hi"}})["result"], {"applied": True})
        self.assertEqual(service.execute({})["result"], "Hi")
        other = self.run_plugin("class P:\n    def execute(self, context): return 1\n")
        self.assertEqual(other.ask("configure", {"config": {}})["result"], {"applied": False})

    def test_health_words_are_mapped(self) -> None:
        service = self.run_plugin("""
            class Plugin:
                def execute(self, context):
                    self.answer = context

                async def health_check(self):
                    if self.answer == "raise":
                        raise OSError("disk is gone")
                    return self.answer
        """)
        expected = [
            ({"status": "initializing", "a": 1}, {"status": "degraded", "a": 1}),
            ({"status": "critical"}, {"status": "unhealthy"}),
            ({"status": "odd"}, {"status": "degraded", "reported": "odd"}),
            ("unhealthy", {"status": "unhealthy"}),
            (True, {"status": "healthy"}),
            (False, {"status": "unhealthy"}),
            ([], {"status": "degraded", "error": "health_check returned list, expected an object"}),
            ("raise", {"status": "unhealthy", "error": "OSError: disk is gone"}),
        ]
        for given, shown in expected:
            service.execute(given)
            self.assertEqual(service.ask("health")["result"], shown, given)

    def test_vendor_comes_before_the_package_folder(self) -> None:
        self.write("vendor/helper.py", "WHERE = 'vendor'\n")
        self.write("helper.py", "WHERE = 'package'\n")
        self.write("own.py", "WHERE = 'own'\n")
        service = self.run_plugin("""
            import helper, own

            class Plugin:
                def execute(self, context):
                    return [helper.WHERE, own.WHERE]
        """)
        self.assertEqual(service.execute({})["result"], ["vendor", "own"])

    def test_a_package_cannot_replace_the_runners_modules(self) -> None:
        self.write("asyncio.py", "raise RuntimeError('taken')\n")
        self.write("plugbay/__init__.py", "raise RuntimeError('taken')\n")
        service = self.run_plugin("class P:\n    def execute(self, context): return 1\n")
        self.assertEqual(service.execute({})["result"], 1)
