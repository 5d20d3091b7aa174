"""Augmentation: the same seed, the same picture; and what each change may change."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkeras.preprocessing.augmentation import (
    image_augmentation,
    random_colour,
    random_crop,
    random_flip,
)


@pytest.fixture(scope="module")
def picture():
    return tf.constant(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8))


def test_the_seed_decides(picture):
    augment = image_augmentation()
    same = [augment(picture, (1, 2)).numpy() for _ in range(2)]
    other = augment(picture, (1, 3)).numpy()
    assert (same[0].dtype, same[0].shape) == (np.uint8, picture.shape)
    np.testing.assert_array_equal(*same)
    assert (same[0] != other).mean() > 0.5


def test_tf_data_gives_the_same_as_eager(picture):
    augment = image_augmentation()
    data = tf.data.Dataset.range(4).map(lambda i: augment(picture, tf.stack([7, i])))
    assert data.element_spec.shape == picture.shape
    for index, pixels in enumerate(data):
        np.testing.assert_array_equal(pixels, augment(picture, (7, index)))


def test_nothing_to_do_changes_nothing(picture):
    augment = image_augmentation(flip=False, crop=1, colour=0)
    np.testing.assert_array_equal(augment(picture, (0, 0)), picture)


def test_flip_mirrors_half_of_them(picture):
    flips = [random_flip(picture, (0, i)).numpy() for i in range(60)]
    mirrored = [np.array_equal(pixels, picture[:, ::-1]) for pixels in flips]
    kept = [np.array_equal(pixels, picture) for pixels in flips]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert 18 <= sum(mirrored) <= 42


def test_crop_keeps_at_least_the_share():
    ramp = np.linspace(0, 255, 100)[None, :, None] * np.ones((100, 1, 3))
    for index in range(20):
        row = random_crop(tf.constant(ramp, tf.uint8), (0, index), smallest=0.5).numpy()[50, :, 0]
        span = int(row[-1]) - int(row[0])
        assert (np.diff(row.astype(int)) >= 0).all()
        assert span >= 0.5 * 255 - 8


def test_colour_stays_close_and_keeps_grey_grey():
    grey = tf.fill([8, 8, 3], tf.constant(100, tf.uint8))
    for index in range(20):
        pixels = random_colour(grey, (0, index), strength=0.2).numpy().astype(int)
        assert np.ptp(pixels) == 0
        assert 79 <= pixels[0, 0, 0] <= 121


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(-(2**31), 2**31 - 1))
def test_any_size_keeps_its_shape(height, width, seed):
    pixels = image_augmentation(crop=0.3)(tf.zeros([height, width, 3], tf.uint8), (seed, 0))
    assert pixels.shape == (height, width, 3)


@pytest.mark.parametrize("arguments", [{"crop": 0}, {"crop": 1.5}, {"colour": 1}, {"colour": -0.1}])
def test_wrong_arguments(arguments):
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` should be"):
        image_augmentation(**arguments)
