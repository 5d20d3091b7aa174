"""A recording that comes through a pipe: its samples as soon as they are there."""

import math
import struct

import numpy as np
import tensorflow as tf

from mmkeras.preprocessing import wav
from mmkeras.preprocessing.resampling import resampled

_OTHER_FILES = (b"fLaC", b"OggS", b"ID3")
_WAVS = (b"RIFF", b"RF64")
_SIZES_UNKNOWN = (0, 0xFFFFFFFF)
_PIECE_BYTES = 2**16
_LONGEST_HEADER = 2**20


def pieces(file, field, rate=None):
    """See `Audio.pieces`."""
    rate = field.sample_rate if rate is None else wav.check_rate("rate", rate)
    raw = _beginning(file)
    if not raw:
        raise ValueError("A recording should come through `file`. Received: nothing")
    header, size = _header(raw, rate)
    if header is None:
        yield field.signal(field.load(raw + file.read())).numpy()
        return
    fault = wav.fault_of(header._replace(start=1, frames=1))
    if fault:
        raise ValueError(f"The recording is {fault}")
    heard = _decoded(raw[header.start :], file, header, size)
    if header.rate != field.sample_rate:
        heard = resampled(heard, header.rate, field.sample_rate)
    yield from heard


def _decoded(data, file, header, size):
    """The samples of a file of which some have come, at its own rate."""
    while True:
        count = min(len(data), size) // header.block
        if count:
            piece = wav.cut(data, header._replace(start=0), 0, count)
            numbers = header.is_float and wav.numbers(piece, wav.read_header(piece))
            if not np.isfinite(numbers).all():
                raise ValueError("The recording has samples that are NaN or infinite")
            contents = tf.constant(piece)
            yield wav.mono(contents, wav.header_of(contents)).numpy()
        data = data[count * header.block :]
        size -= count * header.block
        more = size >= header.block and file.read1(_PIECE_BYTES)
        if not more:
            return
        data += more


def _beginning(file):
    """What it takes to know what a file is, and a WAV up to its samples."""
    raw = b""
    while len(raw) < 12 or (raw.startswith(_WAVS) and not wav.read_header(raw).start):
        more = len(raw) < _LONGEST_HEADER and file.read1(_PIECE_BYTES)
        if not more:
            break
        raw += more
    return raw


def _header(raw, rate):
    """The header and the bytes of samples, of what can be heard while it comes; else None."""
    if raw.startswith(_OTHER_FILES):
        return None, 0
    if not raw.startswith(_WAVS):
        return wav.Header(1, wav.PCM, 16, 1, 1, rate, 0, 0), math.inf
    header = wav.read_header(raw)
    if not header.start or header.kind < 0:
        return None, 0
    (size,) = struct.unpack("<I", raw[header.start - 4 : header.start])
    return header, math.inf if size in _SIZES_UNKNOWN else size
