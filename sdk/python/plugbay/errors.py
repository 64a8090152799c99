"""What host functions raise."""

from __future__ import annotations

from typing import Any

PERMISSION_DENIED = -32001


class HostError(Exception):
    """The service refused or failed a host function. `code` is the JSON-RPC error code, `data` its particulars."""

    def __init__(self, message: str, code: int = 0, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class PermissionDenied(HostError):
    """The plugin lacks the permission that the host function needs. `how` is the command that grants it."""

    def __init__(self, message: str, permission: str, how: str, data: Any = None) -> None:
        super().__init__(message, PERMISSION_DENIED, data)
        self.permission = permission
        self.how = how


def host_error(error: Any) -> HostError:
    """The exception for the `error` member of an answer from the service."""
    if not isinstance(error, dict):
        return HostError(f"the service answered with a malformed error: {error!r}")
    code = error.get("code")
    code = code if isinstance(code, int) else 0
    message = str(error.get("message", "the host function failed"))
    data = error.get("data")
    if code == PERMISSION_DENIED:
        fields = data if isinstance(data, dict) else {}
        return PermissionDenied(message, str(fields.get("permission", "")), str(fields.get("how", "")), data)
    return HostError(message, code, data)
