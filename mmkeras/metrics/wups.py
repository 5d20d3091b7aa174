"""Wu-Palmer similarity of sets: answers that are nearly right."""

import functools
import math

from mmkeras import __version__
from mmkeras.metrics.scoring import checked
from mmkeras.metrics.wordnet import Nouns


def wups(answers, references, wordnet, thresholds=(0.9, 0.0)):
    """Wu-Palmer similarity of sets: is the answer right, or is it nearly (Malinowski & Fritz 2014).

    Answers are sets of words between commas. A word counts 1 where the other set has it, else its
    Wu-Palmer similarity to the nearest noun of the other set, and a tenth of that below the
    threshold. An answer is worth the product over its own words or that over the reference's
    words, whichever is less. Words are compared as they are, with the underscores of DAQUAR.

    Args:
        answers: list of str, such as `"book, tape_dispenser"`.
        references: list as long, of a str each, or a list of str, whose mean counts.
        wordnet: folder of a WordNet database, as Debian's package wordnet-base has it.
        thresholds: numbers from 0 to 1.

    Returns:
        dict of "WUPS@0.9" and "WUPS@0.0" (0 to 1), "set accuracy" (the same with no similarity:
        the two sets are equal), "questions" and "signatures" (list of str).

    Raises:
        ValueError: if there is no answer, the lengths differ, a text is not a str, or `wordnet` is
            no such folder.

    Example:

    ```python
    scores = mm.wups(["mug, desk"], ["cup, table"], wordnet="/usr/share/wordnet")
    ```
    """
    answers, references = checked(answers, references)
    if not answers:
        raise ValueError("`answers` should hold at least one answer. Received: 0 answers")
    nouns = Nouns(wordnet)
    similarity = functools.cache(lambda a, b: 1.0 if a == b else nouns.similarity(a, b))

    def mean(likeness):
        return sum(
            sum(_set_score(answer, text, likeness) for text in given) / len(given)
            for answer, given in zip(answers, references, strict=True)
        ) / len(answers)

    def likeness(a, b, threshold):
        found = similarity(a, b)
        return found if found >= threshold else 0.1 * found

    scores = {
        f"WUPS@{threshold}": mean(functools.partial(likeness, threshold=threshold))
        for threshold in thresholds
    }
    scores["set accuracy"] = mean(lambda a, b: float(a == b))
    scores["questions"] = len(answers)
    signature = f"WUPS|sets:comma|nouns|wordnet:{nouns.version}|v:mmkeras-{__version__}"
    return scores | {"signatures": [signature]}


def _set_score(answer, reference, likeness):
    said, right = ([word.strip() for word in text.split(",")] for text in (answer, reference))
    return min(
        math.prod(max(likeness(word, other) for other in others) for word in words)
        for words, others in ((right, said), (said, right))
    )
