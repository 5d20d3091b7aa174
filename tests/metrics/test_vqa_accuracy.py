"""VQA accuracy as the official evaluation prints it, soft targets, and WUPS."""

import doctest
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import mmkeras.metrics.answers
from mmkeras.metrics import (
    VQAAccuracy,
    answer_scores,
    answer_targets,
    format_answer_scores,
    wups,
)
from mmkeras.metrics.answers import normalize_answer

SHARED = Path(__file__).parents[3] / "shared" / "data" / "vqa_v2_sample"
WORDS = st.sampled_from(["red", "Red.", "the red", "two", "2", "t-shirt", "t shirt", ""])
ANNOTATORS = st.lists(WORDS, min_size=10, max_size=10)


def left_out(answer, references):
    """The definition: each annotator in turn against the nine others, texts as they are."""
    shares = [
        min((references[:i] + references[i + 1 :]).count(answer) / 3, 1)
        for i in range(len(references))
    ]
    return sum(shares) / len(shares)


def accuracy(answer, references):
    return float(VQAAccuracy().judge([answer], [references])[0, 0])


class TestOfficialScores:
    @pytest.fixture(scope="class")
    def annotations(self):
        path = SHARED / "vqa_annotatons_valid.gzip"
        if not path.exists():
            pytest.skip("needs ../shared/data/vqa_v2_sample")
        with gzip.open(path) as file:
            return {entry["question_id"]: entry for entry in json.load(file)["annotations"]}

    @pytest.mark.parametrize("name", ["all_yes", "qtype_prior", "human1", "mode_answer_noisy"])
    def test_overall_by_type_and_by_question(self, name, annotations):
        expected = json.loads((SHARED / "expected_accuracy_valid2000.json").read_text())
        expected = expected["scores"][name]
        results = json.loads((SHARED / f"results_valid2000_{name}.json").read_text())
        asked = [annotations[result["question_id"]] for result in results]
        answers = [result["answer"] for result in results]
        references = [[said["answer"] for said in question["answers"]] for question in asked]
        scores = answer_scores(
            answers,
            references,
            [question["question_type"] for question in asked],
            [question["answer_type"] for question in asked],
        )
        assert 100 * scores["accuracy"] == pytest.approx(expected["overall"], abs=1e-4)
        by_type = {kind: 100 * s["accuracy"] for kind, s in scores["by answer type"].items()}
        assert by_type == pytest.approx(expected["perAnswerType"], abs=1e-4)
        each = VQAAccuracy().judge(answers, references)[:, 0]
        ids = [str(result["question_id"]) for result in results]
        found = {i: 100 * worth for i, worth in zip(ids, each, strict=True)}
        first = expected["first10_evalQA"]
        assert {i: found[i] for i in first} == pytest.approx(first, abs=1e-4)
        assert sum(s["questions"] for s in scores["by question type"].values()) == 2000
        assert "annotators:10|" in scores["signatures"][0]


class TestNormalization:
    # As the official functions gave it, run on these texts.
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("The Dog.", "dog"),
            ("None, zero and TEN", "0 0 and 10"),
            ("dont you'dve shes", "don't you'd've shes"),
            ("somebody'd o'clock", "somebodyd o'clock"),
            ("t-shirt", "t shirt"),
            ("t- shirt", "t shirt"),
            ("red/blue", "red blue"),
            ("1,000", "1000"),
            ("1,000-2,000", "10002000"),
            ("3.5 m.p.h.", "3.5 mph"),
            (".5", ".5"),
            ("10:30", "10:30"),
            ("dog's", "dog's"),
            ("a", ""),
            ("?!", ""),
            ("an  apple\n", "apple"),
        ],
    )
    def test_as_the_official_evaluation(self, text, expected):
        assert normalize_answer(text) == expected

    @settings(max_examples=50, deadline=None)
    @given(st.text())
    @example("\ud800")
    def test_any_text(self, text):
        words = normalize_answer(text).split(" ")
        assert not {"a", "an", "the", "one", "none"} & set(words)
        assert normalize_answer(text) == " ".join(words).lower() == " ".join(words)


class TestAccuracy:
    @pytest.mark.parametrize(("matches", "worth"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1)])
    def test_of_ten_annotators(self, matches, worth):
        references = ["red"] * matches + [f"other {i}" for i in range(10 - matches)]
        assert accuracy("red", references) == pytest.approx(worth)

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.sampled_from("xyz"), min_size=4, max_size=12), st.sampled_from("xyz"))
    def test_is_the_mean_over_leaving_out_each_annotator(self, references, answer):
        assert accuracy(answer, references) == pytest.approx(left_out(answer, references))

    def test_answers_are_normalized_where_annotators_differ(self):
        assert accuracy("The dog!", ["dog"] * 9 + ["puppy"]) == 1
        assert accuracy("dog", ["a dog"] * 5 + ["A Dog."] * 5) == 1

    def test_and_taken_as_they_are_where_all_agree(self):
        assert accuracy("The dog!", ["dog"] * 10) == 0
        assert accuracy("dog\n", [" dog\t"] * 10) == 1
        assert accuracy("Dog", ["dog"] * 10) == 0

    @pytest.mark.parametrize("wrapped", [lambda text: text, lambda text: [text]])
    def test_one_reference_is_exact_match_after_normalization(self, wrapped):
        metric = VQAAccuracy()
        metric.update(["The 2", "no", "yes"], [wrapped("two."), wrapped("yes"), wrapped("yes")])
        assert metric.result()["accuracy"] == pytest.approx(2 / 3)
        assert "annotators:1|" in metric.signature

    def test_few_annotators_can_be_met(self):
        assert accuracy("x", ["x", "x"]) == accuracy("x", ["x"] * 3) == 1
        assert accuracy("x", ["x", "y"]) == 0.5
        assert accuracy("x", ["x", "x", "y"]) == pytest.approx((0.5 + 0.5 + 1) / 3)

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.tuples(WORDS, ANNOTATORS), min_size=1, max_size=8), st.integers(0, 8))
    def test_batches_do_not_matter(self, items, cut):
        answers, references = map(list, zip(*items, strict=True))
        whole, parts = VQAAccuracy(), VQAAccuracy()
        whole.update(answers, references)
        for part in (slice(cut), slice(cut, None)):
            parts.update(answers[part], references[part])
        assert whole.result() == parts.result()

    def test_memory_does_not_grow_with_the_questions(self):
        metric = VQAAccuracy()
        metric.update(["x"] * 500, [[str(i)] * 9 + ["x"] for i in range(500)])
        (counts,) = (value for value in vars(metric).values() if hasattr(value, "__len__"))
        assert len(counts) == 1

    def test_reset(self):
        metric = VQAAccuracy()
        metric.update(["no"], ["yes"])
        metric.reset()
        metric.update(["yes"], ["yes"])
        assert metric.result()["accuracy"] == 1

    def test_interval_is_that_of_drawing_questions_again(self):
        random = np.random.default_rng(0)
        each = random.choice([0, 0.3, 1], 300, p=[0.5, 0.2, 0.3])
        metric = VQAAccuracy()
        metric.add(np.stack([each, np.full(300, 10)], 1))
        result = metric.result()
        assert result["accuracy"] == pytest.approx(each.mean())
        again = each[random.integers(0, 300, (4000, 300))].mean(1)
        expected = np.quantile(again, [0.025, 0.975])
        np.testing.assert_allclose(result["accuracy interval"], expected, atol=0.01)

    def test_no_answer(self):
        with pytest.raises(ValueError, match=r"VQAAccuracy should have .* Received: 0 answers"):
            VQAAccuracy().result()

    @pytest.mark.parametrize(
        ("answers", "references", "message"),
        [
            ("yes", ["yes"], "`answers` should be a list of str"),
            ([1], ["yes"], r"`answers\[0\]` should be a str. Received: answers\[0\]=1"),
            (["yes"], "yes", "`references` should be a list with a str or a list"),
            (["yes"], [3], r"`references\[0\]` should be a list of str"),
            (["yes"], [["yes", None]], r"`references\[0\]\[1\]` should be a str"),
            (["yes"], [[]], r"`references\[0\]` should be a list of at least 1 str"),
            (["yes"], ["yes", "no"], "1 answers and 2 references"),
        ],
    )
    def test_bad_input(self, answers, references, message):
        metric = VQAAccuracy()
        with pytest.raises(ValueError, match=message):
            metric.update(answers, references)
        with pytest.raises(ValueError, match="0 answers"):
            metric.result()


class TestTargets:
    @settings(max_examples=50, deadline=None)
    @given(ANNOTATORS)
    def test_a_target_is_what_the_answer_would_get(self, references):
        (targets,) = answer_targets([references])
        for answer, worth in targets.items():
            assert worth == pytest.approx(accuracy(answer, references))

    def test_counts(self):
        references = [["red"] * 5 + ["Blue."] * 2 + ["a pink"] * 2 + ["rose"], ["yes"] * 10]
        assert answer_targets(references, averaged=False) == [
            {"red": 1.0, "blue": 2 / 3, "pink": 2 / 3, "rose": 1 / 3},
            {"yes": 1.0},
        ]

    def test_one_reference(self):
        for averaged in (True, False):
            assert answer_targets(["A dog", ["no"]], averaged) == [{"dog": 1.0}, {"no": 1.0}]

    def test_bad_references(self):
        with pytest.raises(ValueError, match=r"`references\[1\]` should be a list of at least 1"):
            answer_targets(["yes", []])


class TestScores:
    def test_tables(self):
        scores = answer_scores(
            ["2", "no", "no"],
            ["two", "yes", "no"],
            question_types=["how many", "is", "is"],
            answer_types=["number", "yes/no", "yes/no"],
        )
        by_type = {kind: row["accuracy"] for kind, row in scores["by question type"].items()}
        assert list(by_type.items()) == [("is", 0.5), ("how many", 1)]
        text = format_answer_scores(scores)
        assert "accuracy   66.67 %  (95 %: " in text
        assert "\nyes/no         50.00 %          2\n" in text
        assert text.count("VQA-accuracy|annotators:1|") == 1

    def test_types_as_many(self):
        with pytest.raises(ValueError, match="2 answers and 1 question_types"):
            answer_scores(["a", "b"], ["a", "b"], question_types=["is"])


# A taxonomy by hand: entity > object > {container > {cup, mug}, tool}; color stands by itself.
# What has two hypernyms, as NLTK 3.10 reckons: a goblet has a short way to the root and a long one.
SYNSETS = {
    "entity": ([], "entity"),
    "object": (["entity"], "object"),
    "container": (["object"], "container"),
    "cup": (["container"], "cup loving_cup"),
    "mug": (["container"], "mug"),
    "tool": (["object"], "tool mug"),
    "color": ([], "color"),
    "goblet": (["cup", "entity"], "goblet"),
    "wheel": (["object"], "wheel"),
    "axle": (["object", "container"], "axle"),
    "cart": (["wheel", "axle"], "cart"),
    "coach": (["wheel", "axle"], "coach"),
}


@pytest.fixture
def wordnet(tmp_path):
    """A tiny database in the files of WordNet, and its folder."""
    licence = "  1 This software and database is being provided by nobody; WordNet 9.1 of a test.\n"
    offsets, at = {}, len(licence)

    def line(name):
        above, lemmas = SYNSETS[name]
        lemmas = lemmas.split()
        words = " ".join(f"{lemma} 0" for lemma in lemmas)
        pointers = "".join(f"@ {offsets.get(up, 0):08d} n 0000 " for up in above)
        return (
            f"{offsets.get(name, 0):08d} 03 n {len(lemmas):02x} {words} {len(above):03d} "
            f"{pointers}| what {name} is\n"
        )

    for name in SYNSETS:
        offsets[name] = at
        at += len(line(name))
    (tmp_path / "data.noun").write_text(licence + "".join(map(line, SYNSETS)))
    senses = {}
    for name, (_, lemmas) in SYNSETS.items():
        for lemma in lemmas.split():
            senses.setdefault(lemma, []).append(f"{offsets[name]:08d}")
    index = "".join(
        f"{lemma} n {len(found)} 1 @ {len(found)} 0 {' '.join(found)}  \n"
        for lemma, found in sorted(senses.items())
    )
    (tmp_path / "index.noun").write_text(licence + index)
    (tmp_path / "noun.exc").write_text("beaker cup\n")
    return tmp_path


class TestWups:
    @pytest.mark.parametrize(
        ("answer", "reference", "similarity"),
        [
            ("cup", "cup", 1),
            ("cup", "mug", 2 * 3 / (4 + 4)),  # meet in container, the third from the top
            ("cup", "tool", 2 * 2 / (4 + 3)),
            ("cup", "container", 2 * 3 / (4 + 3)),
            ("mug", "tool", 1),  # of two senses the nearer
            ("cups", "loving_cup", 1),  # plural, and another word for it
            ("beaker", "cup", 1),  # an exception of the database
            ("goblet", "tool", 2 * 2 / (2 + 1 + 4)),  # two steps to object, through entity
            ("cart", "coach", 2 * 4 / (1 + 1 + 8)),  # in axle, for its name, by its longer way
            ("cup", "color", 0),  # nothing above both
            ("cup", "unheard", 0),
            ("unheard", "unheard", 1),
            ("", "cup", 0),
        ],
    )
    def test_one_word(self, wordnet, answer, reference, similarity):
        scores = wups([answer], [reference], wordnet)
        assert scores["WUPS@0.0"] == pytest.approx(similarity)
        assert scores["WUPS@0.9"] == pytest.approx(similarity * (1 if similarity >= 0.9 else 0.1))
        assert scores["set accuracy"] == (answer == reference)

    @pytest.mark.parametrize(
        ("answer", "reference", "at_0", "at_09"),
        [
            ("cup, tool", "tool,cup", 1, 1),
            ("cup", "cup, mug", 0.75, 0.075),  # the mug is nearly there
            ("cup, mug", "cup", 0.75, 0.075),
            ("cup, cup", "mug", 0.75**2, 0.075**2),
            ("cup", "cup, color", 0, 0),
        ],
    )
    def test_sets(self, wordnet, answer, reference, at_0, at_09):
        scores = wups([answer], [reference], wordnet)
        assert (scores["WUPS@0.0"], scores["WUPS@0.9"]) == pytest.approx((at_0, at_09))

    def test_mean_over_questions_and_references(self, wordnet):
        scores = wups(["cup", "cup"], ["mug", ["cup", "color"]], wordnet, thresholds=[0.5])
        assert scores["WUPS@0.5"] == pytest.approx((0.75 + 0.5) / 2)
        assert scores["questions"] == 2
        assert "|wordnet:9.1|" in scores["signatures"][0]

    def test_with_the_accuracy(self, wordnet):
        text = format_answer_scores(answer_scores(["cup"], ["mug"], wordnet=wordnet))
        assert "WUPS@0.9        7.50 %\nWUPS@0.0       75.00 %\nset accuracy    0.00 %" in text
        assert "VQA-accuracy|" in text
        assert "\nWUPS|" in text

    def test_a_folder_that_is_none(self, tmp_path):
        with pytest.raises(ValueError, match=r"`wordnet` should be the folder .* no data.noun"):
            wups(["cup"], ["mug"], tmp_path)

    def test_a_damaged_database(self, wordnet):
        data = (wordnet / "data.noun").read_bytes()
        (wordnet / "data.noun").write_bytes(data[:300])
        with pytest.raises(ValueError, match=r"data.noun has no synset at byte \d+"):
            wups(["color"], ["tool"], wordnet)

    def test_no_answer(self, wordnet):
        with pytest.raises(ValueError, match="Received: 0 answers"):
            wups([], [], wordnet)


def test_examples_in_the_docstrings():
    assert doctest.testmod(mmkeras.metrics.answers).failed == 0
