"""The built-in world speaks: texts as recordings, by a synthesizer or an alphabet of tones."""

import _ctypes
import contextlib
import ctypes
import importlib.util
import io
import threading
import wave

import numpy as np

from mmkeras.data.world import read_world

# Name: voice of eSpeak NG, and how much higher its tones are than those of the alphabet.
VOICES = {
    "ada": ("en-us+f2", 1.06),
    "ben": ("en-us+m3", 0.96),
    "cleo": ("en-gb-x-rp+f4", 1.04),
    "dan": ("en-gb-scotland+m1", 0.94),
    "eve": ("en-029+f3", 1.02),
    "fred": ("en-us-nyc+m7", 0.98),
    "gwen": ("en-gb-x-gbclan+f1", 1.05),
    "hugo": ("en-gb-x-gbcwmd+m5", 0.95),
}
SYNTHESIZERS = ("espeak", "tones")

TONE_RATE = 8000
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789'-.,?"
LOW_TONES = (300, 374, 466, 580, 722, 900)  # hertz
HIGH_TONES = (1100, 1308, 1555, 1848, 2197, 2612, 3105)
_TONE, _GAP, _EDGE = 0.060, 0.020, 0.005  # seconds
_MARGIN = 0.05


def speak(text, voice=None, speed=None, seed=0, synthesizer=None):
    """Says a text.

    The alphabet of tones, which needs nothing installed: every character is two tones together,
    60 ms long and with 20 ms of silence after it. Character number `i` of `ALPHABET` has
    `LOW_TONES[i // 7]` and `HIGH_TONES[i % 7]`; a space is silence instead. Capitals sound like
    small letters. Any other character is its code point in decimal digits, between two signs that
    have the pair after the last of the alphabet. A voice moves all tones by up to 6 %, and the
    seed each tone's length by up to 10 % and its loudness by up to 3 dB.

    Args:
        text: str of any language; eSpeak NG speaks it as English.
        voice: one of `VOICES`, or `None` for one by the seed.
        speed: 0.5 to 2, where 1 is normal; or `None` for one by the seed, 0.85 to 1.2.
        seed: whole number. The same arguments give the same bytes.
        synthesizer: `"espeak"` (needs the extra `demo`), `"tones"`, or `None` for eSpeak NG if it
            is installed and tones if not.

    Returns:
        Bytes of a WAV file: 16-bit, mono, 22050 samples per second, or 8000 of tones.

    Raises:
        ValueError: the text is empty, or another argument is not one of these.
        ImportError: eSpeak NG is asked for and not installed.

    Example:

    ```python
    from pathlib import Path

    Path("star.wav").write_bytes(speak("a small red star", voice="ada"))
    ```
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"`text` should be a str to say. Received: text={text!r:.80}")
    if voice is not None and voice not in VOICES:
        raise ValueError(f"`voice` should be one of {list(VOICES)}. Received: voice={voice!r}")
    if speed is not None and not 0.5 <= speed <= 2:
        raise ValueError(f"`speed` should be from 0.5 to 2. Received: speed={speed!r}")
    rng = np.random.default_rng(seed)
    by_seed = list(VOICES)[int(rng.integers(len(VOICES)))], rng.uniform(0.85, 1.2)
    voice, speed = voice or by_seed[0], speed or by_seed[1]
    say = {"espeak": _say_with_espeak, "tones": _say_with_tones}[_synthesizer(synthesizer)]
    samples, rate = say(text, VOICES[voice], speed, rng)
    return _wav(np.pad(samples, int(_MARGIN * rate)), rate)


def spoken(records, text="caption", seed=0, synthesizer=None):
    """Records with a recording of what they say.

    Each gets a voice, a speed and, of several texts, one by the seed and its own number alone.

    Args:
        records: dict of equally long lists by name.
        text: the column to say: of strings, or of lists of strings.
        seed: whole number, 0 or more.
        synthesizer: see `speak`.

    Returns:
        The records with the columns `"audio"` (WAV bytes, about 100 kB each), `"transcript"` and
        `"speaker"`.

    Raises:
        ValueError: there is no such column, or a text is empty.

    Example:

    ```python
    records = spoken(mm.world(100))
    ```
    """
    if text not in records:
        raise ValueError(f"`text` should be one of {sorted(records)}. Received: text={text!r}")
    said = {"audio": [], "transcript": [], "speaker": []}
    for row, texts in enumerate(records[text]):
        rng = np.random.default_rng([seed, row])
        transcript = texts if isinstance(texts, str) else texts[int(rng.integers(len(texts)))]
        voice = list(VOICES)[int(rng.integers(len(VOICES)))]
        own_seed = int(rng.integers(2**31))
        said["audio"].append(speak(transcript, voice, None, own_seed, synthesizer))
        said["transcript"].append(transcript)
        said["speaker"].append(voice)
    return {**records, **said}


def read_spoken_world(root=None, train=400, valid=50, test=50, seed=0, size=64, synthesizer=None):
    """The three splits of the built-in world, with one of each scene's captions spoken.

    Args:
        root: `None`; here because every reader takes one, while this one reads no files.
        train: number of scenes to train on.
        valid: number of scenes to validate on.
        test: number of scenes to test on.
        seed: whole number, 0 or more.
        size: side of the images in pixels, 8 or more.
        synthesizer: see `speak`.

    Returns:
        Tuple `(train, valid, test)` of records as `spoken` gives them.

    Raises:
        ValueError: an argument is out of its range.

    Example:

    ```python
    train, valid, test = mm.read("spoken_world", train=100)
    ```
    """
    splits = read_world(root, train, valid, test, seed, size)
    return tuple(
        spoken(records, seed=seed + number, synthesizer=synthesizer)
        for number, records in enumerate(splits)
    )


def _synthesizer(name):
    installed = importlib.util.find_spec("espeakng_loader") is not None
    if name is None:
        return "espeak" if installed else "tones"
    if name not in SYNTHESIZERS:
        raise ValueError(
            f"`synthesizer` should be one of {SYNTHESIZERS} or None. Received: synthesizer={name!r}"
        )
    if name == "espeak" and not installed:
        raise ImportError('eSpeak NG is not installed: pip install "mmkeras[demo]"')
    return name


def _wav(samples, rate):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.clip(np.round(samples * 32767), -32768, 32767).astype("<i2").tobytes())
    return file.getvalue()


# The alphabet of tones.


def _say_with_tones(text, voice, speed, rng):
    parts = []
    for sign in _signs(text):
        length = _TONE / speed * rng.uniform(0.9, 1.1)
        loudness = 0.3 * 10 ** (rng.uniform(-3, 3) / 20)
        parts += [_tones(sign, length, voice[1]) * loudness, np.zeros(_count(_GAP / speed))]
    return np.concatenate(parts), TONE_RATE


def _signs(text):
    """Numbers of pairs of tones; `None` is silence."""
    for character in text.lower():
        if character.isspace():
            yield None
        elif character in ALPHABET:
            yield ALPHABET.index(character)
        else:
            yield len(ALPHABET)
            yield from (ALPHABET.index(digit) for digit in str(ord(character)))
            yield len(ALPHABET)


def _tones(sign, length, shift):
    times = np.arange(_count(length)) / TONE_RATE
    if sign is None:
        return np.zeros(len(times))
    low, high = LOW_TONES[sign // len(HIGH_TONES)], HIGH_TONES[sign % len(HIGH_TONES)]
    both = sum(np.sin(2 * np.pi * shift * hertz * times) for hertz in (low, high)) / 2
    edges = np.minimum(times, times[::-1]) / _EDGE
    return both * np.sin(np.pi / 2 * np.minimum(edges, 1)) ** 2


def _count(seconds):
    return max(round(seconds * TONE_RATE), 1)


# eSpeak NG, through its C interface (espeak-ng/speak_lib.h).

_SYNCHRONOUS, _DONT_EXIT, _UTF8, _CHARACTERS = 2, 0x8000, 1, 1
_RATE, _PITCH = 1, 3
_WORDS_PER_MINUTE = 175
_ONE_AT_A_TIME = threading.Lock()
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def _say_with_espeak(text, voice, speed, rng):
    pieces = []

    @_Callback
    def take(samples, count, events):
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    with _ONE_AT_A_TIME, _espeak() as (library, rate):
        library.espeak_SetSynthCallback(take)
        if library.espeak_SetVoiceByName(voice[0].encode()):
            raise OSError(f"eSpeak NG has no voice {voice[0]!r}")
        library.espeak_SetParameter(_RATE, round(_WORDS_PER_MINUTE * speed), 0)
        library.espeak_SetParameter(_PITCH, int(rng.integers(40, 61)), 0)
        data = text.replace("\0", " ").encode("utf-8", "replace")
        library.espeak_Synth(data, len(data) + 1, 0, _CHARACTERS, 0, _UTF8, None, None)
        library.espeak_Synchronize()
    return np.frombuffer(b"".join(pieces), "<i2") / 32768, rate


@contextlib.contextmanager
def _espeak():
    """The library, as fresh as at its first use.

    Its oscillators go on from one text to the next, so that only unloading it makes what it says
    depend on its arguments alone. That takes a few milliseconds.
    """
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        home = espeakng_loader.get_data_path()
        rate = library.espeak_Initialize(_SYNCHRONOUS, 0, home.encode(), _DONT_EXIT)
        if rate <= 0:
            raise OSError(f"eSpeak NG cannot read its data in {home!r}")
        yield library, rate
        library.espeak_Terminate()
    finally:
        unload = getattr(_ctypes, "dlclose", None) or _ctypes.FreeLibrary
        unload(library._handle)
