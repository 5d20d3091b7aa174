"""Recordings as people have them: paths, parts of files, bytes, arrays."""

import io
import math
import mmap
import numbers
import os
import re

import numpy as np
import soundfile

from mmkeras.preprocessing import wav
from mmkeras.preprocessing.field import read_bytes

_FRAGMENT = re.compile(r"(.+)#t=(?=.)(\d+(?:\.\d*)?)?(?:,(\d+(?:\.\d*)?))?", re.DOTALL)
# What holds the samples of a subtype without loss; all others decode to float32.
_DTYPES = {
    **dict.fromkeys(("PCM_S8", "PCM_U8", "PCM_16", "ALAW", "ULAW", "ALAC_16"), "int16"),
    **dict.fromkeys(("PCM_24", "PCM_32", "ALAC_20", "ALAC_24", "ALAC_32"), "int32"),
    "DOUBLE": "float64",
}


def contents(value):
    """Any recording as the contents of a file, which part of it, and what to call it."""
    if isinstance(value, bytes):
        return value, None, f"<{len(value)} bytes>"
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return _packed(*value), None, f"<array of shape {np.shape(value[0])} at {value[1]} Hz>"
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError(
            "`audio` should be a path, bytes or (array, rate). "
            f"Received: audio={value!r:.80} of type {type(value).__name__}"
        )
    path = os.fspath(value)
    fragment = _FRAGMENT.fullmatch(path)
    if not fragment or os.path.exists(path):
        return _read(path), None, repr(path)
    start, end = fragment[2] or 0, fragment[3] or math.inf
    return _read(fragment[1]), (float(start), float(end)), repr(path)


def _read(path):
    """The contents of a file; of one on disk only what is looked at is read."""
    if not os.path.isfile(path) or os.path.getsize(path) == 0:
        return read_bytes(path)
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _packed(array, rate):
    array = np.asarray(array)
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    named = f"an array of {array.dtype} of shape {array.shape} at {rate!r} Hz"
    sound = array.dtype in ("uint8", "int16", "int32", "float32", "float64")
    shaped = array.ndim == 1 or (array.ndim == 2 and 1 <= array.shape[1] < 2**16)
    if not sound or not shaped or not isinstance(rate, numbers.Integral) or not 0 < rate < 2**32:
        raise ValueError(
            "`audio` should be samples of float, int16, int32 or uint8, (samples,) or "
            f"(samples, channels), and a whole number of them a second. Received: {named}"
        )
    return wav.pack(array, int(rate))


def open_other(raw):
    """Opens a file that is no WAV of ours with soundfile.

    Raises:
        ValueError: when soundfile does not read it either.
    """
    try:
        return soundfile.SoundFile(io.BytesIO(raw))
    except soundfile.LibsndfileError:
        fault = wav.fault_of(wav.read_header(raw))
        raise ValueError(f"it is {fault}, and soundfile does not read it") from None


def header_of(file):
    """What is known of a file that is open, as the header of a WAV."""
    return wav.Header(1, wav.PCM, 16, 1, file.channels, file.samplerate, 1, file.frames)


def samples(file, first, last):
    """Samples of a file that is open, as they are in it, `(samples, channels)`."""
    try:
        file.seek(first)
        return file.read(last - first, _DTYPES.get(file.subtype, "float32"))
    except soundfile.LibsndfileError as error:
        raise ValueError(f"it is damaged: {error.error_string}") from None
