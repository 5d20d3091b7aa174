"""The built-in world: scenes of our own, drawn and told from a seed."""

import dataclasses
import io
import itertools
import math

import numpy as np
from PIL import Image, ImageDraw

SPLITS = ("train", "valid", "test")
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


def _around(radii):
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
    "circle": _around([0.9] * 48),
    "square": [(-0.72, -0.72), (0.72, -0.72), (0.72, 0.72), (-0.72, 0.72)],
    "triangle": _around([1.0] * 3),
    "star": _around([1.0, 0.5] * 5),
    "cross": [
        *[(-0.3, -0.3), (-0.3, -0.95), (0.3, -0.95), (0.3, -0.3), (0.95, -0.3), (0.95, 0.3)],
        *[(0.3, 0.3), (0.3, 0.95), (-0.3, 0.95), (-0.3, 0.3), (-0.95, 0.3), (-0.95, -0.3)],
    ],
    "heart": _heart(40),
}

# Seen only in the test split: every shape once, in a colour of its own.
HELD_OUT_LOOKS = {
    ("circle", "purple"),
    ("square", "green"),
    ("triangle", "orange"),
    ("star", "blue"),
    ("cross", "yellow"),
    ("heart", "black"),
}
HELD_OUT_RELATIONS = {
    (first, words, second)
    for words, ring in (
        ("above", ("circle", "star", "heart", "square", "cross", "triangle")),
        ("left of", ("circle", "heart", "cross", "star", "square", "triangle")),
    )
    for first, second in zip(ring, (*ring[1:], ring[0]), strict=True)
}
INVERSE = {"above": "below", "below": "above", "left of": "right of", "right of": "left of"}


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
    _check_whole("size", size, 8)
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
        [(x + 0.17 * u, y + 0.17 * v) for u, v in _around([1.0] * 12)]
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


def group(scene):
    """The scene's objects, those of one look together, in reading order.

    Args:
        scene: a `Scene`.

    Returns:
        List of lists of `Object`.
    """
    alike = {}
    for thing in scene.objects:
        alike.setdefault(thing.look, []).append(thing)
    return sorted(alike.values(), key=_reading_order)


def _reading_order(things):
    x, y = _center(things)
    return x + 2 * y


def _extent(things):
    return (
        (min(t.x - t.radius for t in things), max(t.x + t.radius for t in things)),
        (min(t.y - t.radius for t in things), max(t.y + t.radius for t in things)),
    )


def _center(things):
    return [(low + high) / 2 for low, high in _extent(things)]


def relation(first, second):
    """Where the first objects are, seen from the second.

    Only a clear case counts: none of the first reaches as far as the second, and from middle to
    middle it is at least twice as far that way as across.

    Args:
        first: list of `Object`.
        second: list of `Object`.

    Returns:
        `"above"`, `"below"`, `"left of"`, `"right of"`, or `None`.

    Example:

    >>> star = Object("star", "red", "small", "plain", x=0.5, y=0.2)
    >>> heart = Object("heart", "blue", "large", "dotted", x=0.5, y=0.7)
    >>> relation([star], [heart])
    'above'
    """
    here, there = _center(first), _center(second)
    right, down = there[0] - here[0], there[1] - here[1]
    axis = 0 if abs(right) > abs(down) else 1
    ahead, across = (right, down) if axis == 0 else (down, right)
    a, b = _extent(first)[axis], _extent(second)[axis]
    if max(a[0], b[0]) < min(a[1], b[1]) or abs(ahead) < 2 * abs(across):
        return None
    found = ("left of", "above")[axis]
    return found if ahead > 0 else INVERSE[found]


def between(middle, first, second):
    """Whether the middle objects lie between the first and the second, on one line with both.

    Args:
        middle: list of `Object`.
        first: list of `Object`.
        second: list of `Object`.

    Returns:
        bool.
    """
    before = relation(first, middle)
    return before is not None and before == relation(middle, second)


def place(thing):
    """Where in the picture an object is.

    Args:
        thing: an `Object`.

    Returns:
        `"top left corner"` or another corner, `"top"`, `"bottom"`, `"left"`, `"right"`,
        `"middle"`, or `None` where it lies between two of these.
    """
    column = _third(thing.x, "left", "right")
    row = _third(thing.y, "top", "bottom")
    if column is None or row is None:
        return None
    return f"{row} {column} corner" if row and column else row or column or "middle"


def _third(at, near, far):
    if 0.42 <= at <= 0.58:
        return ""
    return near if at <= 0.32 else far if at >= 0.68 else None


def arrangement(things):
    """How several objects of one look are set out: `"row"`, `"column"` or `"group"`.

    Args:
        things: list of `Object`.
    """
    width, height = _spread(things)
    if height < 0.12 * width:
        return "row"
    return "column" if width < 0.12 * height else "group"


def _spread(things):
    xs, ys = [t.x for t in things], [t.y for t in things]
    return max(xs) - min(xs), max(ys) - min(ys)


@dataclasses.dataclass(frozen=True)
class Gist:
    """What a caption has to say: the subject, and how it stands to the others.

    Args:
        subject: list of `Object` of one look.
        relation: `"above"`, `"below"`, `"left of"`, `"right of"` or `"between"` the others;
            `"row"`, `"column"` or `"group"` for a subject without others; `"place"` for one or two
            single objects; `None` where nothing but the names can be said.
        others: list of such lists.
    """

    subject: list
    relation: str | None
    others: list


def gist(scene):
    """What everyone who captions a scene agrees on.

    The subject is what people pick out against the rest: one before several, small before large
    (Talmy, 1978, Figure and ground in complex sentences), and what is read first before the next.

    Args:
        scene: a `Scene`.

    Returns:
        A `Gist`.
    """
    read = group(scene)
    picked = sorted(read, key=lambda things: (len(things), _SIZE_ORDER[things[0].size]))
    splits = [(subject, [things for things in read if things != subject]) for subject in picked]
    first, others = splits[0]
    if not others and len(first) > 1:
        return Gist(first, arrangement(first), [])
    for subject, others in splits:
        sides = others if len(others) > 1 else [[thing] for thing in itertools.chain(*others)]
        if len(sides) == 2 and between(subject, *sides):
            return Gist(subject, "between", others)
    for subject, others in splits:
        if others and (found := relation(subject, [*itertools.chain(*others)])):
            return Gist(subject, found, others)
    places = [place(thing) for thing in scene.objects]
    placed = len(places) <= 2 and None not in places and len(set(places)) == len(places)
    first, *others = read
    return Gist(first, "place" if placed else None, others)


_SIZE_ORDER = {size: order for order, size in enumerate(SIZES)}


def captions(scene, rng):
    """Five true captions of a scene, as five people might write them.

    The first says everything in the plainest words; the others vary the sentence, the words and
    what is left out. No two are the same.

    Args:
        scene: a `Scene`.
        rng: a `numpy.random.Generator`.

    Returns:
        List of five strings: lower-case words parted by single spaces.

    Example:

    >>> star = Object("star", "orange", "small", "striped", x=0.5, y=0.5)
    >>> captions(Scene((star,)), np.random.default_rng(0))[0]
    'a small striped orange star in the middle'
    """
    what = gist(scene)
    told = [_tell(what, lambda choices: choices[0])]
    while len(told) < 5:
        caption = _tell(what, lambda choices: choices[int(rng.random() * len(choices))])
        if caption not in told:
            told.append(caption)
    return told


# Of each set of choices the first is the plainest, and those that stand in it often come often.
_SIZE_WORDS = {
    "small": ("small", "small", "small", "small", "little"),
    "large": ("large", "large", "large", "large", "big"),
}
_NUMBERS = ("", "", "two", "three", "four")
_RELATION_WORDS = {
    "above": ("above", "above", "above", "over"),
    "below": ("below", "below", "below", "under"),
    "left of": ("to the left of", "to the left of", "left of"),
    "right of": ("to the right of", "to the right of", "right of"),
    "between": ("between",),
}
_PLACE_WORDS = {
    "top": ("at the top", "at the top", "near the top"),
    "bottom": ("at the bottom", "at the bottom", "near the bottom"),
    "left": ("on the left", "on the left", "on the left side"),
    "right": ("on the right", "on the right", "on the right side"),
    "middle": ("in the middle", "in the middle", "in the center"),
}


def _tell(what, pick):
    groups = [what.subject, *what.others]
    alike = len({things[0].look[:2] for things in groups}) < len(groups)
    sized = pick((True, True, True, True, False)) or alike
    textured = pick((True, True, True, True, False)) or alike
    contrast = alike and len({things[0].texture for things in groups}) > 1

    def name(things):
        thing = things[0]
        words = [
            *([pick(_SIZE_WORDS[thing.size])] if sized else []),
            *([thing.texture] if textured and (thing.texture != "plain" or contrast) else []),
            thing.color,
            thing.shape if len(things) == 1 else _plural(thing.shape),
        ]
        article = "an" if words[0][0] in "aeiou" else "a"
        return " ".join([article if len(things) == 1 else _NUMBERS[len(things)], *words])

    return _frame(*_clause(what, name, pick), pick)


def _plural(shape):
    return shape + ("es" if shape.endswith("s") else "s")


def _clause(what, name, pick):
    """The subject, what is said of it, the verb after `there` and the verb between the two."""
    if what.relation == "place":
        return _placed(what, name, pick)
    if what.relation in ("row", "column", "group"):
        return _arranged(what, name, pick)
    if what.relation is None:
        names = [name(things) for things in (what.subject, *what.others)]
        return " and ".join(names), "", _verb(what.subject), None
    return _related(what, name, pick)


def _verb(things):
    return "is" if len(things) == 1 else "are"


def _placed(what, name, pick):
    (subject, where), *more = [
        (name([thing]), pick(_PLACE_WORDS.get(place(thing), (f"in the {place(thing)}",))))
        for (thing,) in (what.subject, *what.others)
    ]
    return subject, " and ".join([where, *(" ".join(words) for words in more)]), "is", "is"


def _arranged(what, name, pick):
    subject, how = name(what.subject), what.relation
    if pick((False, False, False, True)):
        return f"a {how} of {subject}", "", "is", None
    return (subject, "", "are", None) if how == "group" else (subject, f"in a {how}", "are", "are")


def _related(what, name, pick):
    subject, others = name(what.subject), " and ".join(name(things) for things in what.others)
    there, verb = _verb(what.others[0]), _verb([*itertools.chain(*what.others)])
    how = pick(_RELATION_WORDS[what.relation])
    turn = pick(("straight",) * 6 + ("with",) * 2 + ("back",) * 2)
    if turn == "back" and what.relation != "between":
        return others, f"{pick(_RELATION_WORDS[INVERSE[what.relation]])} {subject}", there, verb
    if turn != "straight":
        them = "it" if verb == "is" else "them"
        return others, f"with {subject} {how} {them}", there, None
    return subject, f"{how} {others}", _verb(what.subject), _verb(what.subject)


def _frame(subject, rest, there, verb, pick):
    frames = [f"{subject} {rest}"] * 4
    frames += [f"there {there} {subject} {rest}"] * 2
    frames += [f"{subject} {verb} {rest}"] * 2 if verb else []
    frames += [f"the picture shows {subject} {rest}", f"we see {subject} {rest}"]
    return pick(frames).strip()


def held_out(scene):
    """What a scene holds of that which only the test split shows.

    Args:
        scene: a `Scene`.

    Returns:
        Set of members of `HELD_OUT_LOOKS` and `HELD_OUT_RELATIONS`.
    """
    looks = {thing.look[:2] for thing in scene.objects}
    pairs = itertools.permutations(scene.objects, 2)
    seen = {(a.shape, relation([a], [b]), b.shape) for a, b in pairs}
    # What is said of a group need not hold for one of it alone.
    what = gist(scene)
    shape = what.subject[0].shape
    for things in what.others:
        seen |= {
            (shape, what.relation, things[0].shape),
            (things[0].shape, INVERSE.get(what.relation), shape),
        }
    return (looks & HELD_OUT_LOOKS) | (seen & HELD_OUT_RELATIONS)


# How often, how the objects are set out, and how many there are of each look.
_PLANS = [
    (26, "alone", (1,)),
    *[(4, "line", (2,)), (4, "line", (3,)), (2, "line", (4,))],
    *[(3, "loose", (2,)), (4, "loose", (3,)), (2, "loose", (4,))],
    *[(18, "apart", (1, 1)), (8, "apart", (1, 2)), (3, "apart", (1, 3)), (4, "apart", (2, 2))],
    *[(6, "apart", (1, 1, 1)), (2, "apart", (1, 1, 2)), (2, "apart", (2, 1, 1))],
    *[(6, "between", (1, 2)), (5, "between", (1, 1, 1))],
    (4, "corners", (1, 1)),
]
_MEANT = {
    "alone": {"place"},
    "line": {"row", "column"},
    "loose": {"group"},
    "apart": set(INVERSE),
    "between": {"between"},
    "corners": {"place"},
}


def _pick(choices, rng):
    return choices[int(rng.random() * len(choices))]


_PLAN_DECK = [plan for weight, *plan in _PLANS for _ in range(weight)]


def _compose(rng, novel):
    # The plan stands whatever is drawn again, so that crowded scenes are not the rarer for it.
    plan, counts = _pick(_PLAN_DECK, rng)
    while True:
        looks = [_look(rng) for _ in counts]
        known = HELD_OUT_LOOKS.isdisjoint(look[:2] for look in looks)
        if len(set(looks)) < len(looks) or not (known or novel):
            continue
        looks = [look for look, count in zip(looks, counts, strict=True) for _ in range(count)]
        for _ in range(20):
            things = _set_out(plan, counts, looks, rng)
            if not _is_clear(plan, things):
                continue
            # Any order, so that the order does not tell which is the subject.
            things = tuple(things[i] for i in rng.permutation(len(things)))
            if bool(held_out(Scene(things))) == novel:
                return Scene(things, _background(rng))
            break


def _look(rng):
    texture = _pick(("plain", *TEXTURES), rng)
    return *(_pick(tuple(words), rng) for words in (SHAPES, COLORS, SIZES)), texture


def _background(rng):
    start = _tint(rng)
    return Background(
        start=start,
        end=_pick((start, _tint(rng)), rng),
        angle=round(rng.uniform(0, 360), 1),
        noise=round(rng.uniform(0, 8), 2),
        seed=int(rng.integers(2**31)),
    )


def _tint(rng):
    return tuple(int(t) for t in np.clip(rng.uniform(150, 250) + rng.uniform(-25, 25, 3), 0, 255))


def _set_out(plan, counts, looks, rng):
    jitter = [
        {
            "angle": rng.uniform(-14, 14),
            "scale": rng.uniform(0.94, 1.06),
            "shade": rng.uniform(-0.12, 0.12),
        }
        for _ in looks
    ]
    reach = [
        SIZES[look[2]] * more["scale"] + 0.01 for look, more in zip(looks, jitter, strict=True)
    ]
    zones = _zones(plan, counts, max(reach), rng)
    spots = [
        [_uniform(max(low, r), min(high, 1 - r), rng) for low, high in zone]
        for zone, r in zip(zones, reach, strict=True)
    ]
    swap, *flips = rng.random(3) < 0.5
    spots = [
        [1 - at if flip else at for at, flip in zip(spot, flips, strict=True)] for spot in spots
    ]
    return [
        Object(*look, *(spot[::-1] if swap else spot), **more)
        for look, spot, more in zip(looks, spots, jitter, strict=True)
    ]


def _uniform(low, high, rng):
    # A range turned round (no room for what should fit) gives a scene that is not clear.
    return low + (high - low) * rng.random()


def _zones(plan, counts, reach, rng):
    """Where each object's centre may lie: a range along, a range across."""
    count = sum(counts)
    if plan == "alone":
        return [[_pick(((0, 0.3), (0.44, 0.56)), rng) for _ in range(2)]]
    if plan == "corners":
        return [((0, 0.3), (0, 0.3)), ((0.7, 1), (0.7, 1))]
    if plan == "line":
        step = _uniform(2 * reach, (1 - 2 * reach) / (count - 1), rng)
        start = _uniform(reach, 1 - reach - step * (count - 1), rng)
        across = _uniform(reach, 1 - reach, rng)
        return [((start + step * i,) * 2, (across - 0.01, across + 0.01)) for i in range(count)]
    if plan == "between":
        middle = rng.uniform(0.15, 0.85)
        band = (middle - 0.07, middle + 0.07)
        return [((0.4, 0.6), band), ((0, 0.28), band), ((0.72, 1), band)]
    if plan == "apart":
        cut, first = rng.uniform(0.35, 0.65), counts[0]
        facing = (0.25, 0.75) if first == 1 < count - 1 else (0, 1)
        return [((0, cut - 0.1), facing)] * first + [((cut + 0.1, 1), (0, 1))] * (count - first)
    return [((0, 1), (0, 1))] * count


def _is_clear(plan, things):
    inside = all(t.radius < at < 1 - t.radius for t in things for at in (t.x, t.y))
    apart = all(
        math.hypot(a.x - b.x, a.y - b.y) > a.radius + b.radius + 0.01
        for a, b in itertools.combinations(things, 2)
    )
    if not (inside and apart and gist(Scene(tuple(things))).relation in _MEANT[plan]):
        return False
    return plan != "loose" or min(_spread(things)) > 0.35 * max(_spread(things))


def world(count, seed=0, size=64, split="train"):
    """Scenes of the built-in world, as records.

    A scene depends on `seed`, `split` and its own number alone, so a longer list begins with the
    shorter. The test split alone shows `HELD_OUT_LOOKS` and `HELD_OUT_RELATIONS`: every second
    scene of it, from the first on, holds one of these or more, and the others hold none.

    Args:
        count: number of scenes.
        seed: whole number, 0 or more.
        size: side of the images in pixels, 8 or more.
        split: `"train"`, `"valid"` or `"test"`.

    Returns:
        Dict of equally long lists: `"image"` (PNG bytes), `"caption"` (lists of five strings) and
        `"scene"` (dicts, for `Scene.from_dict`).

    Raises:
        ValueError: an argument is out of its range.

    Example:

    >>> records = world(2, size=32)
    >>> len(records["image"]), len(records["caption"][0])
    (2, 5)
    """
    _check_whole("count", count, 1)
    _check_whole("seed", seed, 0)
    _check_whole("size", size, 8)
    if split not in SPLITS:
        raise ValueError(f"`split` should be one of {list(SPLITS)}. Received: split={split!r}")
    records = {"image": [], "caption": [], "scene": []}
    for index in range(count):
        rng = np.random.default_rng([seed, SPLITS.index(split), index])
        scene = _compose(rng, novel=split == "test" and index % 2 == 0)
        records["image"].append(_png(render(scene, size)))
        records["caption"].append(captions(scene, rng))
        records["scene"].append(scene.to_dict())
    return records


def _png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _check_whole(name, value, least):
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(
            f"`{name}` should be a whole number of {least} or more. Received: {name}={value!r}"
        )


def read_world(root=None, train=4000, valid=500, test=500, seed=0, size=64):
    """The three splits of the built-in world.

    Args:
        root: `None`; here because every reader takes one, while this one reads no files.
        train: number of scenes to train on.
        valid: number of scenes to validate on.
        test: number of scenes to test on.
        seed: whole number, 0 or more.
        size: side of the images in pixels, 8 or more.

    Returns:
        Tuple `(train, valid, test)` of records as `world` gives them.

    Raises:
        ValueError: an argument is out of its range.

    Example:

    >>> train, valid, test = read_world(train=4, valid=2, test=2, size=32)
    >>> len(train["image"])
    4
    """
    if root is not None:
        raise ValueError(f"`root` should be None: the world is made, not read. Received: {root=}")
    counts = {"train": train, "valid": valid, "test": test}
    for split, count in counts.items():
        _check_whole(split, count, 1)
    return tuple(world(count, seed, size, split) for split, count in counts.items())
