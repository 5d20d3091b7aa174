"""Exact match and F1 of answers from a text, as the official scripts of SQuAD have them."""

import re
import string
from collections import Counter

import numpy as np

from mmkeras import __version__
from mmkeras.metrics.scoring import as_many, checked, headline, means, require, table

VERSIONS = ("1.1", "2.0")
_ARTICLE = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_span(text):
    """Lower-cases an answer and drops ASCII punctuation, articles and spare spaces.

    Args:
        text: str.

    Returns:
        str, the words joined by single spaces; may be empty.

    Example:

    >>> normalize_span("The  well-known U.S. Senate")
    'wellknown us senate'
    """
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


class SpanF1:
    """Streaming exact match and F1 of words, equal to SQuAD's scripts (Rajpurkar et al. 2016).

    An answer is held against each of its references and the best counts; exact match and F1 may
    come from different ones. A question without references has no answer: "" is right, all else
    is wrong.

    The versions differ in references that are nothing but articles and punctuation: 2.0 leaves
    them out, and 1.1 gives them an F1 of 0.

    Keeps counts alone: memory grows with the number of different scores, not of questions.

    Args:
        version: `"2.0"`, or `"1.1"`, in which every question has an answer.
        seed: whole number, of the intervals.

    Raises:
        ValueError: if `version` is unknown.

    Example:

    >>> metric = SpanF1()
    >>> metric.update(["the red dog", ""], [["dog", "a dog"], []])
    >>> result = metric.result()
    >>> result["EM"], round(result["F1"], 3)
    (0.5, 0.833)
    """

    def __init__(self, version="2.0", seed=0):
        if version not in VERSIONS:
            raise ValueError(
                f"`version` should be one of {list(VERSIONS)}. Received: version={version!r}"
            )
        self.version = version
        self.seed = seed
        self.reset()

    def reset(self):
        """Forgets all answers."""
        self._counts = Counter()

    def update(self, answers, references):
        """Adds answers; none is added if one of them is refused.

        Args:
            answers: list of str.
            references: list as long, of lists of str; or of a str where there is one reference.

        Raises:
            ValueError: if the lengths differ, a text is not a str, or a question has no reference
                by version 1.1.
        """
        self.add(self.judge(answers, references))

    def judge(self, answers, references):
        """Scores each answer, without adding it.

        Args:
            answers: list of str.
            references: list as long, as `update` takes it.

        Returns:
            float array `(answers, 2)`: exact match and F1, from 0 to 1.

        Raises:
            ValueError: as `update`.
        """
        pairs = zip(*self._checked(answers, references), strict=True)
        return np.array([self._best(*pair) for pair in pairs], float).reshape(-1, 2)

    def _checked(self, answers, references):
        return checked(answers, references, fewest=1 if self.version == "1.1" else 0)

    def _best(self, answer, references):
        answer, references = normalize_span(answer), list(map(normalize_span, references))
        if self.version == "2.0":
            references = [text for text in references if text] or [""]
        f1 = max(self._f1(answer.split(), text.split()) for text in references)
        return float(answer in references), f1

    def _f1(self, words, right):
        if not words or not right:
            return float(words == right and self.version == "2.0")
        shared = (Counter(words) & Counter(right)).total()
        precision, recall = shared / len(words), shared / len(right)
        # In the official order, for the thresholds of almost equal sums.
        return 2 * precision * recall / (precision + recall) if shared else 0.0

    def add(self, judged):
        """Adds answers as `judge` gives them."""
        self._counts.update(map(tuple, judged.tolist()))

    def result(self):
        """dict of "EM" and "F1" (0 to 1), their 95 % intervals and how many "questions".

        The intervals are drawn as that of `WordErrorRate`, over questions.

        Raises:
            ValueError: if there is no answer.
        """
        require(self, self._counts)
        kinds = sorted(self._counts)
        counts = [self._counts[kind] for kind in kinds]
        found = means(kinds, counts, self.seed)
        scores = {}
        for name, (mean, interval) in zip(("EM", "F1"), found, strict=True):
            scores |= {name: mean, f"{name} interval": interval}
        return scores | {"questions": sum(counts)}

    @property
    def signature(self):
        """What has to be equal for two scores to be comparable."""
        return f"EM-F1|squad:{self.version}|references:best|v:mmkeras-{__version__}"


def span_scores(answers, references, no_answer_scores=None, threshold=1.0, version="2.0", seed=0):
    """Scores answers from a text: exact match and F1, with and without an answer.

    Args:
        answers: list of str, "" for no answer.
        references: list as long, of lists of str, empty where the text has no answer; or of a str
            where there is one reference.
        no_answer_scores: list of numbers as long, the higher the surer that there is no answer,
            such as its probability; or `None`.
        threshold: number; an answer whose no-answer score is above it counts as "".
        version: `"2.0"` or `"1.1"`, see `SpanF1`.
        seed: whole number, of the intervals.

    Returns:
        dict of what `SpanF1.result` gives, "by answer" (the same for questions that have one,
        "HasAns", and that have none, "NoAns", where both occur), "signatures" (list of str); and
        with `no_answer_scores` the highest "best EM" and "best F1" of any threshold, and the
        thresholds, "best EM threshold" and "best F1 threshold". As in the official script, a
        threshold may fall between equal scores, which then are taken in the order given.

    Raises:
        ValueError: if there is no answer, the lengths differ, a text is not a str, a number is not
            finite, or `version` is unknown.

    Example:

    >>> scores = span_scores(["in Paris", "a cat"], [["Paris"], []], no_answer_scores=[0.1, 0.7])
    >>> scores["F1"], scores["best F1"], scores["best F1 threshold"]
    (0.3333333333333333, 0.8333333333333333, 0.1)
    """
    metric = SpanF1(version, seed)
    answers, references = metric._checked(answers, references)
    judged = metric.judge(answers, references)
    answerable = np.array([bool(given) for given in references])
    best = {}
    if no_answer_scores is not None:
        doubts = _numbers(no_answer_scores, len(answers))
        answered = np.array([bool(answer) for answer in answers])
        for name, column in zip(("EM", "F1"), judged.T, strict=True):
            found = _best_threshold(column, doubts, answerable, answered)
            best |= {f"best {name}": found[0], f"best {name} threshold": found[1]}
        judged = np.where(doubts[:, None] > threshold, ~answerable[:, None], judged)
    metric.add(judged)
    scores = metric.result()
    if answerable.any() and not answerable.all():
        scores["by answer"] = {}
        for label, rows in (("HasAns", answerable), ("NoAns", ~answerable)):
            part = SpanF1(version, seed)
            part.add(judged[rows])
            scores["by answer"][label] = part.result()
    return scores | best | {"signatures": [metric.signature]}


def _numbers(scores, answers):
    scores = np.asarray(scores, float)
    as_many("no_answer_scores", scores, answers)
    if not np.isfinite(scores).all():
        raise ValueError(
            "`no_answer_scores` should hold finite numbers. Received: "
            f"{scores[~np.isfinite(scores)][0]}"
        )
    return scores


def _best_threshold(worth, doubts, answerable, answered):
    """The highest mean score of any threshold, and the first such threshold."""
    order = np.argsort(doubts, kind="stable")
    # At first nothing is answered; then the least doubtful answer is given, and the next.
    gains = np.where(answerable, worth, -1.0 * answered)[order]
    totals = np.cumsum([(~answerable).sum(), *gains])
    best = int(np.argmax(totals))
    return float(totals[best] / len(worth)), float(doubts[order[best - 1]]) if best else 0.0


def format_span_scores(scores):
    """Writes scores of answers from a text as a small table with the signature under it.

    Args:
        scores: dict, as `span_scores` returns it.

    Returns:
        str of several lines.

    Example:

    >>> print(format_span_scores(span_scores(["in Paris", "no"], ["Paris", "no"])))
    EM   50.00 %  (95 %: 0.00 to 100.00)
    F1   83.33 %  (95 %: 66.67 to 100.00)
    2 questions
    <BLANKLINE>
    EM-F1|squad:2.0|references:best|v:mmkeras-0.1.0
    """
    lines = [*headline(scores, "EM", "F1"), f"{scores['questions']} questions"]
    for name in ("EM", "F1"):
        if f"best {name}" in scores:
            best, threshold = scores[f"best {name}"], scores[f"best {name} threshold"]
            lines.append(f"best {name} {100 * best:.2f} %, with no answer above {threshold:.4g}")
    if "by answer" in scores:
        lines += ["", *table("", scores["by answer"], ["EM", "F1"], ["questions"])]
    return "\n".join([*lines, "", *scores["signatures"]])
