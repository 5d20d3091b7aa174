"""Several sets of records, drawn from by weights."""

import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mmkeras as mm
from mmkeras.data.mixing import Mixture

FIELDS = mm.Preprocessor({"grid": mm.Features(1)}, {})


def numbered(first, count):
    return {"grid": np.arange(first, first + count, dtype="float32")[:, np.newaxis]}


def epochs(records, count, **options):
    data = mm.dataset(records, FIELDS, 4, **options)
    return [[float(x) for batch in data for x in batch["grid"][:, 0]] for _ in range(count)]


def test_each_set_has_its_share_of_every_epoch():
    records = mm.mix([numbered(0, 4), numbered(100, 20)], [1, 1])
    first, second, third = epochs(records, 3, shuffle=True)
    for epoch in (first, second, third):
        assert len(epoch) == 24
        assert collections.Counter(x for x in epoch if x < 100) == dict.fromkeys(range(4), 3)
    # 36 draws of 20 examples: all have come once before any comes twice.
    drawn = [x for epoch in (first, second, third) for x in epoch if x >= 100]
    assert sorted(collections.Counter(drawn).values()) == [1] * 4 + [2] * 16
    assert len(set(drawn[:20])) == 20 or len(set(drawn[:12])) == 12
    assert epochs(records, 1, shuffle=True)[0] == first != second
    assert epochs(records, 1, shuffle=True, seed=1)[0] != first


def test_without_shuffle_the_sets_take_turns():
    records = mm.mix([numbered(0, 2), numbered(100, 4)], [2, 1])
    assert epochs(records, 2) == [[0, 100, 1, 0, 101, 1], [0, 102, 1, 0, 103, 1]]


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(1, 20), st.floats(0.1, 9)), min_size=1, max_size=4),
    st.integers(0, 99),
    st.booleans(),
)
def test_shares_are_as_the_weights(sets, epoch, shuffle):
    counts, weights = zip(*sets, strict=True)
    total = sum(counts)
    drawn = Mixture(counts, weights).of(np.arange(total)).epoch(epoch, 0, shuffle)
    assert len(drawn) == total
    found = np.histogram(drawn, np.cumsum([0, *counts]) - 0.5)[0]
    np.testing.assert_allclose(found, np.array(weights) / sum(weights) * total, atol=1)


def test_any_step_can_be_begun_at():
    data = mm.dataset(mm.mix([numbered(0, 9), numbered(100, 9)], [1, 3]), FIELDS, 4, shuffle=True)
    whole = [batch["grid"].numpy() for batch in data]
    data.epoch = 0
    rest = [batch["grid"].numpy() for batch in data.from_step(3)]
    for one, other in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(one, other)


def test_columns_on_disk_stay_there(tmp_path):
    sets = [{"image": [b"a", b"b"], "text": ["x", "y"]}, {"image": [b"c"], "text": ["z"]}]
    first, second = (
        mm.read_shards(mm.write_shards(each, tmp_path / str(i), shards=1))
        for i, each in enumerate(sets)
    )
    for records in (mm.mix([first, second], [1, 1]), mm.mix([first, sets[1]], [1, 1])):
        assert not isinstance(records["image"], list)
        assert records["image"][:] == [b"a", b"b", b"c"]
        assert records["image"][-1] == b"c"
        assert records["text"] == ["x", "y", "z"]
        with pytest.raises(IndexError):
            records["image"][3]


def test_what_a_set_lacks_is_none():
    records = mm.mix([{"a": [1]}, {"b": [2]}], [1, 1])
    assert records == {"a": [1, None], "b": [None, 2]}


def test_weights_are_part_of_the_identity():
    sets = [numbered(0, 4), numbered(4, 4)]
    one, other = (mm.dataset(mm.mix(sets, [1, n]), FIELDS, 4).identity() for n in (1, 2))
    assert one["records"] == other["records"]
    assert one != other


@pytest.mark.parametrize("weights", [[1], [1, 0], [1, -1], [1, float("nan")], [1, float("inf")]])
def test_weights_are_checked(weights):
    with pytest.raises(ValueError, match="`weights` should be 2 numbers above 0"):
        mm.mix([numbered(0, 1), numbered(0, 1)], weights)


def test_sets_without_examples_are_refused():
    with pytest.raises(ValueError, match="`sets` should hold records"):
        mm.mix([numbered(0, 2), numbered(0, 0)], [1, 1])
    bad = {"grid": [[float("nan")]]}
    mixed = mm.mix([numbered(0, 2), bad], [1, 1])
    with (
        pytest.warns(UserWarning, match="skipped 1"),
        pytest.raises(ValueError, match=r"mixed should have examples. Received: \[2, 0\]"),
    ):
        mm.dataset(mixed, FIELDS, 1, on_error="skip")


@pytest.mark.parametrize("options", [{"batch_seconds": 5}, {"shuffle": "grid"}])
def test_what_cannot_be_mixed_is_refused(options):
    records = mm.mix([numbered(0, 2), numbered(0, 2)], [1, 1])
    records["audio"] = [mm.Audio().load((np.zeros(1600, "int16"), 16000))] * 4
    fields = mm.Preprocessor({"audio": mm.Audio(), **FIELDS.inputs}, {})
    with pytest.raises(ValueError, match="`batch_seconds` should be None, and `shuffle` True or"):
        mm.dataset(records, fields, 2, **options)
