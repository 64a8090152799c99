"""Burns processor time in as many processes as it may have, and floods what it prints."""

from __future__ import annotations

import os
import time
from typing import Any

PROCESSES = 8


class Spinner:
    """A neighbour nobody wants."""

    def execute(self, context: dict[str, Any]) -> dict[str, int]:
        """Spin for `seconds`."""
        end = time.monotonic() + context["seconds"]
        children = []
        for number in range(PROCESSES):
            child = os.fork()
            if child == 0:
                while time.monotonic() < end:
                    if number == 0:
                        os.write(1, b"shout " * 1000 + b"\n")
                    else:
                        sum(range(10_000))
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
        return {"processes": len(children)}
