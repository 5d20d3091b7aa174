import io
import json
import warnings

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from mmkeras.training import snapshot

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner)
    ),
)


def come_back(value):
    """What a value is after it was packed, written, read and unpacked."""
    arrays, file = {}, io.BytesIO()
    text = json.dumps(snapshot.pack(value, arrays))
    np.savez(file, **arrays)
    file.seek(0)
    with np.load(file, allow_pickle=False) as read:
        return snapshot.unpack(json.loads(text), dict(read))


@given(PLAIN)
def test_plain_values_come_back(value):
    assert repr(come_back(value)) == repr(value)


@pytest.mark.parametrize("kind", ["float32", "bool", ml_dtypes.bfloat16, "uint32"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_arrays_come_back(kind, shape):
    array = np.ones(shape, kind)
    back = come_back(array)
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype


@pytest.mark.parametrize("make", [tf.constant, keras.Variable, np.float32])
def test_tensors_come_back_as_arrays(make):
    back = come_back({"best": [make(0.5)]})["best"][0]
    assert back == np.float32(0.5)
    assert back.dtype == "float32"


@pytest.mark.parametrize("value", [object(), {1}, print, np.array([None]), [b"bytes"]])
def test_what_is_not_plain_is_refused(value):
    with pytest.raises(TypeError, match="no plain value"):
        snapshot.pack(value, {})


def test_arrays_are_copies():
    array, arrays = np.zeros(3), {}
    packed = snapshot.pack(array, arrays)
    array[:] = 1
    assert not snapshot.unpack(packed, arrays).any()


class Counting(keras.callbacks.Callback):
    def __init__(self, limit=3):
        super().__init__()
        self.limit, self.count, self.seen, self.file = limit, 0, [], None

    def work(self):
        self.count += 1
        self.seen.append((self.count, np.full(2, self.count)))


def test_of_a_callback_is_kept_what_has_changed():
    callback, arrays = Counting(limit=3), {}
    fresh = snapshot.attributes(callback)
    assert snapshot.take_attributes(callback, fresh, {}) == {}
    callback.work()
    callback.set_params({"epochs": 3})
    taken = snapshot.take_attributes(callback, fresh, arrays)
    other = Counting(limit=5)
    snapshot.put_attributes(other, taken, arrays)
    assert (other.limit, other.count) == (5, 1)
    assert other.params is None
    assert repr(other.seen) == repr(callback.seen)


def test_what_cannot_be_kept_is_told():
    callback = Counting()
    fresh = snapshot.attributes(callback)
    callback.file, callback.count = io.StringIO(), 4
    with pytest.warns(UserWarning, match=r"`Counting\.file` begins anew .*: StringIO is no plain"):
        assert snapshot.take_attributes(callback, fresh, {}) == {"count": 4}


def test_callbacks_of_keras_make_some_things_anew():
    """A second negation of `min_delta` would turn its sense around."""
    stopping, arrays = keras.callbacks.EarlyStopping("loss", min_delta=0.1, patience=3), {}
    stopping.set_model(keras.Sequential())
    stopping.on_train_begin()
    fresh = snapshot.attributes(stopping)
    for epoch, loss in enumerate([2.0, 1.0, 0.95]):
        stopping.on_epoch_end(epoch, {"loss": loss})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        taken = snapshot.take_attributes(stopping, fresh, arrays)
    assert taken == {"best": 1.0, "best_epoch": 1, "wait": 1}


def test_callbacks_are_matched_by_class_and_order():
    one, two, three = Counting(), Counting(), keras.callbacks.History()
    taken = [["Counting", {"count": 1}], ["Lost", {"a": 1}], ["Idle", {}], ["Counting", {}]]
    pairs, missing = snapshot.match([three, one, two], taken)
    assert pairs == [(one, {"count": 1}), (two, {})]
    assert missing == ["Lost"]


def test_numbers_of_paths_do_not_count():
    assert snapshot.unnumbered("adam_1/dense_12_kernel_momentum") == "adam/dense_12_kernel_momentum"
    assert snapshot.unnumbered("block_1/dense_12/kernel") == "block/dense/kernel"
