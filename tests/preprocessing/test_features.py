"""The features field: precomputed arrays, checked and passed on."""

import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmkeras.preprocessing.features import Features


@pytest.mark.parametrize("shape", [(6,), (3, 4), (2, 3, 4)])
def test_load_call_input_and_signature_agree(shape, tmp_path):
    array = np.arange(np.prod(shape), dtype=np.float16).reshape(shape)
    np.save(tmp_path / "one.npy", array)
    field = Features(shape)
    raw = np.stack(
        [field.load(array), field.load(tmp_path / "one.npy"), field.load(array.tolist())]
    )
    out = field(raw)
    assert raw.dtype == np.float32
    assert out.dtype == tf.float32
    assert out.shape == (3, *shape)
    np.testing.assert_array_equal(out[1], array)
    assert field.input("grid").shape == (None, *shape)
    spec = field.signature("grid")["grid"]
    assert spec == tf.TensorSpec([None, *shape], tf.float32, name="grid")
    assert not field.per_example


def test_one_width_is_a_vector():
    assert Features(5).shape == (5,)


def test_member_of_an_archive(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(3))
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as archive:
        archive.write(tmp_path / "a.npy", "in/a.npy")
    np.testing.assert_array_equal(Features(3).load(tmp_path / "f.zip" / "in/a.npy"), np.ones(3))


def test_runs_in_tf_data_with_unknown_sizes():
    spec = tf.TensorSpec([None, None], tf.float64)
    data = tf.data.Dataset.from_generator(lambda: [np.ones((2, 3))], output_signature=spec)
    (batch,) = data.batch(1).map(Features((2, 3)))
    assert batch.shape == (1, 2, 3)


@pytest.mark.parametrize("shape", [(), (1, 2, 3, 4), (0,), (2.5,), "wide"])
def test_wrong_shape_argument(shape):
    with pytest.raises(ValueError, match="`shape` should be"):
        Features(shape)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.zeros(4), r"shape \(3,\)"),
        (np.array(["a", "b", "c"]), "numbers"),
        (np.array([1.0, np.nan, 2.0]), "finite"),
        (None, "numbers"),
    ],
)
def test_wrong_value(value, reason):
    with pytest.raises(ValueError, match=reason):
        Features(3).load(value)


def test_wrong_files_are_named(tmp_path):
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    for name in ("text.npy", "empty.npy", "objects.npy"):
        with pytest.raises(ValueError, match=name):
            Features(3).load(tmp_path / name)
    with pytest.raises(ValueError, match="a folder"):
        Features(3).load(tmp_path)
    with pytest.raises(FileNotFoundError, match="missing"):
        Features(3).load(tmp_path / "missing.npy")


def test_wrong_shape_in_the_graph():
    with pytest.raises(ValueError, match=r"\(batch, 3\)"):
        Features(3)(np.zeros((2, 4), np.float32))


def test_config_round_trip():
    config = keras.saving.serialize_keras_object(Features((2, 3), name="grid"))
    field = keras.saving.deserialize_keras_object(config)
    assert (field.shape, field.name) == ((2, 3), "grid")
