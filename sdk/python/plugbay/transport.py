"""HTTP for the client: one request, its JSON answer or `PluginServiceError`."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import IO, Any, Dict
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
        if body is None:
            return self.send(method, path, None, None, timeout)
        return self.send(method, path, json.dumps(body, allow_nan=False).encode(), "application/json", timeout)

    def send(
        self, method: str, path: str, body: bytes | None, content_type: str | None, timeout: float
    ) -> Dict[str, Any]:
        """Sends a request and reads its answer; an empty one is `{}`."""
        request = urllib.request.Request(self._url + path, body, method=method)
        request.add_header("Accept", "application/json")
        request.add_header("User-Agent", f"plugbay-python/{__version__}")
        if content_type is not None:
            request.add_header("Content-Type", content_type)
        if self._token:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=timeout) as answer:
                return _object(_read(answer), answer.status)
        except urllib.error.HTTPError as error:
            with error:
                raise _problem(error.code, _read(error)) from None
        except TimeoutError:
            raise _unreachable(self._url, f"no answer within {timeout:g} s") from None
        except (urllib.error.URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise _unreachable(self._url, str(reason)) from error


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


def _problem(status: int, data: bytes) -> PluginServiceError:
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
