"""Augmentation: random changes of pictures, each a function of the picture and a seed alone.

For `dataset(..., augment=)` in training; no part of a field, so never in what is served.
"""

import functools

import tensorflow as tf


def image_augmentation(flip=True, crop=0.85, colour=0.2):
    """A function that flips, zooms and recolours a picture at random.

    Args:
        flip: whether half the pictures are mirrored; not for pictures where left and right matter
            (text, or captions that say "left").
        crop: shortest side that a crop may keep, as a share of each side; 1 for no cropping.
        colour: most by which brightness, contrast and saturation are scaled up or down; 0 for none.

    Returns:
        A function of a picture, `uint8` of shape `(height, width, 3)`, and a seed, two whole
        numbers, that gives a picture of the same shape. The same seed gives the same picture.

    Raises:
        ValueError: when an argument is out of its range.

    Example:

    ```python
    augment = image_augmentation(flip=False)
    other = augment(picture, seed=(epoch, index))
    ```
    """
    if not 0 < crop <= 1:
        raise ValueError(f"`crop` should be above 0 and at most 1. Received: crop={crop!r}")
    if not 0 <= colour < 1:
        raise ValueError(f"`colour` should be at least 0 and below 1. Received: colour={colour!r}")
    steps = []
    if flip:
        steps.append(random_flip)
    if crop < 1:
        steps.append(functools.partial(random_crop, smallest=crop))
    if colour:
        steps.append(functools.partial(random_colour, strength=colour))

    def augment(image, seed):
        seeds = tf.random.split(tf.cast(seed, tf.int32), max(len(steps), 1))
        for number, step in enumerate(steps):
            image = step(image, seeds[number])
        return image

    return augment


def random_flip(image, seed):
    """Mirrors a picture, left for right, in half of all cases.

    Args:
        image: `uint8`, `(height, width, 3)`.
        seed: two whole numbers.
    """
    return tf.where(tf.random.stateless_uniform([], seed) < 0.5, image, image[:, ::-1])


def random_crop(image, seed, smallest=0.85):
    """Cuts out a part of a picture and enlarges it to the size of the whole.

    Args:
        image: `uint8`, `(height, width, 3)`.
        seed: two whole numbers.
        smallest: least share of each side that is kept; both sides keep the same share.
    """
    keep, top, left = tf.unstack(tf.random.stateless_uniform([3], seed))
    keep = smallest + (1 - smallest) * keep
    shape = tf.shape(image)
    size = tf.cast(shape[:2], tf.float32)
    box = tf.cast(tf.math.ceil(keep * size), tf.int32)
    start = tf.cast(tf.stack([top, left]) * tf.cast(shape[:2] - box + 1, tf.float32), tf.int32)
    start = tf.minimum(start, shape[:2] - box)
    part = tf.slice(image, tf.pad(start, [[0, 1]]), tf.concat([box, [3]], 0))
    part = tf.image.resize(part, shape[:2])
    return tf.ensure_shape(tf.cast(part + 0.5, tf.uint8), image.shape)


def random_colour(image, seed, strength=0.2):
    """Scales brightness, contrast and saturation of a picture, each by a factor of its own.

    Args:
        image: `uint8`, `(height, width, 3)`.
        seed: two whole numbers.
        strength: factors lie between `1 - strength` and `1 + strength`.
    """
    factors = tf.random.stateless_uniform([3], seed, 1 - strength, 1 + strength)
    brightness, contrast, saturation = tf.unstack(factors)
    pixels = tf.cast(image, tf.float32) * brightness
    grey = tf.reduce_mean(pixels, axis=-1, keepdims=True)
    # Saturation moves colours away from their grey, contrast greys away from the mean grey.
    pixels = contrast * (grey + saturation * (pixels - grey)) + (1 - contrast) * tf.reduce_mean(
        grey
    )
    return tf.cast(tf.clip_by_value(pixels + 0.5, 0, 255), tf.uint8)
