"""REST as TensorFlow Serving speaks it, with health, metrics and a page."""

import asyncio
import functools
import logging
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

from google.protobuf.json_format import MessageToDict
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from mmkeras.server.bodies import read_examples, read_request, write_answer, write_classes
from mmkeras.server.refusal import Refusal

LOG = logging.getLogger("mmkeras.server")
# What a browser gets at `/`.
PAGE = Path(__file__).with_name("page")
MODEL = r"(?i:/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
QUESTION = re.compile(MODEL + r":(?P<verb>classify|regress|predict))")
STATE = re.compile(MODEL + r"(?P<metadata>/metadata)?)")
# Bytes of JSON, and numbers of an answer, that take so long that others should not wait for them.
MUCH, MANY = 2**16, 2**12
# Seconds in which the rest of a body that is too large is read, for its sender to see why.
PATIENCE = 1
HEADERS = [
    (b"content-security-policy", b"default-src 'self'; img-src 'self' blob: data:; "
     b"media-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]  # fmt: skip
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def application(service, loopback):
    """The ASGI application of a `Service`; `loopback` if only this machine reaches it."""
    methods = ["GET", "POST"]
    routes = [
        Route("/v1/{rest:path}", _models, methods=methods),
        Route("/monitoring/prometheus/metrics", _metrics),
        Route("/healthz", _healthz),
        Route("/readyz", _readyz),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]
    handlers = {Refusal: _refused, 404: _not_found, 405: _malformed, Exception: _failed}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.state.service = service
    return _Door(app, service, loopback)


class _Door:
    """Who may come in, the headers of what goes out, and a line in the log for each request."""

    def __init__(self, app, service, loopback):
        self._app, self._service, self._loopback = app, service, loopback

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        start, status = time.perf_counter(), 499

        async def noted(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, receive, noted)
        except Refusal as refusal:
            response = await _refused(None, refusal)
            await response(scope, receive, noted)
        finally:
            milliseconds = 1000 * (time.perf_counter() - start)
            client = (scope["client"] or ["-"])[0]
            path = scope["raw_path"].decode("ascii", "replace")
            LOG.info("%s %s %s %s %.1f ms", client, scope["method"], path, status, milliseconds)

    def _check(self, scope):
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if self._loopback and _hostname(host) not in LOOPBACK:
            # A page of another host whose name leads here.
            raise Refusal("PERMISSION_DENIED", f"Host should be of this machine. Received: {host}")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and urlsplit(origin).netloc != host:
            raise Refusal("PERMISSION_DENIED", f"Pages of {origin} may not ask this server")
        if scope["path"].startswith(("/v1", "/monitoring")):
            self._service.check_token(headers.get(b"authorization", b"").decode("latin-1"))


@functools.lru_cache(64)
def _hostname(host):
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


async def _models(request):
    path = request.scope["path"]
    pattern = QUESTION if request.method == "POST" else STATE
    found = pattern.fullmatch(request.scope["path"])
    if found is None:
        raise Refusal("INVALID_ARGUMENT", f"Malformed request: {request.method} {path}")
    service = request.app.state.service
    name, version, label = found["name"], found["version"], found["label"]
    number = None if version is None else int(version)
    if request.method == "POST":
        with service.counted(name, "REST"):
            # Who has too much to do should not read what it refuses.
            service.batcher.check_room()
            body = await _body(request, service.limits)
            version = service.bundles.find(name, number, label)
            answer = _predict(service, version, found["verb"].lower(), body)
            return Response(await _while_there(request, answer), media_type="application/json")
    if found["metadata"]:
        return JSONResponse(_metadata(service.bundles.find(name, number, label)))
    if label is not None:
        number = service.bundles.find(name, label=label).number
    return JSONResponse({
        "model_version_status": [
            {
                "version": str(other),
                "state": state,
                "status": {"error_code": "UNKNOWN" if error else "OK", "error_message": error},
            }
            for other, state, error in service.bundles.status(name, number)
        ]
    })  # fmt: skip


async def _predict(service, version, verb, body):
    if verb != "predict":
        check = functools.partial(version.check_verb, verb=verb)
        read = await _aside(len(body) > MUCH, read_examples, body, check)
        signature, examples = read
        answers = await service.predict(version, signature, {"inputs": examples})
        return write_classes(answers)
    read = await _aside(len(body) > MUCH, read_request, body, version.specs)
    signature, inputs, by_row = read
    answers = await service.predict(version, signature, inputs)
    many = sum(array.size for array in answers.values()) > MANY
    return await _aside(many, write_answer, answers, by_row)


async def _aside(long, function, *args):
    return await asyncio.to_thread(function, *args) if long else function(*args)


async def _body(request, limits):
    """The body of a request, if it comes in time and is not too large."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.request_timeout):
            async for part in _parts(request.receive):
                size += len(part)
                if size > limits.body_size:
                    break
                parts.append(part)
            else:
                return b"".join(parts)
    except TimeoutError:
        raise Refusal(
            "REQUEST_TIMEOUT", f"The request did not come within {limits.request_timeout:g} s"
        ) from None
    del parts
    try:
        async with asyncio.timeout(PATIENCE):
            async for _ in _parts(request.receive):
                pass
    except TimeoutError:
        pass
    raise Refusal("TOO_LARGE", f"A request should have {limits.body_size} bytes at most")


async def _parts(receive):
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal("CANCELLED", "The client left")
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def _while_there(request, work):
    """The result of a coroutine, which is given up if the client leaves."""
    task, left = asyncio.ensure_future(work), asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Refusal("CANCELLED", "The client left")
        return task.result()
    finally:
        task.cancel()
        left.cancel()


def _metadata(version):
    signatures = {
        name: MessageToDict(
            signature,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
        for name, signature in version.signature_defs.items()
    }
    spec = {"name": version.name, "signature_name": "", "version": str(version.number)}
    return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": signatures}}}


async def _metrics(request):
    service = request.app.state.service
    page = service.metrics.page(service.batcher.waiting)
    return Response(page, media_type=service.metrics.content_type)


async def _healthz(request):
    return JSONResponse({"alive": True})


async def _readyz(request):
    ready, versions = request.app.state.service.readiness()
    return JSONResponse({"ready": ready, "models": versions}, 200 if ready else 503)


# Starlette runs in threads what is not a coroutine.
async def _refused(request, refusal):
    headers = {}
    if refusal.http_status == 401:
        headers = {"www-authenticate": "Bearer"}
    elif refusal.http_status in (408, 413):
        # The rest of the body is not waited for.
        headers = {"connection": "close"}
    return JSONResponse({"error": str(refusal)}, refusal.http_status, headers)


async def _not_found(request, error):
    return JSONResponse({"error": f"Not found: {request.scope['path']}"}, 404)


async def _malformed(request, error):
    message = f"Malformed request: {request.method} {request.scope['path']}"
    return JSONResponse({"error": message}, 405, error.headers)


async def _failed(request, error):
    return JSONResponse({"error": "Internal error; the server's log tells more"}, 500)
