"""Inputs that an example may lack: None or empty, from a person's value to the model's tensors."""

import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mm

WORDS = mm.train_tokenizer(["is it warm", "who is there"], "word")


@pytest.fixture(scope="module")
def fields():
    return mm.Preprocessor(
        {
            "image": mm.Image(16, optional=True),
            "audio": mm.Audio(8000, optional=True),
            "readings": mm.Features((3,), optional=True),
            "question": mm.Text(WORDS, 4, optional=True),
        },
        {},
    )


@pytest.fixture(scope="module")
def records(fields, photo):
    sound = fields.inputs["audio"].example(0)
    return {
        "image": [photo(0), None, b""],
        "audio": [None, sound, b""],
        "readings": [None, np.ones(3), np.full(3, 2.0)],
        "question": ["is it warm", "", None],
    }


THERE = {"image": [1, 0, 0], "audio": [0, 1, 0], "readings": [0, 1, 1], "question": [1, 0, 0]}


def masks(tensors):
    question = tensors["question"].numpy() != 0
    found = {name: tensors[f"{name}_mask"].numpy() for name in ("image", "audio", "readings")}
    return {
        name: mask.any(axis=1).tolist() for name, mask in {**found, "question": question}.items()
    }


@pytest.mark.parametrize("cache", [False, True])
def test_a_data_set_says_what_is_there(fields, records, cache):
    (x,) = mm.dataset(records, fields, 3, cache=cache)
    assert masks(x) == THERE
    assert all(np.isfinite(x[name]).all() for name in ("audio", "readings"))


def test_the_served_graph_says_the_same(fields, records):
    columns = fields.load(records)
    raw = {
        key: tf.constant(columns[name], spec.dtype)
        for name, field in fields.inputs.items()
        for key, spec in field.signature(name).items()
    }
    x = tf.function(fields.tensors, autograph=False)(raw)
    assert masks(x) == THERE
    assert np.isfinite(x["audio"]).all()


def test_augmentation_leaves_alone_what_is_not_there(fields, records):
    def louder(samples, seed):
        return samples / tf.reduce_max(samples)

    columns = {**records, "readings": [np.ones(3)] * 3}
    (x,) = mm.dataset(columns, fields, 3, augment={"audio": louder})
    assert masks(x)["audio"] == [0, 1, 0]
    assert np.isfinite(x["audio"]).all()


def test_a_whole_column_may_lack(fields, records):
    (x,) = mm.dataset({"question": ["is it warm"] * 2, "image": [None] * 2}, fields, 2)
    assert masks(x)["question"] == [1, 1]
    assert masks(x)["image"] == masks(x)["audio"] == masks(x)["readings"] == [0, 0]
    assert fields.load({"question": ["is it"]})["image"] == [b""]


def test_an_example_without_any_input_is_refused_by_its_number(fields, photo):
    records = {"image": [photo(0), None], "question": ["who", ""]}
    with pytest.raises(ValueError, match="Row 1 has none of the inputs"):
        fields.load(records)
    with pytest.raises(ValueError, match="record 1: has none of the inputs"):
        mm.dataset(records, fields, 2)
    with pytest.warns(UserWarning, match="skipped 1"):
        assert len(mm.dataset(records, fields, 2, on_error="skip").skipped) == 1
    raw = {
        "image_bytes": tf.constant([photo(0), b""]),
        "audio_bytes": tf.constant([b"", b""]),
        "readings": tf.fill([2, 3], np.nan),
        "question": tf.constant(["", ""]),
    }
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="row 1 is without any of the model's inputs"
    ):
        fields.tensors(raw)


def test_what_must_be_there_is_missed(photo):
    fields = mm.Preprocessor(
        {"image": mm.Image(16, optional=True), "question": mm.Text(WORDS, 4)}, {}
    )
    with pytest.raises(ValueError, match=r"with the names \['question'\] and maybe \['image'\]"):
        fields.load({"image": [photo(0)]})
    with pytest.raises(ValueError, match="'question', row 1: is missing: the model cannot do"):
        fields.load({"question": ["who", ""]})
    with pytest.raises(ValueError, match="record 1: 'question': is missing"):
        mm.dataset({"question": ["who", None]}, fields, 2)


def test_broken_files_are_still_broken(fields):
    with pytest.raises(ValueError, match="'image', row 0"):
        fields.load({"image": [b"no picture"]})


def test_optional_fields_come_back_from_their_configs(fields):
    again = mm.Preprocessor.from_config(fields.get_config())
    assert all(field.optional for field in again.inputs.values())
    assert not mm.Image(16).optional
