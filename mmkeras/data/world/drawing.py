"""Drawing a scene."""

import io
import math

import numpy as np
from PIL import Image, ImageDraw

from mmkeras.data.world.scene import COLORS, SHAPES, around, check_whole


def render(scene, size):
    """Draws a scene, anti-aliased.

    Args:
        scene: a `Scene`.
        size: side of the image in pixels, 8 or more.

    Returns:
        RGB image, uint8 `(size, size, 3)`.

    Raises:
        ValueError: `size` is not a whole number of 8 or more.

    Example:

    >>> render(Scene((Object("star", "red", "small", "plain", x=0.3, y=0.5),)), 64).shape
    (64, 64, 3)
    """
    check_whole("size", size, 8)
    picture = Image.fromarray(_backdrop(scene.background, size))
    for thing in scene.objects:
        _draw(picture, thing, size)
    return np.array(picture)


def _backdrop(background, size):
    start, end = np.float32(background.start), np.float32(background.end)
    along = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    turn = math.radians(background.angle)
    ramp = math.cos(turn) * along[None, :] + math.sin(turn) * along[:, None]
    share = 0.5 + 0.5 * ramp / (abs(math.cos(turn)) + abs(math.sin(turn)))
    pixels = start + share[:, :, None] * (end - start)
    grain = np.random.default_rng(background.seed).standard_normal((size, size, 3), np.float32)
    return np.clip(pixels + background.noise * grain + 0.5, 0, 255).astype(np.uint8)


_FINE = 4  # pixels drawn per pixel kept, each way


def _draw(picture, thing, size):
    # Tone and outline are shrunk apart, so that no colour from outside bleeds over the edge.
    radius = thing.radius * size
    left, top = (math.floor(at * size - radius) - 1 for at in (thing.x, thing.y))
    side = math.ceil(2 * radius) + 3
    turn = math.radians(thing.angle)
    cos, sin = radius * math.cos(turn) * _FINE, radius * math.sin(turn) * _FINE
    x, y = (thing.x * size - left) * _FINE, (thing.y * size - top) * _FINE

    def place(points):
        return [(x + cos * u - sin * v, y + sin * u + cos * v) for u, v in points]

    fill, second, edge = _tones(thing)
    tone = Image.new("RGB", (side * _FINE, side * _FINE), fill)
    pen = ImageDraw.Draw(tone)
    for patch in _PATCHES[thing.texture]:
        pen.polygon(place(patch), fill=second)
    outline = place(SHAPES[thing.shape])
    pen.line([*outline, *outline[:2]], fill=edge, width=round(0.2 * radius * _FINE), joint="curve")
    cover = Image.new("L", tone.size)
    ImageDraw.Draw(cover).polygon(outline, fill=255)
    tone, cover = (layer.resize((side, side), Image.Resampling.LANCZOS) for layer in (tone, cover))
    picture.paste(tone, (left, top), cover)


def _tones(thing):
    fill, second = COLORS[thing.color]
    towards = 255 if thing.shade > 0 else 0
    fill = tuple(round(tone + abs(thing.shade) * (towards - tone)) for tone in fill)
    return fill, second, tuple(round(0.6 * tone) for tone in fill)


def _box(x, y, width, height):
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


# Where each texture shows its second tone, in the outline's units.
_PATCHES = {
    "plain": [],
    "striped": [_box(-1, y, 2, 0.3) for y in (-0.75, -0.15, 0.45)],
    "dotted": [
        [(x + 0.17 * u, y + 0.17 * v) for u, v in around([1.0] * 12)]
        for x in (-0.5, 0.0, 0.5)
        for y in (-0.5, 0.0, 0.5)
    ],
    "checkered": [
        _box(0.5 * column, 0.5 * row, 0.5, 0.5)
        for column in range(-2, 2)
        for row in range(-2, 2)
        if (column + row) % 2
    ],
}


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
