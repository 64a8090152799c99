"""Calls a plugbay service: `PluginService` over its REST API, and `SyncPluginService`, the same without `await`.

    service = PluginService()
    plugin_id = await service.install_plugin(plugin_path="my-plugin-1.0.0.tar.gz")
    await service.enable_plugin(plugin_id)
    greeting = await service.call_plugin(plugin_id, {"user": "Ada"})
    async for event in service.stream_plugin(plugin_id, {"user": "Ada"}):
        print(event.kind, event.data)

Address and token come from `PLUGBAY_URL` and `PLUGBAY_TOKEN`, or the token from the file `admin.token` in
`PLUGBAY_DATA_DIR`, as for the command line. What the service answers is given as it is, as dictionaries and lists;
docs/api-examples.md shows all of it.
"""

from plugbay.client.aio import AsyncEventStream, PluginService
from plugbay.client.plugins import CallFailed
from plugbay.client.service import SyncPluginService
from plugbay.client.stream import EventStream, StreamEvent
from plugbay.transport import PluginServiceError

__all__ = [
    "AsyncEventStream",
    "CallFailed",
    "EventStream",
    "PluginService",
    "PluginServiceError",
    "StreamEvent",
    "SyncPluginService",
]
