import itertools

import numpy as np
import pytest
import tensorflow as tf
import tones

import mmkeras as mm

SOUND = tones.samples(0.5, 5)


@pytest.fixture(scope="module", autouse=True)
def _unoptimized():
    """Optimizing graphs that run once takes longer than running them."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(scope="module")
def task():
    return tones.recognizer(streams=True)


@pytest.fixture(scope="module", params=[{}, {"beam_width": 3}], ids=["greedy", "beam"])
def listening(request, task):
    """A stream, and what the task answers to whole recordings with the same search."""
    options = request.param

    def offline(*sounds):
        return task.infer({"audio": [(sound, tones.RATE) for sound in sounds]}, **options)

    return mm.Stream(task, **options), offline


def listen(stream, sound, sizes=None, batch=1):
    """Pieces of these sizes and then the rest: all that is heard, and the answer."""
    sound = np.reshape(sound, [batch, -1])
    state, heard = stream.initial_state(batch), []
    for piece in np.split(sound, np.cumsum(sizes or []), axis=1):
        said, state = stream.step(piece, state)
        heard.append(said)
    return heard, stream.end(state)


SIZES = [None, [0], [1, 0, 1, 79, 80], [3999], [160] * 24]
SIZES += [np.random.default_rng(seed).integers(0, 900, 6).tolist() for seed in range(3)]


def test_however_it_is_cut_a_stream_is_what_the_whole_is(listening):
    stream, offline = listening
    expected = offline(SOUND)
    assert len(expected["transcript"][0]) > 2
    for sizes in SIZES:
        _, answer = listen(stream, SOUND, sizes)
        assert answer["transcript"] == expected["transcript"], sizes
        assert answer["score"] == pytest.approx(expected["score"], rel=1e-4), sizes


@pytest.mark.parametrize("seconds", [0.0125, 0.05, 0.08, 0.085, 0.24])
def test_short_recordings(listening, seconds):
    stream, offline = listening
    sound = tones.samples(seconds, 3)
    assert listen(stream, sound, [7])[1]["transcript"] == offline(sound)["transcript"]


def test_what_is_stable_stays(listening):
    stream, _ = listening
    for seed in (0, 3, 4, 5):
        sound = tones.samples(0.5, seed)
        heard, answer = listen(stream, sound, [321] * 12)
        final, *_ = answer["transcript"]
        stable = [said["transcript_stable"][0] for said in heard]
        for i, text in enumerate(stable):
            assert final.startswith(text)
            assert all(later["transcript"][0].startswith(text) for later in heard[i:])
        assert stable == sorted(stable, key=len)
    assert stable[-1]


def test_a_stream_that_stops_loses_nothing(listening):
    stream, offline = listening
    state, stable = stream.initial_state(), ""
    for start in range(0, 3000, 500):
        heard, state = stream.step(SOUND[None, start : start + 500], state)
        stable = heard["transcript_stable"][0]
    answer = stream.end(state)["transcript"]
    assert answer == offline(SOUND[:3000])["transcript"]
    assert answer[0].startswith(stable)
    # A state is not used up: the same stream may still go on.
    _, state = stream.step(SOUND[None, 3000:], state)
    assert stream.end(state)["transcript"] == offline(SOUND)["transcript"]


def test_streams_side_by_side(listening):
    stream, offline = listening
    sounds = np.stack([SOUND, tones.samples(0.5, 2)])
    heard, answer = listen(stream, sounds, [500, 0, 1234], batch=2)
    expected = offline(*sounds)
    assert answer["transcript"] == expected["transcript"]
    assert answer["score"] == pytest.approx(expected["score"], rel=1e-4)
    assert all(len(texts) == 2 for said in heard for texts in said.values())


def test_nothing_said(listening):
    stream, _ = listening
    assert stream.end(stream.initial_state()) == {"transcript": [""], "score": [0.0]}
    heard, state = stream.step(np.zeros([1, 0]), stream.initial_state())
    assert heard == {"transcript": [""], "transcript_stable": [""]}
    assert stream.end(state)["transcript"] == [""]


def test_characters_of_several_bytes_are_stable_when_they_are_whole():
    bytewise = mm.train_tokenizer(["a"], "subword", vocabulary_size=260)
    model = tones.recognizer(streams=True, tokenizer=bytewise, encoder=tones.encoder(1))
    stream = mm.Stream(model)
    ids, size = bytewise.encode(["é"]).to_list()[0], bytewise.vocabulary_size
    assert len(ids) == 2
    turns = itertools.cycle(ids)
    # Whatever the recording, its frames say the two bytes in turn.
    stream.head = lambda **context: tf.math.log(tf.one_hot([[next(turns)]], size) + 1e-9)
    state, found = stream.initial_state(), []
    for _ in range(4):
        heard, state = stream.step_graph(tf.zeros([1, 320]), state)
        found.append(heard["transcript_stable"][0].numpy().decode())
    assert found == ["", "é", "é", "éé"]


def test_of_a_joint_head_ctc_listens():
    model = tones.recognizer("joint", streams=True)
    answer = listen(mm.Stream(model), SOUND, [1000])[1]
    whole = model.infer({"audio": [(SOUND, tones.RATE)]}, method="ctc")
    assert answer["transcript"] == whole["transcript"]


def hindered():
    def make(decoder="ctc", audio=None, chunk=2):
        audio = audio or tones.field(streams=True)
        return tones.recognizer(decoder, audio=audio, encoder=tones.encoder(chunk))

    yield make(audio=tones.field()), "its input 'audio' needs the whole recording"
    centered = mm.Audio(tones.RATE, bands=20, normalization=None)
    yield make(audio=centered), "its input 'audio' needs the whole recording"
    yield make(chunk=None), "it has no encoder made with `chunk`"
    yield make("attention"), "its head 'transcript' is no CTC"
    words = mm.train_tokenizer(["a"], "word")
    photos = mm.image_captioning(words, 32, features=(2,), size="tiny")
    yield photos, r"it has inputs \['features', 'image'\] and targets \['caption'\], not one"
    photos = mm.image_captioning(words, 32, size="tiny")
    yield photos, "its input 'image' needs the whole recording"


def test_says_what_hinders():
    for task, message in hindered():
        with pytest.raises(ValueError, match=f"able to listen to streams: {message}"):
            mm.Stream(task)
