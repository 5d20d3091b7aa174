"""WAV files: their headers, read in Python and in the graph alike, and their samples."""

import math
import struct
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

LOWEST_RATE, HIGHEST_RATE = 1000, 384_000
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
# The tag and the bytes of one sample of all kinds that are read; a kind is its row.
_KINDS = ((PCM, 1), (PCM, 2), (PCM, 3), (PCM, 4), (FLOAT, 4), (FLOAT, 8))
_FIRST_FLOAT = 4
_DTYPES = {"u1": PCM, "i2": PCM, "i4": PCM, "f4": FLOAT, "f8": FLOAT}
_UNKNOWN = 0xFFFFFFFF
# A file of nothing but empty chunks should not be walked for hours.
_MOST_CHUNKS = 1000
_BLOCK_BYTES = 2**24


class Header(NamedTuple):
    """What a file says of itself, as numbers or as scalar tensors of int64.

    Attributes:
        riff: 1 for a WAV, 0 for another file, -1 for an empty one.
        tag: The format tag, of an extensible header its sub-format; 0 if there is none.
        bits: Of a sample.
        kind: Of samples, -1 for one that is not read.
        channels: How many.
        rate: Samples of each channel a second.
        start: The position of the first sample in the file; 0 if there is none.
        frames: Samples of each channel that are there.
    """

    riff: Any
    tag: Any
    bits: Any
    kind: Any
    channels: Any
    rate: Any
    start: Any
    frames: Any

    @property
    def block(self):
        """Bytes of a sample of all channels, in Python."""
        return _KINDS[self.kind][1] * self.channels

    @property
    def is_readable(self):
        """Whether the graph reads it, or there is nothing to read, in Python."""
        return self.kind >= 0 or self.riff < 0

    @property
    def is_float(self):
        """Whether samples can be other than finite, in Python."""
        return self.kind >= _FIRST_FLOAT


def faults(header, max_seconds):
    """All that can be wrong with a header: `(whether it is, parts of a message)`, first come first.

    The same for numbers and tensors.
    """
    riff, tag, bits, kind, channels, rate, start, frames = header
    return [
        (riff < 0, ["an empty file (0 bytes)"]),
        (riff == 0, ["not a WAV file"]),
        (tag == 0, ["a WAV without a whole `fmt ` chunk"]),
        (channels == 0, ["a WAV of 0 channels"]),
        (
            kind < 0,
            [
                *("a WAV of format ", tag, " and ", bits, " bits; PCM of 8, 16, 24 and 32 bits "),
                "and float of 32 and 64 bits can be read",
            ],
        ),
        (
            (rate < LOWEST_RATE) | (rate > HIGHEST_RATE),
            ["a WAV of ", rate, f" Hz; from {LOWEST_RATE} to {HIGHEST_RATE} can be read"],
        ),
        (start == 0, ["a WAV without a `data` chunk"]),
        (frames == 0, ["a WAV without samples"]),
        (
            frames > int(min(max_seconds * 1000, 2**31)) * rate // 1000,
            [
                *("a WAV of ", -(-frames // _at_least_one(rate)), " seconds; "),
                f"at most {max_seconds:g} are allowed (`max_seconds`)",
            ],
        ),
    ]


def fault_of(header, max_seconds=math.inf):
    """What is wrong with a header first, None if nothing is, in Python."""
    found = (parts for wrong, parts in faults(header, max_seconds) if wrong)
    return "".join(map(str, next(found, []))) or None


def _at_least_one(number):
    return tf.maximum(number, 1) if tf.is_tensor(number) else max(number, 1)


# Python's side.


def check_rate(name, rate):
    """Refuses what cannot be a rate, as the argument `name`."""
    if not isinstance(rate, int) or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise ValueError(
            f"`{name}` should be a whole number from {LOWEST_RATE} to {HIGHEST_RATE}. "
            f"Received: {name}={rate!r}"
        )
    return rate


def read_header(raw):
    """The `Header` of a file, of which no more than that is looked at.

    Args:
        raw: its contents, `bytes` or a `mmap`.
    """
    if raw[:4] not in (b"RIFF", b"RF64") or raw[8:12] != b"WAVE":
        return Header(0 if len(raw) else -1, 0, 0, -1, 0, 0, 0, 0)
    tag = bits = channels = rate = block = start = size = 0
    at = 12
    for _ in range(_MOST_CHUNKS):
        if at + 8 > len(raw):
            break
        name, size = struct.unpack("<4sI", raw[at : at + 8])
        if name == b"data":
            start = at + 8
            break
        if name == b"fmt ":
            chunk = bytes(raw[at + 8 : at + 8 + min(size, 26)]).ljust(26, b"\0")
            tag, channels, rate, _, block, bits = struct.unpack("<HHIIHH", chunk[:16])
            if tag == EXTENSIBLE:
                (tag,) = struct.unpack("<H", chunk[24:])
        at += 8 + size + size % 2
    pair = (tag, block // max(channels, 1))
    kind = _KINDS.index(pair) if pair in _KINDS else -1
    size = _available(raw, start, size) if start else 0
    return Header(1, tag, bits, kind, channels, rate, start, size // max(block, 1))


def _available(raw, start, size):
    rest = len(raw) - start
    end = 8 + struct.unpack("<I", raw[4:8])[0]
    if raw[:4] == b"RF64" and size == _UNKNOWN and len(raw) >= 36:
        (size,) = struct.unpack("<Q", raw[28:36])
    # Who wrote it to a pipe did not know the size. With more chunks to come, 0 is meant.
    if size == 0 and not start < end <= len(raw):
        size = rest
    return min(size, rest)


def pack(samples, rate):
    """Samples `(samples,)` or `(samples, channels)` of u1, i2, i4, f4 or f8 -> a WAV file."""
    samples = np.ascontiguousarray(samples)
    tag, width = _DTYPES[samples.dtype.str[1:]], samples.dtype.itemsize
    channels = samples.shape[1] if samples.ndim == 2 else 1
    return _file(tag, width, channels, rate, samples.astype(samples.dtype.newbyteorder("<")).data)


def cut(raw, header, first, last):
    """The part of a file from one sample to before another, as a file."""
    tag, width = _KINDS[header.kind]
    data = raw[header.start + first * header.block : header.start + last * header.block]
    return _file(tag, width, header.channels, header.rate, data)


def _file(tag, width, channels, rate, data):
    data = bytes(data)
    block = width * channels
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * block % 2**32, block, 8 * width)
    size = min(len(data), _UNKNOWN)
    riff = b"RIFF" + struct.pack("<I", min(36 + size, _UNKNOWN)) + b"WAVEfmt \x10\0\0\0" + form
    return riff + b"data" + struct.pack("<I", size) + data


def numbers(raw, header):
    """The samples as they are in the file, `(samples, channels)`, of a kind that NumPy knows."""
    tag, width = _KINDS[header.kind]
    kind = "f" if tag == FLOAT else "u" if width == 1 else "i"
    count = header.frames * header.channels
    return np.frombuffer(raw, f"<{kind}{width}", count, header.start).reshape(-1, header.channels)


# The graph's side.


def rarely(function):
    """A branch as one op that calls a function: inlined, its ops take time even when not run."""
    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})


def plain_samples(contents, rate, max_seconds):
    """The quick way for the commonest file: 16 bits, one channel, at a rate, nothing besides.

    Returns:
        Whether the file is that, and a function that decodes it if so.
    """
    expected = np.frombuffer(_file(PCM, 2, 1, rate, b""), np.uint8)
    places = np.r_[0:4, 8:40]
    head = tf.io.decode_raw([tf.strings.substr(contents, 0, 44)], tf.uint8, fixed_length=44)[0]
    size = tf.bitcast(head[40:], tf.int32)
    there = tf.strings.length(contents) - 44
    most = min(int(max_seconds * rate) * 2, 2**31 - 1)
    plain = (
        tf.reduce_all(tf.gather(head, places) == expected[places])
        & (size > 1)
        & (size <= tf.minimum(there, most))
    )

    def decode():
        data = tf.strings.substr(contents, 44, size // 2 * 2)
        return tf.cast(tf.io.decode_raw(data, tf.int16), tf.float32) / 2**15

    return plain, decode


def header_of(contents):
    """The `Header` of a file in the graph: `contents` is a scalar string."""
    length = tf.cast(tf.strings.length(contents), tf.int64)
    first = _int32s(contents, tf.constant(0, tf.int64), 9)
    is_64 = first[0] == _name(b"RF64")
    riff = ((first[0] == _name(b"RIFF")) | is_64) & (first[2] == _name(b"WAVE")) & (length >= 12)

    def unfinished(at, start, *_):
        return riff & (start == 0) & (at + 8 <= length)

    def step(at, start, size, form):
        name, size = tf.unstack(_int32s(contents, at, 2))
        size = _unsigned(size)
        start = tf.where(name == _name(b"data"), at + 8, start)
        form = tf.cond(name == _name(b"fmt "), lambda: _form(contents, at + 8, size), lambda: form)
        return at + 8 + size + size % 2, start, size, form

    zero = tf.constant(0, tf.int64)
    _, start, size, form = tf.while_loop(
        unfinished,
        step,
        (zero + 12, zero, zero, tf.zeros([5], tf.int64)),
        maximum_iterations=_MOST_CHUNKS,
    )
    tag, channels, rate, block, bits = tf.unstack(form)
    pair = tf.stack([tag, block // tf.maximum(channels, 1)])
    match = tf.reduce_all(pair == tf.constant(_KINDS, tf.int64), axis=1)
    kind = tf.where(tf.reduce_any(match), tf.argmax(match), zero - 1)
    rest = length - start
    end = 8 + _unsigned(first[1])
    size = tf.where(
        is_64 & (size == _UNKNOWN) & (length >= 36), tf.bitcast(first[7:9], tf.int64), size
    )
    # Beyond what an int64 holds, or of a file that is not whole, it is all that is there.
    size = tf.where((size < 0) | ((size == 0) & ~((start < end) & (end <= length))), rest, size)
    frames = tf.where(start > 0, tf.minimum(size, rest) // tf.maximum(block, 1), zero)
    riff = tf.where(length == 0, zero - 1, tf.cast(riff, tf.int64))
    return Header(riff, tag, bits, kind, channels, rate, start, frames)


def _name(four):
    return int.from_bytes(four, "little")


def _int32s(contents, at, count):
    data = tf.strings.substr(contents, at, tf.constant(4 * count, tf.int64))
    return tf.io.decode_raw([data], tf.int32, fixed_length=4 * count)[0]


def _unsigned(number):
    return tf.cast(number, tf.int64) % 2**32


def _form(contents, at, size):
    data = tf.strings.substr(contents, at, tf.minimum(size, 26))
    words = tf.io.decode_raw([data], tf.uint16, fixed_length=26)[0]
    words = tf.cast(words, tf.int64)
    tag = tf.where(words[0] == EXTENSIBLE, words[12], words[0])
    return tf.stack([tag, words[1], words[2] + 2**16 * words[3], words[6], words[7]])


def refuse(header, max_seconds, where):
    """Fails where a header is at fault, with a message that begins with `where`."""
    checks = faults(header, max_seconds)

    def say():
        reasons = [_join(parts) for _, parts in checks]
        reason = tf.gather(reasons, tf.argmax([wrong for wrong, _ in checks]))
        return tf.debugging.Assert(False, [tf.strings.join([where, reason])])

    wrong = tf.reduce_any([wrong for wrong, _ in checks])
    return tf.cond(wrong, say, tf.no_op)


def _join(parts):
    return tf.strings.join([p if isinstance(p, str) else tf.strings.as_string(p) for p in parts])


def mono(contents, header):
    """Samples of a file as float32 between -1 and 1, the mean of its channels, `(samples,)`."""
    block = tf.gather([width for _, width in _KINDS], tf.cast(header.kind, tf.int32))
    block = tf.cast(block, tf.int64) * header.channels
    each = tf.maximum(_BLOCK_BYTES // block, 1)
    count = tf.cast((header.frames + each - 1) // each, tf.int32)

    def step(index, parts):
        first = tf.cast(index, tf.int64) * each
        length = tf.minimum(each, header.frames - first)
        data = tf.strings.substr(contents, header.start + first * block, length * block)
        samples = tf.switch_case(
            tf.cast(header.kind, tf.int32), [lambda read=read: read(data) for read in _READERS]
        )
        samples = tf.reshape(samples, tf.stack([length, header.channels]))
        return index + 1, parts.write(index, tf.reduce_mean(samples, axis=1))

    parts = tf.TensorArray(tf.float32, count, infer_shape=False, element_shape=[None])
    return tf.while_loop(lambda index, _: index < count, step, (0, parts))[1].concat()


def _eight_bits(data):
    return (tf.cast(tf.io.decode_raw(data, tf.uint8), tf.float32) - 128) / 2**7


def _sixteen_bits(data):
    return tf.cast(tf.io.decode_raw(data, tf.int16), tf.float32) / 2**15


def _twenty_four_bits(data):
    three = tf.reshape(tf.io.decode_raw(data, tf.uint8), [-1, 3])
    return tf.cast(tf.bitcast(tf.pad(three, [[0, 0], [1, 0]]), tf.int32), tf.float32) / 2**31


def _thirty_two_bits(data):
    return tf.cast(tf.io.decode_raw(data, tf.int32), tf.float32) / 2**31


def _single(data):
    return tf.io.decode_raw(data, tf.float32)


def _double(data):
    return tf.cast(tf.io.decode_raw(data, tf.float64), tf.float32)


_READERS = (
    _eight_bits,
    _sixteen_bits,
    _twenty_four_bits,
    _thirty_two_bits,
    _single,
    _double,
)
