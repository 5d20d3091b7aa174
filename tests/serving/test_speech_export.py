import itertools

import numpy as np
import pytest
import tensorflow as tf
import tones
from tensorflow.core.protobuf import saved_model_pb2

import mmkeras as mm

RECORDINGS = [tones.wav(0.5, 5), tones.wav(0.4, 4)]
OPTIONS = {"beam_width": 3, "language_weight": 0.7}


@pytest.fixture(scope="module", autouse=True)
def _unoptimized():
    """Optimizing graphs that run once takes longer than running them."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(scope="module")
def task():
    """A recognizer of streams with a neural language model."""
    task = tones.recognizer(streams=True)
    language = mm.LSTMLanguageModel(tones.LETTERS.vocabulary_size, width=8)
    language.build((None, None))
    task.get_layer("transcript").set_language_model(language)
    return task


@pytest.fixture(scope="module")
def path(task, tmp_path_factory):
    return mm.export(task, tmp_path_factory.mktemp("speech") / "1", **OPTIONS)


@pytest.fixture(scope="module")
def served(path):
    return mm.Export(path)


def test_signatures(served):
    whole = ["explain", "nbest", "serving_default", "timestamps"]
    assert served.signatures == sorted([*whole, "stream_init", "stream_step", "stream_end"])
    for name in whole:
        (spec,) = served.specs(name).values()
        assert (spec.name, spec.shape.rank, spec.dtype) == ("audio_bytes", 1, tf.string)
        assert served.infer({"audio": []}, name)["transcript"] == []


def test_batches_with_answers_of_different_lengths_are_joined(served):
    recordings = [tones.wav(seconds, 5) for seconds in (0.5, 0.2, 0.4)]
    together = served.infer({"audio": recordings}, "explain")
    alone = served.infer({"audio": recordings}, "explain", batch_size=1)
    assert len({len(tokens) for tokens in alone["transcript_tokens"]}) > 1
    for name in ("transcript", "transcript_tokens"):
        expected = [[token for token in row if token] for row in together[name]]
        assert [[token for token in row if token] for row in alone[name]] == expected
    assert len(served.infer({"audio": recordings}, "timestamps", 1)["transcript_words"]) == 3


def test_served_is_inferred(task, served):
    answers = served.infer({"audio": RECORDINGS})
    inferred = task.infer({"audio": RECORDINGS}, **OPTIONS)
    assert answers["transcript"] == inferred["transcript"]
    assert all(answers["transcript"])
    assert answers["score"] == pytest.approx(inferred["score"], rel=1e-4)
    best = served.infer({"audio": RECORDINGS}, "nbest")
    assert [texts[0] for texts in best["transcript"]] == answers["transcript"]
    assert np.shape(best["score"]) == (2, 3)


def test_timestamps_are_in_order_and_in_the_recording(served):
    timed = served.infer({"audio": RECORDINGS}, "timestamps")
    rows = zip(
        timed["transcript"],
        timed["transcript_words"],
        timed["transcript_seconds"],
        timed["transcript_confidence"],
        (0.5, 0.4),
        strict=True,
    )
    assert any(text.split() for text in timed["transcript"])
    for text, words, seconds, confidence, end in rows:
        words = [word for word in words if word]
        assert words == text.split()
        if not words:  # it heard spaces
            assert not np.any(seconds)
            continue
        times = np.reshape(seconds[: len(words)], [-1])
        assert times.tolist() == sorted(times)
        # The last frame of an encoder of 40 ms may reach beyond the end.
        assert 0 <= times[0] < times[-1] < end + 0.04
        assert not np.any(seconds[len(words) :])
        assert all(0 < each <= 1 for each in confidence[: len(words)])


def test_streams_are_the_whole(task, served):
    expected = served.infer({"audio": RECORDINGS[:1]})
    (field,) = task.preprocessor.inputs.values()
    sound = field.signal(RECORDINGS[0])[None]
    stream = mm.Stream(task, **OPTIONS)
    mirrored = stream.initial_state()
    state = served.run({"sample_rate": tf.constant([tones.RATE])}, "stream_init")
    for samples in np.split(sound, [1, 1, 900, 3000], axis=1):
        state = served.run({"samples": tf.constant(samples)} | _tensors(state), "stream_step")
        heard = {name: state.pop(name)[0].decode() for name in [*state] if "transcript" in name}
        said, mirrored = stream.step(samples, mirrored)
        assert heard == {name: texts[0] for name, texts in said.items()}
    ended = served.run(_tensors(state), "stream_end")
    assert [text.decode() for text in ended["transcript"]] == expected["transcript"]
    assert ended["score"] == pytest.approx(expected["score"], rel=1e-4)


def _tensors(values):
    return {name: tf.constant(value) for name, value in values.items()}


def test_streams_of_an_export_are_those_of_its_task(task, served):
    stream, own = served.stream(), mm.Stream(task, **OPTIONS)
    assert (stream.target, stream.sample_rate) == ("transcript", tones.RATE)
    sounds = np.stack([tones.samples(0.3, 5), tones.samples(0.3, 4)])
    state, kept = stream.initial_state(2), own.initial_state(2)
    for samples in np.split(sounds, [900, 900, 2000], axis=1):
        heard, state = stream.step(samples, state)
        expected, kept = own.step(samples, kept)
        assert heard == expected
    assert stream.end(state)["transcript"] == own.end(kept)["transcript"]
    assert stream.end(state)["score"] == pytest.approx(own.end(kept)["score"], rel=1e-4)


def test_a_stream_of_another_rate_is_refused(served):
    with pytest.raises(tf.errors.InvalidArgumentError, match="`sample_rate` should be 8000"):
        served.run({"sample_rate": tf.constant([16000])}, "stream_init")


def test_bad_recordings_name_row_and_reason(served, tmp_path):
    (tmp_path / "text.wav").write_bytes(b"not sound")
    with pytest.raises(ValueError, match=r"Row 1, .*text.wav.*: not a WAV file"):
        served.infer({"audio": [RECORDINGS[0], tmp_path / "text.wav"]})
    with pytest.raises(ValueError, match=r"Row 0, \{'audio': '<0 bytes>'\}: an empty file"):
        served.infer({"audio": [b""]})
    with pytest.raises(ValueError, match=r"Row 0, .*a WAV without samples"):
        served.infer({"audio": [RECORDINGS[0][:44]]})


def test_every_operation_is_of_core_tensorflow(path):
    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    (graph,) = (meta.graph_def for meta in saved.meta_graphs)
    functions = graph.library.function
    nodes = itertools.chain(graph.node, *(function.node_def for function in functions))
    found = {node.op for node in nodes} - {function.signature.name for function in functions}
    forbidden = ("Py", "EagerPy", "Numpy", "Xla", "Cudnn", "Sentencepiece", "Kafka", "IO>")
    assert "RFFT" in found
    assert [name for name in found if name.startswith(forbidden)] == []


def test_verifies(path):
    assert mm.verify(path) == []
