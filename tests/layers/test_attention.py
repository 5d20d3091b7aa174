import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras  # noqa: F401 (quiets TensorFlow's start-up)
from mmkeras.layers import AdditiveAttention, Attention, LayerNorm, Linear, attend
from mmkeras.layers.attention import causal_bias, mask_bias, split_heads


def numpy_attention(query, keys, values, heads, bias):
    parts = [np.split(x, heads, axis=-1) for x in (query, keys, values)]
    results, maps = [], []
    for q, k, v in zip(*parts, strict=True):
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]) + bias
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        results.append(weights @ v)
        maps.append(weights)
    return np.concatenate(results, -1), np.stack(maps, 1)


@pytest.mark.parametrize("queries", [1, 3, 20])
def test_attention_of_one_and_of_many_queries_equals_numpy(queries):
    random = np.random.default_rng(queries)
    query = random.normal(size=(2, queries, 12)).astype("float32")
    keys, values = random.normal(size=(2, 2, 7, 12)).astype("float32")
    shown = np.array([[True] * 7, [True] * 4 + [False] * 3])
    bias = np.array(mask_bias(shown))[:, None]
    parts = [split_heads(x, 3) for x in (query, keys, values)]
    result, weights = attend(parts[0], np.swapaxes(parts[1], 2, 3), parts[2], bias)
    expected, expected_weights = numpy_attention(query, keys, values, 3, bias)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    np.testing.assert_allclose(weights, expected_weights, atol=1e-5)
    assert np.abs(np.array(weights)[1, :, :, 4:]).max() == 0.0


def test_causal_bias_hides_the_future():
    random = np.random.default_rng(0)
    x = random.normal(size=(1, 10, 8)).astype("float32")
    layer = Attention(2)
    before = np.array(layer(x, bias=causal_bias(10)))
    x[:, 6:] += 1.0
    np.testing.assert_allclose(
        before[:, :6], np.array(layer(x, bias=causal_bias(10)))[:, :6], atol=1e-6
    )


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="`heads` should divide the width 10"):
        Attention(3)(np.zeros((1, 2, 10), "float32"))


def test_additive_attention_weights_sum_to_one_and_respect_the_mask():
    layer = AdditiveAttention(5)
    query, context = np.ones((2, 3, 4), "float32"), np.random.rand(2, 6, 7).astype("float32")
    shown = np.array([[True] * 6, [True] * 2 + [False] * 4])
    result, weights = layer(query, context, bias=np.array(mask_bias(shown))[:, None])
    assert result.shape == (2, 3, 7)
    np.testing.assert_allclose(np.sum(weights, -1), 1.0, atol=1e-6)
    assert np.abs(np.array(weights)[1, :, 2:]).max() == 0.0


def test_layer_norm_equals_keras():
    x = np.random.default_rng(0).normal(3, 5, size=(2, 3, 16)).astype("float32")
    np.testing.assert_allclose(
        LayerNorm()(x), keras.layers.LayerNormalization(epsilon=1e-5)(x), atol=1e-5
    )


@pytest.mark.parametrize("shape", [(4, 6), (2, 3, 6), (2, 3, 4, 6)])
def test_linear_equals_keras_dense(shape):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    ours, keras_own = Linear(5, "relu"), keras.layers.Dense(5, "relu")
    ours(x), keras_own(x)
    keras_own.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours(x), keras_own(x), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_gelu_in_training_and_its_gradient_equal_keras(dtype):
    layer = Linear(6, "gelu", kernel_initializer="identity", dtype=dtype)
    x = tf.constant(np.linspace(-8, 8, 6 * 50).reshape(50, 6), layer.compute_dtype)
    layer.build(x.shape)
    upstream = tf.cast(tf.random.stateless_normal(x.shape, (0, 0)), x.dtype)
    tolerance = 1e-5 if dtype == "float32" else 1e-2

    def found(training):
        return [
            layer(x, training=training),
            *_gradient(lambda x: tf.reduce_sum(upstream * layer(x, training=training)), (x,)),
        ]

    for ours, reference in zip(found(True), found(False), strict=True):
        assert ours.dtype == reference.dtype
        np.testing.assert_allclose(ours, reference, atol=tolerance)


def _gradient(function, inputs):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        result = function(*inputs)
    return tape.gradient(result, inputs)
