import collections
import io
import itertools
import json
import re
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

from mmkeras.data import dataset, read, world_questions
from mmkeras.data.world import (
    COLORS,
    HELD_OUT_LOOKS,
    HELD_OUT_RELATIONS,
    MOTIFS,
    PITCHES,
    QUESTIONS,
    READINGS,
    SHAPES,
    SIZES,
    TEXTURES,
    Call,
    Scene,
    held_out,
    play,
    render,
)
from mmkeras.preprocessing import Audio, Features, Image, Preprocessor, Text, train_tokenizer

SPLITS = ("train", "valid", "test")
INPUTS = {
    "image": ("scene",),
    "sound": ("call",),
    "both": ("scene", "call"),
    "readings": ("readings",),
    "image and readings": ("scene", "readings"),
}
NUMBERS = ("zero", "one", "two", "three", "four")
SIZE_OF = {"small": "small", "little": "small", "large": "large", "big": "large"}
WORDS = (
    rf"(?:(?P<size>{'|'.join(SIZE_OF)}) )?(?:(?P<texture>{'|'.join(TEXTURES)}) )?"
    rf"(?:(?P<color>{'|'.join(COLORS)}) )?(?P<shape>thing|object|{'|'.join(SHAPES)})(?:e?s)?"
)
CALLER = "the (?:thing|object|one) that (?:is calling|calls)"
ENDS = {
    **{"leftmost": ("x", -1), "rightmost": ("x", 1), "highest": ("y", -1), "lowest": ("y", 1)},
    **{"on the far left": ("x", -1), "on the far right": ("x", 1)},
    **{"at the very top": ("y", -1), "at the very bottom": ("y", 1)},
}
WAYS = {
    **dict.fromkeys(("to the left of", "left of"), "left"),
    **dict.fromkeys(("to the right of", "right of"), "right"),
    **{"above": "above", "over": "above", "below": "below", "under": "below"},
}
WAY = "|".join(WAYS)
CLIMATE = {
    **{"warm": ("temperature", 1), "cold": ("temperature", -1)},
    **{"bright": ("light", 1), "dark": ("light", -1)},
}


def way(first, second):
    """Where the first object clearly is, seen from the second, or None."""
    right, down = first.x - second.x, first.y - second.y
    if abs(right) >= 2 * abs(down) and abs(right) >= first.radius + second.radius:
        return "right" if right > 0 else "left"
    if abs(down) >= 2 * abs(right) and abs(down) >= first.radius + second.radius:
        return "below" if down > 0 else "above"
    return None


def yes(true):
    return "yes" if true else "no"


class Oracle:
    """Answers questions by a grammar of its own, from what it is given and nothing else."""

    def __init__(self, scene=None, call=None, readings=None):
        self.things = scene and Scene.from_dict(scene).objects
        self.call = call
        self.readings = readings and dict(zip(READINGS, readings, strict=True))

    def answer(self, question):
        for pattern, method in self.GRAMMAR.items():
            if match := re.fullmatch(pattern, question):
                return method(self, *match.groups())
        raise AssertionError(f"not a question of the world: {question!r}")

    def fitting(self, words):
        match = re.fullmatch(WORDS, words)
        assert match, words
        said = {kind: word for kind, word in match.groupdict().items() if word}
        if said["shape"] in ("thing", "object"):
            del said["shape"]
        if "size" in said:
            said["size"] = SIZE_OF[said["size"]]
        return [t for t in self.things if all(getattr(t, k) == word for k, word in said.items())]

    def one(self, name):
        """The one object that a name means."""
        if re.fullmatch(CALLER, name):
            found = [t for t in self.things if t.shape == self.call["shape"]]
        elif match := re.fullmatch(rf"the (?:thing|object) ({WAY}) (the .+)", name):
            mark = self.one(match[2])
            found = [t for t in self.things if t is not mark and way(t, mark) == WAYS[match[1]]]
        elif match := re.fullmatch(r"the (?:(\w+st) )?(?:thing|object)(?: ((?:on|at) .+))?", name):
            axis, sign = ENDS[match[1] or match[2]]
            *_, second, last = sorted(self.things, key=lambda t: sign * getattr(t, axis))
            assert abs(getattr(last, axis) - getattr(second, axis)) > 0.05, name
            found = [last]
        else:
            found = self.fitting(name.removeprefix("the "))
        assert len(found) == 1, (name, found)
        return found[0]

    def attribute(self, kind, name):
        return getattr(self.one(name), kind)

    def exist(self, name):
        assert (name.split()[0] == "an") == (name.split()[1][0] in "aeiou"), name
        return yes(self.fitting(name.split(" ", 1)[1]))

    def count(self, name):
        return NUMBERS[len(self.fitting(name))]

    def more(self, how, first, second):
        first, second = len(self.fitting(first)), len(self.fitting(second))
        assert first, second
        return yes({"more": first > second, "fewer": first < second}.get(how, first == second))

    def larger(self, first, how, second):
        first, second = self.one(first), self.one(second)
        assert first.size != second.size
        return yes((first.radius > second.radius) == (how != "smaller"))

    def same_size(self, first, second):
        return yes(self.one(first).size == self.one(second).size)

    def relation(self, first, how, second):
        seen = way(self.one(first), self.one(second))
        assert seen
        return yes(seen == WAYS[how])

    def neighbor(self, how, name):
        mark, wanted = self.one(name), WAYS[how]
        found = [t for t in self.things if t is not mark and way(t, mark) == wanted]
        assert len(found) == 1
        for other in self.things:  # nothing else lies that way, if not clearly
            if other not in (mark, found[0]) and way(other, mark) is None:
                gap = {"x": other.x - mark.x, "y": other.y - mark.y}
                axis, sign = {
                    **{"left": ("x", -1), "right": ("x", 1)},
                    **{"above": ("y", -1), "below": ("y", 1)},
                }[wanted]
                assert sign * gap[axis] <= 0
        return found[0].shape

    def calls(self):
        return NUMBERS[self.call["times"]]

    def pitch(self):
        return self.call["pitch"]

    def caller(self):
        return self.call["shape"]

    def calls_as_things(self):
        return yes(self.call["times"] == len(self.things))

    def climate(self, word):
        reading, sign = CLIMATE[word]
        assert abs(self.readings[reading] - 0.5) > 0.099
        return yes(sign * (self.readings[reading] - 0.5) > 0)

    def power(self, name):
        shape = name.removeprefix("the ")
        return self.readings[shape if shape in SHAPES else self.one(name).shape]

    def on(self, name, state):
        return yes((self.power(name) > 0) == (state == "on"))

    def more_power(self, first, how, second):
        gap = self.power(first) - self.power(second)
        assert abs(gap) > 0.1
        return yes((gap > 0) == (how == "more"))

    def count_on(self, state):
        return NUMBERS[sum((self.readings[t.shape] > 0) == (state == "on") for t in self.things)]

    GRAMMAR = {  # noqa: RUF012
        r"(?:how many calls (?:do you hear|are there)|how many times does it call)\?": calls,
        r"what is the number of calls\?": calls,
        r"is the call (?:high or low|low or high)\?": pitch,
        r"how high is the call\?|what pitch does the call have\?": pitch,
        r"(?:what is calling|which shape is calling|what do you hear|which shape calls)\?": caller,
        r"(?:are there|do you hear) as many calls as (?:things|you see things|"
        r"there are objects in the picture)\?": calls_as_things,
        r"is (?:it|the room) (\w+)(?: in the room)?\?": climate,
        r"is (the (?:(?! or ).)+?) (?:switched )?(on|off)\?": on,
        r"does (the .+) (?:draw|use) (more|less) power than (the .+)\?": more_power,
        r"how many (?:things|of the things|objects)(?: in the picture)? are (on|off)\?": count_on,
        r"(?:what|which) (color|shape|size) (?:is|does) (the .+?)(?: have)?\?": attribute,
        r"what is the (color|shape) of (the .+)\?": attribute,
        **{
            pattern: lambda self, name, kind=kind: self.attribute(kind, name)
            for kind, patterns in {
                "texture": (
                    r"(?:what|which) pattern does (the .+) have\?",
                    r"what is the pattern of (the .+)\?",
                ),
                "size": (r"how large is (the .+)\?", r"is (the .+) small or large\?"),
            }.items()
            for pattern in patterns
        },
        r"(?:is there|can you see|does the picture show) (an? .+?)(?: in the picture)?\?": exist,
        r"(?:how many|what is the number of) (.+?)"
        r"(?: are there| can you see| are in the picture)?\?": count,
        r"(?:are there|do you see) (more|fewer|as many) (.+) (?:than|as) (.+)\?": more,
        r"is (the .+) (larger|bigger|smaller) than (the .+)\?": larger,
        r"(?:is|are) (the .+) (?:as large as|and) (the .+?)(?: the same size)?\?": same_size,
        rf"is (the .+?) ({WAY}) (the .+)\?": relation,
        rf"(?:what|which thing) (?:is|do you see) ({WAY}) (the .+)\?": neighbor,
    }


def rows(records):
    return [dict(zip(records, row, strict=True)) for row in zip(*records.values(), strict=True)]


def ask(question, **known):
    try:
        return Oracle(**known).answer(question)
    except AssertionError:  # it makes no sense here
        return None


@pytest.fixture(scope="module")
def splits():
    """Questions about images alone, four about each of 250 scenes."""
    return {split: world_questions(250, 3, 32, split, per_scene=4) for split in SPLITS}


@pytest.fixture(scope="module")
def mixed():
    """Questions of every need, five about each of 250 rooms."""
    return rows(world_questions(250, 4, 16, per_scene=5, needs=list(INPUTS)))


def test_answers_are_right_and_names_are_of_one_thing(splits):
    for records in splits.values():
        for row in rows(records):
            assert Oracle(row["scene"]).answer(row["question"]) == row["answer"], row["question"]


def test_answers_follow_from_what_a_question_needs_alone(mixed):
    for row in mixed:
        known = {name: row[name] for name in INPUTS[row["needs"]]}
        assert Oracle(**known).answer(row["question"]) == row["answer"], row["question"]


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), split=st.sampled_from(SPLITS))
def test_any_seed(seed, split):
    for row in rows(world_questions(2, seed, 16, split, per_scene=6, needs=list(INPUTS))):
        known = {name: row[name] for name in INPUTS[row["needs"]]}
        assert Oracle(**known).answer(row["question"]) == row["answer"], row["question"]


def possible_calls(scene):
    shapes = collections.Counter(thing["shape"] for thing in scene["objects"])
    for shape, pitch, times in itertools.product(shapes, PITCHES, range(1, 5)):
        if shapes[shape] == 1:
            yield {"shape": shape, "pitch": pitch, "times": times}


def other_scenes(scene, mixed):
    """Scenes of other rooms, and the same with other shapes."""
    yield from (row["scene"] for row in mixed[::25])
    shapes = [thing["shape"] for thing in scene["objects"]]
    order = list(SHAPES)
    turned = [[order[order.index(s) - by] for s in shapes] for by in range(1, len(order))]
    for others in {*itertools.permutations(shapes), *map(tuple, turned)}:
        things = zip(scene["objects"], others, strict=True)
        yield {**scene, "objects": [{**thing, "shape": shape} for thing, shape in things]}


def test_both_cannot_be_answered_from_one(mixed):
    """The same picture with another sound, and the same sound with another picture."""
    asked = [row for row in mixed if row["needs"] == "both"]
    assert len(asked) > 150
    for row in asked:
        calls = possible_calls(row["scene"])
        by_sound = {ask(row["question"], scene=row["scene"], call=call) for call in calls}
        scenes = other_scenes(row["scene"], mixed)
        by_picture = {ask(row["question"], scene=scene, call=row["call"]) for scene in scenes}
        assert len(by_sound - {None}) > 1, row["question"]
        assert len(by_picture - {None}) > 1, row["question"]


def test_the_best_guess_without_the_sound_is_often_wrong(mixed):
    worth = []
    for row in mixed:
        if row["needs"] == "both":
            calls = possible_calls(row["scene"])
            told = [ask(row["question"], scene=row["scene"], call=call) for call in calls]
            counts = collections.Counter(answer for answer in told if answer)
            worth.append(row["answer"] == counts.most_common(1)[0][0])
    assert np.mean(worth) < 0.65


def test_image_and_readings_cannot_be_answered_from_one(mixed):
    asked = [row for row in mixed if row["needs"] == "image and readings"]
    assert len(asked) > 150
    rooms = mixed[::10]
    for row in asked:
        question = row["question"]
        by_readings = {
            ask(question, scene=row["scene"], readings=room["readings"]) for room in rooms
        }
        by_picture = {
            ask(question, scene=scene, readings=row["readings"])
            for scene in other_scenes(row["scene"], mixed)
        }
        assert len(by_readings - {None}) > 1, question
        assert len(by_picture - {None}) > 1, question


def test_needs_come_equally_often(mixed):
    counts = collections.Counter(row["needs"] for row in mixed)
    assert set(counts) == set(INPUTS) == set(QUESTIONS)
    assert min(counts.values()) > 0.15 * len(mixed)


def test_every_type_is_asked_in_several_phrases(splits, mixed):
    phrases = collections.defaultdict(set)
    for row in rows(splits["train"]) + mixed:
        masked = re.sub(CALLER, "#", row["question"])
        masked = re.sub(rf"\b(?:the |an? )?{re.sub(r'[?]P<[a-z]+>', '?:', WORDS)}\b", "#", masked)
        phrases[row["question_type"]].add(masked)
    assert set(phrases) == {kind for types in QUESTIONS.values() for kind in types}
    for kind, masked in phrases.items():
        assert len(masked) >= 3, (kind, masked)


def test_guessing_the_most_frequent_answer_does_not_pay(splits, mixed):
    types = collections.defaultdict(collections.Counter)
    for row in [row for records in splits.values() for row in rows(records)] + mixed:
        types[row["question_type"]][row["answer"]] += 1
    for kind, counts in types.items():
        total, even = sum(counts.values()), 1 / len(counts)
        chance = 3 * np.sqrt(even * (1 - even) / total)
        assert max(counts.values()) / total < even + chance + 0.05, (kind, counts)


def test_the_question_alone_does_not_tell_the_answer(splits):
    """By the words, beside the most frequent answer of each type."""
    known, types = (collections.defaultdict(collections.Counter) for _ in range(2))
    for row in rows(splits["train"]):
        types[row["question_type"]][row["answer"]] += 1
        for word in row["question"].split():
            known[row["question_type"], word][row["answer"]] += 1
    right = collections.Counter()
    asked = rows(splits["valid"])
    for row in asked:
        counts = types[row["question_type"]]
        likely = {
            answer: np.log(count)
            + sum(
                np.log((known[row["question_type"], word][answer] + 1) / (count + 10))
                for word in row["question"].split()
            )
            for answer, count in counts.items()
        }
        right["words"] += max(likely, key=likely.get) == row["answer"]
        right["type"] += counts.most_common(1)[0][0] == row["answer"]
    assert right["words"] < right["type"] + 0.08 * len(asked)
    assert right["type"] < 0.42 * len(asked)


def test_same_seed_gives_same_records():
    options = {"size": 16, "per_scene": 3, "needs": ["both", "readings"]}
    assert world_questions(4, 1, **options) == world_questions(4, 1, **options)
    assert (
        world_questions(4, 1, **options)["question"] != world_questions(4, 2, **options)["question"]
    )


@pytest.mark.parametrize("split", SPLITS)
def test_a_longer_list_begins_with_the_shorter(split, splits):
    short = world_questions(5, 3, 32, split, per_scene=4)
    assert short == {name: column[:20] for name, column in splits[split].items()}


def test_records(splits, mixed):
    for records in splits.values():
        assert list(records) == ["image", "scene", "question", "answer", "question_type"]
        assert {len(column) for column in records.values()} == {1000}
        for start in range(0, 1000, 4):
            assert len(set(records["question_type"][start : start + 4])) == 4
            assert len({id(image) for image in records["image"][start : start + 4]}) == 1
    row = mixed[0]
    assert set(row) == {*splits["train"], "audio", "call", "readings", "needs"}
    pixels = np.array(Picture.open(io.BytesIO(row["image"])))
    np.testing.assert_array_equal(pixels, render(Scene.from_dict(row["scene"]), 16))


def test_splits_share_no_scene(splits):
    scenes = [json.dumps(r["scene"][i]) for r in splits.values() for i in range(0, 1000, 4)]
    assert len(set(scenes)) == 750


def test_what_is_held_out_is_only_in_test(splits):
    novel = {
        split: [held_out(Scene.from_dict(scene)) for scene in records["scene"][::4]]
        for split, records in splits.items()
    }
    assert not any(novel["train"] + novel["valid"] + novel["test"][1::2])
    assert all(novel["test"][::2])


def test_what_is_held_out_is_only_named_in_test(splits):
    named = {
        split: [held_out_words(row["question"]) for row in rows(records)]
        for split, records in splits.items()
    }
    known = [number for number in range(1000) if number // 4 % 2]
    assert not any(named["train"] + named["valid"])
    assert not any(named["test"][number] for number in known)
    assert sum(map(bool, named["test"])) > 20


def held_out_words(question):
    looks = {(s, c) for s, c in HELD_OUT_LOOKS if re.search(rf"\b{c} {s}\b", question)}
    relations = set()
    shape = "|".join(SHAPES)
    pattern = rf"the (?:\w+ )*?(?P<a>{shape}) (?P<how>{WAY}) the (?:\w+ )*?(?P<b>{shape})\b"
    if match := re.search(pattern, question):
        a, how, b = match["a"], WAYS[match["how"]], match["b"]
        if how in ("below", "right"):
            a, how, b = b, {"below": "above", "right": "left"}[how], a
        relations = {(a, {"left": "left of"}.get(how, how), b)} & HELD_OUT_RELATIONS
    return looks | relations


def test_the_vocabulary_of_train_is_enough(splits):
    words = {
        split: {word for question in records["question"] for word in question.split()}
        for split, records in splits.items()
    }
    assert words["valid"] | words["test"] <= words["train"]
    assert len(words["train"]) < 120


def heard(recording):
    """A recording as a call, by the loudest frequency of each tone."""
    with wave.open(io.BytesIO(recording)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    assert len(samples) < 2.2 * rate
    loud = np.convolve(np.abs(samples) > 0.04, np.ones(400), "same") > 0
    parts = np.flatnonzero(np.diff(np.r_[0, loud, 0])).reshape(-1, 2)
    found = set()
    for start, end in parts:
        tones = np.array_split(samples[start + 200 : end - 200], 3)
        spectra = [np.abs(np.fft.rfft(tone * np.hanning(len(tone)), rate)) for tone in tones]
        tones = np.array([spectrum.argmax() for spectrum in spectra])
        pitch = min(PITCHES, key=lambda name: abs(np.log(tones.min() / PITCHES[name])))
        steps = tuple(2 * round(6 * np.log2(tone / tones.min())) for tone in tones)
        found.add((pitch, steps))
    ((pitch, steps),) = found
    (shape,) = [shape for shape, motif in MOTIFS.items() if motif == steps]
    return {"shape": shape, "pitch": pitch, "times": len(parts)}


def test_the_call_can_be_heard(mixed):
    for row in mixed[::15]:
        assert heard(row["audio"]) == row["call"]


@pytest.mark.parametrize("pitch", PITCHES)
@pytest.mark.parametrize("shape", MOTIFS)
def test_play(shape, pitch):
    call = Call(shape, pitch, 3)
    assert heard(play(call, 1)) == {"shape": shape, "pitch": pitch, "times": 3}
    assert play(call, 1) == play(call, 1) != play(call, 2)


def test_every_call_is_of_one_thing_in_the_picture(mixed):
    for row in mixed:
        assert row["call"] in possible_calls(row["scene"])


def test_readings(mixed):
    for row in mixed:
        temperature, light, *power = row["readings"]
        assert len(row["readings"]) == len(READINGS)
        assert all(0 <= level <= 1 for level in row["readings"])
        assert min(abs(temperature - 0.5), abs(light - 0.5)) >= 0.1
        assert 0 < power.count(0.0) < len(SHAPES)


@pytest.mark.parametrize("need", INPUTS)
def test_one_need(need):
    records = world_questions(30, size=16, per_scene=3, needs=need)
    assert set(records["needs"]) == {need}
    assert set(records["question_type"]) == set(QUESTIONS[need])
    assert all(len(column) == 90 for column in records.values())
    assert {"audio", "readings"} < set(records)


def test_all_types_about_one_scene():
    records = world_questions(1, size=16, per_scene=10)
    assert set(records["question_type"]) == set(QUESTIONS["image"])


def test_sizes_of_things_do_not_lean(splits):
    sizes = collections.Counter(
        row["answer"]
        for records in splits.values()
        for row in rows(records)
        if row["question_type"] == "size"
    )
    assert set(sizes) == set(SIZES)
    assert max(sizes.values()) < 1.3 * min(sizes.values())


def test_as_batches():
    records = world_questions(4, size=16, needs=["both", "image and readings"])
    words = train_tokenizer(records["question"], kind="word")
    inputs = {
        "image": Image(16),
        "audio": Audio(8000, bands=8),
        "readings": Features(len(READINGS)),
        "question": Text(words),
    }
    (batch,) = dataset(records, Preprocessor(inputs, {}), 4)
    assert batch["image"].shape == (4, 16, 16, 3)
    assert batch["readings"].shape == (4, 8)
    assert batch["audio"].shape[0] == 4


def test_read():
    parts = read("world_questions", train=3, valid=2, test=1, seed=5, size=16, per_scene=2)
    for count, split, records in zip((3, 2, 1), SPLITS, parts, strict=True):
        assert records == world_questions(count, 5, 16, split, per_scene=2)
    with pytest.raises(ValueError, match=r"`root` should be None.*Received: root='here'"):
        read("world_questions", "here")
    with pytest.raises(ValueError, match="`valid` should be a whole number"):
        read("world_questions", train=1, valid=0)


@pytest.mark.parametrize(
    "argument",
    [
        {"count": 0},
        {"seed": -1},
        {"size": 7},
        {"split": "dev"},
        {"per_scene": 0},
        {"per_scene": 11},
        {"needs": "smell"},
        {"needs": []},
        {"needs": 3},
        {"needs": ["image", "smell"]},
    ],
)
def test_bad_arguments(argument):
    (name,) = argument
    with pytest.raises(ValueError, match=rf"`{name}` should be .*Received: {name}="):
        world_questions(**{"count": 1, **argument})


@pytest.mark.parametrize("argument", [{"shape": "moon"}, {"pitch": "middle"}, {"times": 5}])
def test_bad_calls(argument):
    (name,) = argument
    with pytest.raises(ValueError, match=rf"`{name}` should be one of .*Received: {name}="):
        Call(**{"shape": "star", "pitch": "low", "times": 1, **argument})
