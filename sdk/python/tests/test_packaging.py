"""What pip installs is the whole package."""

from __future__ import annotations

import re
import unittest

import support


class PackagingTest(unittest.TestCase):
    def test_every_folder_with_modules_is_installed(self) -> None:
        text = (support.SDK / "pyproject.toml").read_text("utf-8")
        listed = re.search(r"^packages = \[(.*)\]$", text, re.MULTILINE)
        assert listed is not None
        found = {
            ".".join(path.parent.relative_to(support.SDK).parts)
            for path in (support.SDK / "plugbay").rglob("*.py")
        }
        self.assertEqual(set(re.findall(r'"([^"]+)"', listed[1])), found)

    def test_the_version_is_said_twice_and_the_same(self) -> None:
        text = (support.SDK / "pyproject.toml").read_text("utf-8")
        version: dict[str, str] = {}
        exec((support.SDK / "plugbay" / "version.py").read_text("utf-8"), version)
        self.assertIn(f'\nversion = "{version["__version__"]}"\n', text)
