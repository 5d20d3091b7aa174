"""Search over a million embeddings of width 256: milliseconds per query.

    python benchmarks/index.py

Ours against a NumPy product and partition of all scores, exact both, and against faiss behind our
index (`approximate`), with how many of the ten nearest it finds. The vectors lie around centres, as
those of photos do; queries are further ones from around the same centres.
"""

import importlib.util
import time

import measure
import numpy as np

import mmkeras as mm

WIDTH, K, CENTRES, SPREAD = 256, 10, 5000, 1.0
BATCH = 64
PROBES = (4, 16, 64)


def main():
    options = measure.parser(__doc__, rounds=5)
    options.add_argument("--vectors", type=int, default=1_000_000)
    args = options.parse_args()
    count = 4000 if args.quick else args.vectors
    machine = measure.machine()

    random = np.random.default_rng(0)
    centres = random.normal(size=(CENTRES, WIDTH)).astype("float32")
    vectors, queries = around(centres, count, random), around(centres, BATCH, random)
    index = indexed(vectors, "float32")
    half = indexed(vectors, "float16")
    runs = {
        "one": each(index, queries),
        "batch": measure.timed(lambda: index.search_vectors(queries, K)),
        "half_one": each(half, queries),
        "half_batch": measure.timed(lambda: half.search_vectors(queries, K)),
        "numpy_one": measure.timed(lambda: [bare(vectors, query[None]) for query in queries[:8]]),
        "numpy_batch": measure.timed(lambda: bare(vectors, queries)),
    }
    times = measure.in_turns(runs, args.rounds)
    exact = index.search_vectors(queries, K)
    figures = {"vectors": count, "width": WIDTH, "k": K, "batch": BATCH}
    figures |= {f"{name}_ms": per_query(times, name) for name in runs}
    figures |= {
        "ratio_one": measure.ratio(times, "one", "numpy_one"),
        "ratio_batch": measure.ratio(times, "batch", "numpy_batch"),
        "recall_half": recall(half.search_vectors(queries, K), exact),
        **clustered(index, queries, exact, args.rounds),
    }
    measure.report("index", figures, machine)


def around(centres, count, random):
    """Vectors of length 1, each near one of the centres."""
    noise = random.standard_normal((count, WIDTH), "float32")
    vectors = centres[random.integers(0, len(centres), count)] + SPREAD * noise
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def indexed(vectors, dtype):
    return mm.Index(dtype=dtype).add_vectors([str(i) for i in range(len(vectors))], vectors)


def each(index, queries):
    """Searches eight queries one after the other."""
    return measure.timed(lambda: [index.search_vectors(query[None], K) for query in queries[:8]])


def bare(vectors, queries):
    """What NumPy needs for the same: all scores, the best ten, these in order."""
    scores = queries @ vectors.T
    best = np.argpartition(-scores, K, axis=1)[:, :K]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
    return np.take_along_axis(best, order, axis=1)


def per_query(times, name):
    count = BATCH if name.endswith("batch") else 8
    return measure.rounded(1000 * measure.seconds(times, name) / count)


def recall(found, exact):
    """The share of the ten nearest that are found."""
    pairs = zip(found, exact, strict=True)
    return measure.rounded(np.mean([len(dict(a).keys() & dict(b)) / K for a, b in pairs]))


def clustered(index, queries, exact, rounds):
    """What clusters cost and what they find."""
    if importlib.util.find_spec("faiss") is None:
        return {"approximate_missing": "faiss is not installed"}
    start = time.perf_counter()
    index.approximate()
    figures = {"approximate_build_s": round(time.perf_counter() - start, 1)}
    for probes in PROBES:
        index.approximate(probes)
        runs = {"one": each(index, queries)}
        times = measure.in_turns(runs, rounds)
        figures[f"approximate_{probes}_ms"] = per_query(times, "one")
        figures[f"approximate_{probes}_recall"] = recall(index.search_vectors(queries, K), exact)
    return figures


if __name__ == "__main__":
    main()
