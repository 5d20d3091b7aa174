"""Parts of batches, as the workers of a training read them."""

import numpy as np
import pytest

import mmkeras as mm


def batches(data):
    return [{name: x.numpy() for name, x in batch.items()} for batch in data]


def dataset(examples, **options):
    fields = mm.Preprocessor({"vector": mm.Features((2,))}, {})
    vectors = np.arange(2 * examples, dtype="float32").reshape(-1, 2)
    return mm.dataset({"vector": vectors}, fields, 6, shuffle=True, seed=3, **options)


@pytest.mark.parametrize("parts", [2, 6])
@pytest.mark.parametrize("examples", [5, 13])
def test_parts_of_batches_are_the_batches(examples, parts):
    data = dataset(examples)
    whole = batches(data)
    assert len(whole) == len(data)
    for step in (0, 1):
        data.epoch = 0
        left = data.from_step(step)
        read = []
        for index in range(parts):
            data.epoch = 0
            read.append(batches(left.part(index, parts)))
        for batch, *pieces in zip(whole[step:], *read, strict=True):
            sizes = [len(piece["vector"]) for piece in pieces]
            assert max(sizes) - min(sizes) <= 1
            joined = np.concatenate([piece["vector"] for piece in pieces])
            np.testing.assert_array_equal(joined, batch["vector"])


def test_parts_of_buckets_are_the_batches():
    rate = 8000
    seconds = [0.1, 0.1, 0.12, 0.3, 0.31, 0.5, 0.52]
    sounds = [(np.full(int(rate * each), row, "int16"), rate) for row, each in enumerate(seconds)]
    field = mm.Audio(rate, bands=4)
    records = {"audio": [field.load(sound) for sound in sounds]}
    fields = mm.Preprocessor({"audio": field}, {})
    data = mm.dataset(records, fields, 4, shuffle=True, batch_seconds=1.0)
    whole = [len(batch["audio"]) for batch in batches(data)]
    sizes = []
    for index in (0, 1):
        data.epoch = 0
        sizes.append([len(batch["audio"]) for batch in batches(data.part(index, 2))])
    assert 1 in whole
    assert [sum(each) for each in zip(*sizes, strict=True)] == whole
