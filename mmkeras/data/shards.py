"""Records from TFRecord shards: random access by the index, so that any order can be read."""

import bisect
import hashlib
import json
import os
import zlib
from concurrent import futures

import numpy as np
import tensorflow as tf

INDEX, FORMAT = "index.json", 1
RUN = 16  # records that are read together where they follow each other
HEADER, FOOTER = 12, 4  # of a TFRecord: its length and two checksums


def read_shards(path, verify=False):
    """Records from shards, for `mm.dataset` or to be looked at.

    Columns of bytes and of arrays stay on disk: a value is read when it is asked for, in any
    order. So a data set may be larger than memory, and `mm.dataset` shuffles all of it, begins at
    any step without reading those before, and gives each worker its part, as with other records.
    All other columns (texts, labels, numbers) are in memory.

    Args:
        path: a directory that `write_shards` wrote, on any file system that TensorFlow knows.
        verify: whether to read all shards once and compare their checksums. In any case files
            that are too short are found at once, and a damaged record when it is read.

    Returns:
        dict of columns by name: lists, or `ShardColumn`.

    Raises:
        ValueError: there are no whole shards, or one is cut, damaged or of another index; names
            the file.

    Example:

    ```python
    import mmkeras as mm

    mm.write_shards(mm.world(64), "shards", shards=4)
    records = mm.read_shards("shards")
    print(records["caption"][0], len(records["image"][0]))
    ```
    """
    path = os.fspath(path)
    index = _read_index(path)
    with futures.ThreadPoolExecutor() as pool:
        parts = list(pool.map(lambda entry: _read_part(path, entry, verify), index["shards"]))
    shards = Shards(list(zip(index["shards"], parts, [path] * len(parts), strict=True)))
    kinds = {}
    for part in parts:
        for name, column in part["columns"].items():
            kinds[name] = kinds.get(name) or "stored" in column
    return {
        name: ShardColumn(shards, name)
        if stored
        else [value for part in parts for value in part["columns"][name]["values"]]
        for name, stored in kinds.items()
    }


class Shards:
    """Where the records of some shards are.

    Args:
        parts: of each shard what the index of all says, its own index, and the directory.

    Attributes:
        files: the path of each shard.
        starts: the number of the first record of each, and of the one that would come last.
        offsets, sizes, checksums: of each record in its shard; CRC-32.
        made_of: what tells these shards from others.
    """

    def __init__(self, parts):
        self.parts = parts
        self.files = [join(path, entry["file"]) for entry, _, path in parts]
        self.made_of = [entry["sha256"] for entry, _, _ in parts]
        parts = [part for _, part, _ in parts]
        self.starts = np.cumsum([0, *(len(part["sizes"]) for part in parts)])
        self.sizes = np.array([size for part in parts for size in part["sizes"]], np.int64)
        self.checksums = [checksum for part in parts for checksum in part["checksums"]]
        self.offsets = np.concatenate(
            [np.zeros(0, np.int64), *(offsets(part["sizes"])[:-1] for part in parts)]
        )
        self.columns = [part["columns"] for part in parts]
        self._places = None

    def described(self, name, row):
        """What the index says of a value: None, 0 for bytes, or the type and shape of an array."""
        shard = bisect.bisect_right(self.starts, row) - 1
        column = self.columns[shard][name]
        return column["stored"][row - self.starts[shard]] if "stored" in column else None

    def read(self, row):
        """The record as it was written, verified."""
        file = self.files[bisect.bisect_right(self.starts, row) - 1]
        offset, size = int(self.offsets[row]), int(self.sizes[row])
        with opened(file) as stream:
            stream.seek(offset + HEADER)
            contents = stream.read(size)
        if len(contents) < size or zlib.crc32(contents) != self.checksums[row]:
            fault = f"{len(contents)} of {size} bytes" if len(contents) < size else "other bytes"
            raise ValueError(
                f"{file!r} should have record {row} at byte {offset}, as its index says. "
                f"Received: {fault}"
            )
        return contents

    def look_up(self, row):
        """As `read`, in the graph; what is damaged is an error there that names no file."""
        return self._records(row, row, 0).take(1).get_single_element()

    def look_up_all(self, rows):
        """As `look_up`, of several records."""

        def run():
            records = self._records(rows[0], rows[-1], 2**18)
            count = tf.size(rows, tf.int64)
            return records.take(count).batch(count).get_single_element()

        def one_by_one():
            return tf.map_fn(self.look_up, rows, fn_output_signature=tf.string)

        return tf.cond(tf.reduce_all(rows[1:] - rows[:-1] == 1), run, one_by_one)

    def _records(self, first, last, buffer_size):
        """Records from the first on, to the end of the shard that has the last."""
        files, starts, offsets = self._in_graph()
        begin, end = tf.unstack(tf.searchsorted(starts, tf.stack([first, last]), side="right"))
        later = tf.zeros(end - begin, tf.int64)
        records = tf.raw_ops.TFRecordDatasetV2(
            filenames=files[begin - 1 : end],
            compression_type="",
            buffer_size=buffer_size,
            byte_offsets=tf.concat([offsets[first][tf.newaxis], later], axis=0),
        )
        return tf.data.experimental.from_variant(records, tf.TensorSpec([], tf.string))

    def _in_graph(self):
        if self._places is None:
            with tf.init_scope(), tf.device("CPU:0"):
                self._places = [tf.constant(x) for x in (self.files, self.starts, self.offsets)]
        return self._places


class ShardColumn:
    """One column of bytes or arrays, which are read when they are asked for.

    Attributes:
        shards, name: where it is.
        made_of: what tells this column from others, for `identity()` of a data set.
    """

    def __init__(self, shards, name):
        self.shards = shards
        self.name = name
        self.made_of = [*shards.made_of, name]

    def __len__(self):
        return int(self.shards.starts[-1])

    def __getitem__(self, row):
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        row = self._checked(row)
        kind = self.shards.described(self.name, row)
        if kind is None:
            return None
        features = tf.train.Example.FromString(self.shards.read(row)).features.feature
        (value,) = features[self.name].bytes_list.value
        return np.frombuffer(value, kind[0]).reshape(kind[1:]) if kind else value

    def glance(self, row):
        """What kind of value there is, told by an empty one, which is not read; or None."""
        kind = self.shards.described(self.name, self._checked(row))
        return kind and np.zeros(0, kind[0]) if kind != 0 else b"..."

    def look_up(self, row):
        """The bytes of a record, in the graph; none where they lack."""
        features = {self.name: tf.io.FixedLenFeature([], tf.string, "")}
        return tf.io.parse_single_example(self.shards.look_up(row), features)[self.name]

    def look_up_all(self, rows):
        """As `look_up`, of several records."""
        features = {self.name: tf.io.FixedLenFeature([], tf.string, "")}
        return tf.io.parse_example(self.shards.look_up_all(rows), features)[self.name]

    def _checked(self, row):
        row = int(row)
        if not -len(self) <= row < len(self):
            raise IndexError(f"record {row} of {len(self)}")
        return row % len(self)


def offsets(sizes):
    """Where records of these sizes begin in their shard, and where it ends."""
    return np.cumsum([0, *(size + HEADER + FOOTER for size in sizes)], dtype=np.int64)


def join(path, name):
    return f"{path.rstrip('/')}/{name}"


def opened(file):
    """A file to read bytes from; TensorFlow's own would read half a megabyte for each of them."""
    return tf.io.gfile.GFile(file, "rb") if "://" in file else open(file, "rb", buffering=0)


def digest(file):
    """The SHA-256 of a file, and how many bytes it has."""
    made_of, size = hashlib.sha256(), 0
    with opened(file) as stream:
        while piece := stream.read(2**22):
            made_of.update(piece)
            size += len(piece)
    return made_of.hexdigest(), size


def read_json(file):
    """What is in a JSON file, an object, and the SHA-256 of it."""
    with tf.io.gfile.GFile(file, "rb") as stream:
        contents = stream.read()
    try:
        found = json.loads(contents)
    except ValueError as error:
        raise ValueError(f"{file!r} should be JSON. Received: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"{file!r} should have the format {FORMAT}. Received: {found!r:.100}")
    return found, hashlib.sha256(contents).hexdigest()


def _read_index(path):
    try:
        return read_json(join(path, INDEX))[0]
    except tf.errors.OpError:
        there = tf.io.gfile.isdir(path)
        raise ValueError(
            f"`path` should be a directory of whole shards, with an {INDEX}. Received: "
            f"path={path!r}, "
            + (
                "without one: run `write_shards` again, it goes on where it was"
                if there
                else "no directory"
            )
        ) from None


def _read_part(path, entry, verify):
    """The index of one shard, once it is certain that both are as the index of all says."""
    file, name = join(path, entry["file"]), join(path, entry["index"])
    try:
        part, sha256 = read_json(name)
        size = tf.io.gfile.stat(file).length
    except tf.errors.OpError as error:
        raise ValueError(f"{path!r} should be whole. Received: {error.message}") from None
    ends = offsets(part["sizes"])
    if sha256 != entry["index_sha256"] or ends[-1] != entry["bytes"]:
        raise ValueError(f"{name!r} should be as {INDEX} says. Received: another file")
    if size < entry["bytes"]:
        whole = int(np.searchsorted(ends, size, side="right")) - 1
        raise ValueError(
            f"{file!r} should have {entry['bytes']} bytes. Received: {size}, "
            f"{len(part['sizes']) - whole} of its {len(part['sizes'])} records are missing"
        )
    if size > entry["bytes"] or (verify and digest(file)[0] != entry["sha256"]):
        raise ValueError(f"{file!r} should have the checksum that {INDEX} says. Received: another")
    return part
