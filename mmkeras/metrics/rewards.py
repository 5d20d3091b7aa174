"""Rewards: how good single captions are, for training on the metrics themselves."""

import numpy as np

from mmkeras.metrics.cider import CiderD
from mmkeras.metrics.streaming import ngrams
from mmkeras.metrics.tokenization import tokenize

_END = " <end>"


class CaptionReward:
    """CIDEr-D plus a weight times BLEU-4, of single captions.

    CIDEr-D alone rewards texts that break off in the middle: here every text ends in a word of its
    own that has to match as well. BLEU-4 is of one sentence, smoothed by adding 0.1 to the counts
    of two words and more.

    Args:
        references: list of lists of str, those of each image.
        bleu_weight: of BLEU-4, which is at most 1; CIDEr-D is at most 10 and seldom above 2.

    Example:

    >>> reward = CaptionReward([["a dog runs"], ["two cats", "cats asleep"]])
    >>> good, bad = reward(["a dog runs", "a dog runs"], [0, 1])
    >>> bool(good > bad)
    True
    """

    def __init__(self, references, bleu_weight=2.0):
        texts = [[tokenize(text) for text in captions] for captions in references]
        ended = [[text + _END for text in captions] for captions in texts]
        self.cider = CiderD.from_references(ended, tokenized=True)
        self.known = [_known(captions) for captions in texts]
        self.bleu_weight = bleu_weight

    def __call__(self, texts, indices):
        """Texts and whose references each is for -> float array `[texts]`."""
        texts = [tokenize(text) for text in texts]
        cider = self.cider.rewards([text + _END for text in texts], indices)
        bleu = [_bleu(text.split(), *self.known[i]) for text, i in zip(texts, indices, strict=True)]
        return cider + self.bleu_weight * np.array(bleu)


def _known(captions):
    """How often each n-gram stands in a reference at most, and the references' lengths."""
    most = {}
    for text in captions:
        for gram, count in ngrams(text.split(), 4).items():
            most[gram] = max(most.get(gram, 0), count)
    return most, [len(text.split()) for text in captions]


def _bleu(words, most, lengths):
    if not words:
        return 0.0
    right = np.zeros(4)
    for gram, count in ngrams(words, 4).items():
        right[len(gram) - 1] += min(count, most.get(gram, 0))
    written = np.maximum(len(words) - np.arange(4), 0)
    smooth = np.array([1e-9, 0.1, 0.1, 0.1])
    precision = np.exp(np.mean(np.log((right + smooth) / (written + smooth))))
    nearest = min(lengths, key=lambda length: (abs(length - len(words)), length))
    return precision * min(1.0, np.exp(1 - nearest / len(words)))
