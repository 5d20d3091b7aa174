"""Band-limited resampling from any rate to any other: in the graph, and of what comes in pieces."""

import math

import numpy as np
import tensorflow as tf

# Samples of the lower rate that a section has at least; of a stream, which waits for each section.
# An eighth of the shorter one still holds all of the filter's response that a float32 can show.
_SECTION = 8192
_SHORT_SECTION = 2048
# As shares of the lower Nyquist frequency: where half the amplitude is left, and how fast it falls,
# as the deviation of a normal distribution. So does soxr's high quality.
_HALF, _DEVIATION = 0.9568, 0.0118


def resample(samples, rate, new_rate):
    """Samples at one rate -> the same sound at another.

    The sound is cut into overlapping sections, and the spectrum of each is cut off or filled up
    to the new rate. A section is a whole number of the shortest times in which both rates have
    whole numbers of samples, so that all positions are exact for every pair of rates, also for
    such that have no common divisor, and memory does not grow beyond input and output. Up to 92 %
    of the lower Nyquist frequency nothing changes; of what is above it nothing is left.

    Args:
        samples: float32, `(samples,)`.
        rate: whole number or scalar tensor, samples a second.
        new_rate: the same, of the result. Only the ratio of the two matters.

    Returns:
        float32, `(ceil(samples * new_rate / rate),)`.

    Example:

    ```python
    slower = resample(samples, 9, 10)  # as long as 10 / 9 of it, and lower in pitch
    ```
    """
    samples = tf.convert_to_tensor(samples, tf.float32)
    rate, new_rate = tf.cast(rate, tf.int64), tf.cast(new_rate, tf.int64)
    divisor = _common_divisor(rate, new_rate)
    old, new = rate // divisor, new_rate // divisor
    count = tf.size(samples, tf.int64)
    new_count = (count * new + old - 1) // old

    lower = tf.minimum(old, new)
    choices = tf.constant([2**power for power in range(2, _SECTION.bit_length())], tf.int64)
    periods = choices[tf.argmax(choices * lower >= _SECTION)]
    margin = tf.maximum(periods // 8, 1)
    step = periods - 2 * margin
    sections = tf.maximum((new_count + step * new - 1) // (step * new), 1)
    total = (sections * step + 2 * margin) * old
    padded = tf.pad(samples, [[margin * old, total - margin * old - count]])
    fade = _fade(periods * lower // 2) * tf.cast(new / old, tf.float32)
    fade = tf.cast(fade, tf.complex64)
    length, new_length = (tf.cast([periods * each], tf.int32) for each in (old, new))

    def section(index):
        first = index * step * old
        spectrum = tf.signal.rfft(padded[first : first + periods * old], length)
        part = tf.signal.irfft(spectrum[: tf.size(fade)] * fade, new_length)
        return part[margin * new : (periods - margin) * new]

    signature = tf.TensorSpec([None], tf.float32)
    parts = tf.map_fn(section, tf.range(sections), fn_output_signature=signature)
    return tf.reshape(parts, [-1])[:new_count]


def resampled(pieces, rate, new_rate):
    """As `resample`, of samples that come in pieces: each is given as soon as it is certain.

    That is some 130 ms later, for most pairs of rates above 16 kHz.

    Args:
        pieces: iterable of float32 arrays `(samples,)`.
        rate, new_rate: whole numbers, samples a second.

    Yields:
        float32 arrays `(samples,)`; together what `resample` gives for the whole, to 1e-5.
    """
    divisor = math.gcd(rate, new_rate)
    old, new = rate // divisor, new_rate // divisor
    lower = min(old, new)
    periods = 4
    while periods * lower < _SHORT_SECTION:
        periods *= 2
    margin = max(periods // 8, 1)
    step = periods - 2 * margin
    fade = _fade(periods * lower // 2).numpy() * np.float32(new / old)

    def section(samples):
        spectrum = np.fft.rfft(samples[: periods * old])[: len(fade)] * fade
        part = np.fft.irfft(spectrum, periods * new)
        return part[margin * new : (periods - margin) * new].astype(np.float32)

    held, heard, given = np.zeros(margin * old, np.float32), 0, 0
    for piece in pieces:
        heard += len(piece)
        held = np.concatenate([held, piece])
        while len(held) >= periods * old:
            yield section(held)
            held, given = held[step * old :], given + step * new
    rest = -(-heard * new // old) - given
    while rest > 0:
        held = np.pad(held, [0, max(periods * old - len(held), 0)])
        yield section(held)[:rest]
        held, rest = held[step * old :], rest - step * new


def _common_divisor(one, other):
    return tf.while_loop(lambda a, b: b > 0, lambda a, b: (b, a % b), (one, other))[0]


def _fade(last):
    """The factor of each frequency up to the `last`, the lower Nyquist frequency."""
    share = tf.cast(tf.range(last + 1), tf.float32) / tf.cast(last, tf.float32)
    return tf.math.erfc((share - _HALF) / (_DEVIATION * math.sqrt(2))) / 2
