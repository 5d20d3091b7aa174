"""Pictures and sound within a page."""

import base64
import io
import wave

import numpy as np

from mmkeras.report.page import escaped

_LONGEST_PLAYED = 30  # seconds


def image(picture, alt):
    """A `PIL.Image.Image` as an element of the page."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88, subsampling=0)
    data = base64.b64encode(file.getvalue()).decode()
    return (
        f'<img src="data:image/jpeg;base64,{data}" alt="{escaped(alt)}" '
        f'width="{picture.width}" height="{picture.height}">'
    )


def player(samples, rate):
    """Samples, float `(samples,)` of so many a second, as something to listen to."""
    if len(samples) > _LONGEST_PLAYED * rate:
        return f'<p class="told">longer than {_LONGEST_PLAYED} s: not in this page</p>'
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        loudest = max(1.0, float(np.abs(samples).max(initial=0)))
        out.writeframes((samples / loudest * 32767).astype("<i2").tobytes())
    data = base64.b64encode(file.getvalue()).decode()
    return f'<audio controls preload="none" src="data:audio/wav;base64,{data}"></audio>'
