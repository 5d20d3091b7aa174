"""Records from a data set of Hugging Face `datasets`."""


def read_huggingface(dataset):
    """A split of a `datasets.Dataset` as records.

    Pictures and recordings stay where they are, mostly in a file that is mapped into memory, and
    are given as the bytes of their files, not decoded; classes by their names, one that is not
    told (-1) as None. All else is read into memory.

    Args:
        dataset: a `datasets.Dataset`, such as `datasets.load_dataset("mnist", split="train")`.

    Returns:
        dict of columns by name. `mm.dataset` takes the columns that the model's fields name: see
        `dataset.rename_column`.

    Raises:
        ValueError: it is something else, such as all splits at once or a stream.

    Example:

    ```python
    import datasets
    import mmkeras as mm

    records = mm.read_huggingface(datasets.load_dataset("mnist", split="train"))
    ```
    """
    if not all(hasattr(dataset, name) for name in ("cast_column", "features", "select_columns")):
        received = type(dataset).__name__
    elif not hasattr(dataset, "__len__") or isinstance(dataset, dict):
        received = f"{type(dataset).__name__}, a stream or several splits"
    else:
        return {name: _column(dataset, name) for name in dataset.features}
    raise ValueError(f"`dataset` should be one split, a `datasets.Dataset`. Received: {received}")


def _column(dataset, name):
    feature = dataset.features[name]
    if hasattr(feature, "decode_example"):
        undecoded = type(feature)(decode=False)
        return _Files(dataset.select_columns([name]).cast_column(name, undecoded), name)
    values = list(dataset[name])
    inner = getattr(feature, "feature", None)
    if hasattr(feature, "int2str"):
        return [_named(feature, value) for value in values]
    if hasattr(inner, "int2str"):
        return [value and [_named(inner, each) for each in value] for value in values]
    return values


def _named(feature, value):
    return None if value is None or value < 0 else feature.int2str(value)


class _Files:
    """A column of pictures or recordings, of which each is read when it is asked for."""

    def __init__(self, dataset, name):
        self._dataset = dataset
        self._name = name
        self.made_of = [dataset._fingerprint, name]

    def __len__(self):
        return len(self._dataset)

    def __getitem__(self, row):
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        value = self._dataset[int(row)][self._name]
        return value and (value["bytes"] or value["path"])
