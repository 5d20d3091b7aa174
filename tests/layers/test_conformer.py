import numpy as np
import pytest
import tensorflow as tf

from mmkeras.layers import conformer
from mmkeras.layers.conformer import GatedConvolution, RotaryAttention
from mmkeras.layers.subsampling import Subsampling


def frames(length, width=8, batch=1):
    return np.random.default_rng(0).normal(size=(batch, length, width)).astype("float32")


def everything(x):
    return np.ones(x.shape[:2], bool)


def test_attention_knows_distances_and_not_places():
    layer = RotaryAttention(2)
    x = frames(6)
    padded = np.concatenate([frames(3) * 9, x], axis=1)
    mask = np.array([[False] * 3 + [True] * 6])
    np.testing.assert_allclose(layer(padded, mask)[:, 3:], layer(x, everything(x)), atol=1e-5)


def test_attention_knows_the_order():
    layer = RotaryAttention(2)
    x = frames(6)
    turned = np.array(layer(x[:, ::-1], everything(x)))[:, ::-1]
    assert np.abs(turned - layer(x, everything(x))).max() > 1e-4


@pytest.mark.parametrize(("chunk", "left"), [(2, 1), (3, 0), (1, 2)])
def test_a_frame_sees_its_chunk_and_those_before(chunk, left):
    layer = RotaryAttention(2, chunk, left)
    x = frames(12)
    before = np.array(layer(x, everything(x)))
    for changed in range(12):
        other = x.copy()
        other[:, changed] += 1.0
        moved = np.abs(np.array(layer(other, everything(x))) - before).max((0, 2)) > 1e-6
        apart = np.arange(12) // chunk - changed // chunk
        np.testing.assert_array_equal(moved, (apart >= 0) & (apart <= left))


@pytest.mark.parametrize("chunk", [None, 4])
def test_a_long_recording_is_looked_at_in_parts(chunk, monkeypatch):
    """Which changes nothing, and takes as much memory as it is long, not as its square."""
    layer = RotaryAttention(2, chunk, left=1)
    x = frames(21, batch=2)
    mask = np.arange(21) < [[21], [9]]
    whole = layer(x, mask)
    monkeypatch.setattr(conformer, "AT_ONCE", 8)
    in_graph = tf.function(
        lambda x: layer(x, mask), input_signature=[tf.TensorSpec([None, None, 8])]
    )
    for parts in (layer(x, mask), in_graph(x)):
        np.testing.assert_allclose(parts, whole, atol=1e-6)
    np.testing.assert_array_equal(layer(x, mask, training=True), whole)
    with tf.GradientTape() as tape:
        tape.watch(x := tf.constant(x))
        total = tf.reduce_sum(layer(x, mask)[:, 0])
    assert np.abs(tape.gradient(total, x)).max() > 0


def test_heads_must_leave_pairs():
    with pytest.raises(ValueError, match="`heads` should divide half of the width 10"):
        RotaryAttention(2)(frames(3, 10), np.ones((1, 3), bool))


@pytest.mark.parametrize(("causal", "seen"), [(False, range(3, 8)), (True, range(5, 10))])
def test_a_convolution_reaches_around_or_back(causal, seen):
    layer = GatedConvolution(5, causal)
    x = frames(12)
    before = np.array(layer(x, everything(x)))
    x[:, 5] += 1.0
    moved = np.abs(np.array(layer(x, everything(x))) - before).max((0, 2)) > 1e-6
    assert np.flatnonzero(moved).tolist() == list(seen)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_subsampling_needs_nothing_after_a_multiple_of_its_factor(factor):
    layer = Subsampling(6, 4, factor)
    x = frames(4 * factor)
    whole, mask = layer(x, everything(x))
    assert whole.shape == (1, 4, 6)
    part, _ = layer(x[:, : 2 * factor], everything(x[:, : 2 * factor]))
    np.testing.assert_allclose(whole[:, :2], part, atol=1e-6)
    assert np.all(mask)
