"""CIDEr-D, as a metric of a set and as a reward for single captions."""

import math
import operator
from collections import Counter

import numpy as np

from mmkeras.metrics.streaming import (
    CaptionMetric,
    ngrams,
    pair,
    split_candidates,
    split_references,
)

_N = 4
_SIGMA = 6.0


class DocumentFrequency:
    """In the references of how many items each n-gram occurs.

    Args:
        references: list of non-empty lists of str, one list per item.
        tokenized: bool, `True` if the texts are tokenized already.

    Raises:
        ValueError: if an item has no reference or is not a list of str.

    Example:

    >>> frequency = DocumentFrequency([["a dog", "the dog"], ["a cat"]])
    >>> frequency.items, frequency.counts[("dog",)]
    (2, 1)
    """

    def __init__(self, references=(), tokenized=False):
        self.items = 0
        self.counts = Counter()
        for captions in split_references(references, tokenized):
            self.add(captions)

    def add(self, captions):
        """Adds an item: its references, as lists of words."""
        self.items += 1
        self.counts.update({ngram for words in captions for ngram in ngrams(words, _N)})

    def inverse(self, ngram):
        """Log of items over the count; an n-gram never seen counts as seen once."""
        return math.log(self.items) - math.log(self.counts.get(ngram) or 1)


class CiderD(CaptionMetric):
    """Mean CIDEr-D of a set of captions, each against several references, 0 to 10.

    Clipped cosine similarity of tf-idf vectors of 1- to 4-grams, with a Gaussian penalty
    (sigma 6) on the difference in length. This is what the COCO toolkit prints as "CIDEr".
    Vedantam et al., "CIDEr: Consensus-based Image Description Evaluation" (2015).

    The document frequencies come from the references of all items, so a score depends on the
    whole set and a set of one item scores 0. Fixed ones make every item's score final at once:
    see `from_references`, the form to use as a reward.

    Args:
        document_frequency: `DocumentFrequency`, or `None` to count in the references given to
            `update`.
        tokenized: bool, `True` if the texts are tokenized already.

    Raises:
        ValueError: if `document_frequency` is something else or empty.

    Example:

    >>> cider = CiderD()
    >>> cider.update(["A dog runs.", "A cat."], [["A dog runs.", "A dog."], ["Two cats sleep."]])
    >>> round(cider.result()["CIDEr-D"], 2)
    2.81
    """

    def __init__(self, document_frequency=None, tokenized=False):
        if document_frequency is not None and not (
            isinstance(document_frequency, DocumentFrequency) and document_frequency.items
        ):
            raise ValueError(
                "`document_frequency` should be a DocumentFrequency of at least one item. "
                f"Received: {document_frequency=}"
            )
        self._fixed = document_frequency
        self._images = []
        super().__init__(tokenized)

    @classmethod
    def from_references(cls, references, tokenized=False):
        """A scorer with the document frequencies of these references, ready for `rewards`.

        Args:
            references: list of non-empty lists of str, one list per image.
            tokenized: bool, `True` if the texts are tokenized already.

        Returns:
            `CiderD`.

        Raises:
            ValueError: if there is no image, or an image has no reference.

        Example:

        >>> scorer = CiderD.from_references([["a dog runs", "a dog"], ["two cats sleep"]])
        >>> [round(float(reward), 2) for reward in scorer.rewards(["a dog runs"] * 2, [0, 1])]
        [5.63, 0.0]
        """
        references = split_references(references, tokenized)
        if not references:
            raise ValueError("`references` should hold at least one image. Received: references=[]")
        frequency = DocumentFrequency()
        for captions in references:
            frequency.add(captions)
        scorer = cls(frequency, tokenized)
        shared = {ngram: ngram for ngram in frequency.counts}
        scorer._images = [_Vectors(captions, frequency, shared) for captions in references]
        return scorer

    def reset(self):
        """Forgets all items; fixed document frequencies stay."""
        super().reset()
        self._frequency = self._fixed or DocumentFrequency()

    @property
    def settings(self):
        """The part of the signature that is CIDEr-D's own."""
        frequency = f"fixed({self._fixed.items})" if self._fixed else "references"
        return f"CIDEr-D|n:1-{_N}|sigma:{_SIGMA:g}|df:{frequency}"

    def result(self):
        """Mean over the items: {"CIDEr-D": float}, 0 to 10."""
        return {"CIDEr-D": float(self.per_item()["CIDEr-D"].mean())}

    def per_item(self):
        """Scores of every item: {"CIDEr-D": float64 array `[items]`}."""
        self._require_items()
        return {"CIDEr-D": self._scores(self._items)}

    def score(self, candidates, references):
        """Scores captions by the fixed document frequencies at once, without adding them.

        Args:
            candidates: list of str.
            references: list of non-empty lists of str, as long as `candidates`.

        Returns:
            float64 array `[candidates]`, 0 to 10.

        Raises:
            ValueError: if the document frequencies are not fixed, or a text is refused as by
                `update`.
        """
        if not self._fixed:
            raise ValueError(
                "`score` needs fixed document frequencies: make the scorer with "
                "`CiderD.from_references(references)`. Received: document_frequency=None"
            )
        return self._scores(pair(candidates, references, self.tokenized))

    def rewards(self, candidates, indices):
        """Scores captions against the references that `from_references` was given.

        The vectors of the references are ready, so a caption takes less than 0.1 ms.

        Args:
            candidates: list of str.
            indices: ints as many as `candidates`: whose references, 0 to images - 1.

        Returns:
            float32 array `[candidates]`, 0 to 10.

        Raises:
            ValueError: if the lengths differ, or an index is out of range.
        """
        indices = [operator.index(index) for index in indices]
        candidates = split_candidates(candidates, self.tokenized)
        if len(candidates) != len(indices):
            raise ValueError(
                "`indices` should hold one index for each candidate. Received: "
                f"{len(candidates)} candidates and {len(indices)} indices"
            )
        if indices and not 0 <= min(indices) <= max(indices) < len(self._images):
            raise ValueError(
                f"`indices` should be at least 0 and less than {len(self._images)}, the number of "
                f"images given to `from_references`. Received: {min(indices)} to {max(indices)}"
            )
        return np.array(
            [
                _similarity(words, self._images[index], self._frequency)
                for words, index in zip(candidates, indices, strict=True)
            ],
            "float32",
        )

    def _measure(self, words, references):
        if not self._fixed:
            self._frequency.add(references)
        return words, references

    def _scores(self, items):
        return np.array(
            [
                _similarity(words, _Vectors(references, self._frequency, {}), self._frequency)
                for words, references in items
            ]
        )


class _Vectors:
    """The tf-idf vectors of one item's references, found by n-gram.

    `places[ngram]` holds (reference, count) pairs; the weight is the count times the inverse
    document frequency, which the candidate's n-gram has as well. `shared` holds one copy of
    equal tuples for all items: thousands of images fit in memory by it.
    """

    def __init__(self, references, frequency, shared):
        places = {}
        squares = np.zeros((len(references), _N))
        for index, words in enumerate(references):
            for ngram, count in ngrams(words, _N).items():
                places[ngram] = (*places.get(ngram, ()), (index, count))
                squares[index, len(ngram) - 1] += (count * frequency.inverse(ngram)) ** 2
        self.places = {
            shared.setdefault(ngram, ngram): shared.setdefault(pairs, pairs)
            for ngram, pairs in places.items()
        }
        self.norms = np.sqrt(squares).tolist()
        self.lengths = [_length(words) for words in references]


def _length(words):
    """The toolkit measures length in bigrams."""
    return max(len(words) - 1, 0)


def _similarity(words, vectors, frequency):
    products = [[0.0] * _N for _ in vectors.norms]
    squares = [0.0] * _N
    for ngram, count in ngrams(words, _N).items():
        order = len(ngram) - 1
        inverse = frequency.inverse(ngram)
        weight = count * inverse
        squares[order] += weight * weight
        for index, times in vectors.places.get(ngram, ()):
            other = times * inverse
            products[index][order] += min(weight, other) * other
    norms = [math.sqrt(square) for square in squares]
    total = 0.0
    for product, other_norms, length in zip(products, vectors.norms, vectors.lengths, strict=True):
        cosines = sum(p / (a * b) for p, a, b in zip(product, norms, other_norms, strict=True) if p)
        difference = _length(words) - length
        total += cosines * math.exp(-(difference**2) / (2 * _SIGMA**2))
    return 10.0 * total / (_N * len(products))
