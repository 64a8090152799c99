"""my-plugin: what the service loads, by `main` and `class` in plugin.yaml."""

from __future__ import annotations

import time
from typing import Any


class MyPlugin:
    """One instance lives in the sandbox and answers many calls, several at once.

    Any method may be `def` or `async def`. Before `initialize` runs, the service sets
    `self.host` (its functions, such as `self.host.kv`) and `self.log`.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        """Keep the configuration: schema defaults, then config.yaml, then what the operator set."""
        self.greeting = str(config.get("greeting", "Hello"))
        self.calls = 0
        self.started: float | None = None

    async def initialize(self) -> bool:
        """Open what the plugin needs. `False` or an exception makes enabling fail."""
        self.started = time.monotonic()
        return True

    async def execute(self, context: dict[str, Any]) -> dict[str, Any]:
        """Answer one call. An exception reaches the caller as a failure with its text."""
        user = context.get("user", "world")
        if not isinstance(user, str):
            return {"success": False, "error": "`user` must be a string"}
        self.calls += 1
        return {"success": True, "result": f"{self.greeting}, {user}!"}

    async def cleanup(self) -> None:
        """Close what `initialize` opened. Runs on disable, update and shutdown."""
        self.started = None

    def health_check(self) -> dict[str, Any]:
        """Say how the plugin is: healthy, degraded or unhealthy. More fields are shown as they are."""
        if self.started is None:
            return {"status": "unhealthy"}
        uptime = time.monotonic() - self.started
        return {"status": "healthy", "uptime": round(uptime, 3), "calls": self.calls}


# To see chat messages, add `hooks: [on_message]` and `permissions: [chat_access]` to
# plugin.yaml. Return an answer, or None to stay silent.
#
# async def on_message(message: dict[str, Any]) -> dict[str, Any] | None:
#     if "hello" in message["text"].lower():
#         return {"text": f"Hello, {message['user']}!"}
#     return None
