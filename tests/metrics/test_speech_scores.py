import doctest
import math
import subprocess
import sys

import jiwer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mmkeras.metrics.speech
from mmkeras.metrics import (
    CharacterErrorRate,
    WordErrorRate,
    align_words,
    format_speech_comparison,
    format_speech_scores,
    speech_scores,
)
from mmkeras.metrics.speech import normalize

SENTENCES = st.lists(st.sampled_from(["a", "b", "c", "ab"]), max_size=8).map(" ".join)
PAIRS = st.lists(st.tuples(SENTENCES, SENTENCES), min_size=1, max_size=12)


def distance(left, right):
    """Fewest edits, by the book."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, row = row, [i]
        for j, b in enumerate(right, 1):
            row.append(min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (a != b)))
    return row[-1]


def rate(metric, hypotheses, references):
    metric.update(hypotheses, references)
    return metric.result()


class TestRates:
    @settings(max_examples=50, deadline=None)
    @given(PAIRS)
    def test_errors_are_the_fewest_edits(self, pairs):
        hypotheses, references = map(list, zip(*pairs, strict=True))
        for metric, split in ((WordErrorRate(), str.split), (CharacterErrorRate(), list)):
            errors = sum(distance(split(h), split(r)) for h, r in pairs)
            result = rate(metric, hypotheses, references)
            counts = [result[name] for name in ("substitutions", "deletions", "insertions")]
            assert sum(counts) == errors
            assert result[f"{metric.unit}s"] == sum(len(split(r)) for r in references)
            heard = sum(len(split(h)) for h in hypotheses)
            assert result[f"{metric.unit}s"] - result["deletions"] + result["insertions"] == heard

    def test_rates_are_those_of_jiwer(self):
        hypotheses = ["a bat sat", "yes yes", "go", "x"]
        references = ["the cat sat", "yes", "rubout g m e f", "x"]
        scores = speech_scores(hypotheses, references)
        assert scores["WER"] == jiwer.wer(references, hypotheses)
        assert scores["CER"] == jiwer.cer(references, hypotheses)

    def test_rate_is_of_the_corpus(self):
        assert rate(WordErrorRate(), ["a b c x", "y"], ["a b c d", "e"])["WER"] == 2 / 5

    def test_rate_may_exceed_one(self):
        assert rate(WordErrorRate(), ["a b c"], ["d"])["WER"] == 3

    @pytest.mark.parametrize(
        ("hypothesis", "reference", "expected"),
        [
            ("", "", (0, 0, 0, 0.0)),
            ("a b", "", (0, 0, 2, math.inf)),
            ("", "a b", (0, 2, 0, 1.0)),
            ("!", "?", (0, 0, 0, 0.0)),
        ],
    )
    def test_empty_texts(self, hypothesis, reference, expected):
        result = rate(WordErrorRate(), [hypothesis], [reference])
        names = ("substitutions", "deletions", "insertions", "WER")
        assert tuple(result[name] for name in names) == expected
        assert result["WER interval"] == (expected[-1],) * 2

    def test_words_against_an_empty_reference_count_with_the_others(self):
        result = rate(WordErrorRate(), ["noise", "a b"], ["", "a b"])
        assert (result["WER"], result["wrong utterances"], result["utterances"]) == (0.5, 1, 2)

    def test_no_utterance(self):
        for make in (WordErrorRate, CharacterErrorRate):
            with pytest.raises(ValueError, match=r"at least one utterance.*Received: 0 utterances"):
                rate(make(), [], [])

    def test_chinese_is_counted_by_character(self):
        result = rate(
            CharacterErrorRate(), ["今天 天汽好", "abc 天 de"], ["今天天气好。", "abc天de"]
        )
        assert (result["substitutions"], result["characters"]) == (1, 11)
        assert (result["insertions"], result["deletions"]) == (0, 0)

    def test_spaces_between_words_count_as_characters(self):
        assert rate(CharacterErrorRate(), ["ab cd"], ["abcd"])["insertions"] == 1

    @pytest.mark.parametrize("bad", ["a b", None, [1], [["a"]], [None]])
    def test_bad_texts(self, bad):
        metric = WordErrorRate()
        with pytest.raises(ValueError, match=r"`hypotheses(\[0\])?` should be a"):
            metric.update(bad, ["a"])
        with pytest.raises(ValueError, match=r"`references(\[0\])?` should be a"):
            metric.update(["a"], bad)
        with pytest.raises(ValueError, match="0 utterances"):
            metric.result()

    def test_lengths_that_differ(self):
        with pytest.raises(ValueError, match="2 hypotheses and 1 references"):
            WordErrorRate().update(["a", "b"], ["a"])


class TestNormalization:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("  Hello,\tWORLD!\n", "hello world"),
            ("don’t 'quote' rock 'n' roll", "don't quote rock n roll"),
            ("well-known: 3.5 of 1,000.", "well known 3.5 of 1,000"),
            ("ÉTÉ e\u0301te\u0301", "été été"),
            ("हिन्दी, नमस्ते।", "हिन्दी नमस्ते"),
            ("zero\u200bwidth\u00ad", "zerowidth"),
            ("ＡＢＣ１２３", "abc123"),
            ("…!?", ""),
        ],
    )
    def test_what_is_heard_stays(self, text, expected):
        assert normalize(text) == expected

    @given(st.text())
    def test_twice_is_once(self, text):
        assert normalize(normalize(text)) == normalize(text)

    def test_given_texts_are_taken_as_they_are(self):
        assert rate(WordErrorRate(), ["Go  home."], ["go home"])["WER"] == 0
        given = WordErrorRate(normalized=True)
        assert rate(given, ["Go  home."], ["go home"])["WER"] == 1

    def test_signatures_say_how(self):
        assert "case:lower|punct:none" in WordErrorRate().signature
        assert "case:given|punct:given" in CharacterErrorRate(normalized=True).signature
        assert WordErrorRate().signature.startswith("WER|")


class TestStreaming:
    def some(self, count):
        rng = np.random.default_rng(0)
        words = np.array(["a", "b", "c", "d"])
        texts = [" ".join(rng.choice(words, rng.integers(1, 9))) for _ in range(2 * count)]
        return texts[:count], texts[count:]

    def test_batches_do_not_matter(self):
        hypotheses, references = self.some(700)
        whole, parts = WordErrorRate(seed=3), WordErrorRate(seed=3)
        whole.update(hypotheses, references)
        for start in range(0, 700, 37):
            parts.update(hypotheses[start : start + 37], references[start : start + 37])
        assert whole.result() == parts.result()

    def test_memory_does_not_grow(self):
        def held(metric):
            return sum(a.nbytes for a in vars(metric).values() if isinstance(a, np.ndarray))

        metric = WordErrorRate()
        metric.update(["a"], ["a"])
        before = held(metric)
        metric.update(["a b"] * 500, ["a"] * 500)
        assert held(metric) == before
        assert not any(isinstance(value, list | dict) for value in vars(metric).values())

    def test_reset(self):
        metric = WordErrorRate()
        metric.update(["b"], ["a"])
        metric.reset()
        assert rate(metric, ["a", "b"], ["a", "c"]) == rate(WordErrorRate(), ["a", "b"], ["a", "c"])

    def test_interval_is_that_of_drawing_utterances_again(self):
        hypotheses, references = self.some(400)
        metric = WordErrorRate()
        counts = metric.counts(hypotheses, references)
        metric.add(counts)
        errors, lengths = counts[:, 1:].sum(1), counts[:, :3].sum(1)
        rows = np.random.default_rng(1).integers(0, 400, (4000, 400))
        expected = np.quantile(errors[rows].sum(1) / lengths[rows].sum(1), [0.025, 0.975])
        interval = metric.result()["WER interval"]
        np.testing.assert_allclose(interval, expected, atol=0.25 * np.diff(expected)[0] / 2)
        assert interval[0] < metric.result()["WER"] < interval[1]

    def test_interval_follows_from_the_seed(self):
        hypotheses, references = self.some(50)
        intervals = [
            rate(WordErrorRate(seed=seed), hypotheses, references)["WER interval"]
            for seed in (0, 0, 1)
        ]
        assert intervals[0] == intervals[1] != intervals[2]


class TestScores:
    HYPOTHESES = ("yes", "go home now", "", "a b c d e f")
    REFERENCES = ("yes", "go home", "stop", "a b c d e x")

    def test_tables(self):
        scores = speech_scores(self.HYPOTHESES, self.REFERENCES, ["ann", 7, "ann", 7])
        assert {name: row["WER"] for name, row in scores["by group"].items()} == {
            "ann": 0.5,
            7: 2 / 8,
        }
        assert {name: row["WER"] for name, row in scores["by length"].items()} == {
            "1": 0.5,
            "2-3": 0.5,
            "4-7": 1 / 6,
        }
        for table in ("by length", "by group"):
            for count in ("words", "substitutions", "deletions", "insertions", "utterances"):
                assert sum(row[count] for row in scores[table].values()) == scores[count]

    def test_printed(self):
        text = format_speech_scores(
            speech_scores(self.HYPOTHESES, self.REFERENCES, ["ann", "狗", "ann", "狗"])
        )
        assert "WER  30.00 %  (95 %: " in text
        assert "10 words: 1 substituted, 1 deleted, 1 inserted; 3 of 4 utterances wrong" in text
        assert "\nann     50.00 %" in text
        assert text.count("|rate:corpus|v:mmkeras-") == 2

    def test_several_beside_each_other(self):
        said = ["yes", "no"]
        greedy, beam = (speech_scores(heard, said) for heard in (["yes", "go"], said))
        text = format_speech_comparison({"greedy": greedy, "beam": beam})
        title, one, other, count = text.splitlines()
        assert title.split() == ["WER", "95", "%", "CER", "95", "%"]
        assert one == "greedy   50.00 %   0.00 to 100.00   20.00 %    0.00 to 50.00"
        assert other == "beam      0.00 %     0.00 to 0.00    0.00 %     0.00 to 0.00"
        assert count == "2 utterances"

    @pytest.mark.parametrize("counts", [[], [1, 2]])
    def test_beside_each_other_stand_scores_of_the_same(self, counts):
        scores = {str(n): speech_scores(["yes"] * n, ["yes"] * n) for n in counts}
        with pytest.raises(ValueError, match="`scores` should be of the same utterances"):
            format_speech_comparison(scores)

    def test_groups_as_many(self):
        with pytest.raises(ValueError, match=r"`groups` .* 4 hypotheses and 1 groups"):
            speech_scores(self.HYPOTHESES, self.REFERENCES, ["ann"])


class TestAlignment:
    def test_words(self):
        assert align_words("a bat sat up here", "The cat sat, here now") == [
            ("substitute", "the", "a"),
            ("substitute", "cat", "bat"),
            ("equal", "sat", "sat"),
            ("insert", None, "up"),
            ("equal", "here", "here"),
            ("delete", "now", None),
        ]

    def test_characters(self):
        steps = align_words("天汽", "天气", unit="character")
        assert steps == [("equal", "天", "天"), ("substitute", "气", "汽")]

    @pytest.mark.parametrize(("hypothesis", "steps"), [("", []), ("a", [("insert", None, "a")])])
    def test_empty(self, hypothesis, steps):
        assert align_words(hypothesis, "") == steps

    def test_unknown_unit(self):
        with pytest.raises(ValueError, match="Received: unit='phone'"):
            align_words("a", "a", unit="phone")

    @settings(max_examples=50, deadline=None)
    @given(SENTENCES, SENTENCES)
    def test_both_texts_can_be_read_off(self, hypothesis, reference):
        steps = align_words(hypothesis, reference)
        assert [said for _, said, _ in steps if said is not None] == reference.split()
        assert [heard for *_, heard in steps if heard is not None] == hypothesis.split()
        assert all((what == "equal") == (said == heard) for what, said, heard in steps)


def test_examples_in_the_docstrings():
    assert doctest.testmod(mmkeras.metrics.speech).failed == 0


def test_captions_are_scored_without_loading_jiwer():
    code = (
        "import sys; from mmkeras.metrics import caption_scores;"
        "caption_scores(['a dog'], [['a dog']]); print('jiwer' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False"
