"""Dynamic batching: requests that wait for the model at the same time go through it together."""

import collections
import dataclasses
import logging
import threading
import time
from concurrent.futures import Future

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import error_codes_pb2

from mmkeras.server.refusal import Refusal
from mmkeras.serving.loading import reason, said

LOG = logging.getLogger("mmkeras.server")


@dataclasses.dataclass(eq=False)
class _Request:
    inputs: dict
    rows: int | None
    since: float = dataclasses.field(default_factory=time.monotonic)
    answer: Future = dataclasses.field(default_factory=Future)

    @property
    def weight(self):
        """How many rows it counts for; what has none takes a place all the same."""
        return self.rows or 1


class Batcher:
    """Puts requests of one version, signature and inner shape together, and runs them in threads.

    Requests whose inner shapes differ never stand in one batch: TensorFlow Serving would refuse
    them together unless told to pad. Other than there, a request that cannot be answered fails
    alone, and not all that happen to stand beside it.

    Args:
        max_rows: Of a batch; a request with more is refused.
        wait: Seconds that a request waits for others while a thread is free.
        limit: Rows that may wait; requests beyond them are refused.
        threads: Batches that run at the same time.
        observe: A function of the rows of each batch.
    """

    def __init__(self, max_rows=64, wait=0.001, limit=128, threads=2, observe=lambda rows: None):
        self.max_rows, self._wait, self._limit = max_rows, wait, limit
        self._observe = observe
        self._queues, self._waiting, self._closed = {}, 0, False
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self):
        """How many rows wait."""
        return self._waiting

    def check_room(self, rows=1):
        """Refuses where so many rows more may not wait."""
        if self._waiting + rows > self._limit:
            raise Refusal(
                "UNAVAILABLE",
                "The batch scheduling queue to which this task was submitted is full; "
                f"{self._waiting} rows wait",
            )

    def submit(self, version, signature, inputs):
        """Queues a request.

        Args:
            version: A `Version`.
            signature: The name of one of its signatures.
            inputs: A dict of arrays by name.

        Returns:
            A `concurrent.futures.Future` of a dict of arrays; if cancelled, the request leaves the
            queue when its turn comes.

        Raises:
            Refusal: if the request does not fit the signature, or too many wait.
        """
        rows = version.rows(signature, inputs)
        request = _Request(inputs, rows)
        if request.weight > self.max_rows:
            raise Refusal(
                "INVALID_ARGUMENT",
                f"Task size {rows} is larger than maximum input batch size {self.max_rows}",
            )
        # A request without rows is alone in its queue.
        inner = (
            request if rows is None else tuple(inputs[name].shape[1:] for name in sorted(inputs))
        )
        key = version, signature, inner
        with self._changed:
            if self._closed:
                raise Refusal("UNAVAILABLE", "The server is stopping")
            self.check_room(request.weight)
            self._queues.setdefault(key, collections.deque()).append(request)
            self._waiting += request.weight
            self._changed.notify()
        return request.answer

    def close(self):
        """Takes no more requests, and returns when those that wait have been answered."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self):
        while batch := self._next():
            version, signature, requests = batch
            # Who left or ran out of time is asked for no more.
            requests = [r for r in requests if r.answer.set_running_or_notify_cancel()]
            if requests:
                self._observe(sum(request.weight for request in requests))
                _answer(version, signature, requests)
            # Else the last version would be kept until another request comes.
            del batch, version, requests

    def _next(self):
        """The batch that should run next, once there is one; None at the end."""
        with self._changed:
            while self._queues or not self._closed:
                now = time.monotonic()
                due = {key: self._due(queue) for key, queue in self._queues.items()}
                first = min(due, key=due.get, default=None)
                if first is not None and due[first] <= now:
                    return first[0], first[1], self._take(first)
                self._changed.wait(None if first is None else due[first] - now)
        return None

    def _due(self, queue):
        """When a queue may run: its oldest request has waited, or it fills a batch."""
        full = sum(request.weight for request in queue) >= self.max_rows
        return queue[0].since + (0 if full or self._closed else self._wait)

    def _take(self, key):
        queue, taken, rows = self._queues[key], [], 0
        while queue and rows + queue[0].weight <= self.max_rows:
            rows += queue[0].weight
            taken.append(queue.popleft())
        if not queue:
            del self._queues[key]
        self._waiting -= rows
        return taken


def _answer(version, signature, requests):
    """Runs requests together and gives each its own rows."""
    try:
        if len(requests) == 1:
            requests[0].answer.set_result(version.run(signature, requests[0].inputs))
            return
        names = requests[0].inputs
        inputs = {name: np.concatenate([r.inputs[name] for r in requests]) for name in names}
        answers = version.run(signature, inputs)
        rows = sum(request.rows for request in requests)
        if any(len(values) != rows for values in answers.values()):
            raise ValueError(f"{signature} does not answer row by row")
    except Exception as error:
        if len(requests) == 1:
            requests[0].answer.set_exception(_refusal(error, requests[0].rows))
            return
        for request in requests:
            _answer(version, signature, [request])
        return
    start = 0
    for request in requests:
        own = slice(start, start + request.rows)
        request.answer.set_result({name: values[own] for name, values in answers.items()})
        start = own.stop


def _refusal(error, rows):
    if isinstance(error, tf.errors.OpError):
        kind = error_codes_pb2.Code.Name(error.error_code)
        return Refusal(kind, reason(error) if rows == 1 else said(error))
    LOG.exception("A batch failed", exc_info=error)
    return Refusal("INTERNAL", f"{type(error).__name__}: {error}")
