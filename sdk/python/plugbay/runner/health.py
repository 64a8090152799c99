"""What `health_check` returns, in the three words the service knows."""

from __future__ import annotations

from typing import Any

_WORDS = {
    "healthy": "healthy",
    "degraded": "degraded",
    "unhealthy": "unhealthy",
    "initializing": "degraded",
    "critical": "unhealthy",
}


def health(found: Any) -> dict[str, Any]:
    """An object with `status`; every other field stays as it is."""
    if found is None or isinstance(found, bool):
        return {"status": "unhealthy" if found is False else "healthy"}
    if isinstance(found, str):
        found = {"status": found}
    if not isinstance(found, dict):
        return {"status": "degraded", "error": f"health_check returned {type(found).__name__}, expected an object"}
    word = found.get("status", "healthy")
    status = _WORDS.get(word.lower()) if isinstance(word, str) else None
    if status is None:
        # Not healthy for sure, and not known to be worse.
        return {**found, "status": "degraded", "reported": word}
    return {**found, "status": status}
