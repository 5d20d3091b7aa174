"""What is heard in a room: one of its things calls."""

import dataclasses
import io

import numpy as np
import soundfile

RATE = 8000
# Three tones of each shape's call, in semitones above the pitch.
MOTIFS = {
    "circle": (0, 0, 0),
    "square": (0, 4, 8),
    "triangle": (0, 8, 0),
    "star": (8, 4, 0),
    "cross": (8, 0, 8),
    "heart": (0, 0, 8),
}
PITCHES = {"low": 400.0, "high": 1000.0}  # hertz
MOST_CALLS = 4
_TONE, _GAP, _PAUSE, _MARGIN = 0.070, 0.010, 0.180, 0.100  # seconds
_EDGE = 0.008


@dataclasses.dataclass(frozen=True)
class Call:
    """How one thing in a room calls.

    Args:
        shape: one of `MOTIFS`: who calls.
        pitch: one of `PITCHES`.
        times: how often, from 1 to `MOST_CALLS`.

    Raises:
        ValueError: an argument is none of these.
    """

    shape: str
    pitch: str
    times: int

    def __post_init__(self):
        for name, allowed in (
            ("shape", list(MOTIFS)),
            ("pitch", list(PITCHES)),
            ("times", list(range(1, MOST_CALLS + 1))),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"`{name}` should be one of {allowed}. Received: {name}={getattr(self, name)!r}"
                )


def play(call, seed=0):
    """A call as a recording.

    A call is the three tones of its shape's motif, 70 ms each, and comes again after a pause of
    180 ms. The seed moves the pitch by up to 5 %, the lengths by up to 10 % and the loudness by up
    to 3 dB, and adds silence before and after and a little noise.

    Args:
        call: a `Call`.
        seed: whole number. The same arguments give the same bytes.

    Returns:
        Bytes of a WAV file: 16-bit, mono, 8000 samples per second, at most 2.3 seconds.

    Example:

    ```python
    from pathlib import Path

    Path("star.wav").write_bytes(play(Call("star", "high", times=2)))
    ```
    """
    rng = np.random.default_rng(seed)
    base = PITCHES[call.pitch] * rng.uniform(0.95, 1.05)
    slow, loud = rng.uniform(0.9, 1.1), 0.3 * 10 ** (rng.uniform(-3, 3) / 20)
    gap, pause = (np.zeros(_count(seconds * slow)) for seconds in (_GAP, _PAUSE))
    motif = [_tone(base * 2 ** (step / 12), _TONE * slow) for step in MOTIFS[call.shape]]
    once = [part for tone in motif for part in (tone, gap)]
    margins = [np.zeros(_count(_MARGIN * rng.uniform(0.5, 1.5))) for _ in range(2)]
    samples = np.concatenate([margins[0], *[*once, pause] * call.times, margins[1]])
    samples = loud * samples + 0.003 * rng.standard_normal(len(samples))
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _tone(hertz, seconds):
    times = np.arange(_count(seconds)) / RATE
    edges = np.minimum(times, times[::-1]) / _EDGE
    return np.sin(2 * np.pi * hertz * times) * np.sin(np.pi / 2 * np.minimum(edges, 1)) ** 2


def _count(seconds):
    return round(seconds * RATE)
