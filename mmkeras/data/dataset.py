"""From records to batches, in an order and with a randomness that (seed, epoch) decide alone."""

import functools
import os

import numpy as np
import tensorflow as tf

from mmkeras.data.problems import Problems
from mmkeras.preprocessing.field import read_bytes
from mmkeras.preprocessing.preprocessor import check_columns

_AUTOTUNE = tf.data.AUTOTUNE
_as_is = tf.autograph.experimental.do_not_convert


def dataset(
    records,
    preprocessor,
    batch_size,
    shuffle=False,
    seed=0,
    augment=None,
    cache=False,
    on_error="raise",
    drop_remainder=False,
):
    """Makes records into batches for `fit`, `evaluate` and `predict`.

    A record whose captions are a list gives one example per caption. Files (images, arrays) are
    read when a batch is due, in parallel; only indices are shuffled, so that memory does not grow
    with the data. The order and the augmentation of an epoch follow from `seed` and the number of
    the epoch.

    Args:
        records: dict of equally long lists by name. An image is a path, `archive.zip/member.jpg`
            or the `bytes` of a file; a text is a string or, for several, a list of strings (two
            such lists in one record are taken in pairs).
        preprocessor: the `Preprocessor` of the model. Its targets are given when the records hold
            them.
        batch_size: examples per batch, over all replicas.
        shuffle: whether to shuffle, differently in each epoch.
        seed: a whole number.
        augment: dict of `function(tensor, seed) -> tensor` by name of an image or array input, for
            one example, such as `image_augmentation()`; `seed` is a pair of int64.
        cache: whether to keep what is read and decoded in memory: each record is decoded once,
            before this function returns, and looked up afterwards. A picture of 160 x 160 takes
            77 kB, however many captions it has.
        on_error: `"raise"` stops at the first record that is wrong; `"skip"` leaves such records
            out and warns of them, and to know them decodes everything once before it returns.
        drop_remainder: whether to leave out a last batch that is not full.

    Returns:
        A `tf.data.Dataset` of known cardinality. Its batches are `(x, y, sample_weight)`, dicts by
        name, or `x` where the records hold no targets. It has two attributes of its own: `epoch`,
        the number of the epoch that the next iterator gives (0 at first, one more with every
        iterator that is read from; assign to it before `fit` to resume), and `skipped`, a list of
        strings that say what was left out and why. Under a strategy `fit` reads one batch before
        its first epoch, so that its epochs are numbered from 1, in every run.

    Raises:
        ValueError: an argument or a column is wrong, no example is left, or, with `cache`, a file
            is missing or damaged.
        tf.errors.InvalidArgumentError: while iterating, naming the record and the file.

    Example:

    ```python
    import mmkeras as mm

    records = mm.world(64)
    words = mm.train_tokenizer(records["caption"])
    fields = mm.Preprocessor({"image": mm.Image(64)}, {"caption": mm.Text(words)})
    for x, y, weight in mm.dataset(records, fields, 16, shuffle=True):
        print(x["image"].shape, y["caption"].shape)
    ```
    """
    problems = Problems(on_error)
    fields = _wanted(records, preprocessor)
    columns = {name: records[name] for name in fields}
    augment = augment or {}
    check_columns(columns)
    _check_files(columns, fields)
    _check_arguments(batch_size, seed, augment, preprocessor)
    preprocessor.build()

    with tf.device("CPU:0"):
        rows, texts = _examples(columns, fields, problems)
        rows, texts = _without_faults(rows, texts, preprocessor.targets, problems)
        read = _Reader(columns, fields, preprocessor)
        if len(rows) and read.names and (cache or on_error == "skip"):
            good = _read_all(read, np.unique(rows), cache, problems)
            rows, texts = _keep(np.isin(rows, good), rows, texts)
        problems.warn("`records`")
        count = len(rows)
        steps = _count_steps(count, batch_size, drop_remainder)
        rows = tf.constant(rows)
        texts = {name: _as_tensor(name, column) for name, column in texts.items()}

    def start_epoch():
        epoch = batches.epoch
        batches.epoch = epoch + 1
        return np.int64(epoch)

    @_as_is
    def make_epoch(_):
        epoch = tf.ensure_shape(tf.numpy_function(start_epoch, [], tf.int64), [])
        order = tf.range(count, dtype=tf.int64)
        if shuffle:
            order = tf.random.experimental.stateless_shuffle(order, tf.stack([seed, epoch]))
        order = tf.data.Dataset.from_tensor_slices(order)
        examples = order.map(read_one, _AUTOTUNE, deterministic=True)
        # An error of the graph cannot name its file, but what is missing from the order can.
        blanks = tf.data.Dataset.from_tensors(_blank(examples.element_spec)).repeat()
        examples = examples.ignore_errors().concatenate(blanks).take(count)
        if augment:
            change = functools.partial(_augmented, augment, tf.stack([seed, epoch]))
            examples = examples.map(change, _AUTOTUNE, deterministic=True)
        return tf.data.Dataset.zip(order, examples).batch(batch_size, drop_remainder)

    @_as_is
    def read_one(index):
        return index, read(rows[index])

    @_as_is
    def finish(order, examples):
        indices, tensors = examples
        _assert_read(read, rows, order, indices)
        raws = {name: tf.gather(column, order) for name, column in texts.items()}
        raws |= {name: tensors[name] for name in read.arrays}
        late = {name: _to_tensors(preprocessor, name, raw) for name, raw in raws.items()}
        return _as_batch({**tensors, **late}, preprocessor)

    batches = tf.data.Dataset.from_tensors(0).flat_map(make_epoch)
    batches = batches.map(finish, _AUTOTUNE, deterministic=True).prefetch(_AUTOTUNE)
    batches = batches.apply(tf.data.experimental.assert_cardinality(steps))
    batches.epoch, batches.skipped = 0, problems.skipped
    return batches


def _wanted(records, preprocessor):
    """The fields that the records are for: all inputs, and all targets unless there is none."""
    if not isinstance(records, dict):
        raise ValueError(
            f"`records` should be a dict of lists by name. Received: {type(records).__name__}"
        )
    fields = dict(preprocessor.inputs)
    if any(name in records for name in preprocessor.targets):
        fields |= preprocessor.targets
    missing = [name for name in fields if name not in records]
    if missing:
        raise ValueError(f"`records` should hold {missing}. Received: columns {list(records)}")
    return fields


def _check_files(columns, fields):
    for name, column in columns.items():
        if fields[name].per_example and _raw_spec(name, fields[name]).dtype == tf.string:
            for row, value in enumerate(column):
                if not isinstance(value, (str, bytes, os.PathLike)):
                    raise ValueError(
                        f"`records[{name!r}]` should hold paths, or the bytes of files. "
                        f"Received: {type(value).__name__} in record {row}"
                    )


def _check_arguments(batch_size, seed, augment, preprocessor):
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(
            f"`batch_size` should be a whole number above 0. Received: batch_size={batch_size!r}"
        )
    if not isinstance(seed, int):
        raise ValueError(f"`seed` should be a whole number. Received: seed={seed!r}")
    allowed = [name for name, field in preprocessor.inputs.items() if _is_read(name, field)]
    if not isinstance(augment, dict) or not set(augment) <= set(allowed):
        raise ValueError(
            f"`augment` should be a dict of functions by name, of {allowed}. "
            f"Received: augment={augment!r}"
        )


def _raw_spec(name, field):
    (spec,) = field.signature(name).values()
    return tf.TensorSpec(spec.shape[1:], spec.dtype)


def _is_read(name, field):
    """Whether raw values are read when their batch is due; all others are a few bytes each."""
    if field.per_example:
        return True
    try:
        return _raw_spec(name, field).shape.rank > 0
    except NotImplementedError:  # of a field that can only be a target
        return False


def _examples(columns, fields, problems):
    """The record of each example, and its raw values of fields that are not read later."""
    names = [name for name in columns if not _is_read(name, fields[name])]
    rows, texts = [], {name: [] for name in names}
    for row in range(len(next(iter(columns.values())))):
        items = []
        with problems.at(f"record {row}"):
            items = _items({name: columns[name][row] for name in names})
        for item in items:
            with problems.at(f"record {row}"):
                loaded = [_load(name, fields[name], item[name]) for name in names]
                rows.append(row)
                for name, value in zip(names, loaded, strict=True):
                    texts[name].append(value)
    return np.array(rows, np.int64), texts


def _items(cells):
    several = {name: len(cell) for name, cell in cells.items() if isinstance(cell, (list, tuple))}
    if len(set(several.values())) > 1:
        raise ValueError(f"its lists should be equally long. Received lengths: {several}")
    if 0 in several.values():
        raise ValueError(f"{list(several)} should not be empty lists")
    count = next(iter(several.values()), 1)
    return [
        {n: cell[i] if n in several else cell for n, cell in cells.items()} for i in range(count)
    ]


def _load(name, field, value):
    try:
        return field.load(value)
    except (ValueError, OSError) as error:
        raise ValueError(f"{name!r}: {error}") from None


def _without_faults(rows, texts, targets, problems):
    """Leaves out examples with a target that nothing can be learnt from."""
    good = np.ones(len(rows), bool)
    for name in targets.keys() & texts.keys():
        for position, fault in targets[name].faults(texts[name]).items():
            good[position] = False
            problems.add(f"record {rows[position]}: {name!r} {fault}")
    return _keep(good, rows, texts)


def _keep(kept, rows, texts):
    chosen = np.flatnonzero(kept)
    return rows[chosen], {name: [column[i] for i in chosen] for name, column in texts.items()}


def _count_steps(count, batch_size, drop_remainder):
    if count == 0:
        raise ValueError("`records` should hold at least one good record. Received: none")
    if drop_remainder and count < batch_size:
        raise ValueError(
            f"`batch_size` should be at most {count}, the number of examples, with "
            f"`drop_remainder`. Received: batch_size={batch_size}"
        )
    return count // batch_size if drop_remainder else -(-count // batch_size)


def _as_tensor(name, column):
    try:
        return tf.convert_to_tensor(column)
    except (ValueError, TypeError) as error:
        raise ValueError(f"`records[{name!r}]` should hold values of one kind: {error}") from None


def _to_tensors(preprocessor, name, raw):
    if name in preprocessor.targets:
        return preprocessor.targets[name].target(name, raw)
    return preprocessor.inputs[name](raw)


def _as_batch(tensors, preprocessor):
    x = {name: tensors[name] for name in preprocessor.inputs}
    y, weights = {}, {}
    for name in preprocessor.targets:
        if name in tensors:
            extra, y[name], weights[name] = tensors[name]
            x |= extra
    return (x, y, weights) if y else x


def _blank(spec):
    """What stands for an example that could not be read: no index."""
    index, tensors = spec
    return tf.constant(-1, index.dtype), tf.nest.map_structure(
        lambda each: tf.zeros([size or 0 for size in each.shape], each.dtype), tensors
    )


def _assert_read(read, rows, order, indices):
    wrong = order != indices

    def complain():
        row = rows[order[tf.argmax(wrong)]]
        return tf.ensure_shape(tf.numpy_function(read.complain, [row], tf.bool), [])

    tf.cond(tf.reduce_any(wrong), complain, lambda: True)


@_as_is
def _augmented(functions, seed, index, tensors):
    key = tf.random.experimental.stateless_fold_in(seed, index)
    changed = {name: function(tensors[name], key) for name, function in functions.items()}
    for name, after in changed.items():
        before = tensors[name]
        if before.dtype != after.dtype or not before.shape.is_compatible_with(after.shape):
            raise ValueError(
                f"`augment[{name!r}]` should give {before.dtype.name} of shape {before.shape}. "
                f"Received: {after.dtype.name} of shape {after.shape}"
            )
        changed[name] = tf.ensure_shape(after, before.shape)
    return index, {**tensors, **changed}


class _Reader:
    """The number of a record -> what is read of it: arrays as they are, all else as tensors.

    The quick way to a raw value reads the bytes and leaves the checks to the field's graph. The
    careful way is `field.load`, which names the file and the fault, and reads some files that the
    graph cannot.

    Attributes:
        careful: set of records that only the careful way can read.
        store: a `_Store` of all records, or `None`.
    """

    def __init__(self, columns, fields, preprocessor):
        self.names = [name for name in columns if _is_read(name, fields[name])]
        self.arrays = [name for name in self.names if not fields[name].per_example]
        self.specs = {name: _raw_spec(name, fields[name]) for name in self.names}
        self.columns = columns
        self.fields = fields
        self.preprocessor = preprocessor
        self.careful = set()
        self.store = None

    def __call__(self, row):
        if self.store or not self.names:
            return self.store.look_up(row) if self.store else {}
        raws = tf.numpy_function(self.load, [row], [self.specs[name].dtype for name in self.names])
        raws = dict(zip(self.names, raws, strict=True))
        raws = {name: tf.ensure_shape(raw, self.specs[name].shape) for name, raw in raws.items()}
        return {
            name: raw if name in self.arrays else _to_tensors(self.preprocessor, name, raw)
            for name, raw in raws.items()
        }

    def load(self, row):
        if int(row) in self.careful:
            return self.load_carefully(row)
        return [self._load_quickly(name, self.columns[name][row]) for name in self.names]

    def _load_quickly(self, name, value):
        if self.specs[name].dtype != tf.string:
            return self.fields[name].load(value)
        return value if isinstance(value, bytes) else read_bytes(value)

    def load_carefully(self, row):
        raws = []
        for name in self.names:
            try:
                raws.append(self.fields[name].load(self.columns[name][row]))
            except (ValueError, OSError) as error:
                raise ValueError(f"record {row}, {name!r}: {error}") from None
        return raws

    def complain(self, row):
        self.load_carefully(row)
        raise ValueError(
            f"record {row}: {self.names} can be loaded, but the graph cannot decode them as they "
            'are. Convert the file, or give `cache=True` or `on_error="skip"`'
        )


def _read_all(read, rows, cache, problems):
    """Decodes all records once, and tells those that are good."""
    good, store = set(), None

    def decode(rows):
        nonlocal store
        tries = tf.data.Dataset.from_tensor_slices(rows)
        tries = tries.map(_as_is(lambda row: (row, read(row))), _AUTOTUNE, deterministic=True)
        if cache and store is None:
            store = _Store(rows[-1] + 1, tries.element_spec[1])
        for row, tensors in tries.ignore_errors().prefetch(_AUTOTUNE):
            good.add(int(row))
            if cache:
                store.put(row, tensors)

    decode(rows)
    for row in rows[~np.isin(rows, list(good))]:
        try:
            read.load_carefully(row)
            read.careful.add(int(row))
        except ValueError as error:
            problems.add(str(error))
    if read.careful:
        decode(np.array(sorted(read.careful)))
    for row in sorted(read.careful - good):
        problems.add(f"record {row}: {read.names} cannot be decoded")
    read.store = store
    return list(good)


class _Store:
    """Tensors of records, in memory."""

    def __init__(self, count, spec):
        shapes = [each.shape for each in tf.nest.flatten(spec)]
        if not all(shape.is_fully_defined() for shape in shapes):
            raise ValueError(
                "`cache` should be False for fields that give tensors of no fixed size. "
                f"Received: cache=True with tensors of shapes {shapes}"
            )
        self.arrays = tf.nest.map_structure(
            lambda each: np.empty([count, *each.shape], each.dtype.as_numpy_dtype), spec
        )

    def put(self, row, tensors):
        for array, tensor in zip(*map(tf.nest.flatten, (self.arrays, tensors)), strict=True):
            array[row] = tensor.numpy()

    def look_up(self, row):
        arrays = tf.nest.flatten(self.arrays)
        found = tf.numpy_function(
            lambda row: [array[row] for array in arrays], [row], [each.dtype for each in arrays]
        )
        found = [tf.ensure_shape(t, a.shape[1:]) for t, a in zip(found, arrays, strict=True)]
        return tf.nest.pack_sequence_as(self.arrays, found)
