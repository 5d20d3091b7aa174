"""Classify, as TensorFlow Serving has it: examples in, all classes with their scores out."""

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mm

apis = pytest.importorskip("tensorflow_serving.apis")
from tensorflow_serving.apis import (  # noqa: E402
    classification_pb2,
    prediction_service_pb2_grpc,
)

QUESTIONS = ["what is red", "how many dogs"]
CLASSES = ["a ring", "two", "否"]
READINGS = [0.5, -2.0]
PATH = "/v1/models/answers:classify"


@pytest.fixture(scope="module", autouse=True)
def _unoptimized():
    """Optimizing graphs that run once takes longer than running them."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    words = mm.train_tokenizer(QUESTIONS, "word")
    inputs = {"readings": mm.Features((2,), optional=True)}
    task = mm.multimodal_question_answering(words, CLASSES, inputs, "lstm", "gated", "tiny")
    return mm.export(task, tmp_path_factory.mktemp("models") / "answers" / "1")


@pytest.fixture(scope="module")
def server(path):
    with mm.Server([path.parent], port=0, grpc_port=0) as up:
        yield up


@pytest.fixture(scope="module")
def expected(path):
    """All classes with and without readings, as pairs."""
    records = {"question": QUESTIONS, "readings": [READINGS, None]}
    found = mm.Export(path).infer(records, "nbest")
    assert sorted(found["answer"][0]) == sorted(CLASSES)
    return [list(zip(*row, strict=True)) for row in zip(*found.values(), strict=True)]


def equal(found, expected):
    assert [[label for label, _ in row] for row in found] == [[c for c, _ in r] for r in expected]
    scores = [[score for _, score in row] for row in found]
    np.testing.assert_allclose(scores, [[s for _, s in row] for row in expected], rtol=1e-4)
    return True


def test_rest(server, expected):
    def ask(**body):
        body = {"signature_name": "classify"} | body
        return httpx.post(f"{server.url}{PATH}", json=body, timeout=60)

    first = {"question": QUESTIONS[0], "readings": READINGS}
    answer = ask(examples=[first, {"question": {"b64": "aG93IG1hbnkgZG9ncw=="}}])
    assert set(answer.json()) == {"results"}
    assert equal(answer.json()["results"], expected)
    shared = ask(context={"readings": READINGS}, examples=[{"question": QUESTIONS[0]}])
    assert equal(shared.json()["results"], expected[:1])
    for body, told in [
        ({"examples": [first], "signature_name": ""}, "Was: tensorflow/serving/predict. Signature"),
        ({"examples": [first], "signature_name": "no"}, '"no" not found in signature def'),
        ({"instances": [first]}, "key 'examples' is expected and was not found"),
        ({"examples": []}, "should be a list that is not empty"),
        ({"examples": ["what"]}, "Example must be JSON object but got 'what'"),
        ({"examples": [{"readings": READINGS}]}, "question (data type: string) is required"),
        ({"examples": [first | {"readings": "warm"}]}, "readings"),
        ({"examples": [first | {"readings": [0.5]}]}, "readings"),
        ({"examples": [first | {"question": None}]}, "Feature 'question'"),
        ({"examples": [first | {"question": [[1]]}]}, "Feature 'question'"),
        ({"examples": [first | {"question": 2**64}]}, "Feature 'question'"),
        ({"examples": [first] * 65}, "Task size 65 is larger"),
    ]:
        refused = ask(**body)
        assert refused.status_code == 400
        assert told in refused.json()["error"]


def test_grpc(server, expected):
    examples = [example(question=QUESTIONS[0], readings=READINGS), example(question=QUESTIONS[1])]
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "answers", "classify"
    with grpc.insecure_channel(server.grpc_url.removeprefix("grpc://")) as channel:
        classify = prediction_service_pb2_grpc.PredictionServiceStub(channel).Classify
        request.input.example_list.examples.extend(examples)
        assert equal(pairs(classify(request, timeout=60)), expected)
        several = request.input.example_list_with_context
        several.context.CopyFrom(example(readings=READINGS))
        several.examples.append(example(question=QUESTIONS[0]))
        assert equal(pairs(classify(request, timeout=60)), expected[:1])
        request.ClearField("input")
        with pytest.raises(grpc.RpcError, match="Input is empty") as refused:
            classify(request, timeout=60)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def example(question=None, readings=None):
    features = {}
    if question is not None:
        value = tf.train.BytesList(value=[question.encode()])
        features["question"] = tf.train.Feature(bytes_list=value)
    if readings is not None:
        features["readings"] = tf.train.Feature(float_list=tf.train.FloatList(value=readings))
    return tf.train.Example(features=tf.train.Features(feature=features))


def pairs(answer):
    rows = answer.result.classifications
    return [[(each.label, each.score) for each in row.classes] for row in rows]


def test_what_stock_serving_asks_of_the_signature(server):
    """One input `inputs`, outputs `classes` and `scores` with two axes, and the method's name."""
    told = httpx.get(f"{server.url}/v1/models/answers/metadata").json()["metadata"]
    signature = told["signature_def"]["signature_def"]["classify"]
    assert signature["method_name"] == "tensorflow/serving/classify"
    assert {k: x["dtype"] for k, x in signature["inputs"].items()} == {"inputs": "DT_STRING"}
    outputs = {
        k: (x["dtype"], len(x["tensor_shape"]["dim"])) for k, x in signature["outputs"].items()
    }
    assert outputs == {"classes": ("DT_STRING", 2), "scores": ("DT_FLOAT", 2)}
