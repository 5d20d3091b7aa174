import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mm


def reference(labels, logits, weights, smoothing):
    """One-hot labels, smoothed, against log-softmax in float64; mean over what has weight."""
    logits = logits.astype("float64")
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    size = logits.shape[-1]
    target = np.eye(size)[labels] * (1 - smoothing) + smoothing / size
    return -((target * log_p).sum(-1) * weights).sum() / weights.sum()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_smoothed_one_hot_crossentropy(smoothing):
    random = np.random.default_rng(0)
    labels, logits = random.integers(0, 7, (3, 5)), random.normal(size=(3, 5, 7)).astype("float32")
    weights = (random.random((3, 5)) > 0.3).astype("float32")
    loss = mm.TokenCrossentropy(smoothing)
    got = float(loss(labels, logits, sample_weight=weights))
    assert got == pytest.approx(reference(labels, logits, weights, smoothing), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_gradient_is_the_softmax_minus_the_smoothed_target(smoothing):
    random = np.random.default_rng(0)
    labels = random.integers(0, 7, (3, 5))
    logits = tf.constant(random.normal(size=(3, 5, 7)) * 30, "float32")
    weights = random.random((3, 5)).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = mm.TokenCrossentropy(smoothing, reduction="sum")(labels, logits, weights)
    target = np.eye(7)[labels] * (1 - smoothing) + smoothing / 7
    expected = (tf.nn.softmax(logits).numpy() - target) * weights[..., None]
    np.testing.assert_allclose(tape.gradient(loss, logits), expected, atol=1e-5)


def test_a_logit_of_minus_infinity_is_no_class():
    logits = np.array([[[1.0, -np.inf, 2.0]]], "float32")
    loss = mm.TokenCrossentropy()([[2]], logits)
    assert float(loss) == pytest.approx(np.log(1 + np.exp(-1)), rel=1e-5)


def test_padding_does_not_count():
    logits = np.random.default_rng(0).normal(size=(1, 4, 6)).astype("float32")
    short = mm.TokenCrossentropy(0.1)([[3, 2]], logits[:, :2], sample_weight=[[1.0, 1.0]])
    padded = mm.TokenCrossentropy(0.1)([[3, 2, 0, 0]], logits, sample_weight=[[1.0, 1.0, 0.0, 0.0]])
    assert float(short) == pytest.approx(float(padded), rel=1e-6)


def test_config_round_trip():
    loss = mm.TokenCrossentropy(0.2, reduction="sum_over_batch_size")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert (again.label_smoothing, again.reduction) == (0.2, "sum_over_batch_size")


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_refuses_smoothing_out_of_range(smoothing):
    with pytest.raises(ValueError, match="label_smoothing"):
        mm.TokenCrossentropy(smoothing)
