"""Data sets of Hugging Face as records."""

import numpy as np
import pytest
from test_dataset import Photo, photo

import mmkeras as mm

datasets = pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def split():
    columns = {
        "image": [{"bytes": photo(9), "path": None}, {"bytes": photo(90), "path": None}, None],
        "label": [0, 1, -1],
        "tags": [[0], [1, 0], []],
        "text": ["a dog", "a cat", "one"],
    }
    kind = datasets.ClassLabel(names=["cat", "dog"])
    features = {
        "image": datasets.Image(),
        "label": kind,
        "tags": datasets.Sequence(kind),
        "text": datasets.Value("string"),
    }
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def test_a_split_is_records(split):
    records = mm.read_huggingface(split)
    assert records["image"][:] == [photo(9), photo(90), None]
    assert records["label"] == ["cat", "dog", None]
    assert records["tags"] == [["cat"], ["dog", "cat"], []]
    assert records["text"] == ["a dog", "a cat", "one"]


def test_a_split_trains(split):
    records = mm.read_huggingface(split.select(range(2)))
    fields = mm.Preprocessor({"image": Photo()}, {"label": mm.Labels(["cat", "dog"])})
    data = mm.dataset(records, fields, 2)
    ((x, y, _),) = data
    np.testing.assert_array_equal(x["image"][1], np.full((4, 4, 3), 90))
    np.testing.assert_array_equal(y["label"], np.eye(2))
    other = mm.dataset(mm.read_huggingface(split.select([1, 0])), fields, 2)
    assert data.identity() != other.identity()


def test_a_split_may_be_written_into_shards(split, tmp_path):
    read = mm.read_shards(mm.write_shards(mm.read_huggingface(split), tmp_path))
    assert read["image"][:] == [photo(9), photo(90), None]


def test_all_else_is_refused(split):
    for wrong in (datasets.DatasetDict(train=split), split.to_iterable_dataset(), [1]):
        with pytest.raises(ValueError, match="`dataset` should be one split"):
            mm.read_huggingface(wrong)
