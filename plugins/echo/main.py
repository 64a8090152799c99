"""The least a plugin can do, and one method that streams."""

from __future__ import annotations

from typing import Any, Iterator

import plugbay

MOST = 100_000


class Echo:
    """Keeps nothing, so any number of calls may run at once."""

    async def execute(self, context: Any) -> dict[str, Any]:
        """Answer with the context."""
        return {"echo": context}

    @plugbay.method
    def count(self, context: dict[str, Any]) -> Iterator[dict[str, int]]:
        """Yield the numbers below `to`. Who streams gets them one by one, others as an array."""
        to = context.get("to")
        if type(to) is not int or not 0 <= to <= MOST:
            raise ValueError(f"`to` must be a whole number from 0 to {MOST}")
        for number in range(to):
            yield {"number": number}
