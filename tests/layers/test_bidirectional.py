import keras
import numpy as np
import pytest
import tensorflow as tf

from mmkeras.layers.bidirectional import MaskedLSTM

WIDTH, UNITS = 5, 6


def inputs(lengths, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(len(lengths), max(lengths), WIDTH)).astype("float32")
    return x, np.arange(max(lengths)) < np.array(lengths)[:, None]


def keras_layer(ours):
    """Keras's own with the same weights; its gates stand in the order take, forget, candidate."""
    own = keras.layers.LSTM(UNITS, return_sequences=True, use_cudnn=False)
    own = keras.layers.Bidirectional(own) if ours.bidirectional else own
    own.build((None, None, WIDTH))

    def in_order(x):
        forget, take, show, candidate = np.split(np.array(x), 4, axis=-1)
        return np.concatenate([take, forget, candidate, show], axis=-1)

    weights = []
    for way, linear in enumerate(ours.inputs):
        weights += [linear.kernel, ours.recurrent[way], linear.bias]
    own.set_weights([in_order(x) for x in weights])
    return own


@pytest.mark.parametrize("bidirectional", [False, True])
def test_it_equals_keras(bidirectional):
    x, mask = inputs([19, 7, 1])
    layer = MaskedLSTM(UNITS, bidirectional)
    hidden = np.array(layer(x, mask))
    expected = np.array(keras_layer(layer)(x, mask=mask))
    np.testing.assert_allclose(hidden[mask], expected[mask], atol=1e-5)
    assert not np.any(hidden[~mask])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_its_gradient_equals_that_of_keras(bidirectional):
    x, mask = inputs([11, 4])
    layer = MaskedLSTM(UNITS, bidirectional)
    layer.build(x.shape)
    own = keras_layer(layer)
    weigh = np.random.default_rng(1).normal(size=(*mask.shape, UNITS * (1 + bidirectional)))
    weigh = weigh.astype("float32") * mask[..., None]

    def gradients(call, variables):
        with tf.GradientTape() as tape:
            sources = [tf.constant(x), *(variable.value for variable in variables)]
            tape.watch(sources[0])
            loss = tf.reduce_sum(call(sources[0]) * weigh)
        return tape.gradient(loss, sources)

    ours = gradients(lambda x: layer(x, mask), [layer.inputs[0].bias, layer.recurrent])
    biases = [v for v in own.trainable_variables if v.name == "bias"]
    recurrent = [v for v in own.trainable_variables if v.name == "recurrent_kernel"]
    theirs = gradients(lambda x: own(x, mask=mask), [biases[0], *recurrent])
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-4)

    def in_order(x):
        take, forget, candidate, show = np.split(np.array(x), 4, axis=-1)
        return np.concatenate([forget, take, show, candidate], axis=-1)

    np.testing.assert_allclose(ours[1], in_order(theirs[1]), atol=1e-4)
    np.testing.assert_allclose(ours[2], np.stack([in_order(x) for x in theirs[2:]]), atol=1e-4)


def test_the_gradient_reaches_the_state_before():
    x, mask = inputs([3, 3])
    layer = MaskedLSTM(UNITS)
    layer.build(x.shape)
    state = [tf.random.normal((2, UNITS), seed=i) for i in range(2)]
    weigh = tf.random.normal((2, 3, UNITS), seed=3)

    def loss(*state):
        return tf.reduce_sum(layer.forward(x, mask, state)[0] * weigh)

    with tf.GradientTape() as tape:
        tape.watch(state)
        value = loss(*state)
    found = tape.gradient(value, state)
    for i, gradient in enumerate(found):
        moved = [part + 1e-2 * (i == j) for j, part in enumerate(state)]
        back = [part - 1e-2 * (i == j) for j, part in enumerate(state)]
        slope = (loss(*moved) - loss(*back)) / 2e-2
        np.testing.assert_allclose(tf.reduce_sum(gradient), slope, rtol=1e-2, atol=1e-3)


def test_piece_by_piece_equals_the_whole():
    x, mask = inputs([21, 13])
    layer = MaskedLSTM(UNITS)
    whole = np.array(layer(x, mask))
    state, pieces = layer.initial_state(2), []
    for start, end in ((0, 5), (5, 6), (6, 21)):
        piece, state = layer.forward(x[:, start:end], mask[:, start:end], state)
        pieces.append(piece)
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=1e-6)
