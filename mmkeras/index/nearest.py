"""Which vectors are nearest: exactly, by blocks of a product, or among clusters of faiss."""

import numpy as np

# Of one product, whose scores take 16 MB.
ROWS = 65536
# Fewer items in a cluster say little about where its centre is, and more than that no more.
FEWEST, MOST = 40, 64


def exact(vectors, queries, k):
    """The `k` nearest of each query, best first.

    Args:
        vectors: `(items, width)` of length 1, float32 or float16.
        queries: float32 `(queries, width)` of length 1.
        k: At most as many as there are items.

    Returns:
        Rows and cosines, `(queries, k)`.
    """
    scores = np.full((len(queries), k), -np.inf, "float32")
    rows = np.zeros((len(queries), k), np.int64)
    for start in range(0, len(vectors), ROWS):
        block = vectors[start : start + ROWS].astype("float32", copy=False)
        found = queries @ block.T
        # Few come among the best of those before, and only these are sorted.
        places = np.flatnonzero((found > scores[:, -1:]).any(axis=0))
        scores = np.concatenate([scores, found[:, places]], axis=1)
        new = np.broadcast_to(start + places, (len(queries), len(places)))
        rows, scores = _best(np.concatenate([rows, new], axis=1), scores, k)
    return rows, scores


def among_clusters(clusters, vectors, queries, k):
    """As `exact`, of the clusters nearest to each query; row -1 where they hold fewer."""
    _, rows = clusters.search(queries, k)
    near = vectors[rows].astype("float32", copy=False)
    # Not the scores that it gives, as it keeps vectors in half precision.
    scores = np.where(rows < 0, -np.inf, np.einsum("qkw,qw->qk", near, queries))
    return _best(rows, scores, k)


def _best(rows, scores, k):
    """The `k` highest scores of each query and their rows, best first."""
    places = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, places, axis=1), axis=1, kind="stable")
    places = np.take_along_axis(places, order, axis=1)
    return np.take_along_axis(rows, places, axis=1), np.take_along_axis(scores, places, axis=1)


def faiss_library():
    try:
        import faiss
    except ImportError:
        raise ImportError('faiss is not installed: pip install "mmkeras[ann]"') from None
    return faiss


def cluster(vectors):
    """The vectors in clusters: about twice the root of their number."""
    faiss = faiss_library()
    count = max(1, min(round(2 * len(vectors) ** 0.5), len(vectors) // FEWEST))
    clusters = faiss.index_factory(
        vectors.shape[1], f"IVF{count},SQfp16", faiss.METRIC_INNER_PRODUCT
    )
    clusters.cp.max_points_per_centroid = MOST
    chosen = np.random.default_rng(0).permutation(len(vectors))[: MOST * count]
    clusters.train(vectors[chosen].astype("float32"))
    for start in range(0, len(vectors), ROWS):
        clusters.add(vectors[start : start + ROWS].astype("float32"))
    return clusters
