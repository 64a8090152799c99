"""A plugin that can be flooded: what it does takes its time, however fast the machine is."""

import asyncio


class Slow:
    async def execute(self, context):
        await asyncio.sleep(0.05)
        return context
