"""Classes: accuracy, macro-F1, precision and recall of each, and which is taken for which."""

from collections import Counter

import numpy as np

from mmkeras import __version__
from mmkeras.metrics.scoring import (
    REPLICATES,
    as_many,
    headline,
    interval,
    require,
    resample,
    table,
)

_CONFUSED = 10  # pairs printed


class ConfusionMatrix:
    """Streaming counts of which class was answered where which was right, and scores from them.

    Definitions as scikit-learn's, with 0 where nothing is to be divided by: precision is the share
    of a class's answers that are right, recall the share of its references that are found, F1
    their harmonic mean. Macro-F1 is the mean over the classes that occur, as answer or reference.

    Args:
        names: list of str or int, all classes in their order; `None` for those that occur, sorted.
        seed: whole number, of the intervals.

    Example:

    >>> matrix = ConfusionMatrix()
    >>> matrix.update(["cat", "cat", "dog"], ["cat", "dog", "dog"])
    >>> result = matrix.result()
    >>> result["classes"], result["confusion"]
    (['cat', 'dog'], [[1, 0], [1, 1]])
    >>> result["by class"]["dog"]["recall"]
    0.5
    """

    def __init__(self, names=None, seed=0):
        self.names = None if names is None else _labels("names", names)
        if names is not None and len(set(self.names)) < len(self.names):
            raise ValueError(f"`names` should hold every class once. Received: {self.names!r:.200}")
        self.seed = seed
        self.reset()

    def reset(self):
        """Forgets all answers."""
        self._counts = Counter()

    def update(self, answers, references):
        """Adds answers; none is added if one of them is refused.

        Args:
            answers: list of str, or of int: the classes answered.
            references: list as long: the right classes.

        Raises:
            ValueError: if the lengths differ, or a class is not a str or an int, or unknown.
        """
        self.add(self.judge(answers, references))

    def judge(self, answers, references):
        """Lists which class was answered where which was right, without adding it.

        Args:
            answers: list of str, or of int.
            references: list as long.

        Returns:
            list of `(reference, answer)`.

        Raises:
            ValueError: as `update`.
        """
        answers = _labels("answers", answers, self.names)
        references = _labels("references", references, self.names)
        as_many("references", references, len(answers))
        if len({isinstance(label, str) for label in (*answers, *references)}) > 1:
            raise ValueError(
                "`answers` and `references` should all be str or all int. Received: "
                f"{answers[0]!r} and {references[0]!r}, for instance"
            )
        return list(zip(references, answers, strict=True))

    def add(self, judged):
        """Adds answers as `judge` gives them."""
        self._counts.update(judged)

    def result(self):
        """Scores of all answers added.

        Returns:
            dict of "accuracy" and "macro F1" (0 to 1) and their 95 % intervals, drawn as that of
            `WordErrorRate`; "answers", how many; "by class", for each a dict of "precision",
            "recall", "F1" and "references", how many; "classes", a list, and "confusion", a list
            of lists of int: how often the class of a column was answered where that of the row
            was right.

        Raises:
            ValueError: if there is no answer.
        """
        require(self, self._counts)
        classes = self.names or sorted({label for pair in self._counts for label in pair})
        place = {label: index for index, label in enumerate(classes)}
        confusion = np.zeros((len(classes),) * 2, np.int64)
        for (reference, answer), count in self._counts.items():
            confusion[place[reference], place[answer]] = count
        sums = np.diag(confusion), confusion.sum(1), confusion.sum(0)
        scores, found = {}, (_rates(*sums), _rates(*self._redrawn(confusion)))
        for name, rate, redrawn in zip(("accuracy", "macro F1"), *found, strict=True):
            scores |= {name: float(rate), f"{name} interval": interval(redrawn)}
        scores["answers"] = int(confusion.sum())
        scores["by class"] = dict(zip(classes, map(_of_class, *sums), strict=True))
        return scores | {"classes": classes, "confusion": confusion.tolist()}

    def _redrawn(self, confusion):
        """Right answers, references and answers of each class, `(classes, sets drawn again)`."""
        rows, columns = np.nonzero(confusion)
        right, said, answered = np.zeros((3, len(confusion), REPLICATES), np.int64)
        random = np.random.default_rng(self.seed)
        for part, drawn in resample(confusion[rows, columns], random):
            np.add.at(said, rows[part], drawn)
            np.add.at(answered, columns[part], drawn)
            same = rows[part] == columns[part]
            right[rows[part][same]] += drawn[same]
        there = said.sum(0) > 0
        return right[:, there], said[:, there], answered[:, there]

    @property
    def signature(self):
        """What has to be equal for two scores to be comparable."""
        return f"accuracy+macro-F1|classes:occurring|zero-division:0|v:mmkeras-{__version__}"


def _rates(right, references, answers):
    """Accuracy and macro-F1 from counts `(classes, ...)`."""
    both = references + answers
    f1 = 2 * right / np.maximum(both, 1)
    return right.sum(0) / references.sum(0), f1.sum(0) / (both > 0).sum(0)


def _of_class(right, references, answers):
    return {
        "precision": float(right / max(answers, 1)),
        "recall": float(right / max(references, 1)),
        "F1": float(2 * right / max(references + answers, 1)),
        "references": int(references),
    }


def _labels(name, labels, known=None):
    if isinstance(labels, str | bytes) or not hasattr(labels, "__iter__"):
        raise ValueError(f"`{name}` should be a list of classes. Received: {name}={labels!r:.80}")
    labels = [label.item() if isinstance(label, np.generic) else label for label in labels]
    allowed = None if known is None else frozenset(known)
    for index, label in enumerate(labels):
        if not isinstance(label, str | int):
            raise ValueError(
                f"`{name}[{index}]` should be a str or an int. Received: {label!r:.80}"
            )
        if known is not None and label not in allowed:
            raise ValueError(
                f"`{name}[{index}]` should be one of {known!r:.200}. Received: {label!r}"
            )
    return labels


def class_scores(answers, references, names=None, seed=0):
    """Scores answers that are classes: accuracy, macro-F1, each class, the confusion matrix.

    Args:
        answers: list of str, or of int: the classes answered.
        references: list as long: the right classes.
        names: list of all classes in their order; `None` for those that occur, sorted.
        seed: whole number, of the intervals.

    Returns:
        dict of what `ConfusionMatrix.result` gives, and "signatures" (list of str).

    Raises:
        ValueError: if there is no answer, the lengths differ, or a class is not a str or an int,
            or unknown.

    Example:

    >>> scores = class_scores([0, 1, 1, 1], [0, 1, 1, 0])
    >>> scores["accuracy"], round(scores["macro F1"], 3)
    (0.75, 0.733)
    """
    matrix = ConfusionMatrix(names, seed)
    matrix.update(answers, references)
    return matrix.result() | {"signatures": [matrix.signature]}


def format_class_scores(scores):
    """Writes scores of classes as small tables with the signature under them.

    Args:
        scores: dict, as `class_scores` returns it.

    Returns:
        str of several lines.

    Example:

    >>> print(format_class_scores(class_scores(["a", "b", "b"], ["a", "a", "b"])))
    accuracy   66.67 %  (95 %: 0.00 to 100.00)
    macro F1   66.67 %  (95 %: 0.00 to 100.00)
    3 answers
    <BLANKLINE>
    class  precision     recall         F1  references
    a       100.00 %    50.00 %    66.67 %           2
    b        50.00 %   100.00 %    66.67 %           1
    <BLANKLINE>
    a taken for b: 1
    <BLANKLINE>
    accuracy+macro-F1|classes:occurring|zero-division:0|v:mmkeras-0.1.0
    """
    lines = [*headline(scores, "accuracy", "macro F1"), f"{scores['answers']} answers", ""]
    lines += table("class", scores["by class"], ["precision", "recall", "F1"], ["references"])
    confused = [
        f"{reference} taken for {answer}: {count}"
        for reference, answer, count in most_confused(scores, _CONFUSED)
    ]
    lines += ["", *confused] if confused else []
    return "\n".join([*lines, "", *scores["signatures"]])


def most_confused(scores, most):
    """The wrong answers that are most frequent.

    Args:
        scores: dict, as `class_scores` returns it.
        most: how many, whole number.

    Returns:
        list of `(reference, answer, count)`, the most frequent first.
    """
    found = [
        (reference, answer, count)
        for reference, row in zip(scores["classes"], scores["confusion"], strict=True)
        for answer, count in zip(scores["classes"], row, strict=True)
        if count and answer != reference
    ]
    return sorted(found, key=lambda entry: -entry[2])[:most]
