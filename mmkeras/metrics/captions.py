"""All caption metrics of a set at once, with what tells collapse."""

import numpy as np

from mmkeras.metrics.bleu import Bleu
from mmkeras.metrics.cider import CiderD
from mmkeras.metrics.rouge import RougeL
from mmkeras.metrics.streaming import pair


def caption_scores(candidates, references, tokenized=False, shuffle_seed=None):
    """Scores captions with BLEU-1 to BLEU-4, ROUGE-L and CIDEr-D, and says if they collapsed.

    A captioner that ignores its input shows in three numbers: "unique", the share of distinct
    captions; "vocabulary", how many different words they use; and "CIDEr-D shuffled", the score
    when every caption is held against another item's references, which is as high as the score
    itself when the captions do not depend on the item.

    Args:
        candidates: list of str.
        references: list of non-empty lists of str, as long as `candidates`.
        tokenized: bool, `True` if the texts are tokenized already.
        shuffle_seed: int, or `None` to leave "CIDEr-D shuffled" out.

    Returns:
        dict of "BLEU-1" to "BLEU-4", "ROUGE-L", "CIDEr-D", "unique" (floats), "vocabulary" (int),
        "CIDEr-D shuffled" (float, if asked for) and "signatures" (list of str).

    Raises:
        ValueError: if there is no item, the lengths differ, an item has no reference, a text is
            not a str, or one item alone should be shuffled.

    Example:

    >>> scores = caption_scores(
    ...     ["A dog runs.", "A cat."], [["A dog runs.", "A dog."], ["Two cats sleep."]]
    ... )
    >>> scores["unique"], scores["vocabulary"]
    (1.0, 4)
    """
    items = pair(candidates, references, tokenized)
    scores, signatures = {}, []
    for metric in (Bleu(tokenized=tokenized), RougeL(tokenized), CiderD(tokenized=tokenized)):
        metric.add(items)
        scores |= metric.result()
        signatures.append(metric.signature)
    if shuffle_seed is not None:
        shuffled = CiderD(tokenized=tokenized)
        shuffled.add(_deranged(items, shuffle_seed))
        scores["CIDEr-D shuffled"] = shuffled.result()["CIDEr-D"]
    scores["unique"] = len({tuple(words) for words, _ in items}) / len(items)
    scores["vocabulary"] = len({word for words, _ in items for word in words})
    scores["signatures"] = signatures
    return scores


def format_scores(scores):
    """Writes scores as a small table with the signatures under it.

    Args:
        scores: dict, as `caption_scores` returns it.

    Returns:
        str of several lines.

    Example:

    >>> print(format_scores({"BLEU-4": 0.25, "vocabulary": 12, "signatures": ["BLEU|n:1-4"]}))
    BLEU-4      0.2500
    vocabulary  12
    BLEU|n:1-4
    """
    rows = {name: value for name, value in scores.items() if name != "signatures"}
    width = max(map(len, rows), default=0)
    lines = [
        f"{name:<{width}}  {value if isinstance(value, int) else format(value, '.4f')}"
        for name, value in rows.items()
    ]
    return "\n".join([*lines, *scores.get("signatures", [])])


def _deranged(items, seed):
    """Gives every item the candidate of the next one on a random round trip."""
    if len(items) < 2:
        raise ValueError(
            "`shuffle_seed` should be None for fewer than 2 items: there is no other item to "
            f"take a caption from. Received: shuffle_seed={seed}, {len(items)} item(s)"
        )
    order = np.random.default_rng(seed).permutation(len(items))
    return [
        (items[other][0], items[own][1])
        for own, other in zip(order, np.roll(order, 1), strict=True)
    ]
