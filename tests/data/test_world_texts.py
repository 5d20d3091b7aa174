"""Texts of the built-in world: every answer is what a reader of the text would find."""

import re

import pytest

import mmkeras as mm
from mmkeras.data.world import COLORS, HELD_OUT_LOOKS, SHAPES, SIZES, TEXTURES, world_texts

KINDS = {"color": COLORS, "size": SIZES, "texture": TEXTURES}
ASKED = {"color": "color", "size": "size|large", "texture": "pattern"}


def read_aloud(context, question):
    """The answer by another way: the sentence that is asked about, and the words in it."""
    sentences = context.rstrip(".").split(". ")
    shape = re.search(rf"the ({'|'.join(SHAPES)})", question)
    if not shape:
        place = re.search(r"(?:is|see) ((?:in|at|on) .*)\?", question)[1]
        said = [each for each in sentences if re.search(rf"(?i)\b{place}\b", each)]
        name = rf"(?i)\ban? .*?({'|'.join(SHAPES)})"
        return re.search(name, said[0])[0] if said else None
    said = [each for each in sentences if re.search(rf"\b{shape[1]}\b", each)]
    if question.startswith("Where"):
        place = r"(?i)((in|at|on) the [a-z ]*?(corner|middle|top|bottom|left|right))( there|,|$)"
        return re.search(place, said[0])[1] if said else None
    (kind,) = (kind for kind, words in ASKED.items() if re.search(words, question))
    found = re.search(rf"\b({'|'.join(KINDS[kind])})\b", said[0]) if said else None
    return found and found[0]


def test_answers_are_what_a_reader_finds():
    records = world_texts(400, seed=3, split="test")
    lacking = 0
    names = ("context", "question", "answer", "answer_start")
    for context, question, answers, starts in zip(*map(records.get, names), strict=True):
        found = read_aloud(context, question)
        assert answers == ([] if found is None else [found]), (context, question)
        assert [context[at : at + len(found)] for at in starts] == answers
        lacking += found is None
    assert 60 < lacking < 110


def test_a_longer_list_begins_with_the_shorter_and_splits_differ():
    long, short = world_texts(6, seed=1), world_texts(3, seed=1)
    assert {key: column[:3] for key, column in long.items()} == short
    train, valid, test = mm.read("world_texts", train=3, valid=2, test=2, seed=1)
    assert train == short
    assert len({*train["context"], *valid["context"], *test["context"]}) == 7


def test_some_looks_are_told_of_in_the_test_split_only():
    looks = [rf"{color} {shape}\b" for shape, color in HELD_OUT_LOOKS]
    told = {
        split: re.search("|".join(looks), " ".join(world_texts(200, 0, split)["context"]))
        for split in ("train", "valid", "test")
    }
    assert {split: bool(found) for split, found in told.items()} == {
        "train": False,
        "valid": False,
        "test": True,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "`count` should be a whole number of 1 or more"),
        ({"seed": -1}, "`seed` should be a whole number of 0 or more"),
        ({"split": "dev"}, r"`split` should be one of \['train', 'valid', 'test'\]"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        world_texts(**{"count": 1, **options})
