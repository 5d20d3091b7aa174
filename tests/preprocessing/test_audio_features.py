"""Log-mel frames and resampling against what is published, and streams against the whole."""

import functools
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkeras.preprocessing.audio import Audio
from mmkeras.preprocessing.log_mel import (
    first_tail,
    log_mel,
    log_mel_chunk,
    mel_filters,
)
from mmkeras.preprocessing.resampling import resample

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
WHISPER = SHARED / "whisper_reference"
needs_whisper = pytest.mark.skipif(
    not WHISPER.exists(), reason="needs ../shared/data/whisper_reference"
)


def noise(count, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, count).astype(np.float32)


def in_graph(function):
    spec = tf.TensorSpec([None], tf.float32)
    return tf.function(function, input_signature=[spec], autograph=False)


def whisper(samples, filters):
    """The published recipe, in float64."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    padded = np.pad(samples.astype(np.float64), 200, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160]
    power = np.abs(np.fft.rfft(frames * window))[:-1] ** 2
    log = np.log10(np.maximum(power @ filters.T, 1e-10))
    return (np.maximum(log, log.max() - 8) + 4) / 4


class TestLogMel:
    @needs_whisper
    @pytest.mark.parametrize("bands", [80, 128])
    def test_filters_are_those_of_whisper(self, bands):
        published = np.load(WHISPER / "mel_filters.npz")[f"mel_{bands}"]
        np.testing.assert_allclose(mel_filters(bands=bands).T, published, atol=1e-8)

    @needs_whisper
    @pytest.mark.parametrize("bands", [80, 128])
    def test_features_are_those_of_whisper(self, bands):
        filters = np.load(WHISPER / "mel_filters.npz")[f"mel_{bands}"]
        audio = Audio(bands=bands, normalization="whisper")
        samples = audio.signal(audio.load(WHISPER / "jfk.flac")).numpy()
        features, mask = audio.features(samples)
        assert features.shape == (1100, bands)
        assert mask.numpy().all()
        np.testing.assert_allclose(features, whisper(samples, filters), atol=1e-4)

    @needs_whisper
    def test_features_from_the_file_are_those_of_the_best_resampler(self):
        soxr = pytest.importorskip("soxr")
        samples, rate = soundfile.read(WHISPER / "jfk.flac")
        expected = soxr.resample(samples.mean(1), rate, 16000, "HQ")
        audio = Audio(features="waveform", normalization=None)
        found = audio.signal(audio.load(WHISPER / "jfk.flac"))
        np.testing.assert_allclose(found, expected, atol=1e-4)

    @pytest.mark.parametrize("rate", [1000, 8000, 11025, 16000, 22050, 44100, 48000])
    def test_a_tone_is_in_its_band_at_every_rate(self, rate):
        tone = np.sin(2 * np.pi * 0.2 * np.arange(rate)).astype(np.float32)
        frames = log_mel(tone, rate, 5).numpy()
        filters = mel_filters(rate, 5)
        assert frames.shape[0] == rate // round(rate * 0.01)
        assert (
            frames[5:-5].argmax(1) == filters[round(0.2 * 2 * (len(filters) - 1))].argmax()
        ).all()

    @pytest.mark.parametrize("centered", [True, False])
    def test_any_leading_shape(self, centered):
        samples = noise(6 * 1000).reshape(2, 3, 1000)
        frames = log_mel(tf.constant(samples), centered=centered)
        assert frames.shape == (2, 3, 6, 80)
        one = log_mel(tf.constant(samples[1, 2]), centered=centered)
        np.testing.assert_allclose(frames[1, 2], one, atol=1e-5)

    @pytest.mark.parametrize("count", [1, 2, 3, 100, 159, 160, 199, 200, 201, 320, 399, 400, 1000])
    def test_short_sound(self, count):
        for centered in (True, False):
            frames = log_mel(noise(count), centered=centered)
            assert frames.shape == (max(1, count // 160), 80)
            assert np.isfinite(frames).all()
        if count >= 400:
            expected = whisper(noise(count), mel_filters().T)
            features = np.maximum(log_mel(noise(count)), np.max(log_mel(noise(count))) - 8)
            np.testing.assert_allclose((features + 4) / 4, expected, atol=1e-4)

    def test_blocks_leave_no_trace(self):
        samples = noise(160 * 6100 + 77)
        frames = in_graph(log_mel)(samples)
        expected = whisper(samples, mel_filters().T)
        assert frames.shape == (6100, 80)
        np.testing.assert_allclose((frames + 4) / 4, expected, atol=1e-4)

    def test_silence_and_clipping(self):
        assert (log_mel(np.zeros(1000, np.float32)).numpy() == -10).all()
        assert np.isfinite(log_mel(np.sign(noise(1000)))).all()

    def test_too_many_bands_are_refused(self):
        with pytest.raises(ValueError, match=r"`bands` should be fewer.*8000 Hz.*bands=200"):
            Audio(sample_rate=8000, bands=200)


CAUSAL = in_graph(functools.partial(log_mel, centered=False))
CHUNK = tf.function(log_mel_chunk, autograph=False, reduce_retracing=True)


class TestStream:
    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.integers(0, 900), min_size=1, max_size=8), st.booleans())
    def test_chunks_give_the_frames_of_the_whole(self, sizes, many):
        whole = noise(sum(sizes) + 160)
        lead = [2] if many else []
        tail, frames = tf.zeros([*lead, first_tail()]), []
        for part in np.split(whole, np.cumsum(sizes)):
            chunk, tail = CHUNK(tf.broadcast_to(part, [*lead, len(part)]), tail)
            frames.append(chunk)
        frames = tf.concat(frames, axis=-2)
        expected = CAUSAL(whole)
        assert tail.shape[-1] == first_tail() + len(whole) % 160
        np.testing.assert_allclose(frames, tf.broadcast_to(expected, frames.shape), atol=1e-5)

    @pytest.mark.parametrize("rate", [8000, 11025, 22050])
    @pytest.mark.parametrize("normalization", [None, (0.3, 2.0), ([0.1] * 20, [0.5] * 20)])
    def test_of_a_field(self, rate, normalization):
        audio = Audio(rate, bands=20, normalization=normalization, centered=False)
        whole = noise(5000)
        tail, frames = audio.first_tail(1), []
        for part in np.array_split(whole[np.newaxis], 13, axis=1):
            chunk, tail = audio.stream(part, tail)
            frames.append(chunk)
        expected, _ = audio.features(whole)
        np.testing.assert_allclose(tf.concat(frames, 1)[0], expected, atol=1e-4)

    def test_of_samples(self):
        audio = Audio(features="waveform", normalization=None)
        samples, tail = audio.stream(noise(7), audio.first_tail())
        np.testing.assert_array_equal(samples[:, 0], noise(7))
        assert tail.shape == (0,)

    @pytest.mark.parametrize(
        "options",
        [
            {"normalization": None},
            {"normalization": "whisper", "centered": False},
            {"normalization": "peak", "centered": False},
            {"normalization": "utterance", "centered": False},
        ],
    )
    def test_what_needs_the_whole_is_refused(self, options):
        with pytest.raises(ValueError, match="A stream needs an `Audio` with `centered=False`"):
            Audio(**options).stream(noise(7), tf.zeros([240]))


class TestNormalization:
    samples = np.concatenate([noise(8000), np.zeros(4000, np.float32), noise(4000, 1)])

    def features(self, **options):
        return Audio(**options).features(self.samples)[0].numpy()

    def test_none_is_the_scale_of_whisper(self):
        expected = (log_mel(self.samples) + 4) / 4
        np.testing.assert_array_equal(self.features(normalization=None), expected)

    def test_whisper_raises_what_is_80_db_below_the_loudest(self):
        plain = self.features(normalization=None)
        found = self.features(normalization="whisper")
        np.testing.assert_allclose(found, np.maximum(plain, plain.max() - 2), atol=1e-6)
        assert (found > plain).any()

    def test_peak_hears_neither_loudness_nor_a_quiet_noise(self):
        found = self.features(normalization="peak")
        assert found.max() == 2
        assert found.min() == -2
        audio = Audio(normalization="peak")
        softer = audio.features(self.samples / 8)[0]
        np.testing.assert_allclose(softer, found, atol=1e-4)
        hum = self.samples + 1e-5 * noise(16000, 2)
        np.testing.assert_allclose(audio.features(hum)[0], found, atol=0.05)

    @pytest.mark.parametrize("kind", ["log_mel", "waveform"])
    def test_utterance(self, kind):
        found = self.features(features=kind, normalization="utterance")
        np.testing.assert_allclose(found.mean(0), 0, atol=1e-4)
        np.testing.assert_allclose(found.var(0), 1, atol=0.01)

    def test_over_a_set(self):
        plain = self.features(normalization=None)
        mean, variance = plain.mean(0), plain.var(0)
        found = self.features(normalization=(list(mean), list(variance)))
        np.testing.assert_allclose(found.mean(0), 0, atol=1e-4)
        np.testing.assert_allclose(
            self.features(normalization=(1, 4)), (plain - 1) / np.sqrt(4 + 1e-5), atol=1e-6
        )

    @pytest.mark.parametrize("normalization", [None, "utterance", "whisper", "peak", (0, 0)])
    def test_of_silence_and_of_one_frame(self, normalization):
        audio = Audio(normalization=normalization)
        for samples in (np.zeros(1000), np.zeros(1), np.ones(1), noise(161)):
            features, mask = audio.features(tf.constant(samples, tf.float32))
            assert np.isfinite(features).all()
            assert len(mask) == len(features) == max(1, len(samples) // 160)


class TestResample:
    @pytest.mark.parametrize("rate", [1000, 8000, 11025, 15999, 16001, 22050, 44100, 48000, 96000])
    def test_tones_stay_what_they_are(self, rate):
        seconds = 1.3
        time, new_time = (np.arange(int(r * seconds)) / r for r in (rate, 16000))
        highest = 0.9 * min(rate, 16000) / 2
        frequencies = highest * np.array([0.01, 0.3, 0.77, 1])

        def sound(time):
            return np.sin(2 * np.pi * frequencies * time[:, np.newaxis] + [0, 1, 2, 3]).sum(1)

        found = in_graph(lambda x: resample(x, rate, 16000))(sound(time).astype(np.float32))
        assert len(found) == -(-len(time) * 16000 // rate)
        # Away from the ends, behind which there is silence.
        middle = slice(3200, 17000)
        np.testing.assert_allclose(found[middle], sound(new_time)[middle], atol=2e-4)

    @pytest.mark.parametrize("rate", [17000, 44100, 48000])
    def test_what_the_new_rate_cannot_hold_is_gone(self, rate):
        tone = np.sin(2 * np.pi * 8200 * np.arange(rate) / rate).astype(np.float32)
        assert np.abs(resample(tone, rate, 16000)[1000:-1000]).max() < 2e-4

    @pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
    @pytest.mark.parametrize("count", [5000, 100_000])
    def test_against_soxr(self, rate, count):
        """Away from the ends, where soxr is a little off."""
        soxr = pytest.importorskip("soxr")
        samples = np.cumsum(noise(count)).astype(np.float32)
        samples /= np.abs(samples).max()
        expected = soxr.resample(samples, rate, 16000, "HQ")
        found = resample(samples, rate, 16000)
        assert abs(len(found) - len(expected)) <= 1
        np.testing.assert_allclose(found[50:-50], expected[50 : len(found) - 50], atol=2e-4)

    def test_golden_values(self):
        """From soxr 1.1.0, `resample(x, 44100, 16000, "HQ")`."""
        samples = np.sin(np.arange(1000) ** 1.4 / 50).astype(np.float32)
        found = resample(samples, 44100, 16000).numpy()
        golden = [0.94264, 0.47812, -0.23413, -0.82717, -0.98967]
        golden += [-0.63151, 0.06274, 0.72559, 0.99998, 0.73325]
        np.testing.assert_allclose(found[100:110], golden, atol=1e-4)

    def test_there_and_back(self):
        samples = resample(noise(3000), 8000, 16000).numpy()
        back = resample(resample(samples, 16000, 44100), 44100, 16000)[: len(samples)]
        np.testing.assert_allclose(back[300:-300], samples[300:-300], atol=1e-4)

    def test_no_samples(self):
        assert resample(np.zeros(0, np.float32), 44100, 16000).shape == (0,)

    def test_the_ends_of_sections_leave_no_trace(self):
        short = resample(noise(30_000)[:9000], 3, 2)[:5000]
        long = resample(noise(30_000), 3, 2)
        np.testing.assert_allclose(short, long[:5000], atol=1e-5)
        moved = resample(noise(30_000)[3 * 999 :], 3, 2)
        np.testing.assert_allclose(moved[2000:-999], long[2 * 999 + 2000 : -999], atol=1e-5)


def test_fields_survive_saving():
    for audio in (Audio(), Audio(8000, "waveform", normalization=(0, 1), max_seconds=9)):
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(audio))
        assert again.get_config() == audio.get_config()
