"""Runs the script as the sandbox does: `python3 -m unittest discover tests`."""

from __future__ import annotations

import json
import subprocess
import unittest
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).resolve().parents[1] / "shout.sh"


def run(context: Any, **how: Any) -> subprocess.CompletedProcess[str]:
    """One call."""
    environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PLUGBAY_METHOD": "execute"}
    text = json.dumps({"context": context}, **how)
    return subprocess.run(
        [str(SCRIPT)], input=text, env=environment, capture_output=True, encoding="utf-8", timeout=10, check=False
    )


class ShoutTest(unittest.TestCase):
    def test_messages_become_capital(self) -> None:
        told = {
            "Hello": "HELLO!",
            "": "!",
            'a "quoted" word': 'A "QUOTED" WORD!',
            "a\nb\tc": "A\nB\tC!",
            "back\\slash": "BACK\\SLASH!",
            "größe": "GRÖSSE!".replace("SS", "ß"),
            '","message":"other': '","MESSAGE":"OTHER!',
            "&": "&!",
        }
        for message, expected in told.items():
            done = run({"message": message, "user": "ada"}, ensure_ascii=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(done.stdout), {"shout": expected})

    def test_escapes_stay_as_they_are(self) -> None:
        done = run({"message": "b\u00e4r \U0001f600 \x1f"})
        self.assertEqual(json.loads(done.stdout), {"shout": "BäR \U0001f600 \x1f!"})

    def test_compact_json_is_read(self) -> None:
        done = run({"user": "ada", "message": "hi"}, separators=(",", ":"))
        self.assertEqual(json.loads(done.stdout), {"shout": "HI!"})

    def test_without_a_message_it_fails_and_says_why(self) -> None:
        for context in ({}, {"message": 7}, None, {"user": "message"}):
            done = run(context)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn("expected", done.stderr)


if __name__ == "__main__":
    unittest.main()
