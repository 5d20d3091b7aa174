"""Questions about a room that its picture alone does not answer: sounds and sensor readings."""

import functools

from mmkeras.data.world.composing import pick
from mmkeras.data.world.meaning import INVERSE, relation
from mmkeras.data.world.naming import direction_words, matches, nameable, refer
from mmkeras.data.world.questions import ATTRIBUTES, NUMBERS, may_ask, yes
from mmkeras.data.world.scene import SHAPES
from mmkeras.data.world.sounds import MOST_CALLS, PITCHES, Call

# What a room's readings are, in their order, all from 0.0 to 1.0: its temperature, cold below 0.5
# and warm above; its light, dark below 0.5 and bright above; the power that the thing of each shape
# draws, 0.0 if it is off.
READINGS = ("temperature", "light", *SHAPES)


def callers(scene):
    """The objects that can call: those of a shape that no other has."""
    return [thing for thing in scene.objects if len(matches(scene, {"shape": thing.shape})) == 1]


def draw_call(scene, rng):
    """A `Call` of one of the scene's objects, or `None` if none can call."""
    found = callers(scene)
    times, pitch = 1 + int(rng.random() * MOST_CALLS), pick(tuple(PITCHES), rng)
    return Call(pick(found, rng).shape, pitch, times) if found else None


def draw_readings(rng):
    """Readings by the names of `READINGS`, never close to where one word ends."""
    room = {name: rng.uniform(*pick(((0.1, 0.4), (0.6, 0.9)), rng)) for name in READINGS[:2]}
    order, off = rng.permutation(len(SHAPES)), rng.integers(1, len(SHAPES))
    power = {
        shape: rng.uniform(0.2, 1) if place >= off else 0.0
        for shape, place in zip(SHAPES, order, strict=True)
    }
    return {name: round(float(level), 3) for name, level in {**room, **power}.items()}


# Of the sound alone.


def calls(room, rng):
    """`"how many calls do you hear?"`"""
    return pick(_CALLS, rng), NUMBERS[room.call.times]


_CALLS = (
    *("how many calls do you hear?", "how many calls are there?"),
    *("how many times does it call?", "what is the number of calls?"),
)


def pitch(room, rng):
    """`"is the call high or low?"`"""
    return pick(_PITCH, rng), room.call.pitch


_PITCH = (
    *("is the call high or low?", "is the call low or high?"),
    *("how high is the call?", "what pitch does the call have?"),
)


def caller(room, rng):
    """`"what is calling?"`"""
    return pick(_CALLER, rng), room.call.shape


_CALLER = ("what is calling?", "which shape is calling?", "what do you hear?", "which shape calls?")


# Of picture and sound: if another thing called the answer might be another.

_CALLING = (
    *("the thing that is calling", "the object that is calling"),
    *("the one that is calling", "the thing that calls"),
)


def called(room, rng, kind):
    """`"what color is the thing that is calling?"`"""
    (it,) = matches(room.scene, {"shape": room.call.shape})
    if len({getattr(thing, kind) for thing in callers(room.scene)}) == 1:
        return None
    return pick(ATTRIBUTES[kind], rng).format(pick(_CALLING, rng)), getattr(it, kind)


def called_relation(room, rng):
    """`"is the thing that is calling above the star?"`"""
    true = pick((True, False), rng)
    (it,) = matches(room.scene, {"shape": room.call.shape})
    found = [
        (direction, other)
        for other in nameable(room.scene)
        for direction in INVERSE
        if (seen := relation([it], [other]))
        and (seen == direction) == true
        and may_ask(room.scene, it, direction, other)
        and len(_answers(room.scene, direction, other)) == 2
    ]
    if not found:
        return None
    direction, other = pick(found, rng)
    asked = f"is {pick(_CALLING, rng)} {direction_words(direction, rng)}"
    return f"{asked} {refer(room.scene, other, rng)}?", yes(true)


def _answers(scene, direction, other):
    """Whether an object that can call is that way, for each that clearly is or is not."""
    seen = [relation([thing], [other]) for thing in callers(scene) if thing is not other]
    return {way == direction for way in seen if way}


def calls_as_things(room, rng):
    """`"are there as many calls as things?"`"""
    true = pick((True, False), rng)
    # There are always several things, so that one call would tell the answer.
    if room.call.times == 1 or (room.call.times == len(room.scene.objects)) != true:
        return None
    return pick(_AS_THINGS, rng), yes(true)


_AS_THINGS = (
    "are there as many calls as things?",
    "do you hear as many calls as you see things?",
    "are there as many calls as there are objects in the picture?",
)


# Of the readings alone.


def climate(room, rng):
    """`"is it warm in the room?"`"""
    word, true = pick(tuple(_CLIMATE), rng), pick((True, False), rng)
    reading, high = _CLIMATE[word]
    if ((room.readings[reading] > 0.5) == high) != true:
        return None
    asked = pick(("is it {}?", "is it {} in the room?", "is the room {}?"), rng)
    return asked.format(word), yes(true)


_CLIMATE = {
    "warm": ("temperature", True),
    "cold": ("temperature", False),
    "bright": ("light", True),
    "dark": ("light", False),
}


def on(room, rng):
    """`"is the star on?"`"""
    return _is_on(_shapes(room), room, rng)


def power(room, rng):
    """`"does the star draw more power than the heart?"`"""
    return _draws_more(_shapes(room), room, rng)


def _shapes(room):
    return [(shape, f"the {shape}") for shape in SHAPES if matches(room.scene, {"shape": shape})]


def _is_on(named, room, rng):
    state, true = pick(("on", "off"), rng), pick((True, False), rng)
    found = [said for shape, said in named if (_state(room.readings[shape]) == state) == true]
    if not found:
        return None
    asked = pick(("is {} {}?", "is {} {}?", "is {} switched {}?"), rng)
    return asked.format(pick(found, rng), state), yes(true)


def _state(power):
    return "on" if power else "off"


def _draws_more(named, room, rng):
    word, true = pick(("more", "less"), rng), pick((True, False), rng)
    wanted = 1 if (word == "more") == true else -1
    found = [
        (first, second)
        for shape, first in named
        for other, second in named
        if wanted * (room.readings[shape] - room.readings[other]) > 0.1
    ]
    if not found:
        return None
    first, second = pick(found, rng)
    return f"does {first} {pick(('draw', 'use'), rng)} {word} power than {second}?", yes(true)


# Of picture and readings: the picture tells the shape of a thing, and the readings its power.


def thing_on(room, rng):
    """`"is the red thing on?"`"""
    return _is_on(_things(room, rng), room, rng)


def thing_power(room, rng):
    """`"does the red thing draw more power than the striped thing?"`"""
    return _draws_more(_things(room, rng), room, rng)


def _things(room, rng):
    things = nameable(room.scene, ("shape",))
    return [(thing.shape, refer(room.scene, thing, rng, ("shape",))) for thing in things]


def count_on(room, rng):
    """`"how many things in the picture are on?"`"""
    state, wanted = pick(("on", "off"), rng), pick(NUMBERS, rng)
    found = [t for t in room.scene.objects if _state(room.readings[t.shape]) == state]
    if NUMBERS[len(found)] != wanted:
        return None
    return pick(_COUNT_ON, rng).format(state), wanted


_COUNT_ON = (
    "how many things in the picture are {}?",
    "how many of the things are {}?",
    "how many objects are {}?",
)

HEARD = {"calls": calls, "pitch": pitch, "caller": caller}
SEEN_AND_HEARD = {
    **{
        f"caller_{kind}": functools.partial(called, kind=kind)
        for kind in ("size", "texture", "color")
    },
    "caller_relation": called_relation,
    "calls_as_things": calls_as_things,
}
READ = {"climate": climate, "on": on, "power": power}
SEEN_AND_READ = {"thing_on": thing_on, "thing_power": thing_power, "count_on": count_on}
