"""Features that others have computed, in the order of one's records."""

import os

import numpy as np


def read_features(paths, images):
    """Reads features of pictures (or anything that has a name) from `.npz` files.

    Each file holds `names` and `features`, a row for each name, and where these are quantised
    `scale` and `zero_point`: a value is `(feature - zero_point) * scale`.

    Args:
        paths: a path, or several.
        images: list of the paths of the pictures; the last part of each is its name.

    Returns:
        float32 array `(images, ...)`, for an input that is a `Features` field.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: naming the file that lacks an array or holds one of another length, or the
            pictures that no file has.

    Example:

    ```python
    import mmkeras as mm

    train, _, _ = mm.read("flickr8k", "flickr8k")
    train["image"] = mm.read_features("features_train.npz", train["image"])
    model = mm.image_text_retrieval(words, mm.Features((1280,)))
    ```
    """
    rows = {}
    for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        rows |= _rows(path)
    names = [str(image).rpartition("/")[2] for image in images]
    missing = [name for name in names if name not in rows]
    if missing:
        raise ValueError(
            f"`paths` should hold the features of all images. Received: {paths!s}, without "
            f"{len(missing)} of {len(names)}, first: {missing[:3]}"
        )
    return np.stack([rows[name] for name in names]) if names else np.zeros((0, 0), "float32")


def _rows(path):
    try:
        with np.load(path) as file:
            arrays = dict(file)
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} should be an .npz file: {error}") from None
    for name in ("names", "features"):
        if name not in arrays:
            raise ValueError(f"{path} should hold `{name}`. Received: {sorted(arrays)}")
    names, values = arrays["names"], arrays["features"].astype("float32")
    if len(names) != len(values):
        raise ValueError(
            f"{path} should hold a row of `features` for each of `names`. "
            f"Received: {len(values)} for {len(names)}"
        )
    values = (values - arrays.get("zero_point", 0)) * arrays.get("scale", 1)
    return dict(zip(map(str, names), values.astype("float32"), strict=True))
