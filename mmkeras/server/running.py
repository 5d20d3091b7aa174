"""A server of bundles: its ports, its start and its end."""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import threading

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mmkeras.server.batching import Batcher
from mmkeras.server.bundles import Bundles
from mmkeras.server.metrics import Metrics
from mmkeras.server.remote import grpc_server
from mmkeras.server.rest import LOOPBACK, application
from mmkeras.server.service import Limits, Service

LOG = logging.getLogger("mmkeras.server")
# Seconds between two looks for new versions, as TensorFlow Serving takes them.
POLL = 1.0
# Seconds that a connection may be idle: more than proxies keep theirs, which would else ask just
# when it closes.
KEEP_ALIVE = 75
# How far threads that count stand behind.
NICE = 10
# Bytes of the head of a request.
HEAD_SIZE = 2**16


class Server:
    """Serves bundles as TensorFlow Serving does, for development and small use.

    It speaks TensorFlow Serving's REST and gRPC, so that clients of one work with the other, and
    the same bundles go there for all that is larger.

    Args:
        paths: Bundles that `mmkeras.export` wrote: directories of versions, of which the newest
            good one is served, also if it comes later; or version directories.
        host: Address to listen on; only this machine reaches the default.
        port: Of REST; 0 for any that is free.
        grpc_port: Of gRPC; 0 for any that is free, None for no gRPC.
        token: What who asks has to send as `Authorization: Bearer TOKEN`; None for nothing.
        labels: `{bundle: {label: version}}`, versions that are served beside the newest.
        **limits: See `Limits`.

    Attributes:
        url, grpc_url: Where it listens.

    Raises:
        ValueError: if nothing of a bundle can be served, or two have one name.
        OSError: if a port is in use.

    Example:

    ```python
    import mmkeras as mm

    with mm.Server(["saved_models/captions"], port=0, grpc_port=0) as server:
        client = mm.Client(server.url, "captions")
        client.infer({"image": ["photo.jpg"]})
    ```
    """

    def __init__(
        self,
        paths,
        host="127.0.0.1",
        port=8501,
        grpc_port=8500,
        token=None,
        labels=None,
        **limits,
    ):
        limits = Limits(**limits)
        bundles = Bundles(paths, labels)
        self._host = host
        # First of all: who mistook the port should not wait for the models.
        self._socket = _bind(host, port, listens=True)
        self._grpc_socket = None if grpc_port is None else _bind(host, grpc_port, listens=False)
        self.url = f"http://{_address(host, self._socket)}"
        self.grpc_url = grpc_port is not None and f"grpc://{_address(host, self._grpc_socket)}"
        bundles.refresh()
        if missing := bundles.missing():
            self._close_sockets()
            raise ValueError("; ".join(missing.values()))
        if host not in LOOPBACK and token is None:
            LOG.warning("%s may be reached by others, who need no token", self.url)
        metrics = Metrics(bundles.names)
        batcher = Batcher(
            limits.batch_size,
            limits.batch_timeout,
            limits.queue,
            limits.batch_threads,
            metrics.count_batch,
        )
        self._service = Service(bundles, batcher, metrics, limits, token)
        self._uvicorn = uvicorn.Server(self._config())
        self._thread = self._failure = None
        self._ready = threading.Event()

    @property
    def served(self):
        """The numbers of the versions that are served, by bundle."""
        return self._service.readiness()[1]

    def run(self):
        """Serves until SIGTERM or SIGINT; what has been asked by then is answered."""
        _give_way()
        # Uvicorn raises the signal that ended it once more.
        was = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            asyncio.run(self._main())
        finally:
            signal.signal(signal.SIGTERM, was)

    def stop(self):
        """Ends `run` in another thread."""
        self._uvicorn.should_exit = True

    def __enter__(self):
        self._thread = threading.Thread(target=self._run_aside, daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_):
        self.stop()
        self._thread.join()

    def _run_aside(self):
        try:
            asyncio.run(self._main())
        except OSError as error:
            self._failure = error
        finally:
            self._ready.set()

    def _config(self):
        limits = self._service.limits
        return uvicorn.Config(
            application(self._service, self._host in LOOPBACK),
            http=_protocol(limits.request_timeout),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=int(limits.request_timeout) + 1,
        )

    async def _main(self):
        remote, watching = None, asyncio.create_task(self._watch())
        try:
            remote = await self._start_grpc()
            self._ready.set()
            await self._uvicorn.serve([self._socket])
        finally:
            watching.cancel()
            self._close_sockets()
            if remote is not None:
                await remote.stop(self._service.limits.request_timeout)
            await asyncio.to_thread(self._service.batcher.close)

    async def _start_grpc(self):
        if self._grpc_socket is None:
            return None
        remote = grpc_server(self._service)
        address = _address(self._host, self._grpc_socket)
        # It binds ports itself, and this one was only kept for it.
        self._grpc_socket.close()
        try:
            remote.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"gRPC cannot listen at {address}: {error}") from None
        await remote.start()
        return remote

    async def _watch(self):
        while True:
            await asyncio.sleep(POLL)
            await asyncio.to_thread(self._service.bundles.refresh)

    def _close_sockets(self):
        for each in (self._socket, self._grpc_socket):
            if each is not None:
                each.close()


def _give_way():
    """Lets the threads that count wait for the one that reads: too much is refused at once."""
    with contextlib.suppress(OSError, AttributeError):
        for thread in map(int, os.listdir("/proc/self/task")):
            if thread != threading.get_native_id():
                os.setpriority(os.PRIO_PROCESS, thread, NICE)


def _bind(host, port, listens):
    """A socket at a port that nobody else listens to.

    Where it listens, connections wait for the server to start. Those to gRPC, which takes no socket
    of others, would be lost when it does: until then they are refused.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Only where TCP is named asyncio sends answers without waiting for what was sent before, 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        if listens:
            bound.listen(1024)
        return bound
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise OSError(f"Port {port} of {host} is in use; another can be named") from None
        raise OSError(f"{host} port {port}: {error.strerror or error}") from None
    except OverflowError:
        raise ValueError(f"`port` should be 0 to 65535. Received: port={port}") from None


def _address(host, bound):
    port = bound.getsockname()[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _protocol(seconds):
    class Protocol(HttpToolsProtocol):
        """Closes connections over which the head of a request does not come in time, or is huge."""

        _timer, _read = None, 0

        def connection_made(self, transport):
            super().connection_made(transport)
            self._watch()

        def data_received(self, data):
            self._read += len(data)
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc):
            self._end_watch()
            super().connection_lost(exc)

        def _watch(self):
            if self.cycle is not None and not self.cycle.response_complete:
                self._end_watch()
            elif self._read > HEAD_SIZE:
                self.transport.close()
            elif self._timer is None:
                self._timer = self.loop.call_later(seconds, self.transport.close)

        def _end_watch(self):
            self._read = 0
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Protocol
