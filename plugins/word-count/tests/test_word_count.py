"""Runs the plugin without a service: `python3 -m unittest discover tests`."""

from __future__ import annotations

import json
import re
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from main import WordCount, count


class WordCountTest(unittest.TestCase):
    def words(self, text: str) -> list[str]:
        return [frequency.word for frequency in count(text, 100).most_frequent]

    def test_the_example_of_the_readme(self) -> None:
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        asked = re.search(r"exec word-count '(.*)'", readme)
        answer = re.search(r"```json\n(.*?)```", readme, re.DOTALL)
        assert asked and answer
        found = WordCount({}).execute(json.loads(asked[1]))
        self.assertEqual(found, {"success": True, "result": json.loads(answer[1])})

    def test_words_of_any_script(self) -> None:
        self.assertEqual(self.words("Größe größe 東京 it's e-mail 42 -- '"), ["grösse", "42", "e-mail", "it's", "東京"])

    def test_nothing_is_counted_in_nothing(self) -> None:
        counts = count("", 5)
        self.assertEqual((counts.lines, counts.words, counts.characters, counts.most_frequent), (0, 0, 0, []))

    def test_lines_and_characters(self) -> None:
        counts = count("a\nb\r\nc", 0)
        self.assertEqual((counts.lines, counts.words, counts.characters), (3, 3, 6))

    def test_the_setting_limits_the_words(self) -> None:
        found = WordCount({"most_frequent": 1}).execute({"text": "b a b"})
        self.assertEqual(found["result"]["most_frequent"], [{"word": "b", "count": 2}])

    def test_text_that_is_no_string_is_refused(self) -> None:
        for context in ({}, {"text": 7}, {"text": None}):
            found = WordCount({}).execute(context)
            self.assertFalse(found["success"])
            self.assertIn("text", found["error"])


if __name__ == "__main__":
    unittest.main()
