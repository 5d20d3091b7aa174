"""What is to be seen in a scene: groups, places, relations, and what matters most."""

import dataclasses
import itertools

from mmkeras.data.world.scene import SIZES

INVERSE = {"above": "below", "below": "above", "left of": "right of", "right of": "left of"}


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
    width, height = spread(things)
    if height < 0.12 * width:
        return "row"
    return "column" if width < 0.12 * height else "group"


def spread(things):
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
