"""Bars and confusion matrices are well-formed SVG that shows what the scores say."""

import re
import xml.etree.ElementTree as ET

import pytest

from mmkeras.metrics import answer_scores, class_scores
from mmkeras.report.classes import STYLE, bars, classes, confusion_matrix
from mmkeras.report.page import page

SVG = re.compile("<svg.*?</svg>", re.DOTALL)
ANSWERS = ["<cat>", "<cat>", "dog", "<cat>", "dog", "dog & co", "dog"]
REFERENCES = ["<cat>", "dog", "dog", "<cat>", "dog", "dog", "<cat>"]


@pytest.fixture(scope="module")
def scores():
    return class_scores(ANSWERS, REFERENCES)


def drawn(html):
    return ET.fromstring(SVG.search(html)[0])


def rects(picture, kind):
    return [rect for rect in picture.iter("rect") if rect.get("class") == kind]


def test_a_cell_for_each_pair(scores):
    picture = drawn(confusion_matrix(scores))
    assert len(rects(picture, "right")) == 3
    assert len(rects(picture, "wrong")) == 6
    titles = {
        rect.find("title").text: rect.get("fill-opacity")
        for rect in picture.iter("rect")
        if rect.find("title") is not None
    }
    assert titles["<cat>, answered <cat>: 2 of 3"] == "0.667"
    assert titles["dog, answered dog & co: 1 of 4"] == "0.250"
    assert titles["dog & co, answered dog: 0 of 0"] == "0.000"
    assert f"{100 * 4 / 7:.1f} % on the diagonal" in picture.get("aria-label")


def test_cells_stand_where_they_belong(scores):
    picture = drawn(confusion_matrix(scores))
    (dog_for_cat,) = [
        rect
        for rect in rects(picture, "wrong")
        if rect.find("title").text.startswith("<cat>, answered dog: 1")
    ]
    corner = rects(picture, "right")[0]
    assert float(dog_for_cat.get("y")) == float(corner.get("y"))
    assert float(dog_for_cat.get("x")) == float(corner.get("x")) + float(corner.get("width"))


def test_many_classes_are_drawn_as_few():
    answers = [i % 50 for i in range(500)]
    references = [(i + (i % 50 < 10 and i >= 400)) % 50 for i in range(500)]
    picture = drawn(confusion_matrix(class_scores(answers, references)))
    cells = [rect for kind in ("right", "wrong", "mixed") for rect in rects(picture, kind)]
    assert len(cells) == 30 * 30
    (others,) = rects(picture, "mixed")
    assert others.find("title").text.startswith("21 others, answered 21 others: 210 of 210")
    total = sum(int(c.find("title").text.split(": ")[1].split(" of ")[0]) for c in cells)
    assert total == 500
    # Those that are mistaken are among them.
    labels = {text.text for text in picture.iter("text") if text.get("class") == "label"}
    assert {str(i) for i in range(11)} <= labels


def test_bars_are_as_long_as_the_shares():
    table = {"a<b": {"F1": 0.5, "n": 3}, "c": {"F1": 1.0, "n": 9}, "none": {"F1": 0.0, "n": 1}}
    picture = drawn(bars(table, "F1", "n"))
    found = {r.find("title").text: float(r.get("width")) for r in rects(picture, "bar")}
    assert list(found) == ["c: F1 100.0 %, 9 n", "a<b: F1 50.0 %, 3 n", "none: F1 0.0 %, 1 n"]
    whole, half, none = found.values()
    assert half == pytest.approx(whole / 2, abs=0.1)
    assert none == 0
    assert not [line for line in picture.iter("line") if line.get("class") == "whisker"]


def test_whiskers_span_the_interval():
    scores = answer_scores(
        ["yes"] * 10, ["yes"] * 5 + ["no"] * 5, question_types=["is"] * 9 + ["how"]
    )
    picture = drawn(bars(scores["by question type"], "accuracy", "questions"))
    whiskers = [line for line in picture.iter("line") if line.get("class") == "whisker"]
    bar, _ = rects(picture, "bar")
    whole = float(bar.get("width")) / scores["by question type"]["is"]["accuracy"]
    low, high = scores["by question type"]["is"]["accuracy interval"]
    assert float(whiskers[0].get("x1")) == pytest.approx(float(bar.get("x")) + low * whole, abs=0.2)
    assert float(whiskers[0].get("x2")) == pytest.approx(
        float(bar.get("x")) + high * whole, abs=0.2
    )


def test_the_most_frequent_of_many_bars():
    table = {f"kind {i}": {"accuracy": 0.5, "questions": i} for i in range(100)}
    picture = drawn(bars(table, "accuracy", "questions"))
    titles = [rect.find("title").text for rect in rects(picture, "bar")]
    assert len(titles) == 40
    assert titles[0].startswith("kind 99:")
    assert "the 40 most frequent of 100" in picture.get("aria-label")


def test_long_labels_are_cut_and_told_whole():
    label = "how many people are in the picture"
    picture = drawn(bars({label: {"accuracy": 0.5, "questions": 1}}, "accuracy", "questions"))
    assert "how many people are in …" in {text.text for text in picture.iter("text")}
    assert rects(picture, "bar")[0].find("title").text.startswith(label)


def test_the_section_stands_in_a_page(scores):
    html = page("Run", classes(scores), STYLE)
    assert "<li><b>&lt;cat&gt;</b> taken for <b>dog</b> 1</li>" in html
    assert "Accuracy 57.1 % (" in html
    assert scores["signatures"][0] in html
    assert len(SVG.findall(html)) == 2
    assert "<cat>" not in html
    for kind in re.findall(r'(?:rect|line) class="(\w+)"', html):
        assert f".{kind}" in html.split("</style>")[0]


def test_all_right_leaves_no_list_of_errors():
    assert "taken for <b>" not in classes(class_scores(["a"], ["a"]))
