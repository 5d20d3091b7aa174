"""An index of embeddings: photos, texts or sounds, found by any of these."""

import functools
import itertools
import json
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from mmkeras.data.files import files_at
from mmkeras.data.problems import Problems
from mmkeras.index.nearest import among_clusters, cluster, exact, faiss_library

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
# Values that are embedded before the next ones are read.
CHUNK = 1024
# Of one product.
QUERIES = 64
FORMAT = "mmkeras index 1"


class Index:
    """Items and their embeddings, searched for those nearest to a photo, a text or anything else.

    A search compares every item, in blocks of a matrix product, so that its answer is exact; for
    millions see `approximate`.

    Args:
        task: A Task that embeds, such as `image_text_retrieval` makes (see `Task.embed`); None for
            vectors that come from elsewhere.
        dtype: `"float32"`, or `"float16"`, which takes half the memory and more time, and changes
            scores by less than 0.001.

    Attributes:
        items: List of str, in the order in which they were added.
        vectors: Their embeddings, `(items, width)`, of length 1.

    Example:

    ```python
    import mmkeras as mm

    photos = mm.Index(model)
    photos.add("image", "holiday/")                      # a folder, a zip, or a list of files
    photos.search("caption", ["a dog in the snow"], k=2)
    # [[("holiday/17.jpg", 0.43), ("holiday/4.jpg", 0.38)]]
    photos.save("holiday.npz")
    mm.Index.load("holiday.npz", model).search("image", ["like_this.jpg"])
    ```
    """

    def __init__(self, task=None, dtype="float32"):
        if dtype not in ("float32", "float16"):
            raise ValueError(f'`dtype` should be "float32" or "float16". Received: dtype={dtype!r}')
        self.task = task
        self.dtype = dtype
        self.items = []
        self._rows = {}
        self.vectors = np.zeros((0, 0), dtype)
        self._made_by = None
        self._clusters = None

    def __len__(self):
        return len(self.items)

    def vector(self, item):
        """The embedding of an item, `(width,)`.

        Raises:
            ValueError: if there is no such item.
        """
        if item not in self._rows:
            raise ValueError(
                f"`item` should be one of the {len(self)} items. Received: item={item!r}"
            )
        return self.vectors[self._rows[item]]

    def add(self, name, values, items=None, batch_size=32, on_error="raise"):
        """Embed values of an input of the task, and add them.

        Args:
            name: Of the input.
            values: A list: paths, bytes, texts, arrays; or a folder or zip, of which the pictures
                are taken, in the order of their paths.
            items: What to call them, list of str; None for the values themselves.
            batch_size: How many go through the task at once.
            on_error: `"raise"` stops at the first value that cannot be read; `"skip"` leaves such
                values out, and warns at the end with how many they were and which came first.

        Returns:
            This index.

        Raises:
            ValueError: naming the value that cannot be read, the item that is there already, or
                the folder without pictures.
        """
        self._check_task()
        values = _pictures(values) if isinstance(values, (str, os.PathLike)) else list(values)
        items = values if items is None else items
        items = [os.fspath(x) if isinstance(x, os.PathLike) else x for x in items]
        items, problems = self._checked(items, len(values)), Problems(on_error)
        parts = [slice(start, start + CHUNK) for start in range(0, len(values), CHUNK)]
        found = [self._embed(name, values[p], items[p], batch_size, problems) for p in parts]
        problems.warn("`values`")
        if not found:
            return self
        good, vectors = zip(*found, strict=True)
        return self.add_vectors(itertools.chain(*good), np.concatenate(vectors))

    def _embed(self, name, values, items, batch_size, problems):
        """Those of the items whose values can be read, and the embeddings of these."""
        try:
            return items, self.task.embed(name, values, batch_size)
        except (ValueError, OSError) as error:
            if len(values) == 1:
                problems.add(f"{items[0]!r}: {error}")
                return [], self.task.embed(name, [])
        middle = len(values) // 2
        left = self._embed(name, values[:middle], items[:middle], batch_size, problems)
        right = self._embed(name, values[middle:], items[middle:], batch_size, problems)
        return left[0] + right[0], np.concatenate([left[1], right[1]])

    def add_vectors(self, items, vectors):
        """Add embeddings that were made elsewhere.

        Args:
            items: List of str, none of which is there already.
            vectors: Array `(items, width)`, of any length above 0.

        Returns:
            This index.

        Raises:
            ValueError: if the items are no new strings, or the vectors no finite numbers of the
                width of this index.
        """
        vectors = self._unit(vectors)
        items = self._checked(list(items), len(vectors))
        if not items:
            return self
        if self.task is not None:
            self._made_by = self.task.embedding_id()
        self._rows |= {item: row for row, item in enumerate(items, len(self))}
        self.items += items
        before = self.vectors if self.vectors.size else vectors[:0].astype(self.dtype)
        self.vectors = np.concatenate([before, vectors.astype(self.dtype)])
        if self._clusters is not None:
            self._clusters.add(vectors)
        return self

    def search(self, name, values, k=10, batch_size=32):
        """The items that are nearest to values of an input of the task.

        Args:
            name: Of the input, such as `"caption"`.
            values: A list: texts, paths, bytes, arrays.
            k: How many items, or all if there are fewer.
            batch_size: How many values go through the task at once.

        Returns:
            For each value a list of `(item, score)`, the best first; the score is the cosine.

        Raises:
            ValueError: if the index is empty, or a value cannot be read.
        """
        if isinstance(values, (str, bytes, os.PathLike)):
            raise ValueError(f"`values` should be a list. Received: values={values!r:.80}")
        self._check_task()
        return self.search_vectors(self.task.embed(name, values, batch_size), k)

    def search_vectors(self, vectors, k=10):
        """As `search`, from embeddings `(queries, width)`."""
        if not self.items:
            raise ValueError("The index should hold something to search. Received: no items")
        if not isinstance(k, int) or k < 1:
            raise ValueError(f"`k` should be a whole number above 0. Received: k={k!r}")
        queries, k = self._unit(vectors), min(k, len(self))
        nearest = functools.partial(exact, self.vectors)
        if self._clusters is not None:
            nearest = functools.partial(among_clusters, self._clusters, self.vectors)
        parts = [nearest(queries[i : i + QUERIES], k) for i in range(0, len(queries), QUERIES)]
        return [
            [(self.items[i], float(x)) for i, x in zip(*found, strict=True) if i >= 0]
            for part in parts
            for found in zip(*part, strict=True)
        ]

    def approximate(self, probes=16):
        """Let searches look into the clusters nearest to what is sought, and into no others.

        k-means parts the items into clusters, some thousand for a million (Douze et al. 2024, "The
        Faiss library"); what is added later joins the nearest of them. It takes half as much
        memory again, and faiss, the extra `ann`.

        Args:
            probes: Clusters that a search looks into; with more of them it misses fewer items and
                takes longer. None for exact searches again.

        Returns:
            This index.

        Raises:
            ImportError: if faiss is not installed.
            ValueError: if the index is empty, or `probes` is no such number.
        """
        if probes is None:
            self._clusters = None
            return self
        if not isinstance(probes, int) or probes < 1:
            raise ValueError(
                f"`probes` should be a whole number above 0 or None. Received: probes={probes!r}"
            )
        if not self.items:
            raise ValueError("The index should hold items to part into clusters. Received: none")
        if self._clusters is None:
            self._clusters = cluster(self.vectors)
        self._clusters.nprobe = probes
        return self

    def save(self, path):
        """Write the items, their embeddings and clusters to an `.npz` file, but not the task.

        An older file gives way only to a whole new one.
        """
        path = Path(path)
        about = {"format": FORMAT, "made_by": self._made_by, "items": self.items}
        arrays = {"about": _as_bytes(about), "vectors": self.vectors}
        if self._clusters is not None:
            arrays["clusters"] = faiss_library().serialize_index(self._clusters)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            part = Path(folder, path.name)
            with open(part, "wb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)

    @classmethod
    def load(cls, path, task=None):
        """Read what `save` wrote.

        Args:
            path: Of the file.
            task: The Task that embeds what is sought or added, the one that the index was made by.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is damaged, no index, or made by another task or by this one before
                it was trained further.
            ImportError: if the index has clusters and faiss is not installed.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                arrays = dict(arrays)
            about = json.loads(arrays["about"].tobytes())
            vectors, items = arrays["vectors"], about["items"]
            sound = about["format"] == FORMAT and len(items) == len(vectors)
        except (EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"`path` should be an index. Received: {path}: {error!r}") from None
        if not sound:
            raise ValueError(f"`path` should be an index of this version. Received: {path}")
        index = cls(task, vectors.dtype.name)
        index.vectors, index.items, index._made_by = vectors, items, about["made_by"]
        index._rows = {item: row for row, item in enumerate(items)}
        if task is not None:
            index._check_task(path)
        if "clusters" in arrays:
            index._clusters = faiss_library().deserialize_index(arrays["clusters"])
        return index

    def _check_task(self, source="this index"):
        if self.task is None:
            raise ValueError("The index should have a task, which embeds. Received: task=None")
        if self._made_by not in (None, self.task.embedding_id()):
            raise ValueError(
                f"The task should be the one that made {source}. Received: another, or the same "
                "after further training, whose embeddings mean something else"
            )

    def _checked(self, items, count):
        """New items, as many as there are values."""
        if len(items) != count:
            raise ValueError(f"`items` should be {count} strings. Received: {len(items)}")
        seen = set()
        for item in items:
            if not isinstance(item, str):
                raise ValueError(
                    "`items` should be given where values are no strings. "
                    f"Received: an item of {type(item)}"
                )
            if item in seen or item in self._rows:
                raise ValueError(f"`items` should be new and different. Received twice: {item!r}")
            seen.add(item)
        return items

    def _unit(self, vectors):
        """Vectors `(any, width)` as float32 of length 1."""
        vectors = np.asarray(vectors)
        width = self.vectors.shape[1] or None
        if (
            vectors.ndim != 2
            or vectors.dtype.kind not in "fiu"
            or vectors.shape[1] != (width or vectors.shape[1])
        ):
            raise ValueError(
                f"`vectors` should be numbers of shape (any, {width or 'width'}). "
                f"Received: {vectors.dtype} of shape {vectors.shape}"
            )
        vectors = vectors.astype("float32")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and lengths.all()):
            row = int(np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))[0])
            raise ValueError(f"`vectors` should be finite and not zero. Received: row {row}")
        return vectors / lengths


def _pictures(place):
    """Paths of the pictures below a folder or zip."""
    names = sorted(name for name in files_at(place) if name.lower().endswith(PICTURES))
    if not names:
        raise ValueError(f"`values` should be a folder or zip with pictures. Received: {place!r}")
    return [os.path.join(place, name) for name in names]


def _as_bytes(value):
    return np.frombuffer(json.dumps(value, ensure_ascii=False).encode(), np.uint8)
