"""The optional base class, and the decorator that offers a method to callers."""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, TypeVar

from plugbay.host import Host

#: What `execute` gets: whatever the caller sent as `context`.
Context = Dict[str, Any]

OFFERED = "__plugbay_offered__"
_Function = TypeVar("_Function", bound=Callable[..., Any])


def method(function: _Function) -> _Function:
    """Offers a method to callers, who name it as `method`. Without this only `execute` and handlers can be called."""
    setattr(function, OFFERED, True)
    return function


class Plugin:
    """What a plugin has. Deriving from it is optional; every method may be `def` or `async def`."""

    #: The functions of the service. Set before `__init__` runs.
    host: Host
    #: Writes to the plugin's log. Set before `__init__` runs.
    log: logging.Logger

    def __init__(self, config: dict[str, Any]) -> None:
        """Keep the configuration."""
        self.config = config

    def initialize(self) -> Any:
        """Open what the plugin needs. `False` or an exception makes enabling fail."""
        return True

    def execute(self, context: Context) -> Any:
        """Answer one call. A generator streams its chunks."""
        raise NotImplementedError(f"{type(self).__name__}.execute")

    def cleanup(self) -> Any:
        """Close what `initialize` opened."""

    def health_check(self) -> Any:
        """Say how the plugin is."""
        return {"status": "healthy"}
