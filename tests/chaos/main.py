"""The plugins of `scripts/chaos.sh calls`."""

import asyncio
import os
import signal

import plugbay


class Target:
    async def execute(self, context):
        """Take some time, or none."""
        await asyncio.sleep(context.get("seconds", 0))
        return "here"

    @plugbay.method
    async def die(self, context):
        """End as a process does that is killed from outside."""
        os.kill(os.getpid(), signal.SIGKILL)

    @plugbay.method
    async def stream(self, context):
        """Yield more than a caller who does not read can hold."""
        for _ in range(10_000):
            yield "x" * 16384
