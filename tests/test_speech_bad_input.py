"""Recordings and transcripts that are no good, wherever they come in: an error that names them, or
a counted skip. And odd ones that are good."""

import io
import re
import types

import numpy as np
import pytest
import soundfile
import tensorflow as tf
import tones

import mmkeras as mm
from mmkeras.cli import main

RATE = tones.RATE
SOUND = tones.samples(0.4, 3)
GOOD = tones.wav(0.4, 3)


def wav(sound, rate=RATE, subtype="PCM_16"):
    file = io.BytesIO()
    soundfile.write(file, sound, rate, subtype, format="WAV")
    return file.getvalue()


BAD = {
    "not a WAV": (b"not sound at all", "not a WAV file"),
    "nothing": (b"", r"an empty file \(0 bytes\)"),
    "cut in its header": (GOOD[:30], "a WAV of format 1 and 0 bits"),
    "cut before its header": (GOOD[:20], "a WAV without a whole `fmt ` chunk"),
    "no samples": (GOOD[:44], "a WAV without samples"),
    "100 Hz": (wav(SOUND, 100), "a WAV of 100 Hz; from 1000 to 384000 can be read"),
    "NaN": (wav(np.where(np.arange(3200) == 9, np.nan, SOUND), subtype="FLOAT"), "NaN or infinite"),
    "infinite": (wav(np.where(SOUND > 0.3, np.inf, SOUND), subtype="FLOAT"), "NaN or infinite"),
    "over an hour": (
        wav(np.zeros(3601 * 1000, "int16"), 1000, "PCM_U8"),
        "a WAV of 3601 seconds; at most 3600 are allowed",
    ),
}
ODD = {
    "one sample": wav(SOUND[:1]),
    "cut in its samples": GOOD[:2001],
    "384 kHz": wav(np.repeat(SOUND, 48), 384_000),
    "1 kHz": wav(SOUND[::8], 1000),
    "silence": wav(np.zeros(3200)),
    "clipped": wav(np.sign(SOUND), subtype="FLOAT"),
    "far too loud": wav(SOUND * 1e6, subtype="FLOAT"),
    "32 channels": wav(np.tile(SOUND[:, None], 32)),
}
bad = pytest.mark.parametrize(("recording", "message"), BAD.values(), ids=BAD)
odd = pytest.mark.parametrize("name", ODD)


@pytest.fixture(scope="module", autouse=True)
def _unoptimized():
    """Optimizing graphs that run once takes longer than running them."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(scope="module")
def task():
    return tones.recognizer(streams=True)


@pytest.fixture(scope="module")
def saved(task, tmp_path_factory):
    path = tmp_path_factory.mktemp("bad") / "model.keras"
    task.save(path)
    return path


@pytest.fixture(scope="module")
def answers(task):
    """What the task answers to all odd recordings, beside each other."""
    return task.infer({"audio": list(ODD.values())})


@pytest.fixture(scope="module")
def served(task, tmp_path_factory):
    path = tmp_path_factory.mktemp("bad")
    return mm.Export(mm.export(task, path / "1", beam_width=None))


@bad
def test_the_field_refuses(task, recording, message):
    (field,) = task.preprocessor.inputs.values()
    with pytest.raises(ValueError, match=f"Received: audio='?<.*{message}"):
        field.load(recording)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"row 1 is {'.*'}{message}"):
        field(tf.constant([GOOD, recording]))


@bad
def test_infer_names_the_row(task, recording, message):
    with pytest.raises(ValueError, match=f"Input 'audio', row 1: .*{message}"):
        task.infer({"audio": [GOOD, recording]})


@bad
def test_an_export_names_the_row(served, recording, message):
    with pytest.raises(ValueError, match=f"Row 1, .*{message}"):
        served.infer({"audio": [GOOD, recording]})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (".", "a folder"),
        ("none.wav", "none.wav"),
        (7, "should be a path, bytes or"),
        ((np.zeros(9, "complex64"), RATE), "samples of float, int16"),
        ((SOUND, 8000.5), "whole number of them a second"),
        ((np.full(9, np.nan, "float32"), RATE), "NaN or infinite"),
        ((np.zeros([9, 0], "float32"), RATE), "samples of float, int16"),
        ((np.zeros(0, "float32"), RATE), "a WAV without samples"),
    ],
)
def test_what_is_no_recording_at_all(task, value, message):
    with pytest.raises(ValueError, match=f"Input 'audio', row 0: .*{message}"):
        task.infer({"audio": [value]})


@bad
def test_the_command_line_says_it_in_one_line(saved, recording, message, tmp_path, capsys):
    (tmp_path / "bad.wav").write_bytes(recording)
    assert main(["infer", str(saved), "--audio", str(tmp_path / "bad.wav")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(f"bad.wav.*{message}", said)


def test_a_data_set_stops_at_the_first(task, tmp_path):
    for number, (recording, message) in enumerate(BAD.values()):
        (tmp_path / f"{number}.wav").write_bytes(recording)
        records = {"audio": [GOOD, str(tmp_path / f"{number}.wav")], "transcript": ["ab", "ab"]}
        with pytest.raises(ValueError, match=f"record 1, 'audio': .*{number}.wav.*{message}"):
            mm.dataset(records, task.preprocessor, 2, cache=True)


@pytest.mark.parametrize("batches", [{}, {"batch_seconds": 10}, {"cache": True}])
def test_a_data_set_may_leave_them_out(task, batches):
    recordings = [recording for recording, _ in BAD.values()]
    records = {"audio": [*recordings, GOOD], "transcript": ["ab"] * (len(BAD) + 1)}
    with pytest.warns(UserWarning, match=f"skipped {len(BAD)} wrong entries"):
        data = mm.dataset(records, task.preprocessor, 4, on_error="skip", **batches)
    assert len(data.skipped) == len(BAD)
    for number, (said, (_, message)) in enumerate(
        zip(sorted(data.skipped), BAD.values(), strict=True)
    ):
        assert re.search(f"record {number}, 'audio': .*{message}", said)
    assert [len(x["audio"]) for x, *_ in data] == [1]


def test_only_bad_recordings_are_no_data(task):
    records = {"audio": [b"no"], "transcript": ["ab"]}
    with (
        pytest.warns(UserWarning, match="skipped 1 wrong entries"),
        pytest.raises(ValueError, match="at least one good record"),
    ):
        mm.dataset(records, task.preprocessor, 4, on_error="skip")


@odd
def test_odd_recordings_are_heard(task, served, answers, name):
    row = list(ODD).index(name)
    text, score = answers["transcript"][row], answers["score"][row]
    assert np.isfinite(score)
    alone = served.infer({"audio": [ODD[name]]})
    assert alone["transcript"] == [text]
    assert alone["score"] == pytest.approx([score], rel=1e-3)


def test_channels_rates_and_loudness_change_little(task):
    """What is the same sound gives nearly the same frames."""
    (field,) = task.preprocessor.inputs.values()
    expected, _ = field(GOOD)
    for same in (ODD["32 channels"], wav(np.tile(SOUND[:, None], [1, 2]))):
        np.testing.assert_allclose(field(same)[0], expected, atol=0.1)
    cut, _ = field(ODD["cut in its samples"])
    np.testing.assert_allclose(cut, field(wav(SOUND[:978]))[0], atol=0.01)


def test_odd_recordings_train(task):
    """Silence and the like: no NaN in the loss, nor in what it leaves of the model."""
    records = {"audio": [*ODD.values()], "transcript": ["a"] * len(ODD)}
    before = task.get_weights()
    task.run_eagerly = True  # One step is not worth a graph.
    history = task.fit(mm.dataset(records, task.preprocessor, 8), verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert all(np.isfinite(weights).all() for weights in task.get_weights())
    task.set_weights(before)


def test_an_hour_is_heard():
    """At the lowest rate, and at the greatest length that a field takes."""
    field = mm.Audio(1000, bands=4)
    frames, mask = field(wav(np.tile(SOUND[:1000], 3600), 1000, "PCM_U8"))
    assert frames.shape == (360_000, 4)
    assert np.isfinite(frames).all()
    assert np.all(mask)


TEXTS = {
    "unknown letters": ("axb", "holds what the tokenizer lacks, 'x': 'axb'"),
    "too long for its frames": ("abcabcabcab", "needs 11 frames under CTC, and there are 10"),
    "repeats": ("aaaaaa", "needs 11 frames under CTC, and there are 10"),
    "too long": ("abc" * 5, "has 15 tokens, over sequence_length=12"),
    "empty": ("  ", "is empty"),
    "no text": (3, "A text should be a string. Received: 3"),
}


@pytest.mark.parametrize(("text", "message"), TEXTS.values(), ids=TEXTS)
def test_a_transcript_that_cannot_be_learnt_is_found_before_training(task, text, message):
    records = {"audio": [GOOD, GOOD], "transcript": ["ab", text]}
    with pytest.raises(ValueError, match=re.escape("record 1: 'transcript'") + f".*{message}"):
        mm.dataset(records, task.preprocessor, 2)


def test_such_transcripts_may_be_left_out(task):
    texts = [text for text, _ in TEXTS.values()]
    records = {"audio": [GOOD] * (len(TEXTS) + 1), "transcript": [*texts, "ab"]}
    with pytest.warns(UserWarning, match=f"skipped {len(TEXTS)} wrong entries"):
        data = mm.dataset(records, task.preprocessor, 4, on_error="skip")
    assert len(data.skipped) == len(TEXTS)
    for _, message in TEXTS.values():
        assert sum(message in said for said in data.skipped) >= 1
    (batch,) = data
    assert batch[1]["transcript"].shape[0] == 1


LINES = {
    "no JSON": ("{audio: 1.wav}", "should be a JSON object. Received: '{audio: 1.wav}'"),
    "half a line": ('{"audio": "1.wav", "text": "a', "should be a JSON object"),
    "no object": ("[1, 2]", "should be a JSON object"),
    "no text": ('{"audio": "1.wav"}', "`text` should be a string. Received: None"),
    "no recording": ('{"text": "a"}', "audio"),
    "no file": ('{"audio": "2.wav", "text": "a"}', "2.wav"),
    "no time": ('{"audio": "1.wav", "text": "a", "start": "soon"}', "`start` should be a number"),
    "no length": ('{"audio": "1.wav", "text": "a", "duration": -1}', "start at 0 or later"),
    "no words": ('{"audio": "1.wav", "text": " "}', "`text` is empty"),
    "no UTF-8": ('{"audio": "1.wav", "text": "\udcff"}', "utf-8"),
}


@pytest.fixture
def manifest(tmp_path):
    """A function that writes one, of lines after a good one."""
    (tmp_path / "0.wav").write_bytes(GOOD)
    (tmp_path / "1.wav").write_bytes(GOOD)

    def write(*lines):
        lines = ['{"audio": "0.wav", "text": "ab"}', *lines]
        text = "\n".join(lines).encode("utf-8", "surrogateescape")
        (tmp_path / "takes.jsonl").write_bytes(text)
        return tmp_path / "takes.jsonl"

    return write


@pytest.mark.parametrize(("line", "message"), LINES.values(), ids=LINES)
def test_a_line_that_is_wrong_is_named(manifest, line, message):
    with pytest.raises(ValueError, match=f"takes.jsonl, line 2: .*{message}"):
        mm.read_manifest(manifest(line))


def test_wrong_lines_may_be_left_out(manifest):
    path = manifest(*(line for line, _ in LINES.values()))
    with pytest.warns(UserWarning, match=f"skipped {len(LINES)} wrong entries"):
        records = mm.read_manifest(path, on_error="skip")
    assert records["transcript"] == ["ab"]


def test_a_stream_that_stops_in_the_middle_has_said_what_was_said(task, saved, capsys, monkeypatch):
    """In the middle of a sample, of a WAV that promises more."""
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(GOOD[:5001])))
    assert main(["infer", str(saved), "--audio", "-"]) == 0
    (text,) = task.infer({"audio": [GOOD[:5001]]})["transcript"]
    assert len(text) > 1
    assert capsys.readouterr().out == f"{text}\n"
