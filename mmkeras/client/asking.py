"""Asking a server by the names of a task."""

import asyncio
import random
import time

from mmkeras.client.records import columns, listed, short
from mmkeras.client.transport import Failure

# Seconds before a request is sent again; each wait is up to a half shorter, by chance.
WAITS = (0.1, 0.2, 0.4, 0.8, 1.6)


class Asking:
    """What `Client` and `AsyncClient` share.

    A method is a generator: it yields requests to send and seconds to wait, and gets answers.
    """

    _asynchronous = False

    def __init__(self, url, model, version=None, token=None, timeout=30.0):
        self._where, self._signatures = f"{url}, model {model!r}", None
        arguments = url.rstrip("/"), model, version, token, timeout, self._asynchronous
        scheme = url.partition("://")[0]
        if scheme not in ("http", "https", "grpc"):
            raise ValueError(
                f"`url` should begin with http://, https:// or grpc://. Received: url={url!r}"
            )
        try:
            self._transport = _transport(scheme)(*arguments)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"A client needs the extra `client`: pip install mmkeras[client]. {error}",
                name=error.name,
            ) from None

    def infer(self, records, signature="serving_default", batch_size=32):
        """Raw values -> answers, as `mmkeras.Export.infer` gives them.

        Args:
            records: A dict of lists by input name. Where the signature takes `NAME_bytes`, the
                input `NAME` is a list of paths or of the bytes of files. What an example lacks of
                an optional input is None.
            signature: The name of one that the model has.
            batch_size: How many examples are in one request.

        Returns:
            A dict of lists.

        Raises:
            ValueError: naming the input that is missing, or the row that cannot be read.
            LookupError: if there is no such model or version.
            PermissionError: if the token is not right.
            ConnectionError: if there is no server, or it has too much to do for too long.
            TimeoutError: if no answer comes in time.
        """
        return self._run(self._infer(records, signature, batch_size))

    def signatures(self):
        """What the model takes and gives: `{name: {"inputs": {name: Spec}, "outputs": ...}}`."""
        return self._run(self._describe())

    def predict(self, inputs, signature="serving_default"):
        """As the signature has it: lists by the names of its inputs -> lists by its outputs'."""
        return self._run(self._predict(inputs, signature))

    def stream(self):
        """Streams of a model that can listen to them, a `ClientStream`."""
        return ClientStream(self)

    def _infer(self, records, signature, batch_size):
        sides = yield from self._sides(signature)
        raw = columns(records, sides["inputs"])
        rows = len(next(iter(raw.values())))
        answers = {name: [] for name in sorted(sides["outputs"])}
        for start in range(0, rows, batch_size):
            part = {key: values[start : start + batch_size] for key, values in raw.items()}
            try:
                found = yield from self._ask(part, signature)
            except Failure as failure:
                if failure.kind == "INVALID_ARGUMENT":
                    some = range(start, rows)[:batch_size]
                    yield from self._tell_row(some, records, raw, signature)
                raise
            for name, values in answers.items():
                values += found[name]
        return answers

    def _tell_row(self, rows, records, raw, signature):
        """Asks one row after the other: nothing else knows which one was refused."""
        for row in rows:
            try:
                yield from self._ask({key: [x[row]] for key, x in raw.items()}, signature)
            except Failure as failure:
                if failure.kind == "INVALID_ARGUMENT":
                    given = {name: short(values[row]) for name, values in records.items()}
                    raise ValueError(f"Row {row}, {given}: {failure}") from None
                raise

    def _predict(self, inputs, signature):
        yield from self._sides(signature)
        return (yield from self._ask(inputs, signature))

    def _sides(self, signature):
        signatures = yield from self._describe()
        if signature not in signatures:
            raise ValueError(
                f"`signature` should be one of {sorted(signatures)}. "
                f"Received: signature={signature!r}"
            )
        return signatures[signature]

    def _describe(self):
        if self._signatures is None:
            answer = yield from self._exchange(self._transport.metadata_request())
            found = self._transport.read_metadata(answer)
            # What a server runs when it loads the model is listed too.
            self._signatures = {k: v for k, v in found.items() if not k.startswith("__")}
        return self._signatures

    def _ask(self, inputs, signature):
        sides = self._signatures[signature]
        if set(inputs) != set(sides["inputs"]):
            raise ValueError(
                f"`inputs` of {signature} should be {sorted(sides['inputs'])}. "
                f"Received: {sorted(inputs)}"
            )
        inputs = {name: listed(values) for name, values in inputs.items()}
        request = self._transport.predict_request(signature, inputs, sides["inputs"])
        answer = yield from self._exchange(request)
        return self._transport.read_answer(answer, sides["outputs"])

    def _exchange(self, request):
        """Sends a request until there is an answer: asking again changes nothing in a server."""
        for wait in WAITS:
            try:
                return (yield request)
            except Failure as failure:
                if failure.kind != "UNAVAILABLE":
                    raise
            yield wait * random.uniform(0.5, 1)
        return (yield request)


class Client(Asking):
    """Asks a model server, TensorFlow Serving or `mmkeras serve`, by the names of the task.

    What has not been begun is asked again: a server that cannot be reached, or has too much to do,
    is given a few seconds.

    Args:
        url: `"http://host:8501"` or `"grpc://host:8500"`.
        model: Its name.
        version: A number, or a label; None for the newest.
        token: Sent as `Authorization: Bearer TOKEN`.
        timeout: Seconds for one request.

    Raises:
        ValueError: if the URL is none of the two.

    Example:

    ```python
    import mmkeras as mm

    with mm.Client("http://localhost:8501", "captions") as client:
        client.infer({"image": ["photo.jpg"]})            # {"caption": ["..."], "score": [...]}
        client.infer({"image": ["photo.jpg"]}, "nbest")   # {"caption": [["...", ...]], ...}
    ```
    """

    def _run(self, flow):
        answer, failure = None, None
        while True:
            try:
                item = flow.send(answer) if failure is None else flow.throw(failure)
            except StopIteration as end:
                return end.value
            except Failure as last:
                raise last.exception(self._where) from None
            answer, failure = None, None
            try:
                answer = time.sleep(item) if isinstance(item, float) else self._transport.send(item)
            except Failure as error:
                failure = error

    def close(self):
        self._transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class AsyncClient(Asking):
    """As `Client`, and its methods are awaited.

    Example:

    ```python
    import mmkeras as mm

    async with mm.AsyncClient("grpc://localhost:8500", "captions") as client:
        await client.infer({"image": ["photo.jpg"]})
    ```
    """

    _asynchronous = True

    async def _run(self, flow):
        answer, failure = None, None
        while True:
            try:
                item = flow.send(answer) if failure is None else flow.throw(failure)
            except StopIteration as end:
                return end.value
            except Failure as last:
                raise last.exception(self._where) from None
            answer, failure = None, None
            try:
                if isinstance(item, float):
                    await asyncio.sleep(item)
                else:
                    answer = await self._transport.send_async(item)
            except Failure as error:
                failure = error

    async def close(self):
        await self._transport.close()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()


class ClientStream:
    """The streams of a served model, as `mmkeras.Stream` has those of a Task.

    The state is a dict of lists, which the client holds and the server does not. Over REST a state
    without frames fits `mmkeras serve` only: JSON cannot tell TensorFlow Serving its shape.

    Example:

    ```python
    import mmkeras as mm

    stream = mm.Client("grpc://localhost:8500", "speech").stream()
    state = stream.initial_state()
    rate = state["sample_rate"][0]               # samples a second, as they have to come
    for samples in pieces:                       # (1, any)
        heard, state = stream.step(samples, state)
    print(stream.end(state)["transcript"])
    ```

    Of an `AsyncClient` the methods are awaited.
    """

    def __init__(self, client):
        self._client = client

    def initial_state(self, batch=1):
        """What stands before the first sample, for `batch` streams."""
        return self._client.predict({"sample_rate": [0] * batch}, "stream_init")

    def step(self, samples, state):
        """Samples that come next, `(batch, any)` -> what is heard, as lists, and the state."""
        return self._client._run(self._step(samples, state))

    def end(self, state):
        """The answers to streams that have ended, as lists."""
        return self._client.predict(state, "stream_end")

    def _step(self, samples, state):
        inputs = {"samples": samples, **state}
        found = yield from self._client._predict(inputs, "stream_step")
        heard = {name: found.pop(name) for name in {*found} - {*state}}
        return heard, found


def _transport(scheme):
    """Each needs a package that the other can do without."""
    if scheme == "grpc":
        from mmkeras.client.over_grpc import Grpc

        return Grpc
    from mmkeras.client.over_rest import Rest

    return Rest
