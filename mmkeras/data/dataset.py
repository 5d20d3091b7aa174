"""From records to batches, in an order and with a randomness that (seed, epoch) decide alone."""

import functools
import os
from concurrent import futures

import numpy as np
import tensorflow as tf

from mmkeras.data.identity import fingerprint, identify
from mmkeras.data.problems import Problems
from mmkeras.data.shards import RUN, ShardColumn
from mmkeras.preprocessing.field import Field, is_missing
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
    batch_seconds=None,
):
    """Makes records into batches for `fit`, `evaluate` and `predict`.

    A record whose captions are a list gives one example per caption. Files (images, arrays) are
    read when a batch is due, in parallel; only indices are shuffled, so that memory does not grow
    with the data. The order and the augmentation of an epoch follow from `seed` and the number of
    the epoch.

    Args:
        records: dict of equally long lists by name. An image is a path, `archive.zip/member.jpg`
            or the `bytes` of a file; a text is a string or, for several, a list of strings (two
            such lists in one record are taken in pairs). Also what `read_shards` and `mix` give.
        preprocessor: the `Preprocessor` of the model. Its targets are given when the records hold
            them.
        batch_size: examples per batch, over all replicas.
        shuffle: whether to shuffle, differently in each epoch; or the name of a column of the
            records, such as `"image"`: examples that are equal in it are shuffled as one and follow
            each other, see `once`.
        seed: a whole number.
        augment: dict of `function(tensor, seed) -> tensor` by name of an image or array input, for
            one example, such as `image_augmentation()`; `seed` is a pair of int64. The tensor is
            what the field's `signal` gives: pixels, samples.
        cache: whether to keep what is read and decoded in memory: each record is decoded once,
            before this function returns, and looked up afterwards. A picture of 160 x 160 takes
            77 kB, however many captions it has.
        on_error: `"raise"` stops at the first record that is wrong; `"skip"` leaves such records
            out and warns of them, and to know them decodes everything once before it returns.
        drop_remainder: whether to leave out a last batch that is not full.
        batch_seconds: for recordings: examples of alike length come together, at most
            `batch_size` and at most so many that they last this long, padding counted.

    Returns:
        A `tf.data.Dataset` of known cardinality. Its batches are `(x, y, sample_weight)`, dicts by
        name, or `x` where the records hold no targets. It has attributes of its own: `epoch`,
        the number of the epoch that the next iterator gives (0 at first, one more with every
        iterator that is read from; assign to it before `fit` to resume); `from_step(step)`, a data
        set of the same epochs without their first batches, which are not read; `records_of(epoch,
        step)`, an array of the numbers of the records that a batch is of; `part(index, parts)`, a
        data set of the same epochs with only that part of each batch, which alone is read;
        `identity()`, a dict that says what it was made of; and `skipped`, a list of strings that
        say what was left out and why.

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
    mixture = getattr(records, "mixture", None)
    fields = _wanted(records, preprocessor)
    columns = _columns(records, fields)
    augment = augment or {}
    _check_files(columns, fields)
    _check_arguments(batch_size, seed, augment, preprocessor, batch_seconds)
    if isinstance(shuffle, str) and (shuffle not in records or batch_seconds is not None):
        allowed = [] if batch_seconds is not None else list(records)
        raise ValueError(
            f"`shuffle` should be True, False or a column, of {allowed}. "
            f"Received: shuffle={shuffle!r}"
        )
    if mixture and (batch_seconds is not None or isinstance(shuffle, str)):
        raise ValueError(
            "`batch_seconds` should be None, and `shuffle` True or False, for records that are "
            f"mixed. Received: batch_seconds={batch_seconds}, shuffle={shuffle!r}"
        )
    preprocessor.build()

    with tf.device("CPU:0"):
        rows, texts = _examples(columns, preprocessor, problems)
        seconds = _durations(columns, fields, problems)
        rows, texts = _without_faults(rows, texts, preprocessor, seconds, problems)
        read = _Reader(columns, preprocessor, bool(shuffle))
        if len(rows) and read.names and (cache or on_error == "skip"):
            good = _read_all(read, np.unique(rows), cache, problems)
            rows, texts = _keep(np.isin(rows, good), rows, texts)
        problems.warn("`records`")
        count = len(rows)
        draws = mixture and mixture.of(rows)
        steps = _count_steps(count, batch_size, drop_remainder and batch_seconds is None)
        if batch_seconds is not None:
            lasting = np.max([column[rows] for column in seconds.values()], axis=0)
            buckets = _buckets(lasting, batch_size, batch_seconds)
            steps = len(_plan(buckets, drop_remainder)[1])
        groups = _groups(records, shuffle, rows) if isinstance(shuffle, str) else None
        rows = tf.constant(rows)
        texts = {name: _as_tensor(name, fields[name], column) for name, column in texts.items()}

    def start_epoch():
        epoch = batches.epoch
        batches.epoch = epoch + 1
        return np.int64(epoch)

    @_as_is
    def make_order(epoch):
        order = tf.range(count if groups is None else groups.nrows(), dtype=tf.int64)
        if mixture:
            draw = functools.partial(draws.epoch, seed=seed, shuffle=shuffle)
            order = tf.ensure_shape(tf.numpy_function(draw, [epoch], tf.int64), [count])
        elif shuffle:
            order = tf.random.experimental.stateless_shuffle(order, tf.stack([seed, epoch]))
        return order if groups is None else tf.gather(groups, order).values

    def draw_buckets(epoch):
        return _plan(buckets, drop_remainder, (seed, int(epoch)) if shuffle else None)

    @_as_is
    def make_epoch(index, parts, step):
        epoch = tf.ensure_shape(tf.numpy_function(start_epoch, [], tf.int64), [])
        if batch_seconds is not None:
            return make_buckets(epoch, step, index, parts)
        order = make_order(epoch)
        starts = tf.range(step, steps) * batch_size
        starts, ends = _part(starts, tf.minimum(starts + batch_size, count), index, parts)
        order = tf.gather(order, tf.ragged.range(starts, tf.maximum(ends, starts + 1)).values)
        made = _batch(make_examples(order, epoch), batch_size // parts, drop_remainder)
        return tf.data.Dataset.zip(made, tf.data.Dataset.from_tensor_slices(ends - starts))

    @_as_is
    def make_buckets(epoch, step, index, parts):
        @_as_is
        def one_batch(start, size):
            return _batch(make_examples(order[start : start + size], epoch), size)

        plan = tf.numpy_function(draw_buckets, [epoch], [tf.int64, tf.int64])
        order, sizes = (tf.ensure_shape(each, [None]) for each in plan)
        ends = tf.cumsum(sizes)
        starts, ends = _part((ends - sizes)[step:], ends[step:], index, parts)
        cuts = tf.data.Dataset.from_tensor_slices((starts, tf.maximum(ends - starts, 1)))
        made = cuts.interleave(
            one_batch, cycle_length=2, num_parallel_calls=_AUTOTUNE, deterministic=True
        )
        return tf.data.Dataset.zip(made, tf.data.Dataset.from_tensor_slices(ends - starts))

    @_as_is
    def make_examples(order, epoch):
        order = tf.data.Dataset.from_tensor_slices(order)
        if read.in_runs:
            runs = order.batch(RUN).map(read_run, _AUTOTUNE, deterministic=True)
            examples = runs.unbatch().map(decode_one, _AUTOTUNE, deterministic=True)
        else:
            examples = order.map(read_one, _AUTOTUNE, deterministic=True)
        # An error of the graph cannot name its file, but what is missing from the order can.
        blanks = tf.data.Dataset.from_tensors(_blank(examples.element_spec)).repeat()
        examples = tf.data.Dataset.zip(order, examples.ignore_errors().concatenate(blanks))
        if augment or any(field.masked for field in fields.values()):
            change = functools.partial(
                _prepared, augment, preprocessor.inputs, tf.stack([seed, epoch])
            )
            examples = examples.map(change, _AUTOTUNE, deterministic=True)
        return examples

    @_as_is
    def read_one(index):
        return index, read(rows[index])

    @_as_is
    def read_run(indices):
        return indices, read.run(tf.gather(rows, indices))

    @_as_is
    def decode_one(index, raws):
        return index, read.decode(raws)

    @_as_is
    def finish(parts, taken, size):
        order, (indices, tensors) = taken
        _assert_read(read, rows, order, indices)
        raws = {name: tf.gather(column, order) for name, column in texts.items()}
        raws |= {name: tensors[name] for name in read.arrays}
        late = {name: _to_tensors(preprocessor, name, raw) for name, raw in raws.items()}
        flags = _flags({name: preprocessor.inputs.get(name) for name in raws}, raws)
        batch = _as_batch({**tensors, **late, **flags}, preprocessor)
        # A part without examples was read with one that is of another part.
        return batch if parts == 1 else tf.nest.map_structure(lambda each: each[:size], batch)

    def from_step(step, index=0, parts=1):
        made = tf.data.Dataset.from_tensors(np.int64(step))
        made = made.flat_map(functools.partial(make_epoch, index, parts))
        made = made.map(functools.partial(finish, parts), _AUTOTUNE, deterministic=True)
        made = made.prefetch(_AUTOTUNE)
        made = made.apply(tf.data.experimental.assert_cardinality(steps - step))
        made.part = functools.partial(from_step, step)
        return made

    def records_of(epoch, step):
        if batch_seconds is None:
            begin, size = step * batch_size, batch_size
            order = make_order(tf.constant(epoch, tf.int64)).numpy()
        else:
            order, sizes = draw_buckets(epoch)
            begin, size = sizes[:step].sum(), sizes[step]
        return rows.numpy()[order[begin : begin + size]]

    batches = from_step(0)
    batches.epoch, batches.skipped, batches.from_step = 0, problems.skipped, from_step
    batches.records_of = records_of
    batches.identity = functools.partial(
        identify,
        columns,
        augment,
        examples=count,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        drop_remainder=drop_remainder,
        batch_seconds=batch_seconds,
        **({"weights": mixture.weights} if mixture else {}),
    )
    return batches


def _wanted(records, preprocessor):
    """The fields that the records are for: all inputs, and all targets unless none is told."""
    if not isinstance(records, dict):
        raise ValueError(
            f"`records` should be a dict of lists by name. Received: {type(records).__name__}"
        )
    fields, targets = dict(preprocessor.inputs), preprocessor.targets
    implied = {name for name, field in targets.items() if field.implied}
    if any(name in records for name in targets) or implied == set(targets):
        fields |= targets
    needed = [name for name in fields if name not in implied and not fields[name].optional]
    missing = [name for name in needed if name not in records]
    if missing:
        raise ValueError(f"`records` should hold {missing}. Received: columns {list(records)}")
    return fields


def _columns(records, fields):
    """The columns of the fields; of one that no record has, the records' numbers or None."""
    there = {name: fields[name].cells(name, records) for name in fields if name in records}
    check_columns(there)
    rows = len(next(iter(there.values()), ()))
    lacking = {True: list(range(rows)), False: [None] * rows}
    return {name: there.get(name, lacking[field.implied]) for name, field in fields.items()}


def _check_files(columns, fields):
    for name, column in columns.items():
        if fields[name].per_example and _raw_spec(name, fields[name]).dtype == tf.string:
            allowed = (str, bytes, os.PathLike, *[type(None)] * fields[name].optional)
            for row in range(len(column)):
                value = _glance(column, row)
                if not isinstance(value, allowed):
                    raise ValueError(
                        f"`records[{name!r}]` should hold paths, or the bytes of files. "
                        f"Received: {type(value).__name__} in record {row}"
                    )


def _glance(column, row):
    """A value, or of a column that is on disk an empty one of its kind."""
    return column.glance(row) if hasattr(column, "glance") else column[row]


def _check_arguments(batch_size, seed, augment, preprocessor, batch_seconds):
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(
            f"`batch_size` should be a whole number above 0. Received: batch_size={batch_size!r}"
        )
    if not isinstance(seed, int):
        raise ValueError(f"`seed` should be a whole number. Received: seed={seed!r}")
    allowed = [name for name, field in preprocessor.inputs.items() if _is_read(name, field)]
    timed = [name for name, field in preprocessor.inputs.items() if hasattr(field, "seconds")]
    if not isinstance(augment, dict) or not set(augment) <= set(allowed):
        raise ValueError(
            f"`augment` should be a dict of functions by name, of {allowed}. "
            f"Received: augment={augment!r}"
        )
    if batch_seconds and not timed:
        raise ValueError(
            "`batch_seconds` should be given for recordings only. "
            f"Received: batch_seconds={batch_seconds} and inputs {sorted(preprocessor.inputs)}"
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


def _examples(columns, preprocessor, problems):
    """The record of each example, and its raw values of fields that are not read later."""
    fields, inputs = preprocessor.fields, preprocessor.inputs
    names = [name for name in columns if not _is_read(name, fields[name])]
    rows, texts = [], {name: [] for name in names}
    for row in range(len(next(iter(columns.values())))):
        items = []
        with problems.at(f"record {row}"):
            if not preprocessor.has_any({name: _glance(columns[name], row) for name in inputs}):
                raise ValueError(f"has none of the inputs {list(inputs)}")
            items = _items({name: columns[name][row] for name in names}, fields)
        for item in items:
            with problems.at(f"record {row}"):
                loaded = [_load(name, fields[name], item[name], name in inputs) for name in names]
                rows.append(row)
                for name, value in zip(names, loaded, strict=True):
                    texts[name].append(value)
    return np.array(rows, np.int64), texts


def _items(cells, fields):
    several = {
        name: len(cell)
        for name, cell in cells.items()
        if isinstance(cell, (list, tuple)) and not fields[name].whole_lists
    }
    if len(set(several.values())) > 1:
        raise ValueError(f"its lists should be equally long. Received lengths: {several}")
    if 0 in several.values():
        raise ValueError(f"{list(several)} should not be empty lists")
    count = next(iter(several.values()), 1)
    return [
        {n: cell[i] if n in several else cell for n, cell in cells.items()} for i in range(count)
    ]


def _load(name, field, value, is_input):
    try:
        return field.given(value) if is_input else field.load(value)
    except (ValueError, OSError) as error:
        raise ValueError(f"{name!r}: {error}") from None


def _durations(columns, fields, problems):
    """How long each record is in seconds, by name of a timed field; NaN if that cannot be told."""
    seconds = {}
    for name, field in fields.items():
        if hasattr(field, "seconds"):
            with futures.ThreadPoolExecutor() as pool:
                tries = [pool.submit(_seconds, field, value) for value in columns[name]]
            seconds[name] = np.full(len(tries), np.nan)
            for row, each in enumerate(tries):
                with problems.at(f"record {row}, {name!r}"):
                    seconds[name][row] = each.result()
    return seconds


def _seconds(field, value):
    return 0.0 if field.optional and is_missing(value) else field.seconds(value)


def _without_faults(rows, texts, preprocessor, seconds, problems):
    """Leaves out examples of no known length, or with a target that teaches nothing."""
    good = np.ones(len(rows), bool)
    for column in seconds.values():
        good &= ~np.isnan(column[rows])
    rows, texts = _keep(good, rows, texts)
    good = np.ones(len(rows), bool)
    fields, targets = preprocessor.fields, preprocessor.targets
    frames = {name: fields[name].frames(column[rows]) for name, column in seconds.items()}
    for name in targets.keys() & texts.keys():
        for position, fault in targets[name].faults(texts[name], frames).items():
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


def _groups(records, name, rows):
    """Which examples are equal in a column: their positions, ragged, a row for each value."""
    column, numbers = records[name], {}
    if isinstance(column, ShardColumn):  # of which the values may not fit into memory
        column = [fingerprint(value) for value in column]
    try:
        of_record = [numbers.setdefault(column[row], len(numbers)) for row in rows]
    except TypeError:
        raise ValueError(
            "`shuffle` should be a column of paths, bytes, strings or numbers. "
            f"Received: shuffle={name!r}"
        ) from None
    order = np.argsort(of_record, kind="stable")
    return tf.RaggedTensor.from_value_rowids(order, np.sort(of_record))


def _as_tensor(name, field, column):
    try:
        return field.column(column)
    except (ValueError, TypeError) as error:
        raise ValueError(f"`records[{name!r}]` should hold values of one kind: {error}") from None


def _buckets(seconds, batch_size, batch_seconds):
    """Examples of alike length together: a list of `(positions, examples per batch)`.

    Within one the longest is at most an eighth longer than the shortest, or there are too few for
    a batch of their own.
    """
    if seconds.max() > batch_seconds:
        raise ValueError(
            f"`batch_seconds` should be at least {seconds.max():.1f}, the longest recording. "
            f"Received: batch_seconds={batch_seconds}"
        )
    order = np.argsort(seconds, kind="stable")
    buckets, start = [], 0
    while start < len(order):
        wide = np.searchsorted(seconds[order], seconds[order[start]] * 1.125, side="right")
        end = max(wide, min(start + batch_size, len(order)))
        size = int(np.clip(batch_seconds // seconds[order[end - 1]], 1, batch_size))
        buckets.append((order[start:end], size))
        start = end
    return buckets


def _plan(buckets, drop_remainder, seed=None):
    """The examples of an epoch in order, and how many of them each batch has."""
    batches = []
    random = np.random.default_rng(seed)
    for positions, size in buckets:
        if seed is not None:
            positions = random.permutation(positions)
        batches += [positions[i : i + size] for i in range(0, len(positions), size)]
        if drop_remainder and len(batches[-1]) < size:
            batches.pop()
    if seed is not None:
        batches = [batches[i] for i in random.permutation(len(batches))]
    order = np.concatenate([np.zeros(0, np.int64), *batches])
    return order.astype(np.int64), np.array([len(batch) for batch in batches], np.int64)


def _batch(examples, size, drop_remainder=False):
    shapes = tf.nest.flatten(
        tf.nest.map_structure(lambda each: each.shape, examples.element_spec[1][1])
    )
    if all(shape.is_fully_defined() for shape in shapes):
        return examples.batch(size, drop_remainder)
    return examples.padded_batch(size, drop_remainder=drop_remainder)


def _to_tensors(preprocessor, name, raw):
    if name in preprocessor.targets:
        return preprocessor.targets[name].target(name, raw)
    return preprocessor.inputs[name](raw)


def _flags(fields, raws):
    """Which of the raw values are there, of inputs that need to say so."""
    flagged = {name: field for name, field in fields.items() if field and field.flagged}
    return {f"{name}_mask": field.present(raws[name]) for name, field in flagged.items()}


def _as_batch(tensors, preprocessor):
    x, y, weights = {}, {}, {}
    for name, field in preprocessor.inputs.items():
        x |= field.named(name, tensors[name])
        if field.flagged:
            x[f"{name}_mask"] = tensors[f"{name}_mask"][:, tf.newaxis]
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


def _part(starts, ends, index, parts):
    """Where part `index` of `parts` of each batch begins and ends, all in order and alike long."""
    sizes = ends - starts
    return starts + sizes * index // parts, starts + sizes * (index + 1) // parts


@_as_is
def _prepared(functions, inputs, seed, order, example):
    """One example as it was read -> augmented, and in the form that its fields give."""
    index, signals = example
    key = tf.random.experimental.stateless_fold_in(seed, index)
    changed = {}
    for name, before in signals.items():
        if name not in inputs:
            changed[name] = before
            continue
        after = before
        if name in functions and inputs[name].optional:
            # Of a missing recording there are no samples to change.
            change = functools.partial(functions[name], before, key)
            after = tf.cond(tf.size(before) > 0, change, lambda before=before: before)
        elif name in functions:
            after = functions[name](before, key)
        if before.dtype != after.dtype or not before.shape.is_compatible_with(after.shape):
            raise ValueError(
                f"`augment[{name!r}]` should give {before.dtype.name} of shape {before.shape}. "
                f"Received: {after.dtype.name} of shape {after.shape}"
            )
        after = tf.ensure_shape(after, before.shape)
        changed[name] = inputs[name].features(after)
    return order, (index, changed)


class _Reader:
    """The number of a record -> what is read of it: arrays as they are, all else as tensors.

    The quick way to a raw value reads the bytes and leaves the checks to the field's graph. The
    careful way is `field.load`, which names the file and the fault, and reads some files that the
    graph cannot.

    Attributes:
        in_graph: whether all values are bytes in shards, which the graph reads without Python.
        careful: set of records that only the careful way can read.
        store: a `_Store` of all records, or `None`.
    """

    def __init__(self, columns, preprocessor, shuffled):
        fields = preprocessor.fields
        self.shuffled = shuffled
        self.names = [name for name in columns if _is_read(name, fields[name])]
        self.arrays = [name for name in self.names if not fields[name].per_example]
        self.specs = {name: _raw_spec(name, fields[name]) for name in self.names}
        self.columns = columns
        self.fields = fields
        self.targets = preprocessor.targets
        self.in_graph = all(
            isinstance(columns[name], ShardColumn)
            and self.specs[name].dtype == tf.string
            and type(fields[name]).read is Field.read
            for name in self.names
        )
        self.careful = set()
        self.store = None

    @property
    def in_runs(self):
        """Whether records that follow each other are read together, which is quicker."""
        quick = self.in_graph and not self.careful and self.store is None
        return bool(self.names) and quick and not self.shuffled

    def run(self, rows):
        """The raw values of some records, in the graph."""
        return {name: self.columns[name].look_up_all(rows) for name in self.names}

    def __call__(self, row):
        if self.store or not self.names:
            return self.store.look_up(row) if self.store else {}
        if self.in_graph and not self.careful:
            raws = {name: self.columns[name].look_up(row) for name in self.names}
        else:
            types = [self.specs[name].dtype for name in self.names]
            raws = tf.numpy_function(self.load, [row], types)
            raws = dict(zip(self.names, raws, strict=True))
        return self.decode(raws)

    def decode(self, raws):
        raws = {name: tf.ensure_shape(raw, self.specs[name].shape) for name, raw in raws.items()}
        flags = _flags({name: self.fields[name] for name in self.names}, raws)
        return {**{name: self._read(name, raw) for name, raw in raws.items()}, **flags}

    def _read(self, name, raw):
        if name in self.arrays:
            return raw
        if name in self.targets:
            return self.targets[name].target(name, raw)
        return self.fields[name].signal(raw)

    def load(self, row):
        if int(row) in self.careful:
            return self.load_carefully(row)
        return [self._load_quickly(name, self.columns[name][row]) for name in self.names]

    def _load_quickly(self, name, value):
        quick = self.specs[name].dtype == tf.string
        return self.fields[name].given(value, quick)

    def load_carefully(self, row):
        raws = []
        for name in self.names:
            try:
                raws.append(self.fields[name].given(self.columns[name][row]))
            except (ValueError, OSError) as error:
                raise ValueError(f"record {row}, {name!r}: {error}") from None
        return raws

    def complain(self, row):
        # Those of a run lack together.
        for each in range(row, min(row + RUN, len(self.columns[self.names[0]]))):
            if each == row or self.in_runs:
                self.load_carefully(each)
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
    """Tensors of records, in memory; those of no fixed size in a list."""

    def __init__(self, count, spec):
        self.spec = spec
        self.arrays = [
            np.empty([count, *each.shape], each.dtype.as_numpy_dtype)
            if each.shape.is_fully_defined()
            else [None] * count
            for each in tf.nest.flatten(spec)
        ]

    def put(self, row, tensors):
        for array, tensor in zip(self.arrays, tf.nest.flatten(tensors), strict=True):
            array[int(row)] = tensor.numpy()

    def look_up(self, row):
        specs = tf.nest.flatten(self.spec)
        found = tf.numpy_function(
            lambda row: [array[row] for array in self.arrays], [row], [each.dtype for each in specs]
        )
        found = [tf.ensure_shape(t, each.shape) for t, each in zip(found, specs, strict=True)]
        return tf.nest.pack_sequence_as(self.spec, found)
