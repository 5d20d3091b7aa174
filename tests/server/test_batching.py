"""Batches: what goes together, whose answer is whose, and what is refused."""

import threading
from concurrent.futures import CancelledError

import numpy as np
import pytest
import tensorflow as tf

from mmkeras.server.batching import Batcher
from mmkeras.server.refusal import Refusal


class Squares:
    """A version whose first batch waits to be let go; it notes the rows of each batch."""

    def __init__(self):
        self.started, self.go = threading.Event(), threading.Event()
        self.batches = []

    def rows(self, signature, inputs):
        return None if signature == "alone" else len(inputs["x"])

    def run(self, signature, inputs):
        self.started.set()
        assert self.go.wait(60)
        x = inputs["x"]
        self.batches.append(x.shape)
        if signature == "one" and len(x) > 1:
            return {"x": np.zeros(1)}
        if (x < 0).any():
            raise tf.errors.InvalidArgumentError(None, None, "row 0 is negative")
        if (x == 13).any():
            raise RuntimeError("13")
        return {"x": x**2}


@pytest.fixture
def version():
    return Squares()


@pytest.fixture
def batcher(version):
    batcher = Batcher(max_rows=4, wait=0, limit=8, threads=1)
    yield batcher
    version.go.set()
    batcher.close()


@pytest.fixture
def submit(batcher, version):
    """Submits behind a first request that the model is busy with."""
    batcher.submit(version, "", {"x": np.array([0.0])})
    assert version.started.wait(60)

    def submit(*rows, signature=""):
        return batcher.submit(version, signature, {"x": np.array(rows, float)})

    return submit


def test_what_waits_goes_together_and_everyone_gets_their_own(submit, version):
    answers = [submit(1), submit(2, 3), submit(4), submit(5)]
    version.go.set()
    got = [answer.result(60)["x"].tolist() for answer in answers]
    assert got == [[1], [4, 9], [16], [25]]
    assert version.batches == [(1,), (4,), (1,)]


def test_other_shapes_and_signatures_stay_apart(submit, version):
    answers = [submit([1, 2]), submit([1, 2, 3]), submit([2, 2]), submit([3, 3], signature="b")]
    version.go.set()
    sums = [answer.result(60)["x"].sum() for answer in answers]
    assert sums == [5, 14, 8, 18]
    assert sorted(version.batches[1:]) == [(1, 2), (1, 3), (2, 2)]


def test_what_has_no_rows_is_asked_alone(submit, version):
    answers = [submit(1, 2, 3, signature="alone"), submit(1, signature="alone")]
    version.go.set()
    assert [len(answer.result(60)["x"]) for answer in answers] == [3, 1]
    assert version.batches == [(1,), (3,), (1,)]


def test_a_bad_request_fails_alone(submit, version):
    answers = [submit(1), submit(-2), submit(3), submit(13)]
    version.go.set()
    assert answers[0].result(60)["x"] == [1]
    assert answers[2].result(60)["x"] == [9]
    with pytest.raises(Refusal, match=r"^negative$") as refused:
        answers[1].result(60)
    assert refused.value.kind == "INVALID_ARGUMENT"
    with pytest.raises(Refusal, match="RuntimeError: 13") as refused:
        answers[3].result(60)
    assert refused.value.kind == "INTERNAL"


def test_a_signature_that_does_not_answer_row_by_row_is_asked_one_by_one(submit, version):
    answers = [submit(2, signature="one"), submit(3, signature="one")]
    version.go.set()
    assert [answer.result(60)["x"].tolist() for answer in answers] == [[4], [9]]


def test_more_than_may_wait_is_refused_and_the_rest_answered(submit, version):
    answers = [submit(number) for number in range(8)]
    with pytest.raises(Refusal, match="queue to which this task was submitted is full") as refused:
        submit(9)
    assert refused.value.http_status == 503
    with pytest.raises(Refusal, match="Task size 5 is larger"):
        submit(1, 2, 3, 4, 5)
    version.go.set()
    assert [answer.result(60)["x"].tolist() for answer in answers] == [[n**2] for n in range(8)]
    assert submit(3).result(60)["x"] == [9]


def test_who_left_is_not_asked_for(submit, version):
    answers = [submit(1), submit(2), submit(3)]
    assert answers[1].cancel()
    version.go.set()
    assert answers[2].result(60)["x"] == [9]
    with pytest.raises(CancelledError):
        answers[1].result()
    assert version.batches == [(1,), (2,)]


def test_no_rows_are_answered(submit, version):
    answers = [submit(), submit(1)]
    version.go.set()
    assert [answer.result(60)["x"].tolist() for answer in answers] == [[], [1]]


def test_closing_answers_what_waits_and_refuses_what_comes(version):
    batcher = Batcher(max_rows=4, wait=3600, limit=8, threads=2)
    version.go.set()
    answer = batcher.submit(version, "", {"x": np.array([2.0])})
    assert not answer.done()
    batcher.close()
    assert answer.result(0)["x"] == [4]
    with pytest.raises(Refusal, match="stopping"):
        batcher.submit(version, "", {"x": np.array([2.0])})


def test_a_full_batch_waits_for_nobody(version):
    batcher = Batcher(max_rows=2, wait=3600, limit=8, threads=1)
    version.go.set()
    answers = [batcher.submit(version, "", {"x": np.array([x])}) for x in (2.0, 3.0)]
    assert [answer.result(60)["x"].tolist() for answer in answers] == [[4], [9]]
    batcher.close()
