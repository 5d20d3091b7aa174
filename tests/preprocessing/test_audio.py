"""The audio field: every way a recording can be given, batches, limits, the model's inputs."""

import io
import pathlib
import resource
import zipfile

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from mmkeras.preprocessing import wav
from mmkeras.preprocessing.audio import Audio

SHARED = pathlib.Path(__file__).parents[2].parent / "shared" / "data"
RATE = 16000
AUDIO = Audio()
WAVE = Audio(features="waveform", normalization=None)


def shared(pattern):
    """A few real files of a pattern."""
    found = sorted(SHARED.glob(pattern))
    if not found:
        pytest.skip(f"needs ../shared/data/{pattern.split('/')[0]}")
    return found[:: max(1, len(found) // 4)]


def noise(count, channels=None, seed=0):
    shape = count if channels is None else (count, channels)
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape)


def written(path, samples, rate=RATE, **options):
    file = io.BytesIO() if path is None else path
    soundfile.write(file, samples, rate, **options)
    return file.getvalue() if path is None else path


class TestLoad:
    @pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
    def test_wav_passes_through(self, tmp_path, subtype):
        path = written(tmp_path / "a.wav", noise(300, 2), subtype=subtype)
        for value in (str(path), path, path.read_bytes()):
            assert AUDIO.load(value) == path.read_bytes()
        expected, _ = soundfile.read(path)
        np.testing.assert_allclose(WAVE.signal(AUDIO.load(path)), expected.mean(1), atol=1e-6)

    @pytest.mark.parametrize(
        ("options", "kind"),
        [
            ({"format": "FLAC", "subtype": "PCM_16"}, 1),
            ({"format": "FLAC", "subtype": "PCM_24"}, 3),
            ({"format": "AIFF", "subtype": "PCM_S8"}, 1),
            ({"format": "AU", "subtype": "DOUBLE"}, 5),
            ({"format": "CAF", "subtype": "FLOAT"}, 4),
            ({"format": "W64", "subtype": "PCM_32"}, 3),
            ({"format": "NIST", "subtype": "PCM_16"}, 1),
            ({"format": "WAV", "subtype": "ULAW"}, 1),
            ({"format": "WAV", "subtype": "IMA_ADPCM"}, 4),
            ({"format": "OGG", "subtype": "VORBIS"}, 4),
            ({"format": "OGG", "subtype": "OPUS"}, 4),
            ({"format": "MP3", "subtype": "MPEG_LAYER_III"}, 4),
        ],
    )
    def test_other_files_become_wav_of_the_same_samples(self, tmp_path, options, kind):
        path = written(tmp_path / "a.sound", noise(4000, 2), **options)
        raw = AUDIO.load(path)
        header = wav.read_header(raw)
        expected, rate = soundfile.read(path)
        assert (header.kind, header.channels, header.rate) == (kind, 2, rate)
        assert AUDIO.seconds(path) == len(expected) / rate == header.frames / rate
        assert AUDIO.load(path.read_bytes()) == raw
        found, _ = soundfile.read(io.BytesIO(raw))
        np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize("kind", ["wav", "flac"])
    @pytest.mark.parametrize(
        ("fragment", "first", "last"),
        [
            ("0.5,0.75", 8000, 12000),
            ("1", 16000, 20000),
            (",0.001", 0, 16),
            ("0,99", 0, 20000),
        ],
    )
    def test_a_part_of_a_file(self, tmp_path, kind, fragment, first, last):
        path = written(tmp_path / f"a.{kind}", noise(20000))
        whole = WAVE.signal(AUDIO.load(path))
        part = f"{path}#t={fragment}"
        np.testing.assert_array_equal(WAVE.signal(AUDIO.load(part)), whole[first:last])
        assert AUDIO.seconds(part) == (last - first) / RATE

    def test_a_part_of_a_file_that_is_too_long(self, tmp_path):
        path = written(tmp_path / "a.wav", noise(20000))
        audio = Audio(max_seconds=0.5)
        assert audio.seconds(f"{path}#t=0.2,0.7") == 0.5
        with pytest.raises(ValueError, match=r"2 seconds; at most 0\.5 are allowed"):
            audio.load(path)

    @pytest.mark.parametrize("fragment", ["2,1", "1,1", "9", "9,10"])
    def test_a_part_that_is_empty(self, tmp_path, fragment):
        path = written(tmp_path / "a.wav", noise(20000))
        for function in (AUDIO.load, AUDIO.seconds):
            with pytest.raises(ValueError, match=r"a\.wav#t=.* of its 1\.25 s is none"):
                function(f"{path}#t={fragment}")

    def test_a_name_that_looks_like_a_part(self, tmp_path):
        path = written(tmp_path / "a#t=1.wav", noise(200), format="WAV")
        assert AUDIO.load(path) == path.read_bytes()
        path = written(tmp_path / "b.wav#t=1", noise(200), format="WAV")
        assert AUDIO.load(path) == path.read_bytes()

    def test_a_member_of_an_archive(self, tmp_path):
        raw = written(None, noise(16000), format="WAV")
        flac = written(None, noise(16000), format="FLAC")
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            archive.writestr("in/a.wav", raw)
            archive.writestr("a.flac", flac)
        assert AUDIO.load(tmp_path / "all.zip/in/a.wav") == raw
        assert AUDIO.load(f"{tmp_path}/all.zip/a.flac") == AUDIO.load(flac)
        assert AUDIO.seconds(f"{tmp_path}/all.zip/a.flac#t=0.25,0.5") == 0.25

    @pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float16", "float32", "float64"])
    @pytest.mark.parametrize("channels", [None, 1, 3])
    def test_arrays(self, dtype, channels):
        samples = noise(500, channels)
        expected = samples if channels is None else samples.mean(1)
        if dtype == "uint8":
            samples = np.round(samples * 128 + 128)
        elif dtype.startswith("int"):
            samples = samples * 2.0 ** (np.iinfo(dtype).bits - 1)
        raw = AUDIO.load((samples.astype(dtype), np.int64(RATE)))
        atol = {"uint8": 0.005, "int16": 1e-4, "float16": 1e-3}.get(dtype, 1e-6)
        np.testing.assert_allclose(WAVE.signal(raw), expected, atol=atol)
        assert AUDIO.seconds((samples.astype(dtype), RATE)) == 500 / RATE

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (None, r"path, bytes or \(array, rate\).*audio=None of type NoneType"),
            (7, "of type int"),
            (noise(9), "of type ndarray"),
            ((noise(9) > 0, RATE), "an array of bool"),
            ((np.arange(9), RATE), "an array of int64"),
            ((noise(9).reshape(1, 3, 3), RATE), r"of shape \(1, 3, 3\)"),
            ((noise(9, 0), RATE), r"of shape \(9, 0\)"),
            ((noise(9), 16000.5), "at 16000.5 Hz"),
            ((noise(9), "high"), "at 'high' Hz"),
            ((noise(0), RATE), r"array of shape \(0,\) at 16000 Hz.*without samples"),
            ((noise(9), 100), "a WAV of 100 Hz; from 1000 to 384000"),
            ((noise(9) * np.nan, RATE), "NaN or infinite"),
        ],
    )
    def test_what_is_no_recording(self, value, message):
        with pytest.raises(ValueError, match=message):
            AUDIO.load(value)

    def test_errors_name_the_file(self, tmp_path):
        for name, raw in (("a.wav", b""), ("b.flac", b"fLaC and no more"), ("c.txt", b"words")):
            (tmp_path / name).write_bytes(raw)
            for function in (AUDIO.load, AUDIO.seconds):
                with pytest.raises(ValueError, match=f"{name}'"):
                    function(tmp_path / name)
        for function in (AUDIO.load, AUDIO.seconds):
            with pytest.raises(FileNotFoundError, match=r"none\.wav"):
                function(tmp_path / "none.wav#t=1,2")
            with pytest.raises(ValueError, match="a folder"):
                function(tmp_path)

    def test_a_flac_that_is_cut_off(self, tmp_path):
        raw = written(None, noise(40000), format="FLAC")
        (tmp_path / "a.flac").write_bytes(raw[: len(raw) // 2])
        with pytest.raises(ValueError, match=r"a\.flac': it is damaged: "):
            AUDIO.load(tmp_path / "a.flac")


class TestCall:
    def test_padding_changes_no_answer(self):
        short, long = (written(None, noise(n, seed=n), format="WAV") for n in (8000, 80_000))
        for audio in (AUDIO, Audio(normalization="whisper"), Audio(centered=False), WAVE):
            alone, alone_mask = audio([short])
            both, mask = audio([long, short, long])
            length = alone.shape[1]
            np.testing.assert_array_equal(both[1, :length], alone[0])
            np.testing.assert_array_equal(both[1, length:], 0)
            assert alone_mask.numpy().all()
            assert mask.shape == both.shape[:2]
            np.testing.assert_array_equal(mask[1], np.arange(mask.shape[1]) < length)
            assert mask.numpy()[::2].all()

    def test_one_is_as_in_a_batch(self):
        raw = AUDIO.example(0)
        for audio in (AUDIO, WAVE):
            features, mask = audio(raw)
            many, many_mask = audio([raw, raw])
            np.testing.assert_allclose(features, many[1], atol=1e-4)
            assert mask.shape == many_mask.shape[1:] == features.shape[:1]

    def test_files_of_all_kinds_in_one_batch(self):
        tone = np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)
        raws = [
            written(None, tone, 48000, format="WAV", subtype="FLOAT"),
            written(None, tone[::6], 8000, format="WAV", subtype="PCM_16"),
            written(None, np.stack([tone[::3]] * 2, 1), 16000, format="WAV", subtype="PCM_24"),
            written(None, tone[:24000:3], 16000, format="WAV", subtype="PCM_U8"),
        ]
        features, mask = Audio(normalization=None, bands=20)(raws)
        assert mask.numpy().sum(1).tolist() == [100, 100, 100, 50]
        loud = features.numpy().argmax(-1)
        assert (loud[:3, 5:-5] == loud[0, 50]).all()

    def test_no_rows(self):
        features, mask = AUDIO(tf.zeros([0], tf.string))
        assert (features.shape, mask.shape) == ((0, 0, 80), (0, 0))

    def test_rank_of_two_is_refused(self):
        with pytest.raises(ValueError, match=r"`raw` should be of shape \(\) or \(batch,\)"):
            AUDIO([[AUDIO.example(0)]])

    @pytest.mark.parametrize("count", [1, 2, 159])
    def test_few_samples_are_one_frame(self, count):
        for rate in (8000, 16000, 384_000):
            features, mask = AUDIO([wav.pack(noise(count), rate)])
            assert features.shape == (1, 1, 80)
            assert np.isfinite(features).all()
            assert mask.numpy().tolist() == [[True]]

    def test_extremes(self):
        silence = wav.pack(np.zeros(16000, np.int16), RATE)
        clipped = wav.pack(np.sign(noise(16000)).astype(np.float32), RATE)
        wide = wav.pack(noise(16000, 32), RATE)
        fast = wav.pack(noise(384_000), 384_000)
        slow = wav.pack(noise(1000), 1000)
        for normalization in ("utterance", "whisper", None):
            audio = Audio(normalization=normalization)
            features, mask = audio([silence, clipped, wide, fast, slow])
            assert np.isfinite(features).all()
            assert mask.numpy().all()

    def test_an_hour(self):
        """All its windows and spectra at once would be 1.2 GB."""
        raw = wav.pack(np.resize(np.int16(noise(RATE) * 2**15), 3600 * RATE), RATE)
        audio = Audio(bands=20)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        features, _ = tf.function(audio, autograph=False)(tf.constant(raw))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert features.shape == (360_000, 20)
        assert grown < 1_100_000
        longer = wav.pack(np.zeros(3600 * RATE + 1, np.int16), RATE)
        with pytest.raises(ValueError, match="3601 seconds; at most 3600 are allowed"):
            audio.load(longer)

    @pytest.mark.parametrize(
        "pattern",
        [
            "fsdd/recordings/*.wav",
            "yesno/waves_yesno/*.wav",
            "an4/flac/*/*/*.flac",
            "speech_samples/*/*.flac",
            "timit_sample/*/*.flac",
        ],
    )
    def test_real_recordings(self, pattern):
        paths = shared(pattern)
        features, mask = AUDIO([AUDIO.load(path) for path in paths])
        assert np.isfinite(features).all()
        seconds = np.array([AUDIO.seconds(path) for path in paths])
        np.testing.assert_array_equal(mask.numpy().sum(1), AUDIO.frames(seconds))
        for path in paths:
            samples, rate = soundfile.read(path, always_2d=True)
            found = WAVE.signal(WAVE.load(path))
            assert len(found) == WAVE.frames(AUDIO.seconds(path)) == -(-len(samples) * RATE // rate)
            if rate == RATE:
                np.testing.assert_allclose(found, samples.mean(1), atol=1e-6)


class TestContract:
    def test_frames_are_known_beforehand(self):
        random = np.random.default_rng(0)
        for _ in range(20):
            rate, count = int(random.integers(1000, 50000)), int(random.integers(1, 20000))
            raw = wav.pack(noise(count), rate)
            seconds = AUDIO.seconds(raw)
            assert len(AUDIO(raw)[1]) == AUDIO.frames([seconds])[0]
            assert len(WAVE(raw)[1]) == WAVE.frames([seconds])[0]

    def test_inputs_and_signature(self):
        features, mask = Audio(bands=40).input("speech")
        assert (features.name, features.shape) == ("speech", (None, None, 40))
        assert (mask.name, mask.shape, mask.dtype) == ("speech_mask", (None, None), "bool")
        assert WAVE.input("speech")[0].shape == (None, None, 1)
        (spec,) = AUDIO.signature("speech").values()
        assert spec == tf.TensorSpec([None], tf.string, name="speech_bytes")
        assert AUDIO.masked
        assert AUDIO.per_example

    def test_example_is_a_recording(self):
        raw = Audio(8000).example(3)
        assert Audio().load(raw) == raw
        assert raw == Audio(8000).example(3) != Audio(8000).example(4)
        assert Audio().seconds(raw) == 0.5

    def test_read_loads(self, tmp_path):
        path = written(tmp_path / "a.flac", noise(300))
        assert AUDIO.read(str(path)) == AUDIO.load(path)

    def test_saving(self):
        for audio in (
            AUDIO,
            Audio(8000, "waveform", normalization=(0, 1), max_seconds=9),
            Audio(bands=2, normalization=([0, 1], [2, 3]), centered=False),
        ):
            config = keras.saving.serialize_keras_object(audio)
            again = keras.saving.deserialize_keras_object(config)
            assert again.get_config() == audio.get_config()
            assert again(AUDIO.example(0))[0].shape[1] == audio.width

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"sample_rate": 100}, "`sample_rate` should be .* from 1000 to 384000"),
            ({"sample_rate": 16000.0}, r"sample_rate=16000\.0"),
            ({"features": "mfcc"}, r'\["log_mel", "waveform"\].*features=\'mfcc\''),
            ({"bands": 0}, "`bands` should be a whole number above 0"),
            ({"max_seconds": 0}, "`max_seconds` should be above 0"),
            ({"normalization": "mean"}, "`normalization` should be .* Received: .*'mean'"),
            ({"normalization": (0, -1)}, r"\(0, -1\)"),
            ({"normalization": ([0] * 79, [1] * 79)}, "80 of each"),
            ({"normalization": "whisper", "features": "waveform"}, r"of log-mel only"),
            ({"normalization": "peak", "features": "waveform"}, r"of log-mel only"),
        ],
    )
    def test_arguments(self, options, message):
        with pytest.raises(ValueError, match=message):
            Audio(**options)

    def test_served_graph_holds_core_ops_only(self, tmp_path):
        archive = keras.export.ExportArchive()
        audio = Audio(bands=20)
        audio.build(None)
        archive.track(audio)
        spec = [tf.TensorSpec([None], tf.string)]
        archive.add_endpoint("serve", audio.call, input_signature=spec)
        archive.write_out(str(tmp_path), verbose=False)
        served = tf.saved_model.load(str(tmp_path))
        raws = tf.constant([audio.example(0), wav.pack(noise(800, 2), 11025)])
        for found, expected in zip(served.serve(raws), audio(raws), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5)
        with pytest.raises(tf.errors.InvalidArgumentError, match="row 1 is not a WAV file"):
            served.serve(tf.constant([raws[0].numpy(), b"no sound"]))
        graph = served.signatures["serve"].graph.as_graph_def()
        ops = {node.op for body in graph.library.function for node in body.node_def}
        assert not {op for op in ops if "PyFunc" in op or "Xla" in op}
