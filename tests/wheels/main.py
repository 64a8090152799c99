"""Uses one package after another, so that an import that only half works is noticed."""

import io
import threading


def numpy():
    import numpy

    # Big enough that the threads of its library for linear algebra take part.
    ones = numpy.ones((256, 256))
    return int((ones @ ones).sum()) == 256**3


def pandas():
    import pandas

    frame = pandas.read_csv(io.StringIO("name,value\na,1\nb,2\na,3\n"))
    return frame.groupby("name")["value"].sum().to_dict() == {"a": 4, "b": 2}


def pydantic():
    import pydantic

    class Model(pydantic.BaseModel):
        number: int

    return Model.model_validate_json('{"number": "7"}').number == 7


def pillow():
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (32, 16), (255, 0, 0)).save(file, "JPEG")
    return Image.open(file).resize((8, 4)).size == (8, 4)


def lxml():
    from lxml import etree

    return etree.fromstring("<a><b>text</b></a>").xpath("string(/a/b)") == "text"


def cryptography():
    from cryptography.fernet import Fernet

    box = Fernet(Fernet.generate_key())
    return box.decrypt(box.encrypt(b"text")) == b"text"


def orjson():
    import orjson

    return orjson.loads(orjson.dumps({"a": [1, 2.5, None]})) == {"a": [1, 2.5, None]}


def aiohttp():
    import asyncio

    import aiohttp
    from aiohttp import web

    async def ask():
        async def answer(_request):
            return web.Response(text="hello")

        application = web.Application()
        application.router.add_get("/", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as got:
                return await got.text()
        finally:
            await runner.cleanup()

    return asyncio.run(ask()) == "hello"


def httpx():
    import httpx

    return _asks(lambda url: httpx.get(url).text)


def requests():
    import requests

    return _asks(lambda url: requests.get(url, timeout=5).text)


def _asks(get):
    """Whether a client gets what a server of the sandbox's own says."""
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        return get(f"http://127.0.0.1:{server.server_port}/") == "hello"
    finally:
        server.shutdown()
        server.server_close()


USES = {use.__name__: use for use in (numpy, pandas, pydantic, pillow, lxml, cryptography, orjson, aiohttp, httpx, requests)}


class Wheel:
    def execute(self, context):
        from importlib.metadata import version

        package = context["package"]
        return {"version": version(package), "works": USES[package]()}
