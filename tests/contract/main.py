"""Lists, installs, enables and calls a plugin through the client that openapi-python-client makes of the description.

Arguments: address of the service, token, archive with its .minisig beside it.
"""

import io
import sys
from pathlib import Path

from plugbay_api import AuthenticatedClient
from plugbay_api.api.plugins import install_plugin, list_plugins
from plugbay_api.api.running import enable_plugin, execute_plugin
from plugbay_api.models import ExecuteRequest, UploadForm
from plugbay_api.types import File

url, token, path = sys.argv[1:]
archive = Path(path)
client = AuthenticatedClient(base_url=url, token=token, raise_on_unexpected_status=True)


def names():
    return [plugin.name for plugin in list_plugins.sync(client=client).plugins]


assert "hello" not in names()
upload = UploadForm(
    file=File(io.BytesIO(archive.read_bytes()), archive.name, "application/octet-stream"),
    signature=archive.with_name(archive.name + ".minisig").read_text(),
)
installed = install_plugin.sync(client=client, body=upload)
assert installed.name == "hello", installed
changed = enable_plugin.sync(installed.plugin_id, client=client)
assert changed.state == "active", changed
answer = execute_plugin.sync(installed.plugin_id, client=client, body=ExecuteRequest(context={"user": "Ada"}))
assert answer.result == "Hello, Ada!", answer
assert "hello" in names()
print("Python: listed, installed, enabled, called")
