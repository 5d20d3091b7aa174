"""Retrieval both ways between images and texts: recall, median rank, mean reciprocal rank."""

import numpy as np

from mmkeras import __version__

_BLOCK = 512  # texts at once
_LIMITS = (1, 5, 10)


def retrieval_ranks(images=None, texts=None, owners=None, similarities=None):
    """Ranks of what belongs together, from the most similar, 1, down.

    For an image the rank of the best of its texts among all texts that are not its own; for a text
    the rank of its image among all images. Ties count against the model: whatever is as similar as
    the right one stands before it, so that equal embeddings come last and not first.

    Similarities are made in blocks of 512 texts: memory grows with the images, not with the pairs.

    Args:
        images: array `(images, width)`, embeddings; their products with the texts' are compared,
            so that cosines want unit length.
        texts: array `(texts, width)`.
        owners: int array `(texts,)`, the row of the image that each text belongs to; `None` for
            equally many texts of each image, in order, as Flickr8k has five.
        similarities: array `(images, texts)`, in place of the embeddings.

    Returns:
        Int arrays: ranks of the images that have a text, in order, and of all texts.

    Raises:
        ValueError: if the shapes do not fit, there is no text, a number is not finite, or an owner
            is no image.

    Example:

    >>> retrieval_ranks(similarities=[[0.9, 0.2, 0.3], [0.8, 0.1, 0.4]], owners=[0, 0, 1])
    (array([1, 2]), array([1, 1, 1]))
    """
    block, shape = _source(images, texts, similarities)
    owners = _owners(owners, *shape)
    own, text_ranks = np.empty(shape[1]), np.empty(shape[1], np.int64)
    for part in _parts(shape[1]):
        found = block(part)
        own[part] = found[np.arange(len(found)), owners[part]]
        text_ranks[part] = (found >= own[part, None]).sum(1)
    best = np.full(shape[0], -np.inf)
    np.maximum.at(best, owners, own)
    ahead = sum((block(part) >= best).sum(0) for part in _parts(shape[1]))
    # Its own texts are no rivals.
    image_ranks = 1 + ahead - np.bincount(owners[own >= best[owners]], minlength=shape[0])
    return image_ranks[np.isin(np.arange(shape[0]), owners)], text_ranks


def _parts(texts):
    return [slice(start, start + _BLOCK) for start in range(0, texts, _BLOCK)]


def _source(images, texts, similarities):
    """A function that gives similarities `(texts of a block, images)`, and their shape."""
    if (similarities is None) == (images is None or texts is None):
        raise ValueError(
            "`images` and `texts` should be given, or `similarities` alone. Received: "
            f"{[name for name, x in _named(images, texts, similarities) if x is not None]}"
        )
    given = {n: np.asarray(x) for n, x in _named(images, texts, similarities) if x is not None}
    for name, array in given.items():
        numbers = array.ndim == 2 and array.size and array.dtype.kind in "fiu"
        if not numbers or not np.isfinite(array).all():
            raise ValueError(
                f"`{name}` should be a matrix of finite numbers. Received: shape {array.shape}, "
                f"{array.dtype}{', some of them not finite' if numbers else ''}"
            )
    if "similarities" in given:
        matrix = given["similarities"]
        return (lambda part: matrix[:, part].T.astype(np.float64)), matrix.shape
    left, right = given["images"], given["texts"]
    if left.shape[1] != right.shape[1]:
        raise ValueError(
            "`images` and `texts` should be of one width. Received: shapes "
            f"{left.shape} and {right.shape}"
        )
    left = left.T.astype(np.float64)
    # Rounded, so that equal embeddings are equally similar wherever in a block they stand.
    return (lambda part: (right[part] @ left).astype(np.float32)), (left.shape[1], len(right))


def _named(images, texts, similarities):
    return (("images", images), ("texts", texts), ("similarities", similarities))


def _owners(owners, images, texts):
    if owners is None:
        if texts % images:
            raise ValueError(
                "`owners` should be given where images have not equally many texts. Received: "
                f"{images} images and {texts} texts"
            )
        return np.repeat(np.arange(images), texts // images)
    owners = np.asarray(owners)
    if owners.shape != (texts,) or owners.dtype.kind not in "iu":
        raise ValueError(
            f"`owners` should hold a whole number for each of {texts} texts. Received: shape "
            f"{owners.shape}, {owners.dtype}"
        )
    if owners.min() < 0 or owners.max() >= images:
        raise ValueError(
            f"`owners` should be rows of {images} images. Received: {owners.min()} to "
            f"{owners.max()}"
        )
    return owners


def retrieval_scores(images=None, texts=None, owners=None, similarities=None):
    """Scores retrieval both ways, by the protocol of Flickr8k (Hodosh et al. 2013).

    Args:
        images: array `(images, width)`, embeddings.
        texts: array `(texts, width)`.
        owners: int array `(texts,)`, the row of the image that each text belongs to; `None` for
            equally many texts of each image, in order.
        similarities: array `(images, texts)`, in place of the embeddings.

    Returns:
        dict of "image to text" and "text to image", each a dict of "R@1", "R@5", "R@10" (shares,
        0 to 1: how often the rank is at most that), "median rank", "MRR" (the mean of 1 / rank),
        "queries" and "candidates"; and "signatures" (list of str). Ranks are as `retrieval_ranks`
        gives them.

    Raises:
        ValueError: as `retrieval_ranks`.

    Example:

    ```python
    import mmkeras as mm

    scores = mm.retrieval_scores(photos, captions)  # (1000, 64) and (5000, 64)
    print(mm.format_retrieval_scores(scores))
    ```
    """
    image_ranks, text_ranks = retrieval_ranks(images, texts, owners, similarities)
    candidates = np.shape(similarities if images is None else images)[0]
    return {
        "image to text": _summary(image_ranks, len(text_ranks)),
        "text to image": _summary(text_ranks, candidates),
        "signatures": [f"retrieval|image:best-text|ties:last|v:mmkeras-{__version__}"],
    }


def _summary(ranks, candidates):
    return {f"R@{limit}": float((ranks <= limit).mean()) for limit in _LIMITS} | {
        "median rank": float(np.median(ranks)),
        "MRR": float((1 / ranks).mean()),
        "queries": len(ranks),
        "candidates": candidates,
    }


def format_retrieval_scores(scores):
    """Writes scores of retrieval as a small table with the signature under it.

    Args:
        scores: dict, as `retrieval_scores` returns it.

    Returns:
        str of several lines.

    Example:

    >>> print(format_retrieval_scores(retrieval_scores(similarities=[[0.9, 0.1], [0.8, 0.5]])))
                        R@1       R@5      R@10     MRR  median rank  queries  candidates
    image to text   50.00 %  100.00 %  100.00 %  0.7500          1.5        2           2
    text to image  100.00 %  100.00 %  100.00 %  1.0000          1.0        2           2
    <BLANKLINE>
    retrieval|image:best-text|ties:last|v:mmkeras-0.1.0
    """
    names = [f"R@{limit}" for limit in _LIMITS]
    heads = [f"{name:>8}" for name in names]
    lines = [f"{'':13}  {'  '.join(heads)}     MRR  median rank  queries  candidates"]
    for way in ("image to text", "text to image"):
        row = scores[way]
        recalls = "  ".join(f"{100 * row[name]:6.2f} %" for name in names)
        lines.append(
            f"{way}  {recalls}  {row['MRR']:.4f}  {row['median rank']:11.1f}  "
            f"{row['queries']:7}  {row['candidates']:10}"
        )
    return "\n".join([*lines, "", *scores["signatures"]])
