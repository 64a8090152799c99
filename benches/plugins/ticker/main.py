"""Yields numbers at a steady pace. Run as a program, it takes the time of many such generators without plugbay."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any, AsyncIterator

CHUNKS = 100
PAUSE = 0.01


class Ticker:
    """One generator per call."""

    async def execute(self, context: Any) -> AsyncIterator[dict[str, int]]:
        """Yield a number every 10 ms."""
        for number in range(CHUNKS):
            await asyncio.sleep(PAUSE)
            yield {"number": number}


async def alone(generators: int) -> None:
    async def one() -> int:
        return len([number async for number in Ticker().execute(None)])

    begun = time.monotonic()
    counts = await asyncio.gather(*(one() for _ in range(generators)))
    assert counts == [CHUNKS] * generators
    print(time.monotonic() - begun)


if __name__ == "__main__":
    asyncio.run(alone(int(sys.argv[1])))
