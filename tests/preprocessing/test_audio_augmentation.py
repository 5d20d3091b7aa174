"""Augmentation of sound: the same seed, the same samples; and what each change may change."""

import zipfile

import numpy as np
import pytest
import tensorflow as tf

from mmkeras.data import dataset
from mmkeras.preprocessing import Preprocessor
from mmkeras.preprocessing.audio import Audio
from mmkeras.preprocessing.audio_augmentation import (
    Sounds,
    audio_augmentation,
    change_speed,
    random_gain,
    random_hiss,
    random_noise,
    random_room,
    random_speed,
    random_tone,
    read_sounds,
)

soundfile = pytest.importorskip("soundfile")
RATE = 16000


def tone(hertz, seconds=1.0, rate=RATE):
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate).astype("float32")


def loudest(samples, rate=RATE):
    """Frequency in hertz."""
    return np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples)


def power(samples):
    return np.mean(np.square(samples))


@pytest.fixture(scope="module")
def speech():
    rng = np.random.default_rng(0)
    return tf.constant(0.1 * rng.standard_normal(8000) * np.hanning(8000), tf.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(1)
    room = np.r_[np.zeros(80), 1.0, rng.standard_normal(2000) * 0.9 ** np.arange(2000) * 0.3]
    soundfile.write(folder / "hum.wav", tone(100, 0.2), RATE)
    soundfile.write(folder / "hiss.flac", 0.1 * rng.standard_normal((22050, 2)), 22050)
    soundfile.write(folder / "room.wav", room, RATE)
    return folder


@pytest.fixture(scope="module")
def augment(files):
    noise = [files / "hum.wav", files / "hiss.flac"]
    rooms = [files / "room.wav"]
    return audio_augmentation(noise=noise, rooms=rooms, rate=RATE, tone_db=6, hiss_db=(5, 20))


def test_the_seed_decides(augment, speech):
    same = [augment(speech, (1, 2)).numpy() for _ in range(2)]
    np.testing.assert_array_equal(*same)
    lengths = {len(augment(speech, (1, index))) for index in range(20)}
    assert len(lengths) > 10
    assert 8000 / 1.1 - 2 <= min(lengths) <= max(lengths) <= 8000 / 0.9 + 2


def test_tf_data_gives_the_same_as_eager(augment, speech):
    def change(index):
        return augment(speech, tf.stack([tf.constant(7, tf.int64), index]))

    data = tf.data.Dataset.range(8).map(change, 2, deterministic=True)
    assert data.element_spec == tf.TensorSpec([None], tf.float32)
    for index, samples in enumerate(data):
        np.testing.assert_allclose(samples, augment(speech, (7, index)), atol=1e-6)


def test_nothing_to_do_changes_nothing(speech):
    augment = audio_augmentation(speed=None, gain_db=None)
    np.testing.assert_array_equal(augment(speech, (0, 0)), speech)


def test_the_graph_holds_core_ops_only(augment):
    traced = tf.function(augment, autograph=False).get_concrete_function(
        tf.TensorSpec([None]), tf.TensorSpec([2], tf.int64)
    )
    graph = traced.graph.as_graph_def()
    ops = {node.op for part in (graph, *graph.library.function) for node in nodes(part)}
    assert "RFFT" in ops
    assert not {op for op in ops if "PyFunc" in op or "Variable" in op or "Xla" in op}


def nodes(part):
    return part.node_def if hasattr(part, "node_def") else part.node


@pytest.mark.parametrize("length", [0, 1, 2, 1023, 1024])
def test_short_recordings(augment, length):
    for index in range(8):
        samples = augment(tf.ones([length]), (0, index)).numpy()
        assert np.isfinite(samples).all()
        assert abs(len(samples) - length) <= 0.12 * length + 1


def test_silence_stays_silent(augment):
    for index in range(8):
        assert not augment(tf.zeros([4000]), (0, index)).numpy().any()


class TestSpeed:
    @pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.07, 2.0])
    def test_length_and_pitch(self, factor):
        samples = change_speed(tone(1000), factor).numpy()
        assert len(samples) == round(RATE / factor)
        assert loudest(samples) == pytest.approx(1000 * factor, abs=2)
        assert power(samples[200:-200]) == pytest.approx(0.5, rel=0.01)

    def test_samples_are_those_of_the_tone_itself(self):
        slow = change_speed(tone(1000) * np.hanning(RATE).astype("float32"), 0.8).numpy()
        expected = tone(800, 1.25) * np.hanning(RATE * 1.25)
        np.testing.assert_allclose(slow[: len(expected)], expected, atol=2e-3)

    def test_what_is_too_high_is_dropped_and_not_folded(self):
        assert power(change_speed(tone(7000), 2.0).numpy()[200:-200]) < 1e-4

    def test_no_ringing_round_the_ends(self):
        samples = np.zeros(4096, "float32")
        samples[0] = 1
        changed = change_speed(samples, 1.1).numpy()
        assert np.abs(changed[64:]).max() < 0.02

    def test_factors_are_spread_over_the_range(self):
        lengths = [len(random_speed(tf.zeros([10000]), (0, i), (0.8, 1.25))) for i in range(60)]
        assert 8000 <= min(lengths) < 8500
        assert 11500 < max(lengths) <= 12500


def test_gain_is_in_the_range(speech):
    gains = [
        10 * np.log10(power(random_gain(speech, (0, i), (-3, 9))) / power(speech))
        for i in range(50)
    ]
    assert -3 <= min(gains) < -2
    assert 8 < max(gains) <= 9.001


class TestNoise:
    def test_ratio_is_in_the_range(self, speech):
        noise = Sounds([tone(100, 0.1), 0.01 * tone(3000, 2.0)])
        ratios = [
            10
            * np.log10(power(speech) / power(random_noise(speech, (0, i), noise, (5, 20)) - speech))
            for i in range(40)
        ]
        assert 4.99 <= min(ratios) < 7
        assert 18 < max(ratios) <= 20.01

    def test_short_noise_repeats(self, speech):
        mixed = random_noise(speech, (0, 0), Sounds([tone(100, 0.1)]), (0, 0)) - speech
        np.testing.assert_allclose(mixed[1600:3200], mixed[:1600], atol=1e-6)

    def test_every_sound_and_place_can_come(self, speech):
        noise = Sounds([tone(100, 1.0), tone(1000, 1.0)])
        mixed = [random_noise(speech, (0, i), noise, (0, 0)) - speech for i in range(30)]
        assert {round(loudest(each) / 100) * 100 for each in mixed} == {100, 1000}
        assert len({float(each[0]) for each in mixed}) > 15


class TestTone:
    def gains(self, index, decibels=6.0):
        """In decibels, at a few frequencies."""
        click = np.zeros(4096, "float32")
        click[2048] = 1
        changed = np.fft.rfft(random_tone(click, (0, index), decibels))
        return 20 * np.log10(np.abs(changed))[::64]

    def test_frequencies_are_raised_and_lowered_smoothly(self):
        gains = np.array([self.gains(index) for index in range(40)])
        assert 5 < gains[:, 0].std() < 7
        assert np.abs(np.diff(gains)).max() < 8
        assert len(set(gains[:, 0].tolist())) == 40

    def test_without_decibels_nothing_changes(self, speech):
        np.testing.assert_allclose(random_tone(speech, (0, 0), 0.0), speech, atol=1e-6)


class TestHiss:
    def test_ratio_is_in_the_range(self, speech):
        ratios = [
            10 * np.log10(power(speech) / power(random_hiss(speech, (0, i), (5, 20)) - speech))
            for i in range(40)
        ]
        assert 4.99 <= min(ratios) < 7
        assert 18 < max(ratios) <= 20.01

    def test_it_falls_with_frequency_or_not(self, speech):
        shares = []
        for index in range(20):
            sound = np.abs(np.fft.rfft(random_hiss(speech, (0, index), (0, 0)) - speech)) ** 2
            shares.append(sound[len(sound) // 2 :].sum() / sound.sum())
        assert 0.4 < max(shares) < 0.55
        assert min(shares) < 0.05


class TestRooms:
    def test_a_room_is_a_convolution_at_its_length_and_power(self, speech):
        response = np.r_[np.zeros(30), 1.0, 0.5 * np.random.default_rng(0).standard_normal(900)]
        response[31:] = np.clip(response[31:], -0.9, 0.9)
        placed = random_room(speech, (0, 0), Sounds([response])).numpy()
        expected = np.convolve(speech, response)[30 : 30 + len(speech)]
        expected *= np.sqrt(power(speech.numpy()) / power(expected))
        np.testing.assert_allclose(placed, expected, atol=1e-5)

    def test_a_room_without_echo_changes_nothing(self, speech):
        response = np.zeros(500)
        response[77] = -0.3
        placed = random_room(speech, (0, 0), Sounds([response]))
        np.testing.assert_allclose(placed, -speech, atol=1e-6)


class TestFiles:
    def test_rates_and_channels(self, files):
        sounds = read_sounds("noise", [files / "hum.wav", files / "hiss.flac"], RATE)
        assert sounds.ends.numpy().tolist() == [3200, 19200]
        assert loudest(sounds.samples[:3200]) == 100

    def test_members_of_zips(self, files, tmp_path):
        with zipfile.ZipFile(tmp_path / "sounds.zip", "w") as archive:
            archive.write(files / "hum.wav", "in/hum.wav")
        sounds = read_sounds("noise", [f"{tmp_path}/sounds.zip/in/hum.wav"], RATE)
        assert sounds.ends.numpy().tolist() == [3200]

    @pytest.mark.parametrize("which", ["noise", "rooms"])
    def test_bad_files_are_named(self, files, tmp_path, which):
        soundfile.write(tmp_path / "silent.wav", np.zeros(100), RATE)
        soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
        (tmp_path / "notes.txt").write_text("no sound")
        for name in ("silent.wav", "empty.wav", "notes.txt", "gone.wav", ""):
            with pytest.raises(ValueError, match=f"`{which}` should hold files.*{name}"):
                audio_augmentation(**{which: [files / "hum.wav", tmp_path / name]})
        with pytest.raises(ValueError, match=f"`{which}` should be a list"):
            audio_augmentation(**{which: "hum.wav"})

    @pytest.mark.parametrize(
        "argument",
        [
            {"speed": (1.1, 0.9)},
            {"speed": (0, 1)},
            {"gain_db": (1, 2, 3)},
            {"snr_db": (5, float("nan"))},
            {"chance": 1.5},
            {"tone_db": -1},
            {"hiss_db": (20, 5)},
        ],
    )
    def test_bad_arguments(self, argument):
        (name,) = argument
        with pytest.raises(ValueError, match=f"`{name}` should be .*Received: {name}="):
            audio_augmentation(**argument)

    def test_chance(self, files, speech):
        augment = audio_augmentation(None, None, noise=[files / "hum.wav"], chance=0.3)
        changed = [bool((augment(speech, (0, i)) != speech).numpy().any()) for i in range(100)]
        assert 18 <= sum(changed) <= 42


def test_in_a_pipeline(files):
    fields = Preprocessor({"audio": Audio(RATE, bands=8, normalization=None)}, {})
    records = {"audio": [str(files / "hum.wav"), str(files / "hiss.flac")] * 4}

    def frames(epoch, **options):
        batches = dataset(records, fields, 1, **options)
        batches.epoch = epoch
        return [int(x["audio_mask"].numpy().sum()) for x in batches]

    augment = {"audio": audio_augmentation(noise=[files / "hiss.flac"])}
    assert set(frames(0)) == {20, 100}
    changed = frames(0, augment=augment)
    assert changed == frames(0, augment=augment) != frames(1, augment=augment)
    assert len(set(changed)) > 4
