"""REST bodies, answers and errors as TensorFlow Serving has them."""

import base64
import contextlib
import json
import math
import resource
import select
import socket

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mmkeras as mm


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


ROW = {"x": [1.5, 2.0], "data_bytes": b64(b"\x00\xfe")}
ANSWER = {"total": 3.5, "data_bytes": b64(b"\x00\xfe"), "number": 3}


@pytest.fixture(scope="module")
def server(echoes):
    limits = {"batch_size": 8, "queue": 16, "body_size": 2**20, "request_timeout": 20.0}
    with mm.Server([echoes], port=0, grpc_port=None, labels={"echo": {"good": 3}}, **limits) as up:
        yield up


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture
def ask(http):
    def post(body, path="/v1/models/echo:predict"):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return http.post(path, content=content)

    return post


def test_rows(ask):
    answer = ask({"instances": [ROW, {"x": [-1, 1], "data_bytes": "é"}]})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    second = {"total": 0.0, "data_bytes": b64("é".encode()), "number": 3}
    assert answer.json() == {"predictions": [ANSWER, second]}


def test_columns(ask):
    answer = ask({"inputs": {"x": [[1.5, 2.0]], "data_bytes": [ROW["data_bytes"]]}})
    assert answer.json() == {"outputs": {key: [value] for key, value in ANSWER.items()}}


def test_one_input_and_output_need_no_names(ask):
    named = {"instances": [{"text": "é"}, {"text": "b"}], "signature_name": "upper"}
    assert ask(named).json() == {"predictions": ["É", "B"]}
    assert ask(named | {"instances": ["é", b64(b"b")]}).json() == {"predictions": ["É", "B"]}
    columns = {"inputs": ["é", "b"], "signature_name": "upper"}
    assert ask(columns).json() == {"outputs": ["É", "B"]}


def test_a_signature_without_rows(ask):
    assert ask({"inputs": 2**40, "signature_name": "next"}).json() == {"outputs": 2**40 + 1}
    answer = ask({"inputs": 1.0, "signature_name": "next"})
    assert answer.status_code == 400
    assert "not of expected type: int64" in answer.json()["error"]


def test_versions_and_labels(ask):
    for place in ("/versions/3", "/labels/good", ""):
        answer = ask({"instances": [ROW]}, f"/v1/models/echo{place}:predict")
        assert answer.json() == {"predictions": [ANSWER]}


def test_numbers_beyond_the_finite_pass(ask):
    answer = ask(b'{"instances": [{"x": [NaN, 1], "data_bytes": ""}, {"x": [-Infinity, 0], '
                 b'"data_bytes": ""}]}')  # fmt: skip
    totals = [row["total"] for row in answer.json()["predictions"]]
    assert math.isnan(totals[0])
    assert totals[1] == -math.inf


def test_floats_are_as_short_as_they_can_be(ask):
    for value, text in ((0.1, "0.1"), (1 / 3, "0.333333343"), (1e-30, "1e-30"), (2.0, "2.0")):
        answer = ask({"instances": [{"x": [value], "data_bytes": ""}]})
        assert f'"total":{text}}}' in answer.text
        assert np.float32(answer.json()["predictions"][0]["total"]) == np.float32(value)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "The document is empty"),
        (b"{", "JSON Parse error"),
        (b"\xff\xfe{", "JSON Parse error"),
        (b"[" * 100000, "JSON Parse error"),
        (b"[]", "Is not object"),
        (b"{}", "Missing 'inputs' or 'instances' key"),
        ({"inputs": 1, "instances": 1}, "only one of 'inputs' or 'instances'"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": ROW}, "'instances' to be an list/array"),
        ({"instances": [1]}, "list of objects as multiple input tensors required"),
        ({"instances": [ROW, 1]}, "Expecting object but got list at item 1"),
        ({"instances": [{"x": [1.0]}]}, "must only have keys: data_bytes,x. Received: x"),
        ({"instances": [{**ROW, "y": 1}]}, "must only have keys: data_bytes,x"),
        ({"instances": [ROW, {**ROW, "x": [1.0]}]}, "unexpected size: 1 at level: 1"),
        ({"instances": [ROW, {**ROW, "x": 1.0}]}, "found at incorrect level: 2"),
        ({"instances": [ROW, {**ROW, "x": [[1.0], [2.0]]}]}, "unexpected level: 2 expected < 2"),
        ({"instances": [{**ROW, "x": ["1"]}]}, "'1' is not of expected type: float32"),
        ({"instances": [{**ROW, "x": [True]}]}, "True is not of expected type: float32"),
        ({"instances": [{**ROW, "x": [1e39]}]}, "Cannot convert JSON value: 1e+39 to float32"),
        ({"instances": [{**ROW, "x": [10**400]}]}, "Input 'x'"),
        ({"instances": [{**ROW, "x": 1.0}]}, "should have the shape ['any', 'any']"),
        ({"instances": [{**ROW, "data_bytes": 1}]}, "1 is not of expected type: string"),
        ({"instances": [{**ROW, "data_bytes": {"b64": "?"}}]}, "Unable to base64 decode '?'"),
        ({"instances": [{**ROW, "data_bytes": {"a": 1}}]}, "not formatted correctly for base64"),
        ({"instances": [{**ROW, "data_bytes": "\ud800"}]}, "Input 'data_bytes'"),
        ({"inputs": [1]}, "expecting an object as multiple input tensors required"),
        ({"inputs": {"x": [[1.0]]}}, "Missing named input: data_bytes"),
        ({"inputs": {"x": [[1.0]], "data_bytes": ["", ""]}}, "equal 0th-dimension size"),
        ({"instances": [ROW], "signature_name": 1}, "'signature_name' key must be a string"),
        ({"instances": [ROW], "signature_name": "no"}, '"no" not found in signature def. It sho'),
        ({"instances": [1, -1], "signature_name": "root"}, "row 1 is negative"),
        ({"instances": [2**31], "signature_name": "root"}, "Input 'n'"),
        ({"instances": [ROW] * 9}, "Task size 9 is larger than maximum input batch size 8"),
        ({"instances": [ROW] * 10000}, "Task size 10000 is larger"),
    ],
    ids=lambda value: None if isinstance(value, (dict, bytes)) else value[:30],
)
def test_bad_requests(ask, body, told):
    answer = ask(body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}
    assert told in answer.json()["error"]
    assert len(answer.json()["error"]) < 500


def test_what_is_not_there(http, ask):
    for path, status, told in [
        ("/v1/models/none:predict", 404, "request: Latest(none). Served: {'echo': [3]}"),
        ("/v1/models/echo/versions/4:predict", 404, "request: Specific(echo, 4)"),
        ("/v1/models/echo/labels/bad:predict", 400, "label: bad. It should be one of ['good']"),
        ("/v1/models/echo:classify", 400, "Expected classification signature"),
        ("/v1/models/echo:regress", 400, "Expected regression signature"),
        ("/v1/models/echo:explain", 400, "Malformed request: POST /v1/models/echo:explain"),
    ]:
        answer = ask({"instances": [ROW]}, path)
        assert answer.status_code == status
        assert told in answer.json()["error"]
    for path, status in [
        ("/v1/models", 400),
        ("/v1/models/none", 404),
        ("/v1/models/echo/versions/4", 404),
        ("/v1/models/none/metadata", 404),
        ("/nowhere", 404),
    ]:
        answer = http.get(path)
        assert answer.status_code == status
        assert set(answer.json()) == {"error"}
    assert http.delete("/v1/models/echo").status_code == 405


def test_status(http):
    status = {"error_code": "OK", "error_message": ""}
    told = {"model_version_status": [{"version": "3", "state": "AVAILABLE", "status": status}]}
    for path in ("echo", "echo/versions/3", "echo/labels/good", "ECHO".lower()):
        assert http.get(f"/v1/models/{path}").json() == told


def test_metadata(http):
    told = http.get("/v1/models/echo/metadata").json()
    assert told["model_spec"] == {"name": "echo", "signature_name": "", "version": "3"}
    signatures = told["metadata"]["signature_def"]["signature_def"]
    x = signatures["serving_default"]["inputs"]["x"]
    assert x["dtype"] == "DT_FLOAT"
    size = {"size": "-1", "name": ""}
    assert x["tensor_shape"] == {"dim": [size, size], "unknown_rank": False}
    assert signatures["serving_default"]["method_name"] == "tensorflow/serving/predict"


def test_health_and_metrics(http, ask):
    assert http.get("/healthz").status_code == 200
    assert http.get("/readyz").json() == {"ready": True, "models": {"echo": [3]}}
    ask({"instances": [ROW]})
    ask({"instances": [ROW]}, "/v1/models/none:predict")
    page = http.get("/monitoring/prometheus/metrics").text
    assert ':tensorflow:serving:request_count_total{model_name="echo",status="OK"}' in page
    assert 'model_name="none"' not in page
    assert "mmkeras:batch_rows_bucket" in page


def test_the_page_asks_for_nothing_from_elsewhere(http):
    page = http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]


def test_pages_of_others_may_not_ask(http, ask):
    for headers in ({"origin": "http://elsewhere"}, {"host": "elsewhere:80"}):
        assert http.get("/v1/models/echo", headers=headers).status_code == 403
    own = {"origin": str(http.base_url).rstrip("/")}
    assert http.get("/v1/models/echo", headers=own).status_code == 200


def test_a_body_that_is_too_large(server, ask):
    answer = ask(b" " * (2**20 + 1))
    assert answer.status_code == 413
    assert answer.json() == {"error": "A request should have 1048576 bytes at most"}

    def parts():
        for _ in range(40):
            yield b" " * 2**16

    answer = httpx.post(f"{server.url}/v1/models/echo:predict", content=parts())
    assert answer.status_code == 413
    assert ask({"instances": [ROW]}).status_code == 200


def test_a_body_of_2_gigabytes_is_refused_and_not_kept(server, ask):
    before, sent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
    head = f"POST /v1/models/echo:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2**31}"
    with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port), timeout=60) as body:
        body.sendall(f"{head}\r\n\r\n".encode())
        answer = b""
        while not answer and sent < 2**31:
            with contextlib.suppress(ConnectionError):
                sent += body.send(bytes(2**16))
            answer = body.recv(4096) if select.select([body], [], [], 0)[0] else b""
    assert answer.startswith(b"HTTP/1.1 413 ")
    # Kilobytes.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**15
    assert ask({"instances": [ROW]}).status_code == 200


def test_a_client_that_leaves_takes_nothing_along(server, ask):
    port = httpx.URL(server.url).port
    body = json.dumps({"instances": [ROW]}).encode()
    head = (
        f"POST /v1/models/echo:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"
    )
    for sent in (b"", body[:9], body):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(f"{head}\r\n\r\n".encode() + sent)
    assert ask({"instances": [ROW]}).json() == {"predictions": [ANSWER]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.just(ROW) | st.just([1.0, 2.0]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["instances", "inputs", "x", "data_bytes", "b64", "signature_name"])
        | st.text(max_size=3),
        inner,
        max_size=3,
    ),
    max_leaves=8,
)  # fmt: skip


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(body=JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40))
def test_whatever_comes_is_answered_and_the_next_too(ask, body):
    answer = ask(body)
    assert answer.status_code in (200, 400)
    assert answer.status_code == 200 or set(answer.json()) == {"error"}
    assert ask({"instances": [ROW]}).json() == {"predictions": [ANSWER]}
