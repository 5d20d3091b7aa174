import collections
import dataclasses
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from mmkeras.data.world import (
    COLORS,
    HELD_OUT_LOOKS,
    HELD_OUT_RELATIONS,
    SHAPES,
    SIZES,
    TEXTURES,
    Background,
    Object,
    Scene,
    arrangement,
    captions,
    gist,
    group,
    held_out,
    place,
    read_world,
    relation,
    render,
    world,
)

COUNT = 300
NUMBERS = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4}
SIZE_OF = {"small": "small", "little": "small", "large": "large", "big": "large", None: None}
NAME = re.compile(
    rf"(?P<number>{'|'.join(NUMBERS)})(?: (?P<size>small|little|large|big))?"
    rf"(?: (?P<texture>{'|'.join(TEXTURES)}))? (?P<color>{'|'.join(COLORS)})"
    rf" (?P<shape>{'|'.join(SHAPES)})(?P<plural>s|es)?\b"
)
HOW = r"above|over|below|under|to the left of|left of|to the right of|right of|between"
WHERE = (
    r"in the (?:top|bottom) (?:left|right) corner|(?:at|near) the (?:top|bottom)"
    r"|on the (?:left|right)(?: side)?|in the (?:middle|center)"
)
NAMES = r"#\d(?: and #\d)*"
START = r"(?:the picture shows |we see |there (?:is|are) )?"
SENTENCES = {
    "related": rf"{START}(?P<first>{NAMES})(?P<verb> is| are)? (?P<how>{HOW}) (?P<second>{NAMES})",
    "with": rf"{START}(?P<second>{NAMES}) with (?P<first>#\d) (?P<how>{HOW}) (?P<them>it|them)",
    "arranged": rf"{START}(?P<of>a (?:row|column|group) of )?#0(?: are)?(?P<line> in a \w+)?",
    "placed": rf"{START}#0(?: is)? (?P<here>{WHERE})(?: and #1 (?P<there>{WHERE}))?",
}


def thing(x=0.5, y=0.5, shape="circle", color="red", size="small", texture="plain", **more):
    return Object(shape, color, size, texture, x, y, **more)


def decode(data):
    return np.array(Image.open(io.BytesIO(data)))


def mentioned(caption, scene):
    """The objects each name of a caption can mean, and the caption with the names numbered."""
    meant = []

    def number(match):
        words = match.groupdict()
        found = [
            t
            for t in scene.objects
            if (t.color, t.shape) == (words["color"], words["shape"])
            and words["size"] in (None, *(said for said, size in SIZE_OF.items() if size == t.size))
            and words["texture"] in (None, t.texture)
        ]
        assert len(found) == NUMBERS[words["number"]], caption
        assert bool(words["plural"]) == (len(found) > 1), caption
        meant.append(found)
        return f"#{len(meant) - 1}"

    return meant, NAME.sub(number, caption)


def understand(caption, scene):
    """Reads a caption by a grammar of its own: (kind of sentence, match, objects of each name)."""
    meant, text = mentioned(caption, scene)
    for kind, pattern in SENTENCES.items():
        if match := re.fullmatch(pattern, text):
            return kind, match, meant
    raise AssertionError(f"not a sentence of the world: {caption!r}, {text!r}")


@pytest.fixture(scope="module")
def splits():
    return {
        split: world(COUNT, seed=3, size=32, split=split) for split in ("train", "valid", "test")
    }


@pytest.fixture(scope="module")
def told(splits):
    return [
        (caption, Scene.from_dict(scene))
        for records in splits.values()
        for five, scene in zip(records["caption"], records["scene"], strict=True)
        for caption in five
    ]


def test_records_are_equally_long_columns(splits):
    for records in splits.values():
        assert {name: len(column) for name, column in records.items()} == {
            "image": COUNT,
            "caption": COUNT,
            "scene": COUNT,
        }
        assert all(len(set(five)) == 5 for five in records["caption"])
        assert decode(records["image"][0]).shape == (32, 32, 3)


def test_same_seed_gives_same_records():
    assert world(5, seed=1, size=24) == world(5, seed=1, size=24)
    assert world(5, seed=1, size=24)["scene"] != world(5, seed=2, size=24)["scene"]


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_longer_list_begins_with_the_shorter(split, splits):
    short = world(10, seed=3, size=32, split=split)
    assert short == {name: column[:10] for name, column in splits[split].items()}


def test_size_changes_the_image_alone():
    small, large = world(4, size=17), world(4, size=64)
    assert (small["scene"], small["caption"]) == (large["scene"], large["caption"])
    assert decode(small["image"][0]).shape == (17, 17, 3)


def test_splits_share_nothing(splits):
    scenes = [json.dumps(scene) for records in splits.values() for scene in records["scene"]]
    images = [image for records in splits.values() for image in records["image"]]
    assert len(set(scenes)) == len(set(images)) == 3 * COUNT


def test_what_is_held_out_is_only_in_test(splits):
    found = {
        split: [held_out(Scene.from_dict(scene)) for scene in records["scene"]]
        for split, records in splits.items()
    }
    assert not any(found["train"] + found["valid"] + found["test"][1::2])
    assert all(found["test"][::2])
    seen = set().union(*found["test"])
    assert seen >= HELD_OUT_LOOKS
    assert len(seen & HELD_OUT_RELATIONS) >= 9


def test_captions_of_train_never_name_what_is_held_out(splits):
    for split in ("train", "valid"):
        for five, scene in zip(splits[split]["caption"], splits[split]["scene"], strict=True):
            for caption in five:
                for color, shape in ((c, s) for s, c in HELD_OUT_LOOKS):
                    assert f"{color} {shape}" not in caption
                kind, match, meant = understand(caption, Scene.from_dict(scene))
                if kind in ("related", "with") and match["how"] != "between":
                    assert not said(match, meant) & HELD_OUT_RELATIONS, caption


def said(match, meant):
    how = {"over": "above", "under": "below"}.get(
        match["how"], match["how"].removeprefix("to the ")
    )
    first, second = (
        {t.shape for i in re.findall(r"\d", match[side]) for t in meant[int(i)]}
        for side in ("first", "second")
    )
    if how in ("below", "right of"):
        first, second, how = second, first, {"below": "above", "right of": "left of"}[how]
    return {(a, how, b) for a in first for b in second}


def test_captions_name_every_object_rightly(told):
    for caption, scene in told:
        meant, _ = mentioned(caption, scene)
        assert sum(len(things) for things in meant) == len(scene.objects), caption


def test_captions_relate_objects_truly(told):
    kinds = collections.Counter()
    for caption, scene in told:
        kind, match, meant = understand(caption, scene)
        kinds[kind] += 1
        if kind not in ("related", "with"):
            continue
        first, second = (
            [t for i in re.findall(r"\d", match[side]) for t in meant[int(i)]]
            for side in ("first", "second")
        )
        how = match["how"].removeprefix("to the ")
        if how == "between":
            (middle,), (a, b) = first, second
            xs, ys = sorted([a.x, b.x]), sorted([a.y, b.y])
            assert xs[0] < middle.x < xs[1] or ys[0] < middle.y < ys[1], caption
            continue
        axis, sign = {
            **{"above": ("y", 1), "over": ("y", 1), "below": ("y", -1), "under": ("y", -1)},
            **{"left of": ("x", 1), "right of": ("x", -1)},
        }[how]
        for a in first:
            for b in second:
                gap = sign * (getattr(b, axis) - getattr(a, axis))
                assert gap >= a.radius + b.radius, caption
    assert min(kinds.values()) > 0.05 * len(told)
    assert set(kinds) == set(SENTENCES)


def test_captions_place_and_count_truly(told):
    for caption, scene in told:
        kind, match, meant = understand(caption, scene)
        if kind == "placed":
            for where, (it,) in zip((match["here"], match["there"]), meant, strict=False):
                assert ("left" in where) == (it.x < 0.4)
                assert ("right" in where) == (it.x > 0.6)
                assert ("top" in where) == (it.y < 0.4)
                assert ("bottom" in where) == (it.y > 0.6)
        if kind == "arranged":
            width, height = np.ptp([t.x for t in meant[0]]), np.ptp([t.y for t in meant[0]])
            assert ("row" in caption) == (height < 0.15 * width), caption
            assert ("column" in caption) == (width < 0.15 * height), caption


def test_verbs_and_articles_agree(told):
    for caption, scene in told:
        kind, match, meant = understand(caption, scene)
        if there := re.match(r"there (is|are) (\w+)", caption):
            assert (there[1] == "is") == (there[2] in ("a", "an")), caption
        if kind == "related" and match["verb"]:
            subjects = [t for i in re.findall(r"\d", match["first"]) for t in meant[int(i)]]
            assert (match["verb"] == " is") == (len(subjects) == 1), caption
        if kind == "with":
            others = [t for i in re.findall(r"\d", match["second"]) for t in meant[int(i)]]
            assert (match["them"] == "it") == (len(others) == 1), caption
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|  |^ | $", caption), caption


def test_first_caption_says_everything(splits):
    for records in splits.values():
        for (first, *_), described in zip(records["caption"], records["scene"], strict=True):
            scene = Scene.from_dict(described)
            for shape, color, size, texture in {t.look for t in scene.objects}:
                spoken = "" if texture == "plain" else f"{texture} "
                assert re.search(rf"{size} (plain )?{spoken}{color} {shape}", first)


def test_vocabulary_is_small_and_shared(splits):
    words = {
        split: {word for five in records["caption"] for caption in five for word in caption.split()}
        for split, records in splits.items()
    }
    assert 55 <= len(words["train"]) <= 80
    assert words["valid"] | words["test"] <= words["train"]


def test_no_attribute_and_no_caption_prevails(splits):
    scenes = [Scene.from_dict(scene) for scene in splits["train"]["scene"]]
    for name, words in (("shape", SHAPES), ("color", COLORS), ("texture", TEXTURES)):
        counts = collections.Counter(getattr(t, name) for s in scenes for t in s.objects)
        assert set(counts) == set(words)
        assert max(counts.values()) < 3 * min(counts.values())
    assert {len(scene.objects) for scene in scenes} == {1, 2, 3, 4}
    firsts = collections.Counter(five[0] for five in splits["train"]["caption"])
    assert max(firsts.values()) <= 0.02 * COUNT


def test_the_nearest_picture_rarely_has_the_right_caption(splits):
    train, valid = (
        np.float32([decode(image)[::2, ::2].ravel() for image in splits[split]["image"]])
        for split in ("train", "valid")
    )
    distance = (train**2).sum(1) - 2 * valid @ train.T
    guesses = [splits["train"]["caption"][i][0] for i in distance.argmin(1)]
    hits = [g in five for g, five in zip(guesses, splits["valid"]["caption"], strict=True)]
    assert np.mean(hits) < 0.05


def test_objects_stay_inside_and_apart(splits):
    for records in splits.values():
        for scene in map(Scene.from_dict, records["scene"]):
            for i, a in enumerate(scene.objects):
                assert a.radius <= min(a.x, a.y, 1 - a.x, 1 - a.y)
                for b in scene.objects[i + 1 :]:
                    assert np.hypot(a.x - b.x, a.y - b.y) > a.radius + b.radius


def test_every_object_is_visible(splits):
    for described in splits["test"]["scene"][:60]:
        scene = Scene.from_dict(described)
        whole = render(scene, 64).astype(int)
        for i, it in enumerate(scene.objects[1:], 1):
            rest = dataclasses.replace(scene, objects=scene.objects[:i] + scene.objects[i + 1 :])
            changed = np.abs(whole - render(rest, 64)).max(-1) > 40
            assert changed.sum() > 0.25 * np.pi * (64 * it.radius) ** 2


@pytest.mark.parametrize("size", [8, 17, 64, 224])
def test_render_draws_any_size(size):
    image = render(Scene((thing(size="large"),)), size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    red, green, blue = image[size // 2, size // 2].astype(int)
    assert red > 150 > green + blue


def test_render_shows_the_same_scene_at_every_size():
    scene = Scene((thing(0.3, 0.4, "star", texture="dotted"), thing(0.7, 0.6, "heart", "blue")))
    large = Image.fromarray(render(scene, 256)).resize((64, 64), Image.Resampling.BOX)
    assert np.abs(render(scene, 64).astype(int) - np.asarray(large)).mean() < 1.5


def test_edges_are_anti_aliased():
    image = render(Scene((thing(shape="square", color="black", angle=10.0),)), 64)
    tones = np.unique(image[:, :, 0])
    assert len(tones) > 20
    assert tones[0] < 40
    assert tones[-1] == 236
    assert np.isin(image[0], 236).all()


def test_looks_differ_on_the_picture():
    def picture(look):
        shape, color, size, texture = look
        return render(Scene((thing(0.5, 0.5, shape, color, size, texture),)), 64).astype(int)

    looks = [
        *[(shape, "blue", "small", "plain") for shape in SHAPES],
        *[("cross", color, "small", "plain") for color in COLORS if color != "blue"],
        *[("star", "blue", "small", texture) for texture in TEXTURES[1:]],
        ("circle", "blue", "large", "plain"),
    ]
    pictures = [picture(look) for look in looks]
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert (np.abs(one - other).max(-1) > 60).sum() >= 12


def test_backgrounds_vary(splits):
    corners = {tuple(decode(image)[0, 0]) for image in splits["train"]["image"][:50]}
    assert len(corners) > 45


def test_background_is_a_gradient_with_noise():
    plain = Background((100, 150, 200), (200, 150, 100))
    image = render(Scene((thing(),), plain), 64)
    np.testing.assert_array_equal(image[:, 0], np.tile([100, 150, 200], (64, 1)))
    np.testing.assert_array_equal(image[:, -1], np.tile([200, 150, 100], (64, 1)))
    noisy = render(Scene((thing(),), dataclasses.replace(plain, noise=5.0, seed=1)), 64)
    assert 3.0 < noisy[:, 0].astype(int).std(0).min() < 7.0


def test_scene_goes_through_json(splits):
    for described in splits["train"]["scene"][:20]:
        scene = Scene.from_dict(described)
        assert Scene.from_dict(json.loads(json.dumps(described))) == scene
        assert Scene.from_dict(scene.to_dict()) == scene


def test_the_image_is_the_scene_rendered(splits):
    records = splits["test"]
    for data, described in zip(records["image"][:5], records["scene"][:5], strict=True):
        np.testing.assert_array_equal(decode(data), render(Scene.from_dict(described), 32))


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [(0.2, 0.5, "left of"), (0.8, 0.5, "right of"), (0.5, 0.1, "above"), (0.5, 0.9, "below")],
)
def test_relation(x, y, expected):
    assert relation([thing(x, y)], [thing()]) == expected


@pytest.mark.parametrize(("x", "y"), [(0.2, 0.2), (0.45, 0.5)])
def test_no_relation_on_the_diagonal_or_where_objects_meet(x, y):
    assert relation([thing(x, y)], [thing()]) is None


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [(0.1, 0.9, "bottom left corner"), (0.5, 0.5, "middle"), (0.9, 0.5, "right"), (0.4, 0.5, None)],
)
def test_place(x, y, expected):
    assert place(thing(x, y)) == expected


def test_arrangement():
    assert arrangement([thing(0.2, 0.5), thing(0.5, 0.51), thing(0.8, 0.5)]) == "row"
    assert arrangement([thing(0.5, 0.2), thing(0.5, 0.8)]) == "column"
    assert arrangement([thing(0.2, 0.2), thing(0.8, 0.8)]) == "group"


def test_group_puts_alike_objects_together_in_reading_order():
    low, high, other = thing(0.2, 0.9), thing(0.2, 0.6), thing(0.5, 0.2, color="blue")
    assert group(Scene((low, high, other))) == [[other], [low, high]]


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        (
            [thing(0.5, 0.2, size="large"), thing(0.5, 0.8, "star", "orange")],
            "a small orange star below a large red circle",
        ),
        (
            [thing(0.2, 0.5, texture="dotted"), thing(0.8, 0.5)],
            "a small dotted red circle to the left of a small plain red circle",
        ),
        (
            [thing(0.3, 0.3), thing(0.5, 0.5, "star"), thing(0.7, 0.7, "heart")],
            "a small red circle and a small red star and a small red heart",
        ),
        ([thing(0.38, 0.5)], "a small red circle"),
        (
            [thing(0.2, 0.5), thing(0.5, 0.5, "cross"), thing(0.8, 0.5)],
            "a small red cross between two small red circles",
        ),
    ],
)
def test_captions_of_scenes_made_by_hand(objects, expected):
    five = captions(Scene(tuple(objects)), np.random.default_rng(0))
    assert five[0] == expected
    assert len(set(five)) == 5


def test_gist_takes_one_before_several_and_small_before_large():
    pair = [thing(0.2, 0.2), thing(0.8, 0.2)]
    one = thing(0.5, 0.8, "star", size="large")
    assert gist(Scene((*pair, one))).subject == [one]
    assert gist(Scene((*pair, one))).relation == "below"


def test_read_world_gives_the_three_splits():
    train, valid, test = read_world(train=3, valid=2, test=1, seed=5, size=16)
    assert train == world(3, 5, 16, "train")
    assert valid == world(2, 5, 16, "valid")
    assert test == world(1, 5, 16, "test")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"count": 0}, "count"),
        ({"count": 2.0}, "count"),
        ({"count": True}, "count"),
        ({"count": 1, "seed": -1}, "seed"),
        ({"count": 1, "size": 7}, "size"),
        ({"count": 1, "size": (64, 64)}, "size"),
        ({"count": 1, "split": "dev"}, "split"),
    ],
)
def test_world_refuses_bad_arguments(arguments, name):
    with pytest.raises(ValueError, match=rf"`{name}` should be .* Received: {name}="):
        world(**arguments)


def test_other_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"`root` should be None.*Received: root='here'"):
        read_world("here")
    with pytest.raises(ValueError, match="`valid` should be a whole number"):
        read_world(train=1, valid=0, test=1)
    with pytest.raises(ValueError, match=r"`color` should be one of .* Received: color='mauve'"):
        thing(color="mauve")
    with pytest.raises(ValueError, match="`objects` should hold one to four"):
        Scene(())
    with pytest.raises(ValueError, match="`size` should be a whole number"):
        render(Scene((thing(),)), 0)


def test_sizes_do_not_overlap(splits):
    radii = collections.defaultdict(list)
    for described in splits["train"]["scene"]:
        for it in Scene.from_dict(described).objects:
            radii[it.size].append(it.radius)
    assert set(radii) == set(SIZES)
    assert min(radii["large"]) > 1.3 * max(radii["small"])
