import collections
import io
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmkeras.data import read, sort_of_clevr
from mmkeras.data.world import CLEVR_COLORS, CLEVR_SHAPES, draw_objects

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")
COUNT = 60


def rows(records):
    return [dict(zip(records, row, strict=True)) for row in zip(*records.values(), strict=True)]


def pixels(row):
    return np.array(Image.open(io.BytesIO(row["image"]))).astype(int)


def seen(image, color):
    """Where the object of a color is in a picture and whether it fills its box, by its pixels."""
    cover = np.abs(image - CLEVR_COLORS[color]).max(-1) < 60
    y, x = np.nonzero(cover)
    box = (np.ptp(x) + 1) * (np.ptp(y) + 1)
    return x.mean(), y.mean(), "square" if len(x) > 0.9 * box else "circle"


def answer(question, image):
    """The answer to a question by the pixels of its picture alone."""
    things = {color: seen(image, color) for color in CLEVR_COLORS}
    (color,) = set(question.rstrip("?").split()) & set(CLEVR_COLORS)
    x, y, shape = things[color]
    middle = len(image) / 2 - 0.5
    away = sorted((math.hypot(a - x, b - y), kind) for a, b, kind in things.values())
    return {
        f"what is the shape of the {color} object?": shape,
        f"is the {color} object on the left or on the right?": "left" if x < middle else "right",
        f"is the {color} object at the top or at the bottom?": "top" if y < middle else "bottom",
        f"what is the shape of the object closest to the {color} object?": away[1][1],
        f"what is the shape of the object furthest from the {color} object?": away[-1][1],
        f"how many objects have the shape of the {color} object?": NUMBERS[
            sum(kind == shape for _, _, kind in things.values())
        ],
    }[question]


def by_scene(question, scene):
    """The answer by the scene, checked to be clear."""
    things = {thing["color"]: thing for thing in scene}
    it = things[re.search(f"the ({'|'.join(CLEVR_COLORS)}) object", question)[1]]
    away = sorted(
        (math.hypot(other["x"] - it["x"], other["y"] - it["y"]), other["shape"])
        for other in scene
        if other is not it
    )
    if "left" in question:
        assert abs(it["x"] - 0.5) > 0.009
        return "left" if it["x"] < 0.5 else "right"
    if "top" in question:
        assert abs(it["y"] - 0.5) > 0.009
        return "top" if it["y"] < 0.5 else "bottom"
    if "closest" in question:
        assert away[1][0] - away[0][0] > 0.009
        return away[0][1]
    if "furthest" in question:
        assert away[-1][0] - away[-2][0] > 0.009
        return away[-1][1]
    if "how many" in question:
        return NUMBERS[sum(other["shape"] == it["shape"] for other in scene)]
    return it["shape"]


@pytest.fixture(scope="module")
def records():
    return sort_of_clevr(COUNT, seed=3)


def test_answers_are_true_of_the_scene(records):
    for row in rows(records):
        assert by_scene(row["question"], row["scene"]) == row["answer"], row["question"]


def test_answers_are_true_of_the_picture():
    for row in rows(sort_of_clevr(8, seed=1, size=300)):
        assert answer(row["question"], pixels(row)) == row["answer"], row["question"]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**40))
def test_any_seed(seed):
    for row in rows(sort_of_clevr(1, seed)):
        assert by_scene(row["question"], row["scene"]) == row["answer"], row["question"]


def test_every_picture_has_ten_questions_of_each_type(records):
    assert list(records) == ["image", "question", "answer", "question_type", "scene"]
    assert {len(column) for column in records.values()} == {20 * COUNT}
    for start in range(0, 20 * COUNT, 20):
        part = slice(start, start + 20)
        assert len(set(records["question"][part])) == 20
        assert records["question_type"][part] == ["non_relational"] * 10 + ["relational"] * 10
        assert len({id(image) for image in records["image"][part]}) == 1


def test_types(records):
    words = {"closest", "furthest", "how"}
    for row in rows(records):
        related = bool(words & set(row["question"].split()))
        assert row["question_type"] == ("relational" if related else "non_relational")


def test_every_kind_of_question_is_about_every_color(records):
    assert len(set(records["question"])) == 6 * len(CLEVR_COLORS)
    assert set(records["answer"]) >= {*CLEVR_SHAPES, "left", "right", "top", "bottom", "three"}


def test_scenes(records):
    for scene in records["scene"][::20]:
        assert [thing["color"] for thing in scene] == list(CLEVR_COLORS)
        for i, a in enumerate(scene):
            assert min(a["x"], a["y"], 1 - a["x"], 1 - a["y"]) > 0.06
            for b in scene[i + 1 :]:
                assert math.hypot(a["x"] - b["x"], a["y"] - b["y"]) > 0.19


def test_shapes_and_sides_are_even(records):
    shapes = collections.Counter(thing["shape"] for s in records["scene"][::20] for thing in s)
    sides = collections.Counter(a for a in records["answer"] if a in ("left", "right"))
    for counts in (shapes, sides):
        assert len(counts) == 2
        assert max(counts.values()) < 1.35 * min(counts.values())


def test_the_picture_is_the_scene_drawn(records):
    for row in rows(records)[::200]:
        np.testing.assert_array_equal(pixels(row), draw_objects(row["scene"], 75))


@pytest.mark.parametrize(("shape", "area"), [("circle", math.pi * 25), ("square", 100)])
def test_draw_is_anti_aliased(shape, area):
    for x in (0.5, 0.513):
        scene = [{"color": "blue", "shape": shape, "x": x, "y": 0.4}]
        image = draw_objects(scene, 75)
        assert image.shape == (75, 75, 3)
        assert image.dtype == np.uint8
        cover = 1 - image[..., 0] / 255
        assert cover.sum() == pytest.approx(area, rel=0.03)
        columns = np.arange(75) + 0.5
        assert (cover.sum(0) * columns).sum() / cover.sum() == pytest.approx(75 * x, abs=0.05)
    assert image[0, 0].tolist() == [255, 255, 255]


def test_same_seed_gives_same_records(records):
    assert sort_of_clevr(3, seed=3) == {name: column[:60] for name, column in records.items()}
    assert sort_of_clevr(3, seed=4)["scene"] != records["scene"][:60]


def test_read():
    parts = read("sort_of_clevr", train=3, valid=2, test=1, seed=5, size=40)
    for count, split, part in zip((3, 2, 1), ("train", "valid", "test"), parts, strict=True):
        assert part == sort_of_clevr(count, 5, split, 40)
    scenes = [json.dumps(scene) for part in parts for scene in part["scene"][::20]]
    assert len(set(scenes)) == 6
    with pytest.raises(ValueError, match=r"`root` should be None.*Received: root='here'"):
        read("sort_of_clevr", "here")
    with pytest.raises(ValueError, match="`valid` should be a whole number"):
        read("sort_of_clevr", train=1, valid=0)


@pytest.mark.parametrize(
    "argument", [{"count": 0}, {"seed": -1}, {"size": 7}, {"split": "dev"}, {"count": 1.5}]
)
def test_bad_arguments(argument):
    (name,) = argument
    with pytest.raises(ValueError, match=rf"`{name}` should be .*Received: {name}="):
        sort_of_clevr(**{"count": 1, **argument})
