"""Augmentation of pictures, for training only; all randomness comes from the seed given."""

import tensorflow as tf


def image_augmentation(flip=True, crop=1.0, colour=0.0):
    """A function `(image, seed) -> image` for `dataset(..., augment={"image": ...})`.

    Args:
        flip: Whether to mirror left and right, half of the time.
        crop: Least side of a random crop, as a share of the picture's; 1 for no crop. What is
            cropped is resized back.
        colour: How far brightness, contrast and saturation may change, as a share; 0 for none.

    Returns:
        A function of a uint8 image `(height, width, 3)` and a seed of two whole numbers, which
        gives an image of the same shape and type: the same one for the same seed.

    Example:

    ```python
    import mmkeras as mm

    augment = {"image": mm.image_augmentation(flip=True, crop=0.85)}
    data = mm.dataset(train, model.preprocessor, 64, shuffle=True, augment=augment)
    ```
    """
    if not 0.0 < crop <= 1.0:
        raise ValueError(f"`crop` should be above 0 and at most 1. Received: crop={crop}")
    if not 0.0 <= colour < 1.0:
        raise ValueError(f"`colour` should be at least 0 and below 1. Received: colour={colour}")

    def augment(image, seed):
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 6))
        if flip:
            image = tf.image.stateless_random_flip_left_right(image, seeds[0])
        if crop < 1.0:
            image = _crop(image, crop, seeds[1], seeds[2])
        if colour > 0.0:
            image = tf.image.stateless_random_brightness(image, colour, seeds[3])
            image = tf.image.stateless_random_contrast(image, 1 - colour, 1 + colour, seeds[4])
            image = tf.image.stateless_random_saturation(image, 1 - colour, 1 + colour, seeds[5])
        return image

    return augment


def _crop(image, least, size_seed, place_seed):
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    share = tf.random.stateless_uniform([], size_seed, least, 1.0)
    cut = tf.cast(tf.maximum(size * share, 1.0), tf.int32)
    part = tf.image.stateless_random_crop(image, [cut[0], cut[1], 3], place_seed)
    resized = tf.image.resize(part, tf.shape(image)[:2])
    resized.set_shape(image.shape)
    return tf.cast(tf.round(resized), image.dtype)
