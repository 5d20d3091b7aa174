"""Questions of the built-in world, with scenes that allow them, as records."""

import collections
import dataclasses
import itertools

import numpy as np

from mmkeras.data.world.composing import (
    HELD_OUT_LOOKS,
    SPLITS,
    background,
    held_out,
    lie_apart,
    pick,
    vary,
)
from mmkeras.data.world.drawing import png, render
from mmkeras.data.world.naming import KINDS
from mmkeras.data.world.questions import SEEN, Room
from mmkeras.data.world.scene import Object, Scene, check_whole
from mmkeras.data.world.sensing import (
    HEARD,
    READ,
    READINGS,
    SEEN_AND_HEARD,
    SEEN_AND_READ,
    draw_call,
    draw_readings,
)
from mmkeras.data.world.sounds import play

# What has to be known to answer: types of question by name, each a function of a room.
QUESTIONS = {
    "image": SEEN,
    "sound": HEARD,
    "both": SEEN_AND_HEARD,
    "readings": READ,
    "image and readings": SEEN_AND_READ,
}


def world_questions(count, seed=0, size=64, split="train", per_scene=1, needs=None):
    """Questions about scenes of the built-in world, as records, one for each question.

    Every question has one right answer, and means what it names without doubt. Answers are
    balanced within each type of question: always giving the most frequent one of the type is right
    for 35 of a hundred questions about the image. As in `world`, the test split alone shows and
    names `HELD_OUT_LOOKS` and `HELD_OUT_RELATIONS`, in every second scene, and a longer list begins
    with the shorter.

    With `needs`, a room has more than a picture. One of its things calls: a motif tells its shape
    (see `play`). And it has meters: `READINGS` are its temperature and light, and the power that
    the thing of each shape draws. The answer to a question takes all that it needs, and no more:
    with another picture, sound or readings it may be another.

    Types of question: `"exist"`, `"shape"`, `"color"`, `"texture"`, `"size"`, `"count"`, `"more"`
    (or fewer, or as many), `"larger"`, `"relation"` and `"neighbor"` of the image; see `QUESTIONS`
    for the others.

    Args:
        count: number of scenes.
        seed: whole number, 0 or more.
        size: side of the images in pixels, 8 or more.
        split: `"train"`, `"valid"` or `"test"`.
        per_scene: questions about each scene, all of different types.
        needs: `None` for questions about the image alone; `"image"`, `"sound"`, `"both"`,
            `"readings"` or `"image and readings"`, or a list of these, which come equally often.

    Returns:
        Dict of equally long lists: `"image"` (PNG bytes), `"question"`, `"answer"` and
        `"question_type"` (strings) and `"scene"` (dicts, for `Scene.from_dict`). With `needs` also
        `"audio"` (WAV bytes), `"readings"` (lists of floats in the order of `READINGS`),
        `"needs"` (strings) and `"call"` (dicts, for `Call`).

    Raises:
        ValueError: an argument is out of its range.

    Example:

    >>> records = world_questions(2, size=32, per_scene=3)
    >>> len(records["question"])
    6
    """
    check_whole("count", count, 1)
    check_whole("seed", seed, 0)
    check_whole("size", size, 8)
    if split not in SPLITS:
        raise ValueError(f"`split` should be one of {list(SPLITS)}. Received: split={split!r}")
    types = _types(needs)
    _check_per_scene(per_scene, types)
    records = collections.defaultdict(list)
    for index in range(count):
        own_seed = [seed, SPLITS.index(split), index]
        novel = split == "test" and index % 2 == 0
        room, asked = _compose(own_seed, types, per_scene, novel, calling=needs is not None)
        told = {"image": png(render(room.scene, size)), "scene": room.scene.to_dict()}
        if needs is not None:
            told["audio"] = play(room.call, [*own_seed, 0, per_scene + 1])
            told["call"] = dataclasses.asdict(room.call)
            told["readings"] = [room.readings[name] for name in READINGS]
        for need, kind, question, answer in asked:
            row = {"question": question, "answer": answer, "question_type": kind}
            row |= {} if needs is None else {"needs": need}
            for name, value in {**told, **row}.items():
                records[name].append(value)
    return dict(records)


def read_world_questions(
    root=None, train=4000, valid=500, test=500, seed=0, size=64, per_scene=1, needs=None
):
    """The three splits of the questions of the built-in world.

    Args:
        root: `None`; here because every reader takes one, while this one reads no files.
        train: number of scenes to train on.
        valid: number of scenes to validate on.
        test: number of scenes to test on.
        seed, size, per_scene, needs: see `world_questions`.

    Returns:
        Tuple `(train, valid, test)` of records as `world_questions` gives them.

    Raises:
        ValueError: an argument is out of its range.

    Example:

    >>> train, valid, test = read_world_questions(train=4, valid=2, test=2, per_scene=3, size=32)
    >>> len(train["question"])
    12
    """
    if root is not None:
        raise ValueError(f"`root` should be None: the world is made, not read. Received: {root=}")
    counts = {"train": train, "valid": valid, "test": test}
    for split, count in counts.items():
        check_whole(split, count, 1)
    return tuple(
        world_questions(count, seed, size, split, per_scene, needs)
        for split, count in counts.items()
    )


def _types(needs):
    if needs is None:
        return {"image": tuple(SEEN)}
    wanted = list(needs) if isinstance(needs, (list, tuple)) else [needs]
    if not wanted or not all(need in list(QUESTIONS) for need in wanted):
        raise ValueError(
            f"`needs` should be one of {list(QUESTIONS)}, or a list of these. "
            f"Received: needs={needs!r}"
        )
    return {need: tuple(QUESTIONS[need]) for need in wanted}


def _check_per_scene(per_scene, types):
    check_whole("per_scene", per_scene, 1)
    most = sum(map(len, types.values()))
    if per_scene > most:
        raise ValueError(
            f"`per_scene` should be at most {most}, the number of types of question. "
            f"Received: per_scene={per_scene}"
        )


def _compose(seed, types, per_scene, novel, calling):
    """A room, and questions about it as `(need, type, question, answer)`."""
    for attempt in itertools.count():
        rng = np.random.default_rng([*seed, attempt, 0])
        asked = _deal(types, per_scene, rng)
        theme = _theme(rng, calling) if ("image", "count") in asked else (None, 0)
        # What is asked stands whatever is drawn again, so that no answer is the rarer for being
        # harder to arrange; but some cannot stand together.
        for _ in range(_PATIENCE):
            room = _room(*theme, novel, calling, rng)
            told = _ask(room, asked, [*seed, attempt])
            if len(told) == per_scene:
                return room, told


_PATIENCE = 200


def _room(theme, themed, novel, calling, rng):
    while True:
        scene = _scene(theme, themed, novel, rng)
        call = draw_call(scene, rng)
        if call or not calling:
            return Room(scene, theme, call, draw_readings(rng))


def _ask(room, asked, seed):
    told = []
    for number, (need, kind) in enumerate(asked, 1):
        found = QUESTIONS[need][kind](room, np.random.default_rng([*seed, number]))
        if found is None:
            break
        told.append((need, kind, *found))
    return told


def _deal(types, per_scene, rng):
    left = {need: [*rng.permutation(kinds)] for need, kinds in types.items()}
    dealt = []
    while len(dealt) < per_scene:
        need = pick([need for need in left if left[need]], rng)
        dealt.append((need, str(left[need].pop())))
    return dealt


def _theme(rng, calling):
    """What is counted, and how many there are of it."""
    # Who calls, and whose power is read, is told by shapes that differ.
    kind = pick(("color", "texture") if calling else ("color", "texture", "shape"), rng)
    return (kind, pick(KINDS[kind], rng)), int(rng.integers(5))


def _scene(theme, themed, novel, rng):
    # Their number stands, so that crowded scenes are not the rarer for it.
    count = max(themed, pick((2, 3, 3, 4, 4), rng))
    while True:
        looks = [_look(theme, number < themed, rng) for number in range(count)]
        if not novel and any(look[:2] in HELD_OUT_LOOKS for look in looks):
            continue
        things = _set_out(looks, rng)
        if things and bool(held_out(Scene(things))) == novel:
            return Scene(things, background(rng))


def _look(theme, themed, rng):
    words = {kind: pick(values, rng) for kind, values in KINDS.items()}
    if theme:
        kind, value = theme
        words[kind] = value if themed else pick([w for w in KINDS[kind] if w != value], rng)
    return words["shape"], words["color"], words["size"], words["texture"]


def _set_out(looks, rng):
    things = ()
    for look in looks:
        variety = vary(rng)
        for _ in range(20):
            thing = Object(*look, *rng.random(2).tolist(), **variety)
            if lie_apart((*things, thing)):
                things = (*things, thing)
                break
        else:
            return None
    return things
