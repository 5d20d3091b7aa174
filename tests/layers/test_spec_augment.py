import keras
import numpy as np
import pytest

from mmkeras import SpecAugment


def utterances(lengths, bands=80):
    random = np.random.default_rng(0)
    x = random.normal(1.0, size=(len(lengths), max(lengths), bands)).astype("float32")
    return x, np.arange(max(lengths)) < np.array(lengths)[:, None]


def test_nothing_happens_outside_training():
    x, mask = utterances([50, 20])
    np.testing.assert_array_equal(SpecAugment(warp=5)(x, mask), x)


def test_bands_are_hidden_within_bounds():
    x, mask = utterances([60] * 50)
    layer = SpecAugment(frequency_masks=1, frequency_share=0.25, time_masks=0, seed=1)
    changed = np.array(layer(x, mask, training=True)) != x
    hidden = changed.all(1)
    np.testing.assert_array_equal(changed.any(1), hidden)
    assert hidden.sum(1).max() == 20
    assert hidden.sum(1).min() == 0
    assert len({tuple(row) for row in hidden}) > 20


def test_times_are_bounded_by_the_own_length():
    lengths = [200, 40] * 40
    x, mask = utterances(lengths)
    layer = SpecAugment(frequency_masks=0, time_masks=1, time_share=0.1, seed=1)
    hidden = (np.array(layer(x, mask, training=True)) != x).all(2)
    assert hidden[::2].sum(1).max() == 20
    assert hidden[1::2].sum(1).max() == 4
    assert not np.any(hidden & ~mask)


def test_what_is_hidden_is_the_mean_of_the_own_frames():
    x, mask = utterances([30, 10])
    layer = SpecAugment(1, 1.0, 0, seed=4)
    augmented = np.array(layer(x, mask, training=True))
    for i, length in enumerate([30, 10]):
        hidden = (augmented[i] != x[i]).all(0)
        assert hidden.any()
        mean = x[i, :length].mean(0)[hidden]
        np.testing.assert_allclose(augmented[i][:, hidden], np.tile(mean, (30, 1)), atol=1e-5)


def test_warp_moves_time_and_keeps_both_ends():
    steps = np.arange(100, dtype="float32")
    x = np.tile(steps[None, :, None], (20, 1, 3))
    mask = np.tile(steps < 80, (20, 1))
    warped = np.array(SpecAugment(0, 0, 0, 0, warp=10, seed=2)(x, mask, training=True))
    np.testing.assert_allclose(warped[:, 0], 0, atol=1e-4)
    np.testing.assert_allclose(warped[:, 79:], x[:, 79:], atol=1e-3)
    moved = np.abs(warped - x).max((1, 2))
    assert 5 < moved.max() <= 10.01
    assert np.all(np.diff(warped[:, :80], axis=1) >= 0)


def test_utterances_too_short_to_warp_stay():
    x, mask = utterances([10, 1], bands=4)
    layer = SpecAugment(0, 0, 0, 0, warp=5)
    np.testing.assert_array_equal(layer(x, mask, training=True), x)


def test_the_draws_resume():
    x, mask = utterances([40])
    layer = SpecAugment(seed=3)
    layer(x, mask, training=True)
    state = [variable.numpy() for variable in layer.variables]
    expected = layer(x, mask, training=True)
    again = SpecAugment.from_config(layer.get_config())
    again(x, mask, training=True)
    for variable, value in zip(again.variables, state, strict=True):
        variable.assign(value)
    np.testing.assert_array_equal(again(x, mask, training=True), expected)


def test_in_a_saved_model(tmp_path):
    frames, mask = keras.Input((None, 8)), keras.Input((None,), dtype="bool")
    model = keras.Model([frames, mask], SpecAugment(time_share=0.2)(frames, mask))
    model.save(tmp_path / "augment.keras")
    again = keras.models.load_model(tmp_path / "augment.keras")
    x, mask = utterances([12], bands=8)
    np.testing.assert_array_equal(again([x, mask]), x)


@pytest.mark.parametrize("argument", ["frequency_share", "time_share"])
def test_a_share_is_between_0_and_1(argument):
    with pytest.raises(ValueError, match=rf"`{argument}` should be between 0 and 1"):
        SpecAugment(**{argument: 1.5})
