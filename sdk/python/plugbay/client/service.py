"""The client without `await`: every group of methods in one class."""

from __future__ import annotations

from plugbay.client.administration import Administration
from plugbay.client.chat import Chat
from plugbay.client.plugins import Plugins


class SyncPluginService(Plugins, Administration, Chat):
    """A service, and what can be asked of it. Each method waits for the answer; threads may share one."""
