"""Augmentation: random changes of sound, each a function of the samples and a seed alone.

For `dataset(..., augment=)` in training; no part of a field, so never in what is served.
"""

import functools

import numpy as np
import tensorflow as tf

from mmkeras.preprocessing.audio import Audio

# Lengths of Fourier transforms are multiples of this, which keeps most of them quick; and so much
# silence at the end keeps it from ringing into the start.
_BLOCK = 1024
# Frequencies at which a change of tone is drawn; and how steeply made-up noise may fall: its
# amplitude by this power of the frequency.
_TONES = 8
_STEEPEST = 1.5


def audio_augmentation(
    speed=(0.9, 1.1),
    gain_db=(-6.0, 6.0),
    noise=(),
    snr_db=(5.0, 20.0),
    rooms=(),
    chance=0.5,
    rate=16000,
    tone_db=None,
    hiss_db=None,
):
    """A function that makes a recording faster or slower, louder or softer, and puts it elsewhere.

    The order is speed, tone, room, hiss, noise, gain. Nothing is clipped.

    Args:
        speed: least and most by which the speed is multiplied, pitch with it (Ko et al., "Audio
            augmentation for speech recognition", 2015); `None` for no change.
        gain_db: least and most gain in decibels; `None` for no change.
        noise: list of files to mix in, each as likely; a place in it is chosen at random, and a
            short one repeats.
        snr_db: least and most ratio of the recording to the noise, in decibels.
        rooms: list of files of impulse responses to convolve with, each as likely; the direct
            sound stays where it is, and the power of the whole.
        chance: of a room, of noise, of another tone and of hiss, each by itself.
        rate: samples per second of the recordings; the files may have any.
        tone_db: by how many decibels some frequencies are raised over others, as by another
            microphone: the standard deviation; `None` for no change.
        hiss_db: least and most ratio of the recording to a hiss or rumble that is made up, in
            decibels; `None` for none.

    Returns:
        A function of samples, `float32` of shape `(samples,)`, and a seed, two whole numbers, that
        gives samples, more or fewer. The same seed gives the same samples.

    Raises:
        ValueError: an argument is out of its range, or a file cannot be read or is silent.

    Example:

    ```python
    augment = audio_augmentation(noise=["street.flac"], rooms=["hall.wav"])
    other = augment(samples, seed=(epoch, index))
    ```
    """
    _check_range("speed", speed, 0.1, 10)
    _check_range("gain_db", gain_db, -120, 120)
    _check_range("snr_db", snr_db, -120, 120)
    _check_range("hiss_db", hiss_db, -120, 120)
    if tone_db is not None and not 0 <= tone_db <= 60:
        raise ValueError(f"`tone_db` should be from 0 to 60. Received: tone_db={tone_db!r}")
    if not 0 <= chance <= 1:
        raise ValueError(f"`chance` should be from 0 to 1. Received: chance={chance!r}")
    steps = []
    if speed is not None:
        steps.append(functools.partial(random_speed, factors=speed))
    if tone_db is not None:
        change = functools.partial(random_tone, decibels=tone_db)
        steps.append(functools.partial(_sometimes, change, chance))
    if len(rooms):
        place = functools.partial(random_room, rooms=read_sounds("rooms", rooms, rate))
        steps.append(functools.partial(_sometimes, place, chance))
    if hiss_db is not None:
        hiss = functools.partial(random_hiss, snr_db=hiss_db)
        steps.append(functools.partial(_sometimes, hiss, chance))
    if len(noise):
        sounds = read_sounds("noise", noise, rate)
        mix = functools.partial(random_noise, noise=sounds, snr_db=snr_db)
        steps.append(functools.partial(_sometimes, mix, chance))
    if gain_db is not None:
        steps.append(functools.partial(random_gain, decibels=gain_db))

    def augment(samples, seed):
        seeds = tf.random.split(tf.cast(seed, tf.int32), max(len(steps), 1))
        for number, step in enumerate(steps):
            samples = step(samples, seeds[number])
        return samples

    return augment


def random_speed(samples, seed, factors=(0.9, 1.1)):
    """Makes a recording faster or slower, and higher or lower with it, by a random factor.

    Args:
        samples: `float32`, `(samples,)`.
        seed: two whole numbers.
        factors: least and most.
    """
    return change_speed(samples, tf.random.stateless_uniform([], seed, *map(float, factors)))


def change_speed(samples, factor):
    """Makes a recording faster, and higher with it, by a factor: `n` samples -> `n / factor`.

    By way of the spectrum, so that no frequency folds into another. Quick for any factor;
    `resample` is for rates, where it is exact.

    Args:
        samples: `float32`, `(samples,)`.
        factor: scalar above 0.
    """
    before = tf.shape(samples)[0]
    whole = _whole_blocks(before)
    factor = tf.cast(factor, tf.float64)
    after = tf.cast(tf.round(tf.cast(whole, tf.float64) / factor), tf.int32)
    changed = tf.signal.irfft(tf.signal.rfft(samples, [whole]), [after])
    kept = tf.cast(tf.round(tf.cast(before, tf.float64) / factor), tf.int32)
    return changed[:kept] * tf.cast(after / whole, tf.float32)


def random_gain(samples, seed, decibels=(-6.0, 6.0)):
    """Makes a recording louder or softer.

    Args:
        samples: `float32`, `(samples,)`.
        seed: two whole numbers.
        decibels: least and most gain.
    """
    return samples * _amplitude(tf.random.stateless_uniform([], seed, *map(float, decibels)))


def random_tone(samples, seed, decibels=6.0):
    """Raises some frequencies over others, smoothly, as another microphone does.

    Args:
        samples: `float32`, `(samples,)`.
        seed: two whole numbers.
        decibels: standard deviation of the gain at each of a few frequencies, between which it
            changes in straight lines.
    """
    length = tf.shape(samples)[0]
    whole = _whole_blocks(length)
    gains = decibels * tf.random.stateless_normal([_TONES], seed)
    places = tf.linspace(0.0, _TONES - 1.001, whole // 2 + 1)
    low = tf.cast(places, tf.int32)
    share = places - tf.cast(low, tf.float32)
    gain = tf.gather(gains, low) * (1 - share) + tf.gather(gains, low + 1) * share
    spectrum = tf.signal.rfft(samples, [whole]) * tf.cast(_amplitude(gain), tf.complex64)
    return tf.signal.irfft(spectrum, [whole])[:length]


def random_hiss(samples, seed, snr_db=(5.0, 20.0)):
    """Adds noise that is made up, from white, a hiss, to one that falls with frequency, a rumble.

    Args:
        samples: `float32`, `(samples,)`.
        seed: two whole numbers.
        snr_db: least and most ratio of the recording's power to the noise's, in decibels.
    """
    seeds = tf.random.split(seed, 3)
    length = tf.shape(samples)[0]
    whole = _whole_blocks(length)
    white = tf.signal.rfft(tf.random.stateless_normal([whole], seeds[0]))
    slope = tf.random.stateless_uniform([], seeds[1], 0, _STEEPEST)
    # All below a hundredth of the highest frequency is as loud.
    frequency = tf.maximum(tf.linspace(0.0, 1.0, whole // 2 + 1), 0.01)
    sound = tf.signal.irfft(white * tf.cast(frequency**-slope, tf.complex64), [whole])
    return _mixed(samples, sound[:length], seeds[2], snr_db)


def random_noise(samples, seed, noise, snr_db=(5.0, 20.0)):
    """Mixes a random part of a random sound into a recording.

    Args:
        samples: `float32`, `(samples,)`.
        seed: two whole numbers.
        noise: `Sounds`.
        snr_db: least and most ratio of the recording's power to the sound's, in decibels.
    """
    seeds = tf.random.split(seed, 3)
    sound = noise.pick(seeds[0])
    length = tf.shape(sound)[0]
    start = tf.random.stateless_uniform([], seeds[1], 0, length, tf.int32)
    sound = tf.gather(sound, (start + tf.range(tf.shape(samples)[0])) % length)
    return _mixed(samples, sound, seeds[2], snr_db)


def _mixed(samples, sound, seed, snr_db):
    ratio = tf.random.stateless_uniform([], seed, *map(float, snr_db))
    wanted = _power(samples) * _amplitude(-ratio) ** 2
    return samples + sound * tf.sqrt(tf.math.divide_no_nan(wanted, _power(sound)))


def random_room(samples, seed, rooms):
    """Puts a recording into a random room: the same length and power, with the room's echoes.

    Args:
        samples: `float32`, `(samples,)`.
        seed: two whole numbers.
        rooms: `Sounds`, impulse responses. What stands before their loudest sample, which is the
            direct sound, comes before it here too.
    """
    response = rooms.pick(seed)
    length = tf.shape(samples)[0]
    whole = _whole_blocks(length + tf.shape(response)[0])
    spectrum = tf.signal.rfft(samples, [whole]) * tf.signal.rfft(response, [whole])
    direct = tf.argmax(tf.abs(response), output_type=tf.int32)
    placed = tf.signal.irfft(spectrum, [whole])[direct : direct + length]
    return placed * tf.sqrt(tf.math.divide_no_nan(_power(samples), _power(placed)))


class Sounds:
    """Sounds of different lengths, in memory, one of which can be picked in the graph.

    Args:
        sounds: list of float arrays `(samples,)`.
    """

    def __init__(self, sounds):
        lengths = [len(sound) for sound in sounds]
        self.samples = tf.constant(np.concatenate(sounds), tf.float32)
        self.ends = tf.constant(np.cumsum(lengths), tf.int32)
        self.starts = self.ends - lengths

    def pick(self, seed):
        """A sound chosen by a seed, each as likely: `float32`, `(samples,)`."""
        which = tf.random.stateless_uniform([], seed, 0, tf.size(self.ends), tf.int32)
        return self.samples[self.starts[which] : self.ends[which]]


def read_sounds(name, files, rate):
    """Reads recordings, as `Audio` takes them.

    Args:
        name: of the argument that holds the files, for errors.
        files: list of paths.
        rate: samples per second to bring them to.

    Returns:
        `Sounds`, their channels mixed.

    Raises:
        ValueError: naming the file that is missing, damaged, empty or silent.
    """
    if isinstance(files, str | bytes):
        raise ValueError(f"`{name}` should be a list of files. Received: {name}={files!r:.80}")
    field, sounds = Audio(rate, "waveform"), []
    for file in files:
        try:
            sounds.append(field.signal(field.load(file)).numpy())
        except (ValueError, OSError) as error:
            raise ValueError(f"`{name}` should hold files of sound. {error}") from None
        if not sounds[-1].any():
            raise ValueError(f"`{name}` should hold files of sound. Received: {file!r}, silent")
    return Sounds(sounds)


def _sometimes(step, chance, samples, seed):
    seeds = tf.random.split(seed, 2)
    changed = tf.random.stateless_uniform([], seeds[0]) < chance
    return tf.cond(changed, lambda: step(samples, seeds[1]), lambda: samples)


def _whole_blocks(length):
    return (length // _BLOCK + 2) * _BLOCK


def _power(samples):
    return tf.math.divide_no_nan(
        tf.reduce_sum(samples**2), tf.cast(tf.shape(samples)[0], tf.float32)
    )


def _amplitude(decibels):
    return 10.0 ** (decibels / 20)


def _check_range(name, value, least, most):
    pair = value is None or (len(value) == 2 and least <= value[0] <= value[1] <= most)
    if not pair:
        raise ValueError(
            f"`{name}` should be a pair, its least and its most, from {least} to {most}. "
            f"Received: {name}={value!r}"
        )
