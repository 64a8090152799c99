"""The examples of README.md are Python, and the first two do what the page says."""

from __future__ import annotations

import ast
import re
import unittest
from typing import Any

import support

from plugbay.testing import Harness

BLOCKS = re.findall(r"```python\n(.*?)```", (support.SDK / "README.md").read_text("utf-8"), re.DOTALL)


def load(block: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": __name__}
    exec(block, names)
    return names


class ReadmeTest(unittest.IsolatedAsyncioTestCase):
    def test_every_block_compiles(self) -> None:
        self.assertGreaterEqual(len(BLOCKS), 6)
        for block in BLOCKS:
            compile(block, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    async def test_the_first_plugin_greets(self) -> None:
        async with Harness(load(BLOCKS[0])["Greeter"], {"greeting": "Good morning"}) as plugin:
            answer = await plugin.execute({"user": "Ada"})
            self.assertEqual(answer, {"success": True, "result": "Good morning, Ada!"})

    async def test_the_second_plugin_streams(self) -> None:
        async with Harness(load(BLOCKS[1])["Counter"]) as plugin:
            await plugin.execute({"to": 2}, stream=True)
            self.assertEqual(plugin.chunks, [{"number": 0}, {"number": 1}])
