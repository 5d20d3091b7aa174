"""Exports of tasks whose inputs may be missing and whose answers are a closed set."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import mmkeras as mm

QUESTIONS = ["what is red", "how many dogs", "is it warm here"]
ANSWERS = ["a ring", "two", "ja", "否", "maybe", "no"]


@pytest.fixture(scope="module", autouse=True)
def _unoptimized():
    """Optimizing graphs that run once takes longer than running them."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(scope="module")
def task():
    words = mm.train_tokenizer(QUESTIONS, "word")
    room = {
        "image": mm.Image(16, optional=True),
        "audio": mm.Audio(8000, optional=True),
        "readings": mm.Features((2,), optional=True),
    }
    return mm.multimodal_question_answering(words, ANSWERS, room, "lstm", "gated", "tiny")


@pytest.fixture(scope="module")
def records(task, photo):
    return {
        "image": [photo(0), None, photo(2)],
        "audio": [None, task.preprocessor.inputs["audio"].example(0), b""],
        "readings": [None, [1.0, 2.0], [0.0, 0.5]],
        "question": QUESTIONS,
    }


@pytest.fixture(scope="module")
def path(task, records, tmp_path_factory):
    return mm.export(task, tmp_path_factory.mktemp("answers") / "1", records)


@pytest.fixture(scope="module")
def served(path):
    return mm.Export(path)


def test_served_is_inferred_whatever_is_missing(task, served, records):
    expected = task.infer(records)
    found = served.infer(records)
    assert found["answer"] == expected["answer"]
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-4)
    parts = served.infer(records, batch_size=1)
    assert parts["answer"] == found["answer"]


def test_an_input_may_be_left_out(task, served):
    assert served.optional == ["image", "audio", "readings"]
    found = served.infer({"question": QUESTIONS})
    assert found["answer"] == task.infer({"question": QUESTIONS})["answer"]
    with pytest.raises(ValueError, match=r"of which \['image', 'audio', 'readings'\] may be left"):
        served.infer({"image": [b""]})


def test_a_client_sends_empty_values(served):
    raw = {
        "image_bytes": tf.constant([b""]),
        "audio_bytes": tf.constant([b""]),
        "readings": tf.constant([[np.nan, np.nan]]),
        "question": tf.constant(QUESTIONS[:1]),
    }
    answers = served.run(raw)
    assert [x.decode() for x in answers["answer"]] == served.infer({"question": QUESTIONS[:1]})[
        "answer"
    ]


def test_the_likeliest_classes_come_first(served, records):
    best = served.infer(records, "nbest")
    assert np.shape(best["answer"]) == (3, 5)
    assert [row[0] for row in best["answer"]] == served.infer(records)["answer"]
    assert np.all(np.diff(best["score"], axis=1) <= 0)
    assert served.infer({"question": []}, "nbest")["answer"] == []


def test_a_question_without_words_is_refused_by_its_row(served):
    with pytest.raises(ValueError, match=r"Row 1, .*: without `question`"):
        served.infer({"question": ["what is red", ""]})


def test_explain(served, records):
    found = served.infer(records, "explain")
    np.testing.assert_allclose(np.sum(found["answer_attention"], axis=-1), 1, rtol=1e-4)
    assert [tokens[0] for tokens in found["answer_tokens"]] == found["answer"]


def test_golden_requests(path):
    assert mm.verify(path) == []


def test_core_operations_only(path):
    model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    nodes = [
        *graph.node,
        *(node for function in graph.library.function for node in function.node_def),
    ]
    names = {node.op for node in nodes}
    assert not {name for name in names if name.startswith(("PyFunc", "EagerPyFunc", "Xla"))}
