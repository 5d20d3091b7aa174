"""Whatever comes over the wire is refused or answered, and the next good request is answered."""

import collections
import json

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mm

apis = pytest.importorskip("tensorflow_serving.apis")
from tensorflow_serving.apis import predict_pb2  # noqa: E402

PREDICT = "/tensorflow.serving.PredictionService/Predict"
REQUESTS = 1000
ROW = {"x": [1.5, 2.0], "data_bytes": {"b64": "AP4="}}
BODY = json.dumps({"instances": [ROW, ROW], "signature_name": "serving_default"}).encode()


@pytest.fixture(scope="module")
def server(echoes):
    with mm.Server([echoes], port=0, grpc_port=0, body_size=2**20, batch_timeout=0) as up:
        yield up


@pytest.fixture(scope="module")
def predict(server):
    """Bytes -> bytes, as they travel."""
    with grpc.insecure_channel(server.grpc_url.removeprefix("grpc://")) as channel:
        yield channel.unary_unary(PREDICT)


@pytest.fixture(scope="module")
def post(server):
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield lambda body: client.post("/v1/models/echo:predict", content=body)


def good():
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "echo"
    x = np.float32([ROW["x"], [3, 4]])
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(x))
    request.inputs["data_bytes"].CopyFrom(tf.make_tensor_proto([b"\x00\xfe", b""]))
    return request


def answered(predict):
    response = predict_pb2.PredictResponse.FromString(predict(good().SerializeToString()))
    return list(response.outputs["total"].float_val) == [3.5, 7.0]


def outcome(predict, body):
    try:
        predict(body, timeout=60)
        return "OK", ""
    except grpc.RpcError as error:
        return error.code().name, error.details()


def spoilt(data, random):
    """Bytes with some cut, flipped, put in or made as large as they can be."""
    data, place = bytearray(data), int(random.integers(len(data)))
    kind = random.integers(4)
    if kind == 0:
        return bytes(data[:place])
    if kind == 1:
        return bytes(data[:place] + random.bytes(int(random.integers(1, 9))) + data[place:])
    if kind == 2:
        return bytes(data[:place] + b"\xff" * 9 + data[place + 9 :])
    for at in random.integers(len(data), size=random.integers(1, 4)):
        data[at] ^= 1 << random.integers(8)
    return bytes(data)


def lying(random):
    """A whole message whose tensors are not what they say."""
    request = good()
    proto = request.inputs[["x", "data_bytes"][random.integers(2)]]
    kind = random.integers(6)
    if kind == 0:
        size = [-1, 0, 3, 2**31, 2**62, -(2**63)][random.integers(6)]
        proto.tensor_shape.dim[0].size = size
    elif kind == 1:
        for _ in range(random.integers(1, 300)):
            proto.tensor_shape.dim.add(size=int(random.integers(3)))
    elif kind == 2:
        proto.dtype = int(random.integers(-3, 130))
    elif kind == 3:
        proto.tensor_content = random.bytes(int(random.integers(40)))
    elif kind == 4:
        proto.tensor_shape.unknown_rank = True
        del proto.tensor_shape.dim[:]
    else:
        proto.float_val.extend([float("nan")] * int(random.integers(9)))
        proto.ClearField("tensor_content")
        proto.int64_val.append(1)
    return request.SerializeToString()


@pytest.mark.parametrize("make", [lying, lambda random: spoilt(good().SerializeToString(), random)])
def test_malformed_messages(make, predict):
    random, became = np.random.default_rng(0), collections.Counter()
    for number in range(REQUESTS):
        body = make(random)
        code, details = outcome(predict, body)
        became[code] += 1
        assert code in ("OK", "INVALID_ARGUMENT", "NOT_FOUND"), (code, details, body)
        assert len(details) < 1000
        assert number % 20 or answered(predict)
    assert answered(predict)
    assert became["INVALID_ARGUMENT"] > REQUESTS / 10


def test_malformed_json(post):
    random, became = np.random.default_rng(0), collections.Counter()
    for number in range(REQUESTS):
        body = spoilt(BODY, random)
        answer = post(body)
        became[answer.status_code] += 1
        assert answer.status_code in (200, 400), (answer.text, body)
        assert answer.status_code == 200 or set(answer.json()) == {"error"}
        if number % 20 == 0:
            assert [row["total"] for row in post(BODY).json()["predictions"]] == [3.5, 3.5]
    assert became[400] > REQUESTS / 2
