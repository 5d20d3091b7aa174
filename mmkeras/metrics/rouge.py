"""ROUGE-L with the averaging of the COCO caption toolkit."""

import numpy as np

from mmkeras.metrics.streaming import CaptionMetric

_BETA = 1.2


class RougeL(CaptionMetric):
    """Mean ROUGE-L F-score of a set of captions, each against several references.

    Precision and recall of an item are the best over its references, each for itself; recall
    counts 1.2 times as much. Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004).

    Args:
        tokenized: bool, `True` if the texts are tokenized already.

    Example:

    >>> rouge = RougeL()
    >>> rouge.update(["A dog runs."], [["A dog runs on grass.", "A brown dog runs."]])
    >>> round(rouge.result()["ROUGE-L"], 3)
    0.836
    """

    settings = f"ROUGE-L|beta:{_BETA}"

    def result(self):
        """Mean over the items: {"ROUGE-L": float}, 0 to 1."""
        return {"ROUGE-L": float(self.per_item()["ROUGE-L"].mean())}

    def per_item(self):
        """Scores of every item: {"ROUGE-L": float64 array `[items]`}."""
        self._require_items()
        return {"ROUGE-L": np.array(self._items)}

    def _measure(self, words, references):
        positions = _positions(words)
        common = [_common_length(positions, len(words), reference) for reference in references]
        if not any(common):
            return 0.0
        precision = max(common) / len(words)
        recall = max(
            length / len(reference)
            for length, reference in zip(common, references, strict=True)
            if length
        )
        return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def _positions(words):
    """Maps a word to an integer with one bit set for each place where it stands."""
    positions = {}
    for place, word in enumerate(words):
        positions[word] = positions.get(word, 0) | 1 << place
    return positions


def _common_length(positions, length, reference):
    """Length of the longest common subsequence, a row of the table per machine word.

    Hyyro, "Bit-parallel LCS-length computation revisited" (2004): a zero bit in `row` is a place
    where the subsequence grows.
    """
    every = (1 << length) - 1
    row = every
    for word in reference:
        match = row & positions.get(word, 0)
        row = ((row + match) | (row - match)) & every
    return length - row.bit_count()
