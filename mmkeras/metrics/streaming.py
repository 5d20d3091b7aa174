"""What the caption metrics share: checked input, streaming, a printed signature."""

import itertools
import sys
from collections import Counter

from mmkeras import __version__
from mmkeras.metrics.tokenization import tokenize


def ngrams(words, n):
    """Counts the n-grams of 1 to `n` words, as tuples."""
    tails = [words[start:] for start in range(n)]
    return Counter(
        itertools.chain.from_iterable(
            zip(*tails[:width], strict=False) for width in range(1, n + 1)
        )
    )


def split_candidates(candidates, tokenized):
    """Turns captions into lists of words.

    Args:
        candidates: list of str.
        tokenized: bool, `True` if the words stand between spaces already.

    Returns:
        list of lists of str.

    Raises:
        ValueError: if `candidates` is a single str or holds anything but str.
    """
    if isinstance(candidates, str | bytes) or not hasattr(candidates, "__iter__"):
        _refuse("candidates", "a list of str, one per item", candidates)
    return [
        _words(text, tokenized, f"candidates[{index}]") for index, text in enumerate(candidates)
    ]


def split_references(references, tokenized):
    """Turns the references of every item into lists of words.

    Args:
        references: list of non-empty lists of str, one list per item.
        tokenized: bool, `True` if the words stand between spaces already.

    Returns:
        list (items) of lists (references) of lists of str (words).

    Raises:
        ValueError: if an item has no reference or is not a list of str.
    """
    if isinstance(references, str | bytes) or not hasattr(references, "__iter__"):
        _refuse("references", "a list of lists of str, one list per item", references)
    return [
        _reference_words(texts, tokenized, f"references[{index}]")
        for index, texts in enumerate(references)
    ]


def pair(candidates, references, tokenized):
    """Turns candidates and references into `(words, reference_words)` for every item.

    Args:
        candidates: list of str.
        references: list of non-empty lists of str, as long as `candidates`.
        tokenized: bool, `True` if the words stand between spaces already.

    Returns:
        list of (words, list of reference words).

    Raises:
        ValueError: if the lengths differ or an entry is not as above.
    """
    candidates = split_candidates(candidates, tokenized)
    references = split_references(references, tokenized)
    if len(candidates) != len(references):
        raise ValueError(
            "`references` should hold one list of captions for each candidate. Received: "
            f"{len(candidates)} candidates and {len(references)} lists of references"
        )
    return list(zip(candidates, references, strict=True))


def _reference_words(texts, tokenized, name):
    if isinstance(texts, str | bytes) or not hasattr(texts, "__len__"):
        _refuse(name, "a list of str, even if it is only one", texts)
    if not len(texts):
        _refuse(name, "a list of at least one reference", texts)
    return [_words(text, tokenized, f"{name}[{index}]") for index, text in enumerate(texts)]


def _words(text, tokenized, name):
    if not isinstance(text, str):
        _refuse(name, "a str", text)
    # One object per distinct word keeps a large set of references small.
    return [sys.intern(word) for word in (text if tokenized else tokenize(text)).split()]


def _refuse(name, expected, value):
    raise ValueError(f"`{name}` should be {expected}. Received: {name}={value!r}")


class CaptionMetric:
    """Base of the streaming caption metrics.

    A subclass sets `settings` and writes `_measure(words, references)`, which gives what it keeps
    of one item in `self._items`, `per_item()` and `result()`.

    Args:
        tokenized: bool, `True` if the texts are tokenized already: words between spaces, taken
            as they are.
    """

    settings = ""

    def __init__(self, tokenized=False):
        self.tokenized = tokenized
        self.reset()

    def reset(self):
        """Forgets all items."""
        self._items = []
        self._reference_counts = set()

    def update(self, candidates, references):
        """Adds items; nothing is added if one of them is refused.

        Args:
            candidates: list of str.
            references: list of non-empty lists of str, as long as `candidates`.

        Raises:
            ValueError: if the lengths differ, an item has no reference, or a text is not a str.
        """
        self.add(pair(candidates, references, self.tokenized))

    def add(self, items):
        """Adds items that `pair` has split into words."""
        for words, references in items:
            self._reference_counts.add(len(references))
            self._items.append(self._measure(words, references))

    @property
    def signature(self):
        """What has to be equal for two scores to be comparable."""
        counts = self._reference_counts or {"any"}
        references = "-".join(map(str, sorted({min(counts), max(counts)})))
        text = "case:given|tok:given" if self.tokenized else "case:lower|tok:ptb-like"
        return f"{self.settings}|refs:{references}|{text}|v:mmkeras-{__version__}"

    def _require_items(self):
        if not self._items:
            raise ValueError(
                f"{type(self).__name__} should have at least one item before it is asked for a "
                "score: call `update(candidates, references)`. Received: 0 items"
            )
