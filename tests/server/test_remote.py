"""gRPC answers what REST does."""

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mm

apis = pytest.importorskip("tensorflow_serving.apis")
from tensorflow_serving.apis import (  # noqa: E402
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

X, DATA = [[1.5, 2.0], [0.1, -0.25]], [b"\x00\xfe", b""]


@pytest.fixture(scope="module")
def server(echoes):
    labels = {"echo": {"good": 3}}
    limits = {"batch_size": 4, "body_size": 2**20}
    with mm.Server([echoes], port=0, grpc_port=0, token="secret", labels=labels, **limits) as up:
        yield up


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.grpc_url.removeprefix("grpc://")) as channel:
        yield channel


@pytest.fixture
def predict(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def ask(inputs=None, token="secret", method=stub.Predict, **spec):
        request = predict_pb2.PredictRequest(output_filter=spec.pop("only", []))
        fill(request.model_spec, **spec)
        inputs = {"x": X, "data_bytes": DATA} if inputs is None else inputs
        for name, values in inputs.items():
            proto = isinstance(values, tf.make_tensor_proto(0).__class__)
            tensor = values if proto else tf.make_tensor_proto(values)
            request.inputs[name].CopyFrom(tensor)
        return method(request, timeout=60, metadata=[("authorization", f"Bearer {token}")])

    return ask


def fill(model_spec, name="echo", version=None, label="", signature=""):
    model_spec.name, model_spec.signature_name = name, signature
    if version is not None:
        model_spec.version.value = version
    if label:
        model_spec.version_label = label


def test_predict_is_what_rest_answers(server, predict):
    answer = predict()
    assert answer.model_spec.name == "echo"
    assert answer.model_spec.version.value == 3
    assert answer.model_spec.signature_name == "serving_default"
    got = {name: tf.make_ndarray(proto) for name, proto in answer.outputs.items()}
    rest = httpx.post(
        f"{server.url}/v1/models/echo:predict",
        json={"inputs": {"x": X, "data_bytes": [{"b64": "AP4="}, ""]}},
        headers={"authorization": "Bearer secret"},
    ).json()["outputs"]
    np.testing.assert_array_equal(got["total"], np.float32(rest["total"]))
    assert got["data_bytes"].tolist() == DATA
    assert got["number"].tolist() == rest["number"] == [3, 3]


def test_versions_labels_signatures_and_filters(predict):
    for spec in ({"version": 3}, {"label": "good"}):
        assert predict(**spec).model_spec.version.value == 3
    only = predict(only=["number"])
    assert list(only.outputs) == ["number"]
    answer = predict({"text": ["é"]}, signature="upper")
    assert answer.outputs["upper"].string_val == ["É".encode()]
    # An own value for one that repeats.
    proto = tf.make_tensor_proto(4, tf.int32, [3])
    assert len(tf.make_ndarray(predict({"n": proto}, signature="root").outputs["root"])) == 3


def huge():
    proto = tf.make_tensor_proto(4, tf.int32, [1])
    proto.tensor_shape.dim[0].size = 2**40
    return proto


def broken():
    proto = tf.make_tensor_proto([4, 5], tf.int32)
    proto.tensor_content = b"\x00\x00\x00"
    return proto


@pytest.mark.parametrize(
    ("inputs", "spec", "code", "told"),
    [
        (None, {"name": "no"}, "NOT_FOUND", r"request: Latest\(no\). Served: {'echo': \[3\]}"),
        (None, {"version": 4}, "NOT_FOUND", r"Specific\(echo, 4\)"),
        (None, {"label": "bad"}, "INVALID_ARGUMENT", r"should be one of \['good'\]"),
        (None, {"signature": "no"}, "INVALID_ARGUMENT", r"should be one of \['next', 'root'"),
        (None, {"only": ["no"]}, "INVALID_ARGUMENT", r"alias not found in signature: \['no'\]"),
        ({"x": X}, {}, "INVALID_ARGUMENT", r"inputs should be \['data_bytes', 'x'\]"),
        ({"y": X}, {}, "INVALID_ARGUMENT", "alias not found in signature: y"),
        ({"x": DATA}, {}, "INVALID_ARGUMENT", "'x' should be float32. Received: string"),
        ({"n": [-1]}, {"signature": "root"}, "INVALID_ARGUMENT", "negative"),
        ({"n": [[1]]}, {"signature": "root"}, "INVALID_ARGUMENT", "should have the shape"),
        ({"n": [1] * 5}, {"signature": "root"}, "INVALID_ARGUMENT", "Task size 5 is larger"),
        ({"n": huge()}, {"signature": "root"}, "INVALID_ARGUMENT", "1048576 bytes at most"),
        ({"n": broken()}, {"signature": "root"}, "INVALID_ARGUMENT", "'n' is malformed"),
        ({"text": ["x" * 2**20]}, {"signature": "upper"}, "RESOURCE_EXHAUSTED", "larger"),
        (None, {"token": "guess"}, "UNAUTHENTICATED", "Bearer TOKEN"),
    ],
)
def test_bad_requests(predict, inputs, spec, code, told):
    with pytest.raises(grpc.RpcError, match=told) as refused:
        predict(inputs, **spec)
    assert refused.value.code().name == code
    assert list(predict().outputs["number"].int_val) == [3, 3]


def test_metadata_and_status(channel):
    metadata = [("authorization", "Bearer secret")]
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    fill(request.model_spec)
    answer = stub.GetModelMetadata(request, metadata=metadata)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def["serving_default"].inputs) == {"x", "data_bytes"}
    del request.metadata_field[:]
    with pytest.raises(grpc.RpcError, match=r"should be \['signature_def'\]. Received: \[\]"):
        stub.GetModelMetadata(request, metadata=metadata)
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    fill(request.model_spec)
    (status,) = models.GetModelStatus(request, metadata=metadata).model_version_status
    assert (status.version, status.state, status.status.error_code) == (3, 30, 0)
    fill(request.model_spec, name="no")
    with pytest.raises(grpc.RpcError, match="Could not find any versions of model no"):
        models.GetModelStatus(request, metadata=metadata)
    classify = classification_pb2.ClassificationRequest()
    fill(classify.model_spec)
    with pytest.raises(grpc.RpcError, match="Expected classification signature"):
        stub.Classify(classify, metadata=metadata)
    regress = regression_pb2.RegressionRequest()
    fill(regress.model_spec)
    with pytest.raises(grpc.RpcError, match="Expected regression signature"):
        stub.Regress(regress, metadata=metadata)


def test_rest_wants_the_token_too(server):
    get = httpx.get(f"{server.url}/v1/models/echo")
    assert get.status_code == 401
    assert get.headers["www-authenticate"] == "Bearer"
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    right = {"authorization": "Bearer secret"}
    assert httpx.get(f"{server.url}/v1/models/echo", headers=right).status_code == 200
