"""Loading an export: raw values in, answers out, without the Task that wrote it."""

import functools
import json
import os
import re
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from mmkeras.serving.listening import ExportStream

# Where an export keeps what it was asked when it was written.
GOLDEN = Path("assets.extra", "golden.json")


class Export:
    """An export, loaded: it takes what the Task took and gives the same Python values.

    Args:
        path: A version directory, or a directory of versions, of which the newest is taken.

    Attributes:
        path: The version directory.
        signatures: The names of its signatures.

    Raises:
        ValueError: if there is no SavedModel or it is damaged.

    Example:

    ```python
    import mmkeras as mm

    captions = mm.Export("saved_models/image_captioning")
    captions.infer({"image": ["photo.jpg"]})              # {"caption": ["..."], "score": [...]}
    captions.infer({"image": ["photo.jpg"]}, "nbest")     # {"caption": [["...", ...]], ...}
    ```
    """

    def __init__(self, path):
        self.path = newest_version(path)
        try:
            self._model = tf.saved_model.load(str(self.path))
        except (OSError, ValueError, DecodeError, tf.errors.OpError) as error:
            raise ValueError(
                f"`path` should be a whole SavedModel. Received: path={str(path)!r}: {error}"
            ) from None
        self.signatures = sorted(self._model.signatures)

    @functools.cached_property
    def optional(self):
        """Names of the inputs that an example may lack, as its golden requests' file says."""
        try:
            return json.loads((self.path / GOLDEN).read_text(encoding="utf-8"))["optional"]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def specs(self, signature="serving_default"):
        """What a signature takes: a dict of `tf.TensorSpec` by name, `(batch, ...)`."""
        if signature not in self.signatures:
            raise ValueError(
                f"`signature` should be one of {self.signatures}. Received: signature={signature!r}"
            )
        return self._model.signatures[signature].structured_input_signature[1]

    def run(self, raw, signature="serving_default"):
        """Raw tensors by name -> answers as NumPy arrays by name."""
        answers = self._model.signatures[signature](**raw)
        return {name: answers[name].numpy() for name in sorted(answers)}

    def stream(self):
        """Its streams, an `ExportStream`.

        Raises:
            ValueError: if it has none.
        """
        return ExportStream(self)

    def infer(self, records, signature="serving_default", batch_size=32):
        """Raw values -> answers, as Python values.

        Args:
            records: A dict of lists by input name. Where the signature takes `NAME_bytes`, the
                input `NAME` is a list of paths or of the bytes of files. An optional input may be
                left out, or be None or empty in some examples.
            signature: `"serving_default"`, `"nbest"`, `"explain"` or `"timestamps"`.
            batch_size: How many examples go through the graph at once.

        Returns:
            A dict of lists.

        Raises:
            ValueError: naming the input that is missing, or the row that cannot be read.
        """
        specs = self.specs(signature)
        columns = _columns(records, specs, self.optional)
        rows = len(next(iter(columns.values())))
        parts = []
        # Like this an empty list gives empty answers and not an error.
        for start in range(0, max(rows, 1), batch_size):
            part = {key: values[start : start + batch_size] for key, values in columns.items()}
            try:
                parts.append(self.run(tensors(part, specs), signature))
            except tf.errors.InvalidArgumentError:
                self._tell_row(range(start, rows)[:batch_size], records, columns, signature)
                raise
        # Row by row: what is as long as its batch's longest answer fits no other batch's.
        return {name: [row for part in parts for row in _python(part[name])] for name in parts[0]}

    def _tell_row(self, rows, records, columns, signature):
        """Asks one row after the other: nothing else knows where damage behind a header is."""
        for row in rows:
            one = {key: values[row : row + 1] for key, values in columns.items()}
            try:
                self.run(tensors(one, self.specs(signature)), signature)
            except tf.errors.InvalidArgumentError as error:
                given = {name: _short(values[row]) for name, values in records.items()}
                raise ValueError(f"Row {row}, {given}: {reason(error)}") from None


def newest_version(path):
    """The newest version below a path, or the path itself where there is none."""
    path = Path(path)
    found = versions(path)
    return path / found[max(found)] if found else path


def versions(path):
    """The versions below a path: the names of their directories by number."""
    names = os.listdir(path) if path.is_dir() else []
    return {int(name): name for name in names if is_version(name) and (path / name).is_dir()}


def is_version(name):
    """Whether a model server takes a directory of this name for a version."""
    return name.isascii() and name.isdecimal()


def tensors(columns, specs):
    """Lists by the names of a signature -> tensors."""
    return {key: _tensor(columns[key], spec) for key, spec in specs.items()}


def _tensor(values, spec):
    if not len(values):
        values = np.zeros([0, *spec.shape[1:]], spec.dtype.as_numpy_dtype)
    return tf.constant(values, spec.dtype)


def _columns(records, specs, optional):
    """Lists by input name -> lists of raw values by the names of a signature."""
    keys = {key.removesuffix("_bytes"): key for key in specs}
    optional = [name for name in optional if name in keys]
    names = set(records) if isinstance(records, dict) else None
    if not names or not set(keys) - set(optional) <= names <= set(keys):
        received = sorted(records) if isinstance(records, dict) else type(records).__name__
        more = f", of which {optional} may be left out" if optional else ""
        raise ValueError(
            f"`records` should be a dict of lists by input name, with the names {sorted(keys)}"
            f"{more}. Received: {received}"
        )
    for name, values in records.items():
        if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
            raise ValueError(
                f"`records[{name!r}]` should be a list, one value per example. "
                f"Received: {type(values).__name__}"
            )
    lengths = {name: len(values) for name, values in records.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"All inputs should be equally long. Received lengths: {lengths}")
    columns = {}
    for name, key in keys.items():
        values = records.get(name, [None] * len(next(iter(records.values()))))
        if name in optional:
            values = [_absent(specs[key]) if _is_missing(value) else value for value in values]
        columns[key] = _read(name, values) if key != name else list(values)
    return columns


def _is_missing(value):
    return value is None or (isinstance(value, (str, bytes)) and not value)


def _absent(spec):
    if spec.dtype == tf.string:
        return b""
    return np.full(
        spec.shape[1:], np.nan if spec.dtype.is_floating else 0, spec.dtype.as_numpy_dtype
    )


def _read(name, values):
    contents = []
    for row, value in enumerate(values):
        try:
            contents.append(value if isinstance(value, bytes) else Path(value).read_bytes())
        except (OSError, TypeError) as error:
            raise ValueError(f"Input {name!r}, row {row}: {error}") from None
    return contents


def _python(values):
    if values.dtype != object:
        return values.tolist()
    text = np.vectorize(lambda b: b.decode("utf-8", "replace"), otypes=[object])
    return text(values).tolist() if values.size else values.tolist()


def _short(value):
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else value


def reason(error):
    """What an operation says, without where in the graph it says so, of a single row."""
    return said(error).removeprefix("row 0 is ")


def said(error):
    """What an operation says, with the row of its batch if it names one."""
    found = re.search(r"assertion failed: \[(.*?)\]", error.message)
    found = found[1] if found else re.sub(r"\{\{.*?\}\}\s*|\s*\[\[.*|\s*\[Op:.*", "", error.message)
    return found.strip()
