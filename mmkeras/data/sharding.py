"""Records into TFRecord shards, in parallel, going on where it was."""

import hashlib
import io
import json
import os
import zlib
from concurrent import futures

import numpy as np
import tensorflow as tf

from mmkeras.data.identity import fingerprint
from mmkeras.data.problems import Problems
from mmkeras.data.shards import FORMAT, INDEX, digest, join, offsets, read_json
from mmkeras.preprocessing import Audio
from mmkeras.preprocessing.field import is_missing, read_bytes


def write_shards(records, path, shards=None, files=None):
    """Writes records into TFRecord files, with what they name: photos, recordings, arrays.

    Shards are written in parallel. Run again, it goes on: a shard that is whole and of the same
    records is not written again. Each record is a `tf.train.Example` that any reader of TFRecord
    can read: bytes and texts as bytes, numbers as numbers, lists of one of these as they are, an
    array as the bytes of its numbers, with `NAME/type` and `NAME/shape`, anything else as JSON; a
    value that is None lacks. Beside each shard lies its index, and `index.json` is written last.

    Args:
        records: dict of equally long lists by name, as for `mm.dataset`.
        path: a directory, on any file system that TensorFlow knows; made if there is none.
        shards: how many files, by default 16; some hundred megabytes each are a good size.
        files: names of the columns whose strings are paths of files to be put into the shards; by
            default those whose first value is the path of a file. Of a `.npy` file the array is
            taken, of a part of a recording (`a.wav#t=1,2`) and of `(array, rate)` a WAV. That a
            file has changed since a shard was written is not noticed.

    Returns:
        `path`.

    Raises:
        ValueError: an argument is wrong, `path` cannot be written to, or a value cannot be written,
            naming its record.

    Example:

    ```python
    import mmkeras as mm

    mm.write_shards(mm.world(64), "shards", shards=4)
    ```
    """
    shards, files = _checked(records, shards, files)
    path = os.fspath(path)
    count = len(next(iter(records.values())))
    cuts = [count * shard // shards for shard in range(shards + 1)]
    names = [f"shard-{shard:05d}-of-{shards:05d}" for shard in range(shards)]

    def write_one(shard):
        rows = range(cuts[shard], cuts[shard + 1])
        return _write_shard(join(path, names[shard]), records, rows, files)

    try:
        tf.io.gfile.makedirs(path)
        with futures.ThreadPoolExecutor() as pool:
            writing = [pool.submit(write_one, shard) for shard in range(shards)]
            try:
                entries = [each.result() for each in writing]
            finally:
                pool.shutdown(cancel_futures=True)
        _check_kinds([kinds for _, kinds in entries])
        index = {"format": FORMAT, "records": count, "columns": list(records)}
        _write_json(join(path, INDEX), {**index, "shards": [entry for entry, _ in entries]})
    except tf.errors.OpError as error:
        raise ValueError(
            f"`path` should be a directory that can be written to. Received: path={path!r}: "
            f"{error.message}"
        ) from None
    return path


def _checked(records, shards, files):
    lengths = {name: len(column) for name, column in records.items()}
    if not lengths or len(set(lengths.values())) > 1:
        raise ValueError(f"`records` should be equally long lists. Received lengths: {lengths}")
    count = next(iter(lengths.values()))
    shards = min(16, count) if shards is None else shards
    if not isinstance(shards, int) or not 1 <= shards <= count:
        raise ValueError(
            f"`shards` should be from 1 to {count}, the number of records. "
            f"Received: shards={shards!r}"
        )
    if files is None:
        files = [name for name, column in records.items() if _begins_with_a_file(column)]
    if isinstance(files, str) or not set(files) <= set(records):
        raise ValueError(
            f"`files` should be a list of names, of {list(records)}. Received: files={files!r}"
        )
    return shards, files


def _begins_with_a_file(column):
    first = next((value for value in column if not is_missing(value)), None)
    if not isinstance(first, (str, os.PathLike)):
        return False
    first = os.fspath(first).partition("#t=")[0]
    in_archive = ".zip/" in first and os.path.isfile(first[: first.index(".zip/") + 4])
    return in_archive or os.path.isfile(first)


def _write_shard(name, columns, rows, files):
    """Writes a shard and its index unless they are there; what the index of all says of it."""
    made_of = _made_of(columns, rows, files)
    part = _sound(name, made_of)
    if part is None:
        part = {"format": FORMAT, "made_of": made_of, "sizes": [], "checksums": [], "columns": {}}
        with tf.io.TFRecordWriter(f"{name}.tfrecord") as writer:
            kept = {column: [] for column in columns}
            for row in rows:
                example = tf.train.Example()
                for column, values in kept.items():
                    values.append(_put(example, column, columns[column][row], row, files))
                contents = example.SerializeToString()
                writer.write(contents)
                part["sizes"].append(len(contents))
                part["checksums"].append(zlib.crc32(contents))
        for column, values in kept.items():
            kinds = {kind for kind, value in values if value is not None} or {"values"}
            _check_kinds([{column: kind} for kind in kinds])
            part["columns"][column] = {kinds.pop(): [value for _, value in values]}
        part["sha256"], part["bytes"] = digest(f"{name}.tfrecord")
        if part["bytes"] != offsets(part["sizes"])[-1]:
            raise OSError(f"{name}.tfrecord was not written whole: is the disk full?")
        _write_json(f"{name}.json", part)
    _, index_sha256 = read_json(f"{name}.json")
    kinds = {
        column: next(iter(values))
        for column, values in part["columns"].items()
        if any(value is not None for value in next(iter(values.values())))
    }
    file = os.path.basename(name)
    entry = {"file": f"{file}.tfrecord", "index": f"{file}.json", "records": len(rows)}
    return {
        **entry,
        "bytes": part["bytes"],
        "sha256": part["sha256"],
        "index_sha256": index_sha256,
    }, kinds


def _made_of(columns, rows, files):
    made_of = hashlib.sha256(f"{rows} {sorted(files)} {list(columns)}".encode())
    for name, column in columns.items():
        for row in rows:
            with Problems("raise").at(f"record {row}, {name!r}"):
                made_of.update(fingerprint(column[row]).encode())
    return made_of.hexdigest()


def _sound(name, made_of):
    """The index of a shard that is there, whole and of these records; else None."""
    try:
        part, _ = read_json(f"{name}.json")
        if part.get("made_of") == made_of and digest(f"{name}.tfrecord")[0] == part["sha256"]:
            return part
    except (OSError, ValueError, tf.errors.OpError):
        pass
    return None


def _check_kinds(shards):
    """Refuses a column that has both bytes or arrays and other values."""
    kinds = {}
    for shard in shards:
        for column, kind in shard.items():
            if kinds.setdefault(column, kind) != kind:
                raise ValueError(
                    f"`records[{column!r}]` should hold bytes and arrays, or other values. "
                    "Received: both. If strings in it are paths, name it in `files`"
                )


def _put(example, name, value, row, files):
    """Puts a value into an example; what the index says of it, and in which list."""
    try:
        if name in files or _is_recording(value):
            value = _contents(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            example.features.feature[name].bytes_list.value.append(bytes(value))
            return "stored", 0
        if getattr(value, "shape", ()) != ():
            return "stored", _put_array(example, name, np.asarray(value))
        value = json.loads(json.dumps(value, default=_plain))
        _put_plain(example.features.feature, name, value)
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(f"record {row}, {name!r}: {error}") from None
    return "values", value


def _is_recording(value):
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], np.ndarray)


def _contents(value):
    if is_missing(value):
        return None
    if _is_recording(value) or (isinstance(value, str) and "#t=" in value):
        return Audio(max_seconds=float("inf")).load(value)
    if not isinstance(value, (str, os.PathLike)):
        return value
    contents = read_bytes(value)
    if os.fspath(value).endswith(".npy"):
        return np.load(io.BytesIO(contents), allow_pickle=False)
    return contents


def _put_array(example, name, array):
    if array.dtype.kind not in "biufc":
        raise ValueError(f"an array should be of numbers. Received: {array.dtype}")
    array = array.astype(array.dtype.newbyteorder("<"))
    feature = example.features.feature
    feature[name].bytes_list.value.append(array.tobytes())
    feature[f"{name}/type"].bytes_list.value.append(array.dtype.str.encode())
    feature[f"{name}/shape"].int64_list.value.extend(array.shape)
    return [array.dtype.str, *array.shape]


def _plain(value):
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written")


def _put_plain(features, name, value):
    values = value if isinstance(value, list) else [value]
    if value is None:
        return
    if values and all(isinstance(each, str) for each in values):
        features[name].bytes_list.value.extend(each.encode() for each in values)
    elif values and all(isinstance(each, int) and abs(each) < 2**63 for each in values):
        features[name].int64_list.value.extend(map(int, values))
    elif values and all(isinstance(each, float) for each in values):
        features[name].float_list.value.extend(values)
    else:
        features[name].bytes_list.value.append(json.dumps(value).encode())


def _write_json(file, value):
    with tf.io.gfile.GFile(file, "wb") as stream:
        stream.write(json.dumps(value).encode())
