"""What a scene is made of: objects in words and places, on a background."""

import dataclasses
import math

import numpy as np

TEXTURES = ("plain", "striped", "dotted", "checkered")
SIZES = {"small": 0.105, "large": 0.17}  # radius, as a share of the image's side
# Fill, and the second tone of a texture: a light one would not show on yellow.
COLORS = {
    "red": ((214, 39, 40), (255, 236, 236)),
    "orange": ((250, 130, 10), (255, 243, 228)),
    "yellow": ((250, 216, 30), (150, 98, 0)),
    "green": ((36, 150, 60), (232, 255, 236)),
    "blue": ((32, 92, 224), (232, 240, 255)),
    "purple": ((140, 50, 180), (248, 234, 255)),
    "black": ((38, 38, 42), (240, 240, 244)),
}


def around(radii):
    turns = [2 * math.pi * i / len(radii) - math.pi / 2 for i in range(len(radii))]
    return [(r * math.cos(t), r * math.sin(t)) for r, t in zip(radii, turns, strict=True)]


def _heart(points):
    turns = [2 * math.pi * i / points for i in range(points)]
    return [
        (
            math.sin(t) ** 3,
            (5 * math.cos(2 * t) + 2 * math.cos(3 * t) + math.cos(4 * t) - 13 * math.cos(t) - 2)
            / 16,
        )
        for t in turns
    ]


# Outlines inside the unit circle, y downwards.
SHAPES = {
    "circle": around([0.9] * 48),
    "square": [(-0.72, -0.72), (0.72, -0.72), (0.72, 0.72), (-0.72, 0.72)],
    "triangle": around([1.0] * 3),
    "star": around([1.0, 0.5] * 5),
    "cross": [
        *[(-0.3, -0.3), (-0.3, -0.95), (0.3, -0.95), (0.3, -0.3), (0.95, -0.3), (0.95, 0.3)],
        *[(0.3, 0.3), (0.3, 0.95), (-0.3, 0.95), (-0.3, 0.3), (-0.95, 0.3), (-0.95, -0.3)],
    ],
    "heart": _heart(40),
}


_WORDS = {"shape": SHAPES, "color": COLORS, "size": SIZES, "texture": TEXTURES}


@dataclasses.dataclass(frozen=True)
class Object:
    """One thing in a scene: four words, a place, and how it differs from the words' ideal.

    Args:
        shape: one of `SHAPES`.
        color: one of `COLORS`.
        size: one of `SIZES`.
        texture: one of `TEXTURES`.
        x: centre, from 0.0 (left) to 1.0 (right).
        y: centre, from 0.0 (top) to 1.0 (bottom).
        angle: rotation in degrees, clockwise.
        scale: radius over the radius of `size`.
        shade: lightness beside that of `color`, from -1.0 (black) to 1.0 (white).

    Raises:
        ValueError: a word is not one of the world's.
    """

    shape: str
    color: str
    size: str
    texture: str
    x: float
    y: float
    angle: float = 0.0
    scale: float = 1.0
    shade: float = 0.0

    def __post_init__(self):
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                raise ValueError(
                    f"`{name}` should be one of {list(words)}. "
                    f"Received: {name}={getattr(self, name)!r}"
                )

    @property
    def radius(self):
        """Radius of the circle around the object, as a share of the image's side."""
        return SIZES[self.size] * self.scale

    @property
    def look(self):
        """What objects of one kind share: (shape, color, size, texture)."""
        return self.shape, self.color, self.size, self.texture


@dataclasses.dataclass(frozen=True)
class Background:
    """What is behind the objects: a tint or a gradient between two, with light noise.

    Args:
        start: RGB from 0 to 255 where the gradient begins.
        end: RGB where it ends; the same as `start` for a plain tint.
        angle: the gradient's direction in degrees, clockwise from rightwards.
        noise: standard deviation of the noise, in steps of 255.
        seed: of the noise.
    """

    start: tuple[int, int, int] = (236, 236, 236)
    end: tuple[int, int, int] = (236, 236, 236)
    angle: float = 0.0
    noise: float = 0.0
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Scene:
    """One to four objects on a background; pure data.

    Args:
        objects: one to four `Object`.
        background: a `Background`.

    Raises:
        ValueError: there are no objects, or more than four.

    Example:

    >>> star = Object("star", "red", "small", "plain", x=0.3, y=0.5)
    >>> Scene((star,)) == Scene.from_dict(Scene((star,)).to_dict())
    True
    """

    objects: tuple[Object, ...]
    background: Background = Background()

    def __post_init__(self):
        if not 1 <= len(self.objects) <= 4:
            raise ValueError(
                f"`objects` should hold one to four objects. Received: objects={self.objects!r}"
            )

    def to_dict(self):
        """The scene as plain dicts and tuples, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, scene):
        """The scene that `to_dict` wrote, also after JSON has made lists of its tuples."""
        behind = scene["background"]
        tints = {name: tuple(behind[name]) for name in ("start", "end")}
        objects = tuple(Object(**thing) for thing in scene["objects"])
        return cls(objects, Background(**{**behind, **tints}))


def check_whole(name, value, least):
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(
            f"`{name}` should be a whole number of {least} or more. Received: {name}={value!r}"
        )
