"""HTTP for the client: one request, its JSON answer or `PluginServiceError`."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import urllib.error
import urllib.request
from typing import IO, Any, Dict, Iterator, Mapping
from urllib.parse import urlsplit

from plugbay.version import __version__

MAX_ANSWER = 64 * 1024 * 1024
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class PluginServiceError(Exception):
    """The service refused, failed, or could not be reached.

    `code` is stable (`plugin-unknown`, `plugin-timeout`, …), `how` says what helps, `status` is the HTTP status, or 0
    with code `unreachable` when there was no answer.
    """

    def __init__(self, code: str, detail: str, how: str = "", status: int = 0, body: Any = None) -> None:
        super().__init__(f"{code}: {detail}" + (f" ({how})" if how else ""))
        self.code = code
        self.detail = detail
        self.how = how
        self.status = status
        #: The whole problem, with `errors` for single fields.
        self.body = body


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        # The API has none, and following one would hand the token to another host.
        return None


class Transport:
    """The address and the token of one service."""

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"expected http://… or https://…, found `{url}`")
        self._url = url
        self._token = token
        self._timeout = timeout
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if parts.hostname in _LOOPBACK:
            # A proxy cannot reach this machine's own loopback.
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def send_json(self, method: str, path: str, body: Any, timeout: float) -> Dict[str, Any]:
        """Sends a JSON body, or none."""
        return self.exchange_json(method, path, body, timeout, {})[0]

    def exchange_json(
        self, method: str, path: str, body: Any, timeout: float, headers: Mapping[str, str]
    ) -> tuple[Dict[str, Any], str | None]:
        """Sends a JSON body, or none, and more headers; gives the ETag of the answer, too."""
        data, content_type = _encoded(body)
        with self._opened(method, path, data, content_type, timeout, "application/json", headers) as answer:
            return _object(_read(answer), answer.status), answer.headers.get("ETag")

    def send(
        self, method: str, path: str, body: bytes | None, content_type: str | None, timeout: float
    ) -> Dict[str, Any]:
        """Sends a request and reads its answer; an empty one is `{}`."""
        with self._opened(method, path, body, content_type, timeout, "application/json", {}) as answer:
            return _object(_read(answer), answer.status)

    def send_lines(self, method: str, path: str, timeout: float) -> list[Dict[str, Any]]:
        """Reads an answer that is a JSON object per line."""
        with self._opened(method, path, None, None, timeout, "application/x-ndjson", {}) as answer:
            return [_object(line, answer.status) for line in _read(answer).splitlines() if line]

    def open(self, method: str, path: str, body: Any, timeout: float) -> Incoming:
        """Sends a request whose answer is read as it comes; `timeout` is the longest silence."""
        data, content_type = _encoded(body)
        answer = self._open(method, path, data, content_type, timeout, "text/event-stream", {})
        if answer.headers.get_content_type() != "text/event-stream":
            answer.close()
            how = "check that PLUGBAY_URL names a plugbay service"
            raise PluginServiceError("not-plugbay", "the answer is not a stream of events", how, answer.status)
        return Incoming(answer, self._url, timeout)

    @contextlib.contextmanager
    def _opened(
        self,
        method: str,
        path: str,
        body: bytes | None,
        content_type: str | None,
        timeout: float,
        accept: str,
        headers: Mapping[str, str],
    ) -> Iterator[http.client.HTTPResponse]:
        with self._open(method, path, body, content_type, timeout, accept, headers) as answer:
            with _explained(self._url, timeout):
                yield answer

    def _open(
        self,
        method: str,
        path: str,
        body: bytes | None,
        content_type: str | None,
        timeout: float,
        accept: str,
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        request = urllib.request.Request(self._url + path, body, dict(headers), method=method)
        request.add_header("Accept", accept)
        request.add_header("User-Agent", f"plugbay-python/{__version__}")
        if content_type is not None:
            request.add_header("Content-Type", content_type)
        if self._token:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            with _explained(self._url, timeout):
                answer: http.client.HTTPResponse = self._opener.open(request, timeout=timeout)
                return answer
        except urllib.error.HTTPError as error:
            with error, _explained(self._url, timeout):
                raise problem(error.code, _read(error)) from None


class Incoming:
    """An answer that is read line by line. `abort` may come from another thread, and ends a read that waits."""

    def __init__(self, answer: http.client.HTTPResponse, url: str, timeout: float) -> None:
        self._answer = answer
        self._url = url
        self._timeout = timeout
        self._aborted = False
        # A handle of its own: the one of the answer belongs to the thread that reads, and its number may be another
        # file's by the time of `abort`. An answer without a body is closed already.
        self._connection = None if answer.isclosed() else socket.socket(fileno=os.dup(answer.fileno()))

    def lines(self) -> Iterator[bytes]:
        """Each line with its end."""
        with self._answer as answer, _explained(self._url, self._timeout):
            while not self._aborted:
                try:
                    line = answer.readline(MAX_ANSWER + 1)
                except (OSError, ValueError, http.client.HTTPException):
                    if self._aborted:
                        return
                    raise
                if len(line) > MAX_ANSWER:
                    raise PluginServiceError("answer-too-large", f"a line is longer than {MAX_ANSWER} bytes")
                if not line:
                    return
                yield line

    def abort(self) -> None:
        """Ends the connection."""
        self._aborted = True
        if self._connection is not None:
            with self._connection, contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def _explained(url: str, timeout: float) -> Iterator[None]:
    """Turns what Python raises when there is no answer into what helps."""
    try:
        yield
    except urllib.error.HTTPError:
        raise
    except TimeoutError:
        raise _unreachable(url, f"no answer within {timeout:g} s") from None
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        raise _unreachable(url, str(getattr(error, "reason", error) or type(error).__name__)) from error


def _encoded(body: Any) -> tuple[bytes | None, str | None]:
    if body is None:
        return None, None
    return json.dumps(body, allow_nan=False).encode(), "application/json"


def _read(answer: IO[bytes]) -> bytes:
    data = answer.read(MAX_ANSWER + 1)
    if len(data) > MAX_ANSWER:
        raise PluginServiceError("answer-too-large", f"the answer is longer than {MAX_ANSWER} bytes")
    return data


def _object(data: bytes, status: int) -> Dict[str, Any]:
    if not data:
        return {}
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        how = "check that PLUGBAY_URL names a plugbay service"
        raise PluginServiceError("not-plugbay", "the answer is not a JSON object", how, status)
    return found


def problem(status: int, data: bytes) -> PluginServiceError:
    """The exception for the body of a refusal."""
    body = _object(data, status)
    code, detail = str(body.get("code", f"http-{status}")), str(body.get("detail", f"HTTP status {status}"))
    return PluginServiceError(code, detail, str(body.get("how", "")), status, body)


def _unreachable(url: str, reason: str) -> PluginServiceError:
    how = "start it: plugbay serve; or set PLUGBAY_URL to where it listens"
    return PluginServiceError("unreachable", f"`{url}`: {reason}", how)


def multipart(parts: Dict[str, bytes]) -> tuple[bytes, str]:
    """A multipart body and its content type."""
    # Random, so that no archive can hold it by intent.
    boundary = os.urandom(24).hex()
    lines: list[bytes] = []
    for name, data in parts.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
        lines += [head.encode(), b"Content-Type: application/octet-stream\r\n\r\n", data, b"\r\n"]
    lines.append(f"--{boundary}--\r\n".encode())
    return b"".join(lines), f"multipart/form-data; boundary={boundary}"
