"""Open-loop load on a model server: requests come when they come, whatever became of the others.

A minimal HTTP client, because a full one takes as much of the machine as a small model does. It
asks an address of this machine only, a counted number of times.
"""

import asyncio
import dataclasses
import ipaddress
import json
import time
from urllib.parse import urlsplit

import numpy as np

TIMEOUT = 30


@dataclasses.dataclass
class Outcome:
    """What became of the requests of one run.

    Attributes:
        seconds: Of the run.
        answered, refused: Seconds from when each request was due to its answer, or its 503.
        wrong: Answers that belong to another request.
        lost: Requests without an answer, or with another status.
    """

    seconds: float = 0.0
    answered: list = dataclasses.field(default_factory=list)
    refused: list = dataclasses.field(default_factory=list)
    wrong: int = 0
    lost: int = 0

    def figures(self):
        return {
            "answered_per_s": round(len(self.answered) / self.seconds, 2),
            **_percentiles("answered", self.answered),
            "refused": len(self.refused),
            **_percentiles("refused", self.refused),
            "wrong": self.wrong,
            "lost": self.lost,
        }


def _percentiles(name, seconds):
    if not seconds:
        return {}
    return {
        f"{name}_p{percent}_ms": round(1000 * np.percentile(seconds, percent), 1)
        for percent in (50, 99)
    }


class Target:
    """A model of a server, and requests with the answers that are right.

    Args:
        url: Of the server, on this machine.
        model: Its name.
        bodies: A list of bodies of predict requests.
        right: A function of the number of a body and its answer, whether that is right.
    """

    def __init__(self, url, model, bodies, right):
        place = urlsplit(url)
        if not ipaddress.ip_address(place.hostname).is_loopback:
            raise ValueError(f"Load is for this machine only. Received: {url}")
        self._place, self._idle, self._right = (place.hostname, place.port), [], right
        head = f"POST /v1/models/{model}:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
        self._requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]

    async def at_rate(self, rate, count, seed=0):
        """Asks `count` times, at times that chance chooses, `rate` of them a second."""
        due = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))
        outcome, tasks = Outcome(), []
        start = time.perf_counter()
        for number, moment in enumerate(due + start):
            await asyncio.sleep(max(moment - time.perf_counter(), 0))
            tasks.append(asyncio.create_task(self._ask(number, moment, outcome)))
        await asyncio.gather(*tasks)
        outcome.seconds = time.perf_counter() - start
        return outcome

    async def at_once(self, clients, count):
        """Asks `count` times by a number of clients, each of which waits for its answers."""
        outcome, numbers = Outcome(), iter(range(count))

        async def ask_on():
            for number in numbers:
                await self._ask(number, time.perf_counter(), outcome)

        start = time.perf_counter()
        await asyncio.gather(*(ask_on() for _ in range(clients)))
        outcome.seconds = time.perf_counter() - start
        return outcome

    async def _ask(self, number, due, outcome):
        number %= len(self._requests)
        try:
            async with asyncio.timeout(TIMEOUT):
                status, body = await self._exchange(self._requests[number])
        except (OSError, EOFError, TimeoutError):
            outcome.lost += 1
            return
        took = time.perf_counter() - due
        if status == 503:
            outcome.refused.append(took)
        elif status != 200:
            outcome.lost += 1
        elif self._right(number, json.loads(body)):
            outcome.answered.append(took)
        else:
            outcome.wrong += 1

    async def _exchange(self, request):
        # The server closes connections that were idle for long.
        while self._idle and self._idle[-1][0].at_eof():
            self._idle.pop()[1].close()
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection(*self._place)
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            body = await reader.readexactly(int(head.split("content-length:")[1].split("\r\n")[0]))
        except BaseException:
            writer.close()
            raise
        self._idle.append((reader, writer))
        return int(head.split()[1]), body

    def close(self):
        for _, writer in self._idle:
            writer.close()
