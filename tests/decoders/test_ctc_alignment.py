import itertools

import numpy as np
import pytest
import tensorflow as tf

from mmkeras.decoders.alignment import align
from mmkeras.decoders.ctc import CTC


def log_probabilities(seed, batch=1, frames=6, vocabulary=4):
    logits = np.random.default_rng(seed).normal(0, 1.5, [batch, frames, vocabulary])
    return tf.nn.log_softmax(logits.astype("float32")).numpy()


def best_path(log_probs, text):
    """The likeliest of all paths that say a text: for each id its frames and mean probability."""
    paths = [
        (log_probs[range(len(path)), path].sum(), path)
        for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs))
        if tuple(token for token, _ in itertools.groupby(path) if token) == tuple(text)
    ]
    path = max(paths)[1]
    found, frame = [], 0
    for token, run in itertools.groupby(path):
        size = len(list(run))
        if token:
            sure = np.exp(log_probs[frame : frame + size, token]).mean()
            found.append((frame, frame + size, sure))
        frame += size
    return found


@pytest.mark.parametrize("text", [(1,), (1, 2), (2, 2), (3, 1, 3), (1, 1, 2), (1, 2, 3, 1)])
def test_equals_the_best_of_all_paths(text):
    log_probs = log_probabilities(sum(text), batch=2)
    ids = np.zeros([2, 5], "int32")
    ids[:, : len(text)] = text
    found = align(log_probs, ids)
    for example in range(2):
        expected = best_path(log_probs[example], text)
        frames = found["frames"].numpy()[example]
        assert frames[: len(text)].tolist() == [[a, b] for a, b, _ in expected]
        np.testing.assert_allclose(
            found["confidence"][example, : len(text)], [c for *_, c in expected], rtol=1e-5
        )
        assert not frames[len(text) :].any()


def test_neighbours_and_padding_change_nothing():
    head = CTC(4, dropout=0.0)
    head.build((None, None, 4))
    head.output_layer.kernel.assign(np.eye(4))
    x = log_probabilities(0, batch=2, frames=12)
    mask = np.arange(12) < [[12], [7]]
    ids = np.array([[1, 2, 2, 3], [3, 1, 0, 0]])
    together = head.explain(ids, x, mask)
    alone = head.explain(ids[1:, :2], x[1:, :7])
    np.testing.assert_array_equal(together["frames"][1, :2], alone["frames"][0])
    np.testing.assert_allclose(together["confidence"][1, :2], alone["confidence"][0], rtol=1e-5)
    assert together["frames"].numpy().max() <= 12


def test_empty_texts_and_texts_too_long_have_no_frames():
    found = align(log_probabilities(0, 2, 3), np.array([[0, 0, 0, 0], [1, 1, 2, 2]]))
    assert not found["frames"].numpy().any()
    assert not found["confidence"].numpy().any()


@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 4, 0), (2, 0, 3)])
def test_nothing_to_align(shape):
    batch, frames, length = shape
    log_probs = np.zeros([batch, frames, 5], "float32")
    found = align(log_probs, np.ones([batch, length], "int32"))
    assert found["frames"].shape == (batch, length, 2)


def test_a_graph_of_free_shapes():
    run = tf.function(
        align,
        input_signature=[tf.TensorSpec([None, None, 4]), tf.TensorSpec([None, None], tf.int32)],
        autograph=False,
    )
    ids = np.array([[1, 2, 0]], "int32")
    assert run(np.zeros([1, 0, 4], "float32"), ids)["frames"].shape == (1, 3, 2)
    log_probs = log_probabilities(0)
    np.testing.assert_array_equal(run(log_probs, ids)["frames"], align(log_probs, ids)["frames"])
