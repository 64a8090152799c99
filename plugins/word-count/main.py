"""Counts what is in a text."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

# Letters and digits of any script; an apostrophe or hyphen inside belongs to the word.
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


@dataclass(frozen=True)
class Frequency:
    """A word in lower case, and how often it is there."""

    word: str
    count: int


@dataclass(frozen=True)
class Counts:
    """What was counted."""

    lines: int
    words: int
    characters: int
    most_frequent: list[Frequency]


def count(text: str, most_frequent: int) -> Counts:
    """Count a text. Equally frequent words are in alphabetical order."""
    words = Counter(word.casefold() for word in WORD.findall(text))
    ranked = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    frequencies = [Frequency(word, number) for word, number in ranked[:most_frequent]]
    return Counts(len(text.splitlines()), sum(words.values()), len(text), frequencies)


class WordCount:
    """Synchronous on purpose: the calls run in threads, so a long text does not hold up the others."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Keep the configuration; the service has checked it against `config_schema`."""
        self.most_frequent = int(config.get("most_frequent", 5))

    def execute(self, context: dict[str, Any]) -> dict[str, Any]:
        """Count `text`."""
        text = context.get("text")
        if not isinstance(text, str):
            return {"success": False, "error": "`text` must be a string"}
        return {"success": True, "result": asdict(count(text, self.most_frequent))}
