import keras
import numpy as np
import pytest

from mmkeras.layers.dropout import ByteDropout


@pytest.mark.parametrize("width", [4, 6, 1])
def test_the_rate_and_the_mean_are_kept(width):
    x = np.ones((200, 500 // width, width), "float32")
    y = np.array(ByteDropout(0.25, seed=1)(x, training=True))
    assert set(np.unique(y)) == {0.0, np.float32(4 / 3)}
    assert np.mean(y == 0) == pytest.approx(0.25, abs=0.01)
    y = np.array(ByteDropout(0.1, seed=1)(x, training=True))
    assert y.mean() == pytest.approx(1.0, abs=0.01)


def test_nothing_happens_outside_training_or_at_rate_0():
    x = np.ones((2, 3, 4), "float32")
    np.testing.assert_array_equal(ByteDropout(0.5)(x), x)
    np.testing.assert_array_equal(ByteDropout(0.0)(x, training=True), x)


def test_every_draw_is_another_and_resumes():
    x = np.ones((4, 8, 16), "float32")
    layer = ByteDropout(0.5, seed=3)
    first = np.array(layer(x, training=True))
    state = [variable.numpy() for variable in layer.variables]
    second = np.array(layer(x, training=True))
    assert np.any(first != second)
    again = ByteDropout.from_config(layer.get_config())
    again.build(x.shape)
    for variable, value in zip(again.variables, state, strict=True):
        variable.assign(value)
    np.testing.assert_array_equal(again(x, training=True), second)


def test_neighbours_are_dropped_independently():
    x = np.ones((1000, 8), "float32")
    dropped = np.array(ByteDropout(0.5, seed=5)(x, training=True)) == 0
    correlation = np.corrcoef(dropped.T.astype(float)) - np.eye(8)
    assert np.abs(correlation).max() < 0.15


def test_in_a_model_with_an_unknown_batch():
    x = keras.Input((None, 6))
    model = keras.Model(x, ByteDropout(0.5)(x))
    assert model.output_shape == (None, None, 6)
    assert model(np.ones((2, 3, 6)), training=True).shape == (2, 3, 6)


def test_a_rate_is_below_1():
    with pytest.raises(ValueError, match="`rate` should be from 0 to below 1"):
        ByteDropout(1.0)


def test_without_dropout_there_is_no_state():
    assert not ByteDropout(0.0).variables
    assert len(ByteDropout(0.1).variables) == 1
