"""Where a raw value meets its tensor: the contract of a field, and reading files for one."""

import functools
import os
import re
import struct
import zipfile
import zlib

import keras
import tensorflow as tf

_IN_ZIP = re.compile(r"(.+?\.zip)/(.+)", re.IGNORECASE | re.DOTALL)


@keras.saving.register_keras_serializable("mmkeras")
class Field(keras.layers.Layer):
    """What one named value is outside a model (raw) and inside it (tensors).

    Calling a field turns raw values into tensors with TensorFlow ops, so that `tf.data`, `infer`
    and the served graph run the same code. A field has no weights. Subclasses write `call`,
    `input` and `signature`; a field that can be a target writes `target` and `decode` as well.

    Attributes:
        per_example: whether a data pipeline calls the field on one example before batching
            (`True`, for values whose raw sizes differ) or on a whole batch (`False`).
        masked: whether a call gives `(tensor, mask)`, of examples that differ in length; `input`
            then gives the two inputs, and an encoder takes both.
        whole_lists: whether a list in a record is one value of this field, and not one value for
            each of several examples.
        implied: whether records may lack this target; its value is then the record's number.

    Args:
        optional: Of an input: whether an example may lack it. Raw, what is missing is None, or
            empty: no bytes, no text, nothing but NaN.

    Example:

    ```python
    @keras.saving.register_keras_serializable("mine")
    class Score(Field):
        def call(self, raw):
            return tf.cast(raw, tf.float32)

        def input(self, name):
            return keras.Input((), name=name)

        def signature(self, name):
            return {name: tf.TensorSpec([None], tf.float32, name=name)}
    ```
    """

    per_example = False
    masked = False
    whole_lists = False
    implied = False

    def __init__(self, optional=False, **kwargs):
        super().__init__(**kwargs)
        self.optional = bool(optional)
        # Raw values are strings, which Keras would try to make into float tensors.
        self._convert_input_args = False
        self._allow_non_tensor_positional_args = True

    @property
    def flagged(self):
        """Whether a model takes a mask `(batch, 1)` beside this value, false where it lacks.

        Lengths that differ, and text, tell that by themselves.
        """
        return self.optional and not self.masked

    @property
    def absent(self):
        """The raw value that stands for none."""
        return b""

    def given(self, value, quick=False):
        """As `load`, or with `quick` as `read`, of a value that may be missing.

        Raises:
            ValueError: if it is missing and the model cannot do without, or as `load`.
        """
        missing = is_missing(value)
        if missing and self.optional:
            return self.absent
        if value is None or (missing and isinstance(value, str)):
            raise ValueError("is missing: the model cannot do without it")
        return self.read(value) if quick else self.load(value)

    def present(self, raw):
        """Raw values, `(batch, ...)` or one -> which of them are there, in the graph."""
        return tf.strings.length(raw) > 0

    def load(self, value):
        """A value that a person gives -> the raw value that the graph takes, checked."""
        return value

    def read(self, value):
        """As `load`, but quick, and what is wrong shows only in the graph."""
        return value if isinstance(value, bytes) else read_bytes(value)

    def signal(self, raw):
        """The first half of a call: raw -> what a pipeline augments, such as pixels, samples."""
        return self(raw)

    def features(self, signal):
        """The second half of a call: what a pipeline has augmented -> what the call gives."""
        return signal

    def named(self, name, value):
        """What a call or `input` gives -> a dict by the names of the model's inputs."""
        return (
            dict(zip((name, f"{name}_mask"), value, strict=True)) if self.masked else {name: value}
        )

    def input(self, name):
        """The `keras.Input` of a model for this value; of a masked field that and its mask's."""
        raise NotImplementedError(f"{type(self).__name__} cannot be an input.")

    def signature(self, name):
        """What a served model takes for this value: a dict of `tf.TensorSpec`."""
        raise NotImplementedError(f"{type(self).__name__} cannot be served.")

    def example(self, seed):
        """A value made up from a seed, such as a person could give."""
        raise NotImplementedError(f"{type(self).__name__} makes up no examples: give some.")

    def target(self, name, raw):
        """Raw values -> `(extra inputs, target, sample weight)` to train on."""
        raise NotImplementedError(f"{type(self).__name__} cannot be a target.")

    def faults(self, raws, lengths):
        """Raw values that are no good as targets: `{position: what is wrong}`.

        `lengths` is `{input: frames of each example}` of the masked inputs.
        """
        return {}

    def cells(self, name, records):
        """What this field reads of records, a dict of columns: one value for each of them."""
        return records[name]

    def column(self, values):
        """What `load` gave for some examples -> one tensor, of which a batch takes its rows."""
        return tf.convert_to_tensor(values)

    def target_input(self, name):
        """The `keras.Input` of what a decoder reads of this target, None if it reads nothing."""
        return None

    def decode(self, ids):
        """What the model answers -> strings, in the graph."""
        raise NotImplementedError(f"{type(self).__name__} cannot be a target.")

    def beside(self, raw):
        """What `decode` takes beside ids, by argument, of the raw tensors of the inputs."""
        return {}

    def spelled(self, ids, **beside):
        """The tokens `(batch, length)` that an explanation of answers `(batch, any)` is about."""
        return self.decode(ids[..., tf.newaxis], **beside)

    def get_config(self):
        return {**super().get_config(), "optional": self.optional}


def is_missing(value):
    """Whether a value that a person gives says that there is none."""
    return value is None or (isinstance(value, (str, bytes)) and not value)


def read_bytes(path):
    """Reads a file, or one member of a zip archive.

    The directory of an archive is read once per process. Members are read without a file position,
    so any number of threads, and processes forked later, may read at once.

    Args:
        path: a path, or `path/to/archive.zip/member.jpg`.

    Returns:
        The bytes of the file.

    Raises:
        FileNotFoundError: when there is no such file or member.
        ValueError: when the path is a folder, or the archive or its member is damaged.

    Example:

    ```python
    photo = read_bytes("flickr8k/images.zip/103106960_e8a41d64f8.jpg")
    ```
    """
    path = os.fspath(path)
    inside = _IN_ZIP.fullmatch(path)
    if inside and os.path.isfile(inside[1]):
        return _read_member(*inside.groups())
    try:
        with open(path, "rb") as file:
            return file.read()
    except IsADirectoryError:
        raise ValueError(f"`path` should be a file. Received: path={path!r}, a folder") from None


def _read_member(archive, name):
    stat = os.stat(archive)
    file, members = _directory(archive, stat.st_mtime_ns, stat.st_size)
    if name not in members:
        raise FileNotFoundError(f"{archive!r} has no member {name!r}.")
    offset, method, packed_size, size, crc = members[name]
    header = os.pread(file.fileno(), 30, offset)
    try:
        name_size, extra_size = struct.unpack("<26x2H", header)
        data = os.pread(file.fileno(), packed_size, offset + 30 + name_size + extra_size)
        if method == zipfile.ZIP_DEFLATED:
            # The limit keeps a member that lies about its size from filling the memory.
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
    except (struct.error, zlib.error):
        data = b""
    if len(data) != size or zlib.crc32(data) != crc:
        raise ValueError(f"`path` should be sound. Received: {archive + '/' + name!r}, damaged")
    return data


@functools.lru_cache(maxsize=64)
def _directory(archive, modified, archive_size):
    file = open(archive, "rb")  # noqa: SIM115 (stays open as long as the cache holds it)
    try:
        infos = zipfile.ZipFile(file).infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(
            f"`path` should be in a zip archive. Received: {archive!r}, {error}"
        ) from None
    return file, {
        info.filename: (
            info.header_offset,
            info.compress_type,
            info.compress_size,
            info.file_size,
            info.CRC,
        )
        for info in infos
        if not info.is_dir()
    }
