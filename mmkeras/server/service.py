"""What REST and gRPC have in common: a request for a bundle becomes a place in a batch."""

import asyncio
import contextlib
import dataclasses
import hmac
import os
import time

from mmkeras.server.refusal import Refusal


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a server takes on.

    Args:
        batch_size: Rows of a batch, and of a request.
        batch_timeout: Seconds that a request waits for others while the machine is free.
        batch_threads: Batches that run at the same time.
        queue: Rows that may wait; what comes beyond them is refused with 503.
        request_timeout: Seconds that a request may take to come, and its answer to be made.
        body_size: Bytes of a request.
    """

    batch_size: int = 64
    batch_timeout: float = 0.001
    batch_threads: int = dataclasses.field(default_factory=lambda: os.cpu_count() or 1)
    queue: int = 128
    request_timeout: float = 30.0
    body_size: int = 64 * 2**20

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "batch_timeout" else 1e-9
            if not value >= least:
                raise ValueError(
                    f"`{field.name}` should be {'0 or more' if not least else 'more than 0'}. "
                    f"Received: {field.name}={value}"
                )


class Service:
    """Answers requests, whatever brought them.

    Args:
        bundles: The `Bundles`.
        batcher: The `Batcher`.
        metrics: The `Metrics`.
        limits: The `Limits`.
        token: What who asks has to know; None if nothing.
    """

    def __init__(self, bundles, batcher, metrics, limits, token=None):
        self.bundles, self.batcher, self.metrics = bundles, batcher, metrics
        self.limits, self._token = limits, token

    def check_token(self, authorization):
        """Refuses who does not send `Bearer` and the token, where there is one."""
        if self._token is None:
            return
        expected = f"Bearer {self._token}"
        if not hmac.compare_digest((authorization or "").encode(), expected.encode()):
            raise Refusal(
                "UNAUTHENTICATED", "A request should have the header Authorization: Bearer TOKEN"
            )

    async def predict(self, version, signature, inputs, seconds=None):
        """Arrays by name -> arrays by name, of a `Version`; given up when cancelled.

        Raises:
            Refusal: if there is no answer, or none in time.
        """
        seconds = min(seconds or self.limits.request_timeout, self.limits.request_timeout)
        answer = self.batcher.submit(version, signature, inputs)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(answer)
        except TimeoutError:
            raise Refusal(
                "DEADLINE_EXCEEDED", f"There was no answer within {seconds:g} s"
            ) from None

    @contextlib.contextmanager
    def counted(self, name, entrypoint):
        """Counts the request that is answered within."""
        start, status = time.perf_counter(), "CANCELLED"
        try:
            yield
            status = "OK"
        except Refusal as refusal:
            status = refusal.kind
            raise
        finally:
            self.metrics.count(name, status, entrypoint, time.perf_counter() - start)

    def readiness(self):
        """Whether every bundle is served, and which versions are, by name."""
        versions = {name: self.bundles.served(name) for name in self.bundles.names}
        return all(versions.values()), versions
