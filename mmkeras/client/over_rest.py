"""Asking over REST."""

import base64
import contextlib
import json
from urllib.parse import quote

import httpx

from mmkeras.client.transport import Failure, Spec

# What a proxy or a server that stops says of requests that it has not begun.
RETRIED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.RemoteProtocolError)


class Rest:
    """Requests and answers of one model over HTTP, see `transport`."""

    def __init__(self, url, model, version, token, timeout, asynchronous):
        self._path = f"/v1/models/{quote(model, safe='')}"
        if version is not None:
            place = "versions" if isinstance(version, int) else "labels"
            self._path += f"/{place}/{quote(str(version), safe='')}"
        headers = {"content-type": "application/json"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        make = httpx.AsyncClient if asynchronous else httpx.Client
        self._http = make(base_url=url, headers=headers, timeout=timeout)

    def metadata_request(self):
        return "GET", f"{self._path}/metadata", None

    def read_metadata(self, answer):
        signatures = answer["metadata"]["signature_def"]["signature_def"]
        return {
            name: {
                side: {key: _spec(info) for key, info in signature.get(side, {}).items()}
                for side in ("inputs", "outputs")
            }
            for name, signature in signatures.items()
        }

    def predict_request(self, signature, inputs, specs):
        """Lists by the names of the signature -> a request in the column format."""
        columns = {name: _to_json(values) for name, values in inputs.items()}
        body = {"signature_name": signature, "inputs": columns}
        return "POST", f"{self._path}:predict", json.dumps(body).encode()

    def read_answer(self, answer, specs):
        outputs = answer["outputs"]
        if len(specs) == 1:
            outputs = dict.fromkeys(specs, outputs)
        return {
            name: _from_base64(values) if name.endswith("_bytes") else values
            for name, values in outputs.items()
        }

    def send(self, request):
        method, path, content = request
        with _failures():
            return _read(self._http.request(method, path, content=content))

    async def send_async(self, request):
        method, path, content = request
        with _failures():
            return _read(await self._http.request(method, path, content=content))

    def close(self):
        """Closes, or gives a coroutine that does."""
        return self._http.aclose() if hasattr(self._http, "aclose") else self._http.close()


@contextlib.contextmanager
def _failures():
    try:
        yield
    except RETRIED as error:
        raise Failure("UNAVAILABLE", str(error)) from None
    except httpx.TimeoutException as error:
        raise Failure("DEADLINE_EXCEEDED", f"no answer in time: {error}") from None
    except httpx.HTTPError as error:
        raise Failure("UNKNOWN", f"{type(error).__name__}: {error}") from None


KINDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def _read(response):
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if response.status_code == 200 and isinstance(answer, dict) and "error" not in answer:
        return answer
    told = answer.get("error") if isinstance(answer, dict) else response.text[:200]
    kind = KINDS.get(response.status_code, "UNKNOWN")
    raise Failure(kind, told or f"HTTP status {response.status_code}")


def _spec(info):
    dims = info["tensor_shape"].get("dim", [])
    return Spec(info["dtype"], [int(dim["size"]) for dim in dims])


def _to_json(values):
    if isinstance(values, (list, tuple)):
        return [_to_json(each) for each in values]
    if isinstance(values, bytes):
        return {"b64": base64.b64encode(values).decode()}
    return values


def _from_base64(values):
    if isinstance(values, list):
        return [_from_base64(each) for each in values]
    return base64.b64decode(values["b64"])
