"""The harness for authors' own tests."""

from __future__ import annotations

import unittest
from typing import Any, AsyncIterator

import support  # noqa: F401  (puts the package on the path)

import plugbay
from plugbay.testing import Denied, Harness, PluginFailed


class Greeter(plugbay.Plugin):
    async def initialize(self) -> bool:
        self.log.info("ready")
        return bool(self.config.get("works", True))

    async def execute(self, context: plugbay.Context) -> Any:
        if context.get("fail"):
            raise ValueError("bad thing")
        if context.get("object"):
            return object()
        plugbay.progress(10)
        visits = await self.host.kv.get("visits", 0)
        return {"greeting": f"Hello, {context['user']}!", "visits": visits}

    @plugbay.method
    async def letters(self, context: plugbay.Context) -> AsyncIterator[str]:
        for letter in "abc":
            yield letter

    @plugbay.method
    def wait(self, context: plugbay.Context) -> Any:
        return self.host.chat.history().wait()


class Masks:
    def process_message(self, message: dict[str, Any], context: Any) -> Any:
        return message

    async def process_stream(self, stream: AsyncIterator[dict[str, Any]], context: Any) -> AsyncIterator[Any]:
        whole = ""
        async for delta in stream:
            whole += delta["text"]
            kept = 3 if whole.endswith("sec") else 0
            yield {"text": whole[: len(whole) - kept].replace("secret", "#"), "hold": kept}
            whole = whole[len(whole) - kept :]


async def on_message(message: dict[str, Any]) -> dict[str, Any]:
    return {"text": message["text"][::-1]}


class HarnessTest(unittest.IsolatedAsyncioTestCase):
    async def test_calls_hooks_streams_and_notes(self) -> None:
        async with Harness(Greeter) as plugin:
            plugin.host["kv.get"] = lambda params: {"found": params["key"] == "visits", "value": 3}
            self.assertEqual(await plugin.execute({"user": "Ada"}), {"greeting": "Hello, Ada!", "visits": 3})
            self.assertEqual(plugin.requests, [("kv.get", {"key": "visits", "call": "call_2"})])
            self.assertEqual(await plugin.hook("on_message", {"text": "abc"}), {"text": "cba"})
            self.assertEqual(await plugin.execute({}, "letters"), ["a", "b", "c"])
            await plugin.execute({}, "letters", stream=True)
            self.assertEqual(plugin.chunks, ["a", "b", "c"])
            self.assertEqual(await plugin.health(), {"status": "healthy"})
            self.assertEqual(plugin.progress[0]["percent"], 10)
            self.assertEqual(plugin.logs[0]["message"], "ready")
            self.assertIsInstance(plugin.instance, Greeter)

    async def test_what_the_plugin_raises_is_raised_here(self) -> None:
        async with Harness(Greeter) as plugin:
            with self.assertRaisesRegex(PluginFailed, "^ValueError: bad thing$") as caught:
                await plugin.execute({"fail": True})
            self.assertIn("test_testing.py", caught.exception.trace)
            with self.assertRaisesRegex(PluginFailed, "cannot be sent as JSON"):
                await plugin.execute({"object": True})

    async def test_host_functions_can_be_denied_and_must_be_known(self) -> None:
        async with Harness(Greeter) as plugin:
            plugin.host["chat.history"] = Denied("chat_access")
            with self.assertRaisesRegex(PluginFailed, "PermissionDenied: permission `chat_access`"):
                await plugin.execute({}, "wait")
            with self.assertRaisesRegex(PluginFailed, "no answer for `kv.get`"):
                await plugin.execute({"user": "Ada"})

    async def test_a_filter_is_fed_and_says_what_leaves(self) -> None:
        async with Harness(Masks, chat="message_processor") as plugin:
            self.assertEqual(await plugin.feed("a sec", "ret b"), ("a # b", None))

    async def test_a_failed_start_raises(self) -> None:
        with self.assertRaisesRegex(PluginFailed, "returned False"):
            async with Harness(Greeter, {"works": False}):
                self.fail("it started")


if __name__ == "__main__":
    unittest.main()
