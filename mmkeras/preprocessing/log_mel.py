"""Log-mel spectrograms as Whisper computes them: the one place of their constants."""

import functools
import math

import numpy as np
import tensorflow as tf

WINDOW_SECONDS = 0.025
HOP_SECONDS = 0.010
# Of the power; its logarithm is -10.
FLOOR = 1e-10
# The scale of the Slaney mel: linear up to a frequency, then logarithmic.
_HERTZ_PER_MEL = 200 / 3
_KNEE = 1000.0
_LOG_STEP = math.log(6.4) / 27
# 30 seconds at once: few enough to stay in the caches, enough for all cores.
_FRAMES_AT_ONCE = 3000


def window_and_hop(sample_rate):
    """Samples of a window and of the step from one to the next."""
    return round(sample_rate * WINDOW_SECONDS), round(sample_rate * HOP_SECONDS)


@functools.lru_cache(maxsize=16)
def mel_filters(sample_rate=16000, bands=80):
    """Triangular filters of equal area (Slaney, Auditory Toolbox, 1998).

    Args:
        sample_rate: samples a second.
        bands: how many filters, from 0 to half the sample rate.

    Returns:
        float32, `(window // 2 + 1, bands)`, from powers of frequencies to powers of bands.

    Raises:
        ValueError: when there are so many bands that one would see no frequency.
    """
    frequencies = np.fft.rfftfreq(window_and_hop(sample_rate)[0], 1 / sample_rate)
    edges = _hertz(np.linspace(0, _mels(sample_rate / 2), bands + 2))
    lower, middle, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies[:, np.newaxis] - lower) / (middle - lower)
    falling = (upper - frequencies[:, np.newaxis]) / (upper - middle)
    filters = np.maximum(0, np.minimum(rising, falling)) * 2 / (upper - lower)
    if not filters.any(axis=0).all():
        raise ValueError(
            f"`bands` should be fewer, so that each sees a frequency at {sample_rate} Hz. "
            f"Received: bands={bands}"
        )
    return filters.astype(np.float32)


def _mels(hertz):
    if hertz < _KNEE:
        return hertz / _HERTZ_PER_MEL
    return _KNEE / _HERTZ_PER_MEL + math.log(hertz / _KNEE) / _LOG_STEP


def _hertz(mels):
    over = mels - _KNEE / _HERTZ_PER_MEL
    return np.where(over < 0, mels * _HERTZ_PER_MEL, _KNEE * np.exp(over * _LOG_STEP))


def log_mel(samples, sample_rate=16000, bands=80, centered=True):
    """Samples -> the decadic logarithm of their power in each mel band, at least -10.

    A window of 25 ms (periodic Hann) every 10 ms. Long sound is computed in blocks, so that memory
    does not grow beyond input and output.

    Args:
        samples: float32, `(..., samples)`, at least one.
        sample_rate: samples a second.
        bands: how many.
        centered: whether frame `t` is the window around sample `t * hop`, with the sound mirrored
            at its ends (Whisper), or the window that ends with sample `(t + 1) * hop`, with
            silence before its beginning, which is what `log_mel_chunk` gives.

    Returns:
        float32, `(..., frames, bands)`, of `samples // hop` frames, but at least one.

    Source: Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, 2022.
    """
    samples = tf.convert_to_tensor(samples, tf.float32)
    if samples.shape.rank > 1:
        shape = tf.shape(samples)
        spec = tf.TensorSpec([None, bands], tf.float32)
        rows = tf.map_fn(
            lambda row: log_mel(row, sample_rate, bands, centered),
            tf.reshape(samples, [-1, shape[-1]]),
            fn_output_signature=spec,
        )
        return tf.reshape(rows, tf.concat([shape[:-1], tf.shape(rows)[1:]], 0))

    window, hop = window_and_hop(sample_rate)
    count = tf.size(samples)
    frames = tf.maximum(count // hop, 1)
    blocks = (frames + _FRAMES_AT_ONCE - 1) // _FRAMES_AT_ONCE
    each = (frames + blocks - 1) // blocks
    padded = _mirrored(samples, window // 2) if centered else tf.pad(samples, [[window - hop, 0]])
    needed = (blocks * each - 1) * hop + window
    padded = tf.pad(padded, [[0, tf.maximum(needed - tf.size(padded), 0)]])

    def block(index):
        first = index * each * hop
        part = padded[first : first + (each - 1) * hop + window]
        return _log_mel(part, each, sample_rate, bands)

    spec = tf.TensorSpec([None, bands], tf.float32)
    found = tf.map_fn(block, tf.range(blocks), fn_output_signature=spec)
    return tf.reshape(found, [-1, bands])[:frames]


def first_tail(sample_rate=16000):
    """How many samples of silence stand before the first chunk of a stream."""
    window, hop = window_and_hop(sample_rate)
    return window - hop


def log_mel_chunk(samples, tail, sample_rate=16000, bands=80):
    """The next samples of a stream -> its next frames.

    All frames of a stream together are those of `log_mel(whole, centered=False)`, however it is
    cut into chunks.

    Args:
        samples: float32, `(..., samples)`, any number of them.
        tail: float32, `(..., kept)`, from the last call; at first `first_tail()` zeros.
        sample_rate: samples a second.
        bands: how many.

    Returns:
        The frames that have become whole, `(..., frames, bands)`, maybe none, and the new tail.
    """
    window, hop = window_and_hop(sample_rate)
    joined = tf.concat([tail, samples], axis=-1)
    frames = (tf.shape(joined)[-1] - window + hop) // hop
    part = joined[..., : (frames - 1) * hop + window]
    return _log_mel(part, frames, sample_rate, bands), joined[..., frames * hop :]


def _mirrored(samples, width):
    count = tf.size(samples)
    period = tf.maximum(2 * (count - 1), 1)

    def around(places):
        places = tf.math.floormod(places, period)
        return tf.gather(samples, tf.minimum(places, period - places))

    return tf.concat(
        [around(tf.range(-width, 0)), samples, around(tf.range(count, count + width))], axis=0
    )


def _log_mel(samples, frames, sample_rate, bands):
    """Samples, exactly those of so many frames -> `(..., frames, bands)`."""
    window, hop = window_and_hop(sample_rate)
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)
    # Windows overlap: they are put together of the longest pieces that all of them share.
    piece = math.gcd(window, hop)
    lead = tf.shape(samples)[:-1]
    pieces = tf.reshape(samples, tf.concat([lead, [-1, piece]], 0))
    places = tf.range(frames)[:, tf.newaxis] * (hop // piece) + np.arange(window // piece)
    windows = tf.reshape(tf.gather(pieces, places, axis=-2), tf.concat([lead, [frames, window]], 0))
    spectrum = tf.signal.rfft(windows * hann, [window])
    power = tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
    mel = tf.tensordot(power, mel_filters(sample_rate, bands), 1)
    return tf.math.log(tf.maximum(mel, FLOOR)) / math.log(10)
