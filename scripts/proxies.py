#!/usr/bin/env python3
"""Puts the proxies of docs/proxies/ in front of a service, and uses it through them over TLS.

A list, an archive of several megabytes, a stream whose events arrive while it is open, a call, and what must not pass: the
figures of /metrics and another Host. Of the published files only the port, the address of the service and the certificate
are replaced. A proxy that is not installed is taken from Debian's package without installing it, so no web server starts on
this machine; where that fails it is left out, and named. Without any it is an error. Needs openssl and an engine.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lib.packages import Package, make_package
from lib.service import BOUNDARY, ROOT, TARGET, Service, ServiceError, find_binary, run_client

HOST = "plugbay.example.org"
PUBLISHED = ROOT / "docs" / "proxies"
#: Seconds that anything may take.
PATIENCE = 20.0
#: More than nginx's default of one megabyte.
ARCHIVE_BYTES = 3_000_000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """The text with each pattern replaced, which must be in it."""
    for pattern, by in pairs:
        text, times = re.subn(pattern, by, text, flags=re.MULTILINE)
        if not times:
            raise ServiceError(f"the published file has no `{pattern}`")
    return text


class Proxy:
    """One proxy process, and a client that trusts its certificate."""

    def __init__(self, name: str, program: str, folder: Path, service: Service) -> None:
        self.name = name
        self.program = program
        self.folder = folder
        self.folder.mkdir()
        self.port = free_port()
        self.service = service
        self.token = (service.data / "admin.token").read_text().strip()
        self.certificate, self.key = folder / "certificate.pem", folder / "key.pem"
        line = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
        line += ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", str(self.key), "-out", str(self.certificate)]
        subprocess.run(line, check=True, capture_output=True)
        self.context = ssl.create_default_context(cafile=str(self.certificate))
        command = {"nginx": self.nginx, "caddy": self.caddy}[name]()
        self.log = folder / "log"
        with open(self.log, "wb") as log:
            environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def nginx(self) -> list[str]:
        site = replaced(
            (PUBLISHED / "nginx.conf").read_text(),
            (r"listen 443 ", f"listen 127.0.0.1:{self.port} "),
            (r"127\.0\.0\.1:8000", f"127.0.0.1:{self.service.port}"),
            (r"ssl_certificate  .*;", f"ssl_certificate {self.certificate};"),
            (r"ssl_certificate_key .*;", f"ssl_certificate_key {self.key};"),
        )
        (self.folder / "site.conf").write_text(site)
        paths = "".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.folder / "nginx.conf").write_text(
            f"daemon off; pid {self.folder}/pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {paths}\ninclude {self.folder}/site.conf; }}\n"
        )
        return [self.program, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]

    def caddy(self) -> list[str]:
        site = replaced(
            (PUBLISHED / "Caddyfile").read_text(),
            (r"^plugbay\.example\.org \{", f"{HOST}:{self.port} {{\n\tbind 127.0.0.1"),
            (r"# tls .*", f"tls {self.certificate} {self.key}"),
            (r"127\.0\.0\.1:8000", f"127.0.0.1:{self.service.port}"),
        )
        (self.folder / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https off\n}\n" + site)
        return [self.program, "run", "--config", str(self.folder / "Caddyfile"), "--adapter", "caddyfile"]

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def connect(self) -> http.client.HTTPConnection:
        """A connection over TLS to the proxy, whose certificate is for the name and not for the address."""
        connection = http.client.HTTPConnection(HOST, timeout=PATIENCE)
        plain = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        connection.sock = self.context.wrap_socket(plain, server_hostname=HOST)
        return connection

    def ready(self) -> None:
        began = time.monotonic()
        while True:
            try:
                status = self.ask("GET", "/healthz")[0]
                if status == 200:
                    return
                found = f"/healthz answers {status}"
            except OSError as error:
                found = str(error)
            if self.process.poll() is not None or time.monotonic() - began > PATIENCE:
                raise ServiceError(f"{self.name} is not ready: {found}\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        connection = self.connect()
        try:
            every = {"Authorization": f"Bearer {self.token}", **(headers or {})}
            connection.request(method, path, body, every)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def expect(self, status: int, *asked: Any) -> bytes:
        found, body = self.ask(*asked)
        if found != status:
            raise ServiceError(f"{self.name}: {asked[0]} {asked[1]}: expected {status}, found {found} {body[:300]!r}")
        return body

    # -- What is tried ------------------------------------------------------------------------------------------

    def upload(self, package: Package) -> None:
        signature = package.archive.with_name(package.archive.name + ".minisig").read_bytes()
        parts = ((b"signature", signature), (b"file", package.archive.read_bytes()))
        body = b"".join(
            b'--%s\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n%s\r\n' % (BOUNDARY.encode(), name, name, data)
            for name, data in parts
        ) + f"--{BOUNDARY}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        self.expect(201, "POST", "/api/plugins/install", body, headers)

    def stream(self, name: str) -> None:
        """The event must arrive while the stream is open; a proxy that keeps it back fails here by time."""
        connection = self.connect()
        try:
            connection.request("GET", "/api/events", headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            if answer.status != 200:
                raise ServiceError(f"{self.name}: /api/events answers {answer.status}")
            self.service.expect(200, self.service.request("POST", f"/api/plugins/{name}/enable"))
            while b'"active"' not in (line := answer.readline()):
                if not line:
                    raise ServiceError(f"{self.name}: the stream ended")
        except TimeoutError:
            raise ServiceError(f"{self.name} keeps events back: none came within {PATIENCE:.0f} s") from None
        finally:
            connection.close()

    def try_all(self, package: Package) -> None:
        self.ready()
        self.expect(200, "GET", "/api/plugins")
        self.upload(package)
        self.stream(package.name)
        headers = {"Content-Type": "application/json"}
        answer = json.loads(self.expect(200, "POST", f"/api/plugins/{package.name}/execute", b'{"context":{"a":1}}', headers))
        if answer.get("result") != {"a": 1}:
            raise ServiceError(f"{self.name}: the call gave {answer}")
        # An error keeps its body.
        problem = json.loads(self.expect(404, "GET", "/api/plugins/nope"))
        if problem.get("code") != "plugin-unknown":
            raise ServiceError(f"{self.name}: the problem became {problem}")
        self.expect(404, "GET", "/metrics")
        # Caddy answers an empty 200 to names that it does not serve.
        if b"plugins" in self.ask("GET", "/api/plugins", None, {"Host": "other.example.org"})[1]:
            raise ServiceError(f"{self.name} passes another Host on, and plugbay takes it")
        self.expect(204, "DELETE", f"/api/plugins/{package.name}")
        print(f"{self.name}: list, upload of {package.archive.stat().st_size / 1e6:.1f} MB, stream, call, refusals: ok", flush=True)


def find_program(name: str) -> str | None:
    """The program of the machine, or the one in Debian's package."""
    found = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if found:
        return found
    folder = TARGET / "proxies" / name
    unpacked = next((path for path in (folder / "usr/sbin" / name, folder / "usr/bin" / name) if path.exists()), None)
    if unpacked is None and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        subprocess.run(["apt-get", "download", "-qq", name], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        for archive in folder.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", archive, folder], check=True)
            return find_program(name)
    return str(unpacked) if unpacked else None


def run(folder: Path, programs: dict[str, str]) -> None:
    binary = find_binary("debug", "release")
    service = Service(binary, folder)
    service.config.write_text(f"server: {{ allowed_hosts: [{HOST}] }}\n")
    key = folder / "key"
    proxy: Proxy | None = None
    try:
        run_client(binary, "keygen", "--no-password", "--output", key)
        service.start()
        public_key = Path(f"{key}.pub").read_text().splitlines()[1]
        service.expect(201, service.request("POST", "/api/keys", {"public_key": public_key, "label": "p", "names": ["behind-*"]}))
        for name, program in programs.items():
            package = make_package(folder, f"behind-{name}", "1.0.0", "tar.gz", 4, ARCHIVE_BYTES, random.Random(1))
            run_client(binary, "sign", package.archive, "--key", f"{key}.key")
            proxy = Proxy(name, program, folder / name, service)
            proxy.try_all(package)
            proxy.close()
        if service.stop() != 0:
            raise ServiceError("the service did not end well")
    finally:
        if proxy:
            proxy.close()
        service.close()


def main() -> int:
    found = {name: find_program(name) for name in ("nginx", "caddy")}
    programs = {name: program for name, program in found.items() if program}
    for name in found.keys() - programs.keys():
        print(f"{name} is not to be had, and left out: apt-get install {name}")
    if not programs or not shutil.which("openssl"):
        print("error: nginx or caddy, and openssl, are needed: apt-get install nginx openssl", file=sys.stderr)
        return 1
    TARGET.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="proxies-", dir=TARGET))
    try:
        run(folder, programs)
        return 0
    except (ServiceError, OSError, subprocess.SubprocessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
