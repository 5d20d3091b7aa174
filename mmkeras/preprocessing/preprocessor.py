"""The fields of a model, together."""

import keras


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

    def load(self, records):
        """Values given by a person -> raw values of the inputs, `{name: list}`, of equal length.

        Raises:
            ValueError: naming the input that is missing, unknown or of another length, or the
                row of a value that cannot be read.
        """
        if not isinstance(records, dict) or set(records) != set(self.inputs):
            received = sorted(records) if isinstance(records, dict) else type(records).__name__
            raise ValueError(
                f"`records` should be a dict of lists by input name, with the names "
                f"{sorted(self.inputs)}. Received: {received}"
            )
        check_columns(records)
        return {
            name: [self._load_one(name, row, value) for row, value in enumerate(values)]
            for name, values in records.items()
        }

    def _load_one(self, name, row, value):
        try:
            return self.inputs[name].load(value)
        except (ValueError, OSError) as error:
            raise ValueError(f"Input {name!r}, row {row}: {error}") from error

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
