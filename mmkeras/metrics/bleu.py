"""BLEU with the counting of the COCO caption toolkit."""

import numpy as np

from mmkeras.metrics.streaming import CaptionMetric, ngrams


class Bleu(CaptionMetric):
    """BLEU-1 to BLEU-n of a set of captions, each against several references.

    The counts of all items are summed before the division; every item's reference length is the
    one closest to its candidate's (the shorter of two). Nothing is smoothed: the toolkit's
    constants 1e-15 and 1e-9 only avoid a division by zero. Papineni et al., "BLEU: a Method for
    Automatic Evaluation of Machine Translation" (2002).

    Args:
        n: int, the longest n-gram.
        tokenized: bool, `True` if the texts are tokenized already.

    Raises:
        ValueError: if `n` is less than 1.

    Example:

    >>> bleu = Bleu()
    >>> bleu.update(["A dog runs."], [["A dog runs on grass.", "A brown dog runs."]])
    >>> round(bleu.result()["BLEU-1"], 3)
    0.717
    """

    def __init__(self, n=4, tokenized=False):
        if n < 1:
            raise ValueError(f"`n` should be at least 1. Received: n={n}")
        super().__init__(tokenized)
        self.n = n
        self.settings = f"BLEU|n:1-{n}|length:closest|smooth:none"

    def result(self):
        """Corpus scores: dict of float, "BLEU-1" to "BLEU-n", 0 to 1."""
        counts = self._counts().sum(axis=0)
        return {name: float(score) for name, score in self._scores(counts).items()}

    def per_item(self):
        """Scores of every item alone: dict of float64 arrays `[items]`."""
        return self._scores(self._counts())

    def _measure(self, words, references):
        available = [ngrams(reference, self.n) for reference in references]
        correct = [0] * self.n
        for ngram, count in ngrams(words, self.n).items():
            most = max(counts.get(ngram, 0) for counts in available)
            correct[len(ngram) - 1] += min(count, most)
        closest = min(
            (abs(len(reference) - len(words)), len(reference)) for reference in references
        )
        return [len(words), closest[1], *correct]

    def _counts(self):
        """Length, reference length, n matches, n guesses: int array `[items, 2 + 2 n]`."""
        self._require_items()
        counts = np.array(self._items)
        guesses = np.maximum(counts[:, :1] - np.arange(self.n), 0)
        return np.concatenate([counts, guesses], axis=1)

    def _scores(self, counts):
        length, reference_length = counts[..., 0], counts[..., 1]
        correct, guesses = np.split(counts[..., 2:], 2, axis=-1)
        precision = np.cumprod((correct + 1e-15) / (guesses + 1e-9), axis=-1)
        orders = np.arange(1, self.n + 1)
        ratio = (length + 1e-15) / (reference_length + 1e-9)
        brevity = np.exp(np.minimum(0.0, 1.0 - 1.0 / ratio))
        scores = precision ** (1.0 / orders) * brevity[..., None]
        return {f"BLEU-{order}": scores[..., order - 1] for order in orders}
