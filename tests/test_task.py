import errno
import os
import resource
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mm

TEXTS = ["a red dog", "a blue cat sleeps", "two birds", "fish swim in the sea all day"]


@pytest.fixture(scope="module")
def words():
    return mm.train_tokenizer(TEXTS, "word")


@pytest.fixture(scope="module")
def few_words():
    return mm.train_tokenizer(TEXTS[:1], "word")


def build(tokenizer, **options):
    options = {"decoder": "lstm", "size": "tiny", "sequence_length": 6} | options
    return mm.image_captioning(tokenizer, None, (2, 3), **options)


@pytest.fixture(scope="module")
def task(words):
    return build(words)


@pytest.fixture
def records():
    return {"features": np.ones((4, 2, 3), "float32"), "caption": TEXTS}


@pytest.fixture
def full_disk():
    """Lets no file grow beyond some bytes, as the operating system says, when it is called."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


class TestSave:
    def test_a_full_disk_leaves_the_old_file(self, task, tmp_path, full_disk):
        path = tmp_path / "task.keras"
        task.save(path)
        before = path.read_bytes()
        full_disk()
        with pytest.raises(OSError, match=r"task\.keras"):
            task.save(path)
        with pytest.raises(OSError, match=r"another\.keras"):
            task.save(tmp_path / "another.keras")
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["task.keras"]

    def test_a_full_disk_leaves_the_old_weights(self, task, tmp_path, monkeypatch):
        path = tmp_path / "task.weights.h5"
        task.save_weights(path)
        before = path.read_bytes()

        # After a write that truly fails, HDF5 may crash the process.
        def fail(model, filepath, *_):
            filepath.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(keras.Model, "save_weights", fail)
        with pytest.raises(OSError, match=r"No space left on device: .*task\.weights\.h5"):
            task.save_weights(path)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["task.weights.h5"]

    def test_a_full_disk_leaves_the_old_checkpoint(self, words, records, tmp_path, full_disk):
        task, path = build(words), tmp_path / "best.keras"
        mm.compile_task(task, keras.optimizers.SGD(0.1))
        task.run_eagerly = True
        data = mm.dataset(records, task.preprocessor, 4)
        keep = keras.callbacks.ModelCheckpoint(path)
        task.fit(data, verbose=0, callbacks=[keep])
        before = path.read_bytes()
        expected = task.predict(data, verbose=0)["caption"]
        full_disk()
        with pytest.raises(OSError, match=r"best\.keras"):
            task.fit(data, verbose=0, callbacks=[keep])
        assert path.read_bytes() == before
        found = mm.load_model(path).predict(data, verbose=0)["caption"]
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_weights_come_back(self, task, words, tmp_path):
        task.save_weights(tmp_path / "a.weights.h5")
        other = build(words)
        other.load_weights(tmp_path / "a.weights.h5")
        for a, b in zip(task.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_takes_the_arguments_of_keras(self, task, tmp_path, monkeypatch):
        task.save(str(tmp_path / "a.keras"), overwrite=False)
        task.save(tmp_path / "folder", zipped=False)
        task.save_weights(tmp_path / "shards.weights.json", max_shard_size=1)
        before = (tmp_path / "a.keras").read_bytes()
        monkeypatch.setattr("builtins.input", lambda *_: "n")
        task.save(tmp_path / "a.keras", overwrite=False)
        assert (tmp_path / "a.keras").read_bytes() == before
        assert isinstance(keras.models.load_model(tmp_path / "folder"), mm.Task)
        with pytest.raises(ValueError, match=r"Please add either a `\.keras` extension"):
            task.save(tmp_path / "model.bin")

    def test_a_link_stays_a_link(self, task, tmp_path):
        (tmp_path / "disk").mkdir()
        (tmp_path / "latest.keras").symlink_to(tmp_path / "disk" / "1.keras")
        task.save(tmp_path / "latest.keras")
        assert (tmp_path / "latest.keras").is_symlink()
        assert os.listdir(tmp_path / "disk") == ["1.keras"]

    def test_bad_places(self, task, tmp_path):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            task.save(tmp_path / "nowhere" / "a.keras")
        (tmp_path / "a.keras").mkdir()
        with pytest.raises(IsADirectoryError, match=r"a\.keras"):
            task.save(tmp_path / "a.keras")


QUIET = """
import sys
import mmkeras as mm

records = {"features": [[[1.0, 2.0]], [[3.0, 4.0]]], "caption": ["a dog", "a cat"]}
words = mm.train_tokenizer(records["caption"], "word")
task = mm.image_captioning(words, None, (1, 2), decoder="lstm", size="tiny", sequence_length=4)
task.save(sys.argv[1])
task = mm.load_model(sys.argv[1])
mm.compile_task(task, "sgd")
task.fit(mm.dataset(records, task.preprocessor, 2), verbose=0)
"""


def test_nobody_is_warned_who_did_nothing_wrong(tmp_path):
    command = [sys.executable, "-c", QUIET, tmp_path / "untrained.keras"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""


class TestAnotherTokenizer:
    @pytest.mark.parametrize("decoder", [mm.LSTMDecoder, mm.TransformerDecoder])
    @pytest.mark.parametrize(
        ("size", "options", "message"),
        [
            (7, {}, r"'vocabulary_size': 19, .*Received: {'vocabulary_size': 7, "),
            (20, {}, r"'vocabulary_size': 19, .*Received: {'vocabulary_size': 20, "),
            (19, {"start_id": 5}, r"'start_id': 1, .*Received: .*'start_id': 5"),
            (19, {"end_id": 0}, r"'end_id': 2}\. Received: .*'end_id': 0"),
        ],
    )
    def test_a_decoder_for_it_is_refused(self, decoder, size, options, message, words):
        decoder = decoder(size, 7, width=8, name="caption", **options)
        with pytest.raises(ValueError, match=message):
            build(words, decoder=decoder)

    def test_a_decoder_for_shorter_texts_is_refused(self, words):
        decoder = mm.TransformerDecoder(words.vocabulary_size, 6, width=8, name="caption")
        with pytest.raises(ValueError, match=r"at least 7, .*\. Received: max_length=6"):
            build(words, decoder=decoder)

    def test_weights_for_it_do_not_load(self, task, few_words, tmp_path):
        task.save_weights(tmp_path / "task.weights.h5")
        with pytest.raises(ValueError, match=r"shape=\(7, 128\).*shape=\(19, 128\).*embedding"):
            build(few_words).load_weights(tmp_path / "task.weights.h5")

    def test_data_for_it_are_refused(self, task, few_words, records):
        data = mm.dataset(records, task.preprocessor, 4)
        other = build(few_words)
        other.run_eagerly = True  # no graph to trace only for it to fail
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"= \d+ is not in \[0, 7\)"):
            other.fit(data, verbose=0)

    def test_data_of_another_length_are_refused(self, task, words, records):
        data = mm.dataset(records, task.preprocessor, 4)
        with pytest.raises(ValueError, match=r"expected shape=\(None, 5\), found .*7\)"):
            build(words, sequence_length=4).fit(data, verbose=0)
