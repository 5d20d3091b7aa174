import io
import wave
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkeras.data import read, world
from mmkeras.data.speaking import (
    ALPHABET,
    HIGH_TONES,
    LOW_TONES,
    SYNTHESIZERS,
    VOICES,
    speak,
    spoken,
)

TEXT = "a small red star above two green circles"


@pytest.fixture(params=SYNTHESIZERS)
def synthesizer(request):
    if request.param == "espeak":
        pytest.importorskip("espeakng_loader")
    return request.param


def heard(recording):
    with wave.open(io.BytesIO(recording)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
        return samples, file.getframerate()


def tones_read(recording, shift):
    """Characters by the pair of tones in each stretch of sound; a space where silence is long."""
    samples, rate = heard(recording)
    loud = np.convolve(np.abs(samples) > 0.005, np.ones(41), "same") > 0
    edges = np.flatnonzero(np.diff(np.r_[0, loud, 0]))
    text, last = "", None
    for start, end in edges.reshape(-1, 2):
        if last is not None and start - last > 0.05 * rate:
            text += " "
        spectrum = np.abs(np.fft.rfft(samples[start:end] * np.hanning(end - start), 8 * rate))
        low, high = (
            np.argmax([spectrum[round(hertz * shift * 8)] for hertz in tones])
            for tones in (LOW_TONES, HIGH_TONES)
        )
        text += (ALPHABET + "|")[low * len(HIGH_TONES) + high]
        last = end
    return text


class TestSpeak:
    def test_the_arguments_decide(self, synthesizer):
        first = speak(TEXT, "ada", 1.0, 3, synthesizer)
        speak("something else", "ben", 1.5, 4, synthesizer)
        assert speak(TEXT, "ada", 1.0, 3, synthesizer) == first
        others = [(TEXT, "ben", 1.0, 3), (TEXT, "ada", 1.2, 3), (TEXT, "ada", 1.0, 4)]
        assert first not in [speak(*other, synthesizer) for other in others]

    def test_threads_do_not_disturb_each_other(self, synthesizer):
        with ThreadPoolExecutor(4) as pool:
            made = list(
                pool.map(lambda seed: speak(TEXT, seed=seed % 2, synthesizer=synthesizer), range(8))
            )
        assert made == [speak(TEXT, seed=seed % 2, synthesizer=synthesizer) for seed in range(8)]

    @pytest.mark.parametrize("voice", VOICES)
    def test_every_voice_speaks(self, synthesizer, voice):
        samples, rate = heard(speak("two red stars", voice, 1.0, 0, synthesizer))
        assert 0.5 < len(samples) / rate < 2.5
        assert 0.02 < np.sqrt(np.mean(samples**2)) < 0.5
        assert np.abs(samples).max() < 1

    def test_speed(self, synthesizer):
        slow, fast = (len(speak(TEXT, "ada", each, 0, synthesizer)) for each in (0.7, 1.4))
        assert 1.6 < slow / fast < 2.4

    def test_seed_chooses_voice_and_speed(self, synthesizer):
        lengths = {len(speak("a star", seed=seed, synthesizer=synthesizer)) for seed in range(8)}
        assert len(lengths) > 5

    @settings(max_examples=15, deadline=None)
    @given(text=st.text(min_size=1).filter(str.strip))
    def test_any_text_can_be_said(self, text):
        for synthesizer in (None, "tones"):
            assert len(heard(speak(text, synthesizer=synthesizer))[0]) > 100

    @pytest.mark.parametrize(
        "argument",
        [
            {"text": " "},
            {"text": None},
            {"voice": "zoe"},
            {"speed": 3},
            {"synthesizer": "festival"},
        ],
    )
    def test_bad_arguments(self, argument):
        (name,) = argument
        with pytest.raises(ValueError, match=f"`{name}` should be .*Received: {name}="):
            speak(**{"text": "a star", **argument})

    def test_without_espeak(self, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert speak(TEXT) == speak(TEXT, synthesizer="tones")
        with pytest.raises(ImportError, match=r"pip install \"mmkeras\[demo\]\""):
            speak(TEXT, synthesizer="espeak")


class TestTones:
    @pytest.mark.parametrize("voice", VOICES)
    def test_the_text_can_be_read_off(self, voice):
        text = "the quick brown fox, 10 - 9? don't"
        recording = speak(text, voice, 1.0, 0, "tones")
        assert tones_read(recording, VOICES[voice][1]) == text

    def test_capitals_and_other_characters(self):
        shift = VOICES["ada"][1]
        assert tones_read(speak("Ok é", "ada", 1.0, 0, "tones"), shift) == "ok |233|"

    def test_every_pair_is_of_one_character(self):
        assert len(ALPHABET) + 1 == len(LOW_TONES) * len(HIGH_TONES)
        assert len(set(ALPHABET)) == len(ALPHABET)


class TestSpoken:
    def test_records(self, synthesizer):
        records = spoken(world(6, size=16), synthesizer=synthesizer)
        assert list(records) == ["image", "caption", "scene", "audio", "transcript", "speaker"]
        for captions, transcript in zip(records["caption"], records["transcript"], strict=True):
            assert transcript in captions
        assert set(records["speaker"]) <= set(VOICES)
        assert spoken(world(6, size=16), synthesizer=synthesizer) == records
        fewer = spoken(world(3, size=16), synthesizer=synthesizer)
        assert fewer["audio"] == records["audio"][:3]

    def test_column_of_strings(self):
        records = spoken({"digit": ["seven", "two"]}, "digit", synthesizer="tones")
        assert records["transcript"] == records["digit"]

    def test_missing_column(self):
        with pytest.raises(ValueError, match=r"`text` should be one of .*Received: text='words'"):
            spoken({"caption": ["a"]}, "words")

    def test_world(self):
        parts = read("spoken_world", train=3, valid=2, test=1, size=16, synthesizer="tones")
        assert [len(each["audio"]) for each in parts] == [3, 2, 1]
        assert parts[0]["audio"][0] != parts[1]["audio"][0]
