"""The fields of a model, together."""

import keras
import tensorflow as tf

from mmkeras.preprocessing.field import is_missing


@keras.saving.register_keras_serializable("mmkeras")
class Preprocessor:
    """What a model takes and what it gives, by name.

    Args:
        inputs: A dict of field by input name.
        targets: A dict of field by target name.

    Raises:
        ValueError: if a name is used twice.

    Example:

    ```python
    import mmkeras as mm

    words = mm.train_tokenizer(["a dog runs"], kind="word")
    fields = mm.Preprocessor({"image": mm.Image(64)}, {"caption": mm.Text(words)})
    ```
    """

    def __init__(self, inputs, targets):
        twice = sorted(set(inputs) & set(targets))
        if twice:
            raise ValueError(
                f"A name should be an input or a target, not both. Received both ways: {twice}"
            )
        self.inputs = dict(inputs)
        self.targets = dict(targets)

    @property
    def fields(self):
        return {**self.inputs, **self.targets}

    def build(self):
        """Make the lookup tables, so that the fields can be exported."""
        for field in self.fields.values():
            if not field.built:
                field.build(None)

    def only(self, name):
        """The preprocessor of one input."""
        return Preprocessor({name: self.inputs[name]}, {})

    def load(self, records, first_row=0):
        """Values given by a person -> raw values of the inputs, `{name: list}`, of equal length.

        An optional input may lack in a record, as None or empty, or in all, as a whole column.
        Errors count rows from `first_row`.

        Raises:
            ValueError: naming the input that is missing, unknown or of another length, or the
                row of a value that cannot be read, or that has no input at all.
        """
        needed = {name for name, field in self.inputs.items() if not field.optional}
        names = set(records) if isinstance(records, dict) else None
        if not names or not needed <= names <= set(self.inputs):
            received = sorted(records) if isinstance(records, dict) else type(records).__name__
            optional = sorted(set(self.inputs) - needed)
            raise ValueError(
                f"`records` should be a dict of lists by input name, with the names "
                f"{sorted(needed)}{f' and maybe {optional}' if optional else ''}. "
                f"Received: {received}"
            )
        check_columns(records)
        rows = range(len(next(iter(records.values()))))
        columns = {name: records.get(name, [None for _ in rows]) for name in self.inputs}
        for row in rows:
            if not self.has_any({name: values[row] for name, values in columns.items()}):
                raise ValueError(
                    f"Row {first_row + row} has none of the inputs {list(self.inputs)}"
                )
        return {
            name: [self._load_one(name, row, value) for row, value in enumerate(values, first_row)]
            for name, values in columns.items()
        }

    def _load_one(self, name, row, value):
        try:
            return self.inputs[name].given(value)
        except (ValueError, OSError) as error:
            raise ValueError(f"Input {name!r}, row {row}: {error}") from error

    def has_any(self, values):
        """Whether of a record's inputs, `{name: value}`, there is at least one, if any is wanted.

        Those that must be there are not looked at: the fields do that.
        """
        return not values or not all(
            self.inputs[name].optional and is_missing(value) for name, value in values.items()
        )

    def tensors(self, raw):
        """Raw tensors by the names of the serving signature -> the model's input tensors.

        Raises:
            tf.errors.InvalidArgumentError: naming a row without any input, or as the fields do.
        """
        tensors, there, checks = {}, [], []
        for name, field in self.inputs.items():
            values = [raw[key] for key in field.signature(name)]
            tensors |= field.named(name, field(*values))
            there.append(field.present(values[0]))
            if field.flagged:
                tensors[f"{name}_mask"] = there[-1][:, tf.newaxis]
            # What is read one by one has a check of its own.
            if not (field.optional or field.per_example):
                checks.append(_refuse(~there[-1], f"without `{name}`"))
        if all(field.optional for field in self.inputs.values()):
            lacks = ~tf.reduce_any(tf.stack(there), axis=0)
            checks.append(_refuse(lacks, "without any of the model's inputs"))
        with tf.control_dependencies(checks):
            return {name: tf.identity(x) for name, x in tensors.items()}

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "inputs": {name: serialize(field) for name, field in self.inputs.items()},
            "targets": {name: serialize(field) for name, field in self.targets.items()},
        }

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        return cls(
            {name: deserialize(field) for name, field in config["inputs"].items()},
            {name: deserialize(field) for name, field in config["targets"].items()},
        )


def _refuse(rows, reason):
    """Fails on the first row that is true."""
    row = tf.strings.as_string(tf.argmax(tf.pad(rows, [[0, 1]])))
    message = tf.strings.join(["row ", row, " is ", reason])
    return tf.debugging.Assert(~tf.reduce_any(rows), [message])


def check_columns(records):
    """Refuse what are not columns: lists with one value per record, equally long."""
    for name, values in records.items():
        if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
            raise ValueError(
                f"`records[{name!r}]` should be a list with one value per record. "
                f"Received: {type(values).__name__}"
            )
    lengths = {name: len(values) for name, values in records.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"`records` should be equally long lists. Received lengths: {lengths}")
