"""Runs the plugin without a service: `plugbay test . --no-sandbox`, or pytest."""

from __future__ import annotations

import re
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import main


class PluginTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.plugin = main.MyPlugin({"greeting": "Good morning"})
        self.assertTrue(await self.plugin.initialize())

    async def asyncTearDown(self) -> None:
        await self.plugin.cleanup()

    async def test_execute_greets_the_user(self) -> None:
        answer = await self.plugin.execute({"user": "Ada"})
        self.assertEqual(answer, {"success": True, "result": "Good morning, Ada!"})

    async def test_execute_works_with_an_empty_context(self) -> None:
        answer = await self.plugin.execute({})
        self.assertEqual(answer["result"], "Good morning, world!")

    async def test_execute_refuses_a_user_that_is_no_string(self) -> None:
        answer = await self.plugin.execute({"user": 7})
        self.assertFalse(answer["success"])
        self.assertIn("user", answer["error"])

    async def test_greeting_has_a_default(self) -> None:
        answer = await main.MyPlugin({}).execute({"user": "Ada"})
        self.assertEqual(answer["result"], "Hello, Ada!")

    async def test_health_counts_calls_and_ends_with_cleanup(self) -> None:
        await self.plugin.execute({})
        health = self.plugin.health_check()
        self.assertEqual((health["status"], health["calls"]), ("healthy", 1))
        await self.plugin.cleanup()
        self.assertEqual(self.plugin.health_check()["status"], "unhealthy")


class ManifestTest(unittest.TestCase):
    def test_entry_point_and_class_exist(self) -> None:
        manifest = (ROOT / "plugin.yaml").read_text(encoding="utf-8")
        entry = re.search(r"^main: (\S+)$", manifest, re.MULTILINE)
        name = re.search(r"^class: (\S+)$", manifest, re.MULTILINE)
        assert entry and name
        self.assertTrue((ROOT / entry[1]).is_file())
        self.assertTrue(hasattr(main, name[1]))


if __name__ == "__main__":
    unittest.main()
