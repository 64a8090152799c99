"""The functions of the service that a plugin may call, as `self.host`.

Every function gives a `HostCall`: `await` it in asynchronous code, call `.wait()` on it in synchronous code. Nothing
is sent before that. A missing permission raises `PermissionDenied`, every other refusal `HostError`.

On the wire each is a request `kv.get`, `db.query`, … with named parameters and, inside a call, `call`: its id, by which
the service finds deadline and conversation.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import (
    Any,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Generic,
    Iterator,
    List,
    Mapping,
    Protocol,
    Sequence,
    TypeVar,
)

from plugbay.call import CURRENT

T = TypeVar("T")


class Channel(Protocol):
    """How requests reach the service. The runner and the test harness each have one."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that answers arrive in."""

    async def request(self, method: str, params: dict[str, Any]) -> Any:
        """Sends a request and gives its result, or raises `HostError`."""


class HostCall(Generic[T]):
    """A host function that was called but not sent. `await` it, or `.wait()` for it in synchronous code."""

    def __init__(self, channel: Channel, method: str, params: dict[str, Any], convert: Callable[[Any], T]) -> None:
        self._channel = channel
        self._method = method
        self._params = params
        self._convert = convert
        # Taken here, because the loop's thread, which sends for a waiting thread, does not know the call.
        self._call = CURRENT.get()
        if self._call is not None:
            params["call"] = self._call.id

    async def _run(self) -> T:
        return self._convert(await self._channel.request(self._method, self._params))

    def __await__(self) -> Generator[Any, None, T]:
        return self._run().__await__()

    def wait(self, timeout: float | None = None) -> T:
        """Blocks until the answer is there. Only for synchronous code: in the loop's own thread it would never end."""
        loop = self._channel.loop
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is loop:
            raise RuntimeError(f"{self._method}: use `await` here; .wait() is for code that is not asynchronous")
        work: Coroutine[Any, Any, T] = self._run()
        future = asyncio.run_coroutine_threadsafe(work, loop)
        result: T = future.result(timeout) if self._call is None else self._call.wait_for(future, timeout)
        return result


class _Functions:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def _call(self, function: str, convert: Callable[[Any], T], /, **params: Any) -> HostCall[T]:
        given = {name: value for name, value in params.items() if value is not None}
        return HostCall(self._channel, function, given, convert)


def _as_is(result: Any) -> Any:
    return result


def _nothing(_: Any) -> None:
    return None


class KeyValues(_Functions):
    """The plugin's own small values. They need no permission and survive restarts and updates."""

    def get(self, key: str, default: Any = None) -> HostCall[Any]:
        """The value, or `default`."""

        def convert(result: Any) -> Any:
            # `found` tells a stored null from a missing key.
            return result.get("value") if isinstance(result, dict) and result.get("found", True) else default

        return self._call("kv.get", convert, key=key)

    def set(self, key: str, value: Any, expires_seconds: float | None = None) -> HostCall[None]:
        """Stores any JSON value."""
        # Not through `_call`, which leaves out None: null is a value too.
        params = {"key": key, "value": value}
        if expires_seconds is not None:
            params["expires_seconds"] = expires_seconds
        return HostCall(self._channel, "kv.set", params, _nothing)

    def delete(self, key: str) -> HostCall[None]:
        """Removes a value; a missing one is no error."""
        return self._call("kv.delete", _nothing, key=key)

    def list(self, prefix: str = "") -> HostCall[List[str]]:
        """The keys that start with `prefix`."""
        return self._call("kv.list", lambda result: list(result["keys"]), prefix=prefix)


class Databases(_Functions):
    """Databases that the operator named. Reading needs `database_read`, writing `database_write`.

    Values are None, numbers, texts and bytes; a bool is stored as 1 or 0.
    """

    def query(self, name: str, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> HostCall[Any]:
        """Reads: `{"columns", "rows", "truncated"}`. Always bind values with `params`."""
        return self._call("db.query", _with_bytes, name=name, sql=sql, params=_bound(params))

    def execute(self, name: str, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> HostCall[Any]:
        """One statement that writes: `{"rows_affected", "last_id"}`."""
        return self._call("db.execute", _as_is, name=name, sql=sql, params=_bound(params))

    def transaction(
        self, name: str, statements: Sequence[tuple[str, Sequence[Any] | Mapping[str, Any]]]
    ) -> HostCall[Any]:
        """Several statements, all or none: `{"results"}`, one as of `execute` for each."""
        listed = [{"sql": sql, "params": _bound(params)} for sql, params in statements]
        return self._call("db.execute", _as_is, name=name, statements=listed)


def _bound(params: Sequence[Any] | Mapping[str, Any]) -> Any:
    if isinstance(params, Mapping):
        return {name: _sent(value) for name, value in params.items()}
    return [_sent(value) for value in params]


def _sent(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"base64": base64.b64encode(value).decode("ascii")}
    return value


def _with_bytes(answer: Any) -> Any:
    """A cell is no object, so an object is bytes: a blob, or a text that is no UTF-8."""
    if isinstance(answer, dict) and isinstance(answer.get("rows"), list):
        answer["rows"] = [[_cell(cell) for cell in row] for row in answer["rows"]]
    return answer


def _cell(cell: Any) -> Any:
    return base64.b64decode(cell["base64"]) if isinstance(cell, dict) else cell


class Response:
    """An HTTP answer. Every status is an answer, not an exception."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.status = int(answer["status"])
        self.headers: dict[str, str] = dict(answer.get("headers") or {})
        encoded = answer.get("body_base64")
        self.body = str(answer.get("body") or "").encode() if encoded is None else base64.b64decode(encoded)

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Stream:
    """An HTTP answer that is read piece by piece: `async for` and, in synchronous code, `for`. Every status is an answer.

    It ends with the call that it serves. A piece is bytes, cut anywhere but inside of a character of a text.
    """

    def __init__(self, channel: Channel, answer: dict[str, Any]) -> None:
        self._functions = _Functions(channel)
        self._id = str(answer["stream"])
        self.status = int(answer["status"])
        self.headers: dict[str, str] = dict(answer.get("headers") or {})

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def read(self) -> HostCall[bytes | None]:
        """Waits for the next piece; `None` after the end."""
        return self._functions._call("http.read", _piece, stream=self._id)

    def close(self) -> HostCall[None]:
        """Ends it, and its connection."""
        return self._functions._call("http.close", _nothing, stream=self._id)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while (piece := await self.read()) is not None:
                yield piece
        finally:
            await self.close()

    def __iter__(self) -> Iterator[bytes]:
        try:
            while (piece := self.read().wait()) is not None:
                yield piece
        finally:
            self.close().wait()


def _piece(answer: Any) -> bytes | None:
    if answer.get("end"):
        return None
    encoded = answer.get("data_base64")
    return str(answer.get("data") or "").encode() if encoded is None else base64.b64decode(encoded)


class Http(_Functions):
    """Requests that the service makes. Needs `network_access` and the host under `network.allow`."""

    def fetch(
        self,
        url: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: str | bytes | None = None,
        json: Any = None,
    ) -> HostCall[Response]:
        """One request. `{{secret:NAME}}` in a header is filled in outside of the sandbox."""
        return self._call("http.fetch", Response, **_request(url, method, headers, body, json))

    def stream(
        self,
        url: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: str | bytes | None = None,
        json: Any = None,
    ) -> HostCall[Stream]:
        """The same, with an answer of any length that is read piece by piece."""
        channel = self._channel
        asked = _request(url, method, headers, body, json)
        return self._call("http.stream", lambda answer: Stream(channel, answer), **asked)


def _request(
    url: str, method: str, headers: Mapping[str, str] | None, body: str | bytes | None, value: Any
) -> dict[str, Any]:
    sent = dict(headers or {})
    text, encoded = _body(body, value, sent)
    return {"url": url, "method": method, "headers": sent, "body": text, "body_base64": encoded}


def _body(body: str | bytes | None, value: Any, headers: dict[str, str]) -> tuple[str | None, str | None]:
    if value is not None:
        if body is not None:
            raise ValueError("expected `body` or `json`, found both")
        if not any(name.lower() == "content-type" for name in headers):
            headers["content-type"] = "application/json"
        return json.dumps(value), None
    if isinstance(body, bytes):
        return None, base64.b64encode(body).decode("ascii")
    return body, None


class Apis(_Functions):
    """APIs that the operator named, with the operator's credentials. Needs `api_access`."""

    def request(self, name: str, method: str, path: str, body: Any = None) -> HostCall[Any]:
        """One request: `{"status", "headers", "body"}`."""
        return self._call("api.request", _as_is, name=name, method=method, path=path, body=body)


class Chat(_Functions):
    """The chat. Needs `chat_access`; without a wider scope only the conversation of the call it serves."""

    def send(self, text: str, conversation: str | None = None) -> HostCall[Any]:
        """Writes a message, and gives it back."""
        return self._call("chat.send", _as_is, text=text, conversation=conversation)

    def history(self, limit: int | None = None, conversation: str | None = None) -> HostCall[Any]:
        """The latest messages, oldest first: `{"messages"}`."""
        return self._call("chat.history", _as_is, limit=limit, conversation=conversation)


class Plugins(_Functions):
    """Other plugins. Calling one needs it under `requires` or `admin_access`; listing needs `admin_access`."""

    def execute(self, name: str, context: dict[str, Any], method: str = "execute") -> HostCall[Any]:
        """Calls another plugin within the deadline of this call: `{"success", "result", "error", …}`."""
        return self._call("plugins.execute", _as_is, name=name, method=method, context=context)

    def list(self) -> HostCall[Any]:
        """The installed plugins: `{"plugins"}`."""
        return self._call("plugins.list", _as_is)


class Host:
    """What a plugin finds as `self.host`."""

    def __init__(self, channel: Channel) -> None:
        self.kv = KeyValues(channel)
        self.db = Databases(channel)
        self.http = Http(channel)
        self.api = Apis(channel)
        self.chat = Chat(channel)
        self.plugins = Plugins(channel)
