import re

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
import tones
from contract import check_task

import mmkeras as mm

RECORDINGS = [tones.wav(seconds, seed) for seed, seconds in enumerate((0.3, 0.4, 0.5))]
RECORDS = {"audio": RECORDINGS, "transcript": tones.TEXTS}


@pytest.fixture(scope="module", autouse=True)
def _unoptimized():
    """Optimizing graphs that run once takes longer than running them."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(scope="module")
def ctc():
    return tones.recognizer()


@pytest.mark.parametrize("decoder", ["ctc", "attention", "joint"])
def test_keeps_what_every_task_keeps(decoder, tmp_path):
    check_task(tones.recognizer(decoder), RECORDS, tmp_path)


@pytest.mark.parametrize("decoder", ["ctc", "joint"])
def test_neither_padding_nor_neighbours_change_an_answer(decoder, ctc):
    model = ctc if decoder == "ctc" else tones.recognizer(decoder)
    long = tones.wav(3.0, 9)
    alone = [model.infer({"audio": [each]}, beam_width=3) for each in RECORDINGS]
    together = model.infer({"audio": [*RECORDINGS, long]}, beam_width=3)
    assert [answer["transcript"][0] for answer in alone] == together["transcript"][:3]
    assert any(together["transcript"])
    scores = [answer["score"][0] for answer in alone]
    np.testing.assert_allclose(scores, together["score"][:3], rtol=1e-4)


def test_takes_paths_bytes_and_arrays(ctc, tmp_path):
    samples = np.int16(tones.samples(0.3, 0) * 2**15)
    (tmp_path / "a.wav").write_bytes(RECORDINGS[0])
    soundfile.write(tmp_path / "a.flac", samples, tones.RATE)
    soundfile.write(tmp_path / "long.wav", np.concatenate([samples[:800], samples]), tones.RATE)
    given = [
        str(tmp_path / "a.wav"),
        tmp_path / "a.flac",
        (tmp_path / "a.flac").read_bytes(),
        (samples, tones.RATE),
        f"{tmp_path / 'long.wav'}#t=0.1",
    ]
    (text,) = ctc.infer({"audio": RECORDINGS[:1]})["transcript"]
    assert text
    assert ctc.infer({"audio": given})["transcript"] == [text] * 5
    assert ctc.infer({"audio": []}) == {"transcript": [], "score": []}


def test_infer_names_input_and_row(ctc, tmp_path):
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"'audio', row 1: .*b.wav.*not a WAV file"):
        ctc.infer({"audio": [RECORDINGS[0], tmp_path / "b.wav"]})
    with pytest.raises(ValueError, match=r"'audio', row 0: .*none.flac"):
        ctc.infer({"audio": ["none.flac"]})


def test_a_language_model_joins_before_or_after_training_and_stays(tmp_path):
    language = mm.NgramLanguageModel.train(tones.TEXTS, tones.LETTERS, order=2)
    model = tones.recognizer()
    without = model.infer({"audio": RECORDINGS}, beam_width=4, language_weight=0)
    model.get_layer("transcript").set_language_model(language)
    before = model.infer({"audio": RECORDINGS}, beam_width=4, language_weight=2.0)
    assert before["score"] != without["score"]
    model.fit(mm.dataset(RECORDS, model.preprocessor, 3), verbose=0)
    after = model.infer({"audio": RECORDINGS}, beam_width=4, language_weight=2.0)
    assert after["score"] != before["score"]
    model.save(tmp_path / "model.keras")
    again = mm.load_model(tmp_path / "model.keras")
    assert again.infer({"audio": RECORDINGS}, beam_width=4, language_weight=2.0) == after
    assert again.get_layer("transcript").language_model.words == language.words


@pytest.mark.parametrize("decoder", ["ctc", "joint"])
def test_a_language_model_counts_from_when_it_is_set(decoder):
    model = tones.recognizer(decoder)
    without = model.infer({"audio": RECORDINGS}, beam_width=4)
    head = model.get_layer("transcript")
    head.set_language_model(mm.NgramLanguageModel.train(tones.TEXTS, tones.LETTERS, order=2))
    assert model.infer({"audio": RECORDINGS}, beam_width=4)["score"] != without["score"]
    head.set_language_model(None)
    assert model.infer({"audio": RECORDINGS}, beam_width=4) == without


def test_scores_are_told_by_speaker_and_by_length(ctc):
    records = {**RECORDS, "speaker": ["ann", "ben", "ann"]}
    scores, answers = mm.evaluate(ctc, records, progress=False, beam_width=3)
    assert len(answers) == 3
    assert {name: row["utterances"] for name, row in scores["by group"].items()} == {
        "ann": 2,
        "ben": 1,
    }
    assert list(scores["by length"]) == ["1", "2-3"]


def test_heads_of_ones_own():
    model = tones.recognizer(mm.CTC(tones.LETTERS.vocabulary_size, name="transcript"))
    assert not model.preprocessor.targets["transcript"].markers
    size = tones.LETTERS.vocabulary_size
    decoder = mm.LSTMDecoder(size, 13, width=32, start_id=1, end_id=2, name="transcript")
    model = tones.recognizer(decoder)
    assert model.preprocessor.targets["transcript"].markers
    model.fit(mm.dataset(RECORDS, model.preprocessor, 3), verbose=0)


@pytest.mark.parametrize("encoder", ["conformer", "conv_lstm", "conv_transformer"])
def test_encoders_by_name(encoder):
    model = mm.speech_to_text(tones.LETTERS, tones.RATE, encoder, size="tiny", subsampling=8)
    assert model.get_layer(encoder).subsampling.factor == 8
    assert model.preprocessor.targets["transcript"].subsampling == 8
    assert model.preprocessor.inputs["audio"].sample_rate == tones.RATE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "rnn"}, "`encoder` should be one of ['conformer', 'conv_lstm', 'conv_tra"),
        ({"encoder": None}, "or a function. Received: encoder=None"),
        ({"decoder": "rnnt"}, "`decoder` should be one of ['attention', 'ctc', 'joint'] or a"),
        (
            {"size": "huge"},
            "`size` should be one of ['base', 'nano', 'small', 'tiny']. Received: size=",
        ),
        ({"audio": 10}, "`sample_rate` should be a whole number from 1000"),
        ({"encoder": "conformer", "subsampling": 3}, "`factor` should be 2, 4 or 8. Received"),
        ({"sequence_length": 0}, "`sequence_length` should be a whole number of tokens"),
        ({"tokenizer": "letters"}, "`tokenizer` should be a tokenizer"),
        ({"decoder": mm.CTC(9, name="text")}, "'transcript' should have that name"),
        ({"decoder": mm.CTC(99, name="transcript")}, "should be made for the tokenizer of its"),
    ],
)
def test_errors_name_the_argument(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        tones.recognizer(**options)


def test_a_recording_too_short_for_its_text_spoils_no_batch():
    """Augmentation may make it so, after the pipeline has looked."""
    model = tones.recognizer()
    x, y, weight = next(iter(mm.dataset(RECORDS, model.preprocessor, 3)))
    y = {"transcript": y["transcript"].numpy()}
    y["transcript"][0] = np.arange(12) % 2 + 5
    mm.compile_task(model, keras.optimizers.Adam(1e-3))
    history = model.fit(x, y, sample_weight=weight, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert history.history["loss"][1] < history.history["loss"][0]
    assert all(np.isfinite(weights).all() for weights in model.get_weights())


HOT = {"beam_width": 3, "hot_words": mm.hot_word_ids(["ab"], tones.LETTERS), "hot_word_bonus": 3.0}


@pytest.mark.parametrize("decoder", ["ctc", "joint"])
@pytest.mark.parametrize("options", [{}, HOT], ids=["greedy", "hot words"])
def test_words_are_timed(decoder, options, ctc):
    model = ctc if decoder == "ctc" else tones.recognizer(decoder)
    raw = model.raw_tensors({"audio": RECORDINGS})
    timed = {k: v.numpy() for k, v in model.serve_function("timestamps", **options)(raw).items()}
    answers = model.infer({"audio": RECORDINGS}, **options)
    assert [text.decode() for text in timed["transcript"]] == answers["transcript"]
    for row, text in enumerate(answers["transcript"]):
        words = [word.decode() for word in timed["transcript_words"][row] if word]
        assert words == text.split()
        times = timed["transcript_seconds"][row, : len(words)].ravel().tolist()
        assert times == sorted(times)
        assert 0 <= min(times) < max(times) < 0.3 + 0.1 * row + 0.04
        sure = timed["transcript_confidence"][row, : len(words)]
        assert np.all((sure > 0) & (sure <= 1))
    if options:
        assert "ab" in " ".join(answers["transcript"]).split()


def test_of_an_attention_decoder_no_word_is_timed(tmp_path):
    model = tones.recognizer("attention")
    raw = model.raw_tensors({"audio": RECORDINGS})
    timed = model.serve_function("timestamps", **HOT)(raw)
    assert set(timed) == {"transcript", "score"}
    exported = mm.Export(mm.export(model, tmp_path, beam_width=None))
    assert exported.signatures == ["explain", "sample", "serving_default"]
