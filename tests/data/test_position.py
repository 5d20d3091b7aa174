"""Epochs that begin in their middle, and what tells that a data set is the same."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from tones import wav

import mmkeras as mm
from mmkeras.data import dataset
from mmkeras.data.identity import fingerprint

RECORDS = {"vector": np.arange(22, dtype="float32").reshape(11, 2)}
SOUNDS = {"audio": [wav(n / 50, seed=n) for n in [9, 3, 7, 5, 8, 4, 6, 5, 9]]}


def vectors(records=RECORDS, **options):
    options = {"batch_size": 3, "shuffle": True, "seed": 4} | options
    return dataset(records, mm.Preprocessor({"vector": mm.Features((2,))}, {}), **options)


def sounds():
    fields = mm.Preprocessor({"audio": mm.Audio(8000, bands=4)}, {})
    return dataset(SOUNDS, fields, 2, shuffle=True, batch_seconds=0.3)


def noise(tensor, seed):
    return tensor + tf.random.stateless_uniform([], seed)


def read(batches):
    return [[tensor.numpy() for tensor in tf.nest.flatten(batch)] for batch in batches]


@pytest.mark.parametrize(
    "make",
    [
        vectors,
        functools.partial(vectors, drop_remainder=True, augment={"vector": noise}),
        functools.partial(vectors, shuffle=False),
        sounds,
    ],
    ids=["shuffled", "augmented", "in order", "of like length"],
)
def test_an_epoch_begins_at_any_step(make):
    whole = make()
    epochs = [read(whole) for _ in range(2)]
    for step in range(len(whole) + 1):
        batches = make()
        batches.epoch = 1
        rest = batches.from_step(step)
        assert rest.cardinality() == len(whole) - step
        tail = read(rest)
        assert len(tail) == len(rest)
        for mine, theirs in zip(tail, epochs[1][step:], strict=True):
            for one, two in zip(mine, theirs, strict=True):
                np.testing.assert_array_equal(one, two)
        assert batches.epoch == 2


def test_what_lies_before_the_step_is_not_read():
    seen = []

    class Watched(list):
        def __getitem__(self, row):
            seen.append(int(row))
            return super().__getitem__(row)

    batches = vectors({"vector": Watched(RECORDS["vector"])}, shuffle=False)
    seen.clear()
    read(batches.from_step(2))
    assert sorted(seen) == list(range(6, 11))


def test_the_same_arguments_are_the_same_data():
    assert vectors().identity() == vectors().identity()


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("batch_size", {"batch_size": 4}),
        ("shuffle", {"shuffle": False}),
        ("seed", {"seed": 5}),
        ("drop_remainder", {"drop_remainder": True}),
        ("augment", {"augment": {"vector": noise}}),
        ("records", {"records": {"vector": RECORDS["vector"] + 1}}),
        ("examples", {"records": {"vector": RECORDS["vector"][:-1]}}),
    ],
)
def test_other_arguments_are_other_data(key, options):
    assert vectors(**options).identity()[key] != vectors().identity()[key]


def test_fingerprints_tell_values_apart():
    class Other:
        pass

    def scaled(factor):
        return lambda x: factor * x

    values = [
        ["ab", "c"],
        ["a", "bc"],
        [["ab"], "c"],
        [b"ab", "c"],
        [1, None],
        {"a": 1},
        np.zeros((3, 2)),
        np.zeros((2, 3)),
        np.zeros((3, 2), "float32"),
        np.array(["a", None], object),
        np.float32(1),
        scaled(2),
        scaled(3),
        functools.partial(noise, seed=1),
        functools.partial(noise, seed=2),
        noise,
        Other(),
        dataset,
    ]
    assert len({fingerprint(value) for value in values}) == len(values)
    assert fingerprint(scaled(2)) == fingerprint(scaled(2))
    assert fingerprint(Other()) == fingerprint(Other())


def test_a_function_may_enclose_itself():
    def again(x):
        return again(x)

    assert fingerprint(again) == fingerprint(again)


@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"drop_remainder": True}])
def test_the_records_of_a_batch_are_told(options):
    data = vectors(**options)
    for epoch in (0, 1):
        for step, batch in enumerate(data):
            np.testing.assert_array_equal(batch["vector"][:, 0] // 2, data.records_of(epoch, step))


def test_the_records_of_a_batch_of_seconds_are_told():
    data = sounds()
    frames = mm.Audio(8000, bands=4).frames
    for step, batch in enumerate(data):
        records = data.records_of(0, step)
        seconds = [mm.Audio(8000).seconds(SOUNDS["audio"][record]) for record in records]
        lengths = np.sum(batch["audio_mask"], axis=1)
        np.testing.assert_array_equal(lengths, frames(np.array(seconds)))
