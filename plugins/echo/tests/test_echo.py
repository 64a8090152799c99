"""Runs the plugin without a service: `python3 -m unittest discover tests`."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The SDK of this repository; an installed one is found anyway.
sys.path[:0] = [str(ROOT), str(ROOT.parents[1] / "sdk" / "python")]

from main import Echo
from plugbay.testing import Harness, PluginFailed


class EchoTest(unittest.IsolatedAsyncioTestCase):
    async def test_execute_answers_with_the_context(self) -> None:
        async with Harness(Echo) as plugin:
            for context in ({"message": "Hello"}, {}, [1, None, "ü"], "text", None):
                self.assertEqual(await plugin.execute(context), {"echo": context})

    async def test_count_yields_the_numbers_below(self) -> None:
        async with Harness(Echo) as plugin:
            self.assertEqual(await plugin.execute({"to": 2}, method="count"), [{"number": 0}, {"number": 1}])
            self.assertEqual(await plugin.execute({"to": 0}, method="count"), [])

    async def test_count_refuses_what_is_no_number(self) -> None:
        async with Harness(Echo) as plugin:
            for to in (-1, 100_001, 1.5, True, "3", None):
                with self.assertRaisesRegex(PluginFailed, "whole number"):
                    await plugin.execute({"to": to}, method="count")


if __name__ == "__main__":
    unittest.main()
