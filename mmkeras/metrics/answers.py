"""Answers to questions on pictures: VQA accuracy as the official evaluation has it."""

import functools
import re
from collections import Counter

import numpy as np

from mmkeras import __version__
from mmkeras.metrics.scoring import (
    checked,
    headline,
    means,
    reference_texts,
    require,
    rows_by,
    table,
)
from mmkeras.metrics.wups import wups

_ENOUGH = 3  # annotators who say the same make an answer wholly right
_NUMBERS = "zero one two three four five six seven eight nine ten"
_DIGITS = {"none": "0"} | {word: str(n) for n, word in enumerate(_NUMBERS.split())}
_ARTICLES = frozenset(["a", "an", "the"])
_MARKS = frozenset(';/[]"{}()=+\\_-><@`,?!')
_THOUSANDS = re.compile(r"\d,\d")
_POINT = re.compile(r"\.(?!\d)")
_CONTRACTIONS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't
    mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've
    should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've
    someone'll someone's something'd something'd've something'll that's there'd there'd've
    there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't
    what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's
    who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd
    you'd've you'll you're you've
"""
# A contraction that lacks one of its apostrophes, and a slip of the official table.
_WHOLE = {
    word[:place] + word[place + 1 :]: word
    for word in _CONTRACTIONS.split()
    for place, char in enumerate(word)
    if char == "'"
} | {"somebody'd": "somebodyd"}


@functools.lru_cache(1 << 16)
def normalize_answer(text):
    """Makes answers alike that mean the same, as the official evaluation of VQA does.

    Lower case, no articles, numbers up to ten as digits, apostrophes of contractions put in, no
    punctuation but apostrophes, colons and what stands within numbers. A mark beside a space, or
    in a text with a number such as 1,000, is dropped; any other becomes a space.

    Args:
        text: str.

    Returns:
        str, the words joined by single spaces; may be empty.

    Example:

    >>> normalize_answer("The dog's, and dont: TWO t-shirts.")
    "dog's and dont: 2 t shirts"
    """
    thousands = _THOUSANDS.search(text)
    gone = {
        mark: "" if thousands or f"{mark} " in text or f" {mark}" in text else " "
        for mark in _MARKS.intersection(text)
    }
    # The official script drops the first 32 points.
    text = _POINT.sub("", text.translate(str.maketrans(gone)), count=32)
    words = (_DIGITS.get(word, word) for word in text.lower().split())
    return " ".join(_WHOLE.get(word, word) for word in words if word not in _ARTICLES)


def _agreement(matches, annotators):
    """What an answer is worth that some of the annotators gave.

    Each annotator is left out in turn: it is worth `min(matches / 3, 1)` by those that are left,
    and the mean of these counts.
    """
    if annotators == 1:
        return float(matches)
    enough = min(_ENOUGH, annotators - 1)
    without, other = (min(count / enough, 1) for count in (matches - 1, matches))
    return (matches * without + (annotators - matches) * other) / annotators


def _comparable(references, *answers):
    """References and answers as they are compared: normalized unless all annotators agree."""
    references, answers = (
        [text.replace("\n", " ").replace("\t", " ").strip() for text in group]
        for group in (references, answers)
    )
    if len(references) == 1 or len(set(references)) > 1:
        references = list(map(normalize_answer, references))
        answers = list(map(normalize_answer, answers))
    return references, *answers


class VQAAccuracy:
    """Streaming VQA accuracy, equal to the official evaluation (Antol et al. 2015).

    An answer is worth `min(n / 3, 1)` where n other people gave it, the mean over leaving out each
    of the ten annotators. Answers are normalized (`normalize_answer`) where the annotators do not
    all say the same, and compared as they are where they do.

    With fewer than four annotators as many are asked for as are left, so that 1 can be reached.
    With one, as in easy-VQA and DAQUAR, an answer is right if it equals the reference, both
    normalized.

    Keeps counts alone, so that memory does not grow with the questions.

    Args:
        seed: whole number, of the interval.

    Example:

    >>> accuracy = VQAAccuracy()
    >>> accuracy.update(["Two.", "red"], [["2"] * 4 + ["3"] * 6, ["red", "blue"] + ["pink"] * 8])
    >>> round(accuracy.result()["accuracy"], 3)
    0.65
    """

    def __init__(self, seed=0):
        self.seed = seed
        self.reset()

    def reset(self):
        """Forgets all answers."""
        self._counts = Counter()

    def update(self, answers, references):
        """Adds answers; none is added if one of them is refused.

        Args:
            answers: list of str.
            references: list as long: for each question a list of what the annotators said, or a
                str if it was one.

        Raises:
            ValueError: if the lengths differ, there is no reference, or a text is not a str.
        """
        self.add(self.judge(answers, references))

    def judge(self, answers, references):
        """Says what each answer is worth, without adding it.

        Args:
            answers: list of str.
            references: list as long, as `update` takes it.

        Returns:
            float array `(questions, 2)`: the accuracy, and how many annotators there were.

        Raises:
            ValueError: if the lengths differ, there is no reference, or a text is not a str.
        """
        judged = []
        for answer, given in zip(*checked(answers, references), strict=True):
            said, answer = _comparable(given, answer)
            judged.append((_agreement(said.count(answer), len(said)), len(said)))
        return np.array(judged, float).reshape(-1, 2)

    def add(self, judged):
        """Adds answers as `judge` gives them."""
        self._counts.update(map(tuple, judged.tolist()))

    def result(self):
        """dict of "accuracy" (0 to 1), its 95 % interval and how many "questions" there were.

        The interval is drawn as that of `WordErrorRate`, over questions.

        Raises:
            ValueError: if there is no answer.
        """
        require(self, self._counts)
        kinds = sorted(self._counts)
        counts = [self._counts[kind] for kind in kinds]
        ((mean, interval),) = means([kind[:1] for kind in kinds], counts, self.seed)
        return {"accuracy": mean, "accuracy interval": interval, "questions": sum(counts)}

    @property
    def signature(self):
        """What has to be equal for two accuracies to be comparable."""
        counts = [int(annotators) for _, annotators in self._counts]
        said = "-".join(map(str, sorted({min(counts), max(counts)}))) if counts else "any"
        return f"VQA-accuracy|annotators:{said}|text:vqa-eval|v:mmkeras-{__version__}"


def answer_targets(references, averaged=True):
    """What every answer that was given to a question is worth: soft targets to train on.

    Args:
        references: list with a list of str for each question, what the annotators said.
        averaged: bool, `True` for what `VQAAccuracy` would give, the mean over leaving out each
            annotator; `False` for `min(n / 3, 1)` where n people say so (Teney et al., "Tips and
            Tricks for Visual Question Answering", 2018).

    Returns:
        list of dicts of answer (str, as it is compared) to worth (float), the best first.

    Raises:
        ValueError: if a question has no reference, or a text is not a str.

    Example:

    >>> answer_targets([["a dog"] * 8 + ["puppy", "2 dogs"]])
    [{'dog': 1.0, 'puppy': 0.3, '2 dogs': 0.3}]
    """
    targets = []
    for given in reference_texts(references):
        (said,) = _comparable(given)
        enough = min(_ENOUGH, len(said))
        targets.append(
            {
                answer: _agreement(n, len(said)) if averaged else min(n / enough, 1.0)
                for answer, n in Counter(said).most_common()
            }
        )
    return targets


def answer_scores(
    answers, references, question_types=None, answer_types=None, wordnet=None, seed=0
):
    """Scores answers to questions on pictures: VQA accuracy, with tables, and WUPS.

    Args:
        answers: list of str.
        references: list as long: for each question a list of what the annotators said, or a str if
            it was one.
        question_types: list as long, such as "how many", for a table of their own; or `None`.
        answer_types: list as long, such as "yes/no", for a table of their own; or `None`.
        wordnet: folder of a WordNet database, to add what `wups` gives; or `None`.
        seed: whole number, of the intervals.

    Returns:
        dict of what `VQAAccuracy.result` gives, "by answer type" and "by question type" (the same
        by type, the most frequent first, if asked for), what `wups` gives (if asked for) and
        "signatures" (list of str).

    Raises:
        ValueError: if there is no answer, the lengths differ, there is no reference, or a text is
            not a str.

    Example:

    >>> scores = answer_scores(["2", "no"], ["two", "yes"], answer_types=["number", "yes/no"])
    >>> scores["accuracy"], scores["by answer type"]["number"]["accuracy"]
    (0.5, 1.0)
    """
    metric = VQAAccuracy(seed)
    judged = metric.judge(answers, references)

    def scored(rows):
        metric.reset()
        metric.add(judged[rows])
        return metric.result()

    scores = {}
    for name, types in (("answer", answer_types), ("question", question_types)):
        if types is not None:
            rows = rows_by(f"{name}_types", types, len(judged))
            scores[f"by {name} type"] = {label: scored(rows[label]) for label in rows}
    scores = scored(slice(None)) | scores
    scores["signatures"] = [metric.signature]
    if wordnet is not None:
        similar = wups(answers, references, wordnet)
        scores["signatures"] += similar.pop("signatures")
        scores |= similar
    return scores


def format_answer_scores(scores):
    """Writes scores of answers as small tables with the signatures under them.

    Args:
        scores: dict, as `answer_scores` returns it.

    Returns:
        str of several lines.

    Example:

    >>> print(format_answer_scores(answer_scores(["2", "no"], ["two", "yes"])))
    accuracy   50.00 %  (95 %: 0.00 to 100.00)
    2 questions
    <BLANKLINE>
    VQA-accuracy|annotators:1|text:vqa-eval|v:mmkeras-0.1.0
    """
    similar = [name for name in scores if name.startswith("WUPS@") or name == "set accuracy"]
    lines = [*headline(scores, "accuracy", *similar), f"{scores['questions']} questions"]
    for title in ("answer type", "question type"):
        if f"by {title}" in scores:
            lines += ["", *table(title, scores[f"by {title}"], ["accuracy"], ["questions"])]
    return "\n".join([*lines, "", *scores["signatures"]])
