"""plugbay for plugin authors.

A plugin is any class with an `execute` method; nothing here has to be imported for that. What is here helps:
`Plugin` tells a type checker what a plugin has, `current_call` and `progress` are for long calls, `method` offers
further methods to callers, `HostError` and `PermissionDenied` are what host functions raise.
"""

from plugbay.call import Call, current_call, progress
from plugbay.errors import HostError, PermissionDenied
from plugbay.plugin import Context, Plugin, method
from plugbay.version import __version__

__all__ = [
    "Call",
    "Context",
    "HostError",
    "PermissionDenied",
    "Plugin",
    "__version__",
    "current_call",
    "method",
    "progress",
]
