"""Records written into shards and read again."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dataset import ROWS, WORDS, Photo, photo

import mmkeras as mm

FIELDS = mm.Preprocessor({"image": Photo()}, {"caption": mm.Text(WORDS, 6)})


def records(count=10):
    return {
        "image": [photo(20 * row) for row in range(count)],
        "caption": [ROWS[row % 6] for row in range(count)],
    }


@pytest.fixture
def written(tmp_path):
    return Path(mm.write_shards(records(), tmp_path / "shards", shards=3))


def batches(some, batch_size=3, step=0, **options):
    data = mm.dataset(some, FIELDS, batch_size, **options).from_step(step)
    return [tf.nest.map_structure(lambda x: x.numpy(), batch) for batch in data]


def same(one, other):
    assert len(one) == len(other)
    for a, b in zip(tf.nest.flatten(one), tf.nest.flatten(other), strict=True):
        np.testing.assert_array_equal(a, b)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)
)
plain = st.recursive(scalars, lambda one: st.lists(one, max_size=3), max_leaves=5)
arrays = st.builds(
    lambda shape, kind, seed: np.random.default_rng(seed).integers(0, 9, shape).astype(kind),
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
    st.sampled_from(["uint8", "int64", "float16", ">f4", "float64", "bool"]),
    st.integers(0, 9),
)
stored = st.one_of(st.none(), st.binary(max_size=9), arrays)
rows = st.lists(st.tuples(plain, stored, stored), min_size=1, max_size=7)


@settings(max_examples=25, deadline=None)
@given(rows, st.integers(1, 7))
def test_what_is_written_is_read(tmp_path_factory, rows, shards):
    columns = {
        name: list(column) for name, column in zip("abc", zip(*rows, strict=True), strict=True)
    }
    path = tmp_path_factory.mktemp("shards")
    mm.write_shards(columns, path, shards=min(shards, len(rows)), files=[])
    read = mm.read_shards(path, verify=True)
    assert list(read) == list(columns)
    for name, column in columns.items():
        assert len(read[name]) == len(column)
        for value, found in zip(column, read[name], strict=True):
            assert type(value) is type(found)
            if isinstance(value, np.ndarray):
                assert found.dtype == value.dtype.newbyteorder("<")
                np.testing.assert_array_equal(value, found.astype(value.dtype), strict=True)
            else:
                assert value == found


def test_a_set_of_shards_trains_as_the_records_do(written):
    read = mm.read_shards(written)
    options = {"shuffle": True, "seed": 3}
    whole = batches(read, **options)
    same(batches(records(), **options), whole)
    same(batches(read, step=2, **options), whole[2:])
    same(batches(read, cache=True, **options), whole)
    same(batches(records()), batches(read))
    several = {**read, "caption": [[text] * 2 for text in read["caption"]]}
    same(batches({**records(), "caption": several["caption"]}), batches(several))


def test_values_are_read_where_they_are_asked_for(written):
    column = mm.read_shards(written)["image"]
    assert column[7] == column[-3] == records()["image"][7]
    assert column[2:8:3] == [column[2], column[5]]
    with pytest.raises(IndexError, match="record 10 of 10"):
        column[10]


def test_any_reader_of_tfrecord_can_read_them(tmp_path):
    some = {"image": [b"x", None], "caption": [["a", "b"], []], "grid": np.eye(2, dtype="float32")}
    mm.write_shards(some, tmp_path, shards=1)
    first, second = tf.data.TFRecordDataset(str(tmp_path / "shard-00000-of-00001.tfrecord"))
    first = tf.train.Example.FromString(first.numpy()).features.feature
    assert first["image"].bytes_list.value == [b"x"]
    assert first["caption"].bytes_list.value == [b"a", b"b"]
    assert first["grid/shape"].int64_list.value == [2]
    assert first["grid/type"].bytes_list.value == [b"<f4"]
    assert "image" not in tf.train.Example.FromString(second.numpy()).features.feature


def test_files_are_put_into_the_shards(tmp_path):
    (tmp_path / "a.jpg").write_bytes(photo(1))
    np.save(tmp_path / "a.npy", np.eye(3))
    wav = mm.Audio().load((np.zeros(1600, "int16"), 16000))
    (tmp_path / "a.wav").write_bytes(wav)
    names = {"image": "a.jpg", "grid": "a.npy", "audio": "a.wav#t=0,0.05"}
    some = {name: [str(tmp_path / file), None] for name, file in names.items()}
    some |= {"heard": [(np.zeros(160, "int16"), 16000)] * 2, "label": ["a.jpg", "no file"]}
    read = mm.read_shards(mm.write_shards(some, tmp_path / "shards", shards=2))
    for file in names.values():
        (tmp_path / file.partition("#")[0]).unlink()
    assert read["image"][0] == photo(1)
    np.testing.assert_array_equal(read["grid"][0], np.eye(3))
    assert mm.Audio().seconds(read["audio"][0]) == 0.05
    assert mm.Audio().seconds(read["heard"][1]) == 0.01
    assert [read[name][1] for name in names] == [None] * 3
    assert read["label"] == ["a.jpg", "no file"]


def test_arrays_train_as_the_records_do(tmp_path):
    some = {"grid": np.arange(12, dtype="float16").reshape(4, 3), "caption": ROWS[:4]}
    read = mm.read_shards(mm.write_shards(some, tmp_path, shards=2))
    fields = mm.Preprocessor({"grid": mm.Features(3)}, {"caption": mm.Text(WORDS, 6)})
    found = [x["grid"].numpy() for x, _, _ in mm.dataset(read, fields, 2)]
    np.testing.assert_array_equal(np.concatenate(found), some["grid"])


def test_pictures_may_be_missing(tmp_path):
    fields = mm.Preprocessor(
        {"image": mm.Image(8, optional=True), "note": mm.Text(WORDS, 4)}, {"label": mm.Labels("ab")}
    )
    some = {"image": [photo(9), None], "note": ["one", "two"], "label": ["a", "b"]}
    read = mm.read_shards(mm.write_shards(some, tmp_path, shards=1))
    ((x, _, _),) = mm.dataset(read, fields, 2)
    np.testing.assert_array_equal(x["image_mask"], [[True], [False]])
    np.testing.assert_array_equal(x["image"][0], np.full((8, 8, 3), 9))


def test_what_is_whole_is_not_written_again(written):
    def times():
        return [file.stat().st_mtime_ns for file in sorted(written.glob("*.tfrecord"))]

    before, index = times(), (written / "index.json").read_bytes()
    (written / "index.json").unlink()
    second = sorted(written.glob("*.tfrecord"))[1]
    second.write_bytes(second.read_bytes()[:-1])
    (written / "shard-00002-of-00003.json").write_text("{")
    mm.write_shards(records(), written, shards=3)
    assert [a == b for a, b in zip(before, times(), strict=True)] == [True, False, False]
    assert (written / "index.json").read_bytes() == index
    mm.write_shards({**records(), "caption": ["other"] * 10}, written, shards=3)
    assert mm.read_shards(written)["caption"] == ["other"] * 10


def test_what_was_written_before_an_error_stays(tmp_path):
    class Breaks(list):
        def __getitem__(self, row):
            if row == 7:
                raise OSError("the disk is gone")
            return super().__getitem__(row)

    with pytest.raises(ValueError, match="record 7, 'caption': the disk is gone"):
        mm.write_shards({**records(), "caption": Breaks(["a"] * 10)}, tmp_path, shards=5)
    assert not (tmp_path / "index.json").exists()
    first = tmp_path / "shard-00000-of-00005.tfrecord"
    before = first.stat().st_mtime_ns
    mm.write_shards({**records(), "caption": ["a"] * 10}, tmp_path, shards=5)
    assert first.stat().st_mtime_ns == before
    assert mm.read_shards(tmp_path)["caption"] == ["a"] * 10


def test_what_a_data_set_was_made_of_is_told(written, tmp_path):
    def identity(path):
        return mm.dataset(mm.read_shards(path), FIELDS, 3).identity()["records"]

    other = {**records(), "image": records()["image"][::-1]}
    assert identity(written) == identity(mm.write_shards(records(), tmp_path / "a", shards=3))
    assert identity(written) != identity(mm.write_shards(other, tmp_path / "b", shards=3))


def test_a_damaged_record_is_named(written):
    file = written / "shard-00001-of-00003.tfrecord"
    contents = bytearray(file.read_bytes())
    contents[-100] ^= 1
    file.write_bytes(contents)
    read = mm.read_shards(written)
    with pytest.raises(ValueError, match=r"shard-00001-of-00003.tfrecord' should have record 5"):
        read["image"][5]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"record 5, 'image'.*shard-00001"):
        batches(read)
    with pytest.warns(UserWarning, match="skipped 1"):
        assert len(batches(read, 1, on_error="skip")) == 9
    with pytest.raises(
        ValueError, match=r"shard-00001-of-00003.tfrecord' should have the checksum"
    ):
        mm.read_shards(written, verify=True)


def test_a_shard_that_is_cut_is_named(written):
    file = written / "shard-00001-of-00003.tfrecord"
    file.write_bytes(file.read_bytes()[:-900])
    with pytest.raises(ValueError, match=r"shard-00001.*bytes. Received: \d+, 2 of its 3 records"):
        mm.read_shards(written)
    file.unlink()
    with pytest.raises(ValueError, match=r"should be whole.*shard-00001"):
        mm.read_shards(written)


def test_an_index_that_lies_is_found(written):
    part = written / "shard-00001-of-00003.json"
    sizes = json.loads(part.read_text())
    sizes["sizes"][0] += 1
    sizes["sizes"][1] -= 1
    part.write_text(json.dumps(sizes))
    with pytest.raises(
        ValueError, match=r"shard-00001-of-00003.json' should be as index.json says"
    ):
        mm.read_shards(written)
    (written / "index.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match=r"index.json' should have the format 1"):
        mm.read_shards(written)
    (written / "index.json").write_text("{")
    with pytest.raises(ValueError, match=r"index.json' should be JSON"):
        mm.read_shards(written)
    (written / "index.json").unlink()
    with pytest.raises(ValueError, match="run `write_shards` again"):
        mm.read_shards(written)
    with pytest.raises(ValueError, match="no directory"):
        mm.read_shards(written / "nothing")


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"a": [1, 2], "b": [1]}, {}, "equally long"),
        ({"a": [1, 2]}, {"shards": 3}, "`shards` should be from 1 to 2"),
        ({"a": [1, 2]}, {"files": "a"}, "`files` should be a list of names"),
        ({"a": [1, object()]}, {}, "record 1, 'a': object cannot be written"),
        ({"a": [b"x", "y"]}, {}, "'a'.* should hold bytes and arrays, or other values"),
        ({"a": [b"x", "y"]}, {"shards": 2}, "'a'.* should hold bytes and arrays, or other values"),
        ({"a": ["x.jpg"]}, {"files": ["a"]}, "record 0, 'a'.*x.jpg"),
        ({"a": [np.array(["x"])]}, {}, "record 0, 'a': an array should be of numbers"),
    ],
)
def test_bad_input_is_told(tmp_path, columns, options, message):
    with pytest.raises(ValueError, match=message):
        mm.write_shards(columns, tmp_path, **{"shards": 1, **options})


def test_any_file_system_will_do():
    read = mm.read_shards(mm.write_shards(records(), "ram://shards", shards=2), verify=True)
    assert read["image"][:] == records()["image"]
    same(batches(records(), shuffle=True), batches(read, shuffle=True))
    with pytest.raises(ValueError, match="`path` should be a directory that can be written to"):
        mm.write_shards(records(), "nowhere://shards")


def test_equal_values_are_shuffled_as_one(tmp_path):
    some = {name: column + column for name, column in records().items()}
    read = mm.read_shards(mm.write_shards(some, tmp_path))
    same(batches(some, shuffle="image"), batches(read, shuffle="image"))


def test_a_directory_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="`path` should be a directory that can be written to"):
        mm.write_shards(records(), tmp_path / "file" / "shards")
