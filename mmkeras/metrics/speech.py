"""Word and character error rates: streamed, with intervals, tables and alignments."""

import itertools
import math
import re
import unicodedata

import numpy as np

from mmkeras import __version__
from mmkeras.metrics.scoring import REPLICATES, interval, resample

# Scripts written without spaces, in which a space means nothing.
_SPACELESS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_MEANINGLESS = re.compile(rf"(?<=[{_SPACELESS}]) | (?=[{_SPACELESS}])")
# An apostrophe within a word and a point within a number are part of them.
_KEPT = re.compile(r"(?<=\w)'(?=\w)|(?<=\d)[.,](?=\d)")


def normalize(text):
    """Lower-cases a transcript and drops what is not heard.

    Letters with their accents, and digits, stay; so do the apostrophe within a word and the point
    or comma within a number. Everything else (punctuation, hyphens, symbols) becomes a space.
    Numbers are not written out and words not respelled.

    Args:
        text: str.

    Returns:
        str, the words joined by single spaces; may be empty.

    Example:

    >>> normalize("Don't STOP - it's 3.5 miles, he said.")
    "don't stop it's 3.5 miles he said"
    """
    text = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    kept = {match.start() for match in _KEPT.finditer(text)}
    heard = (
        char if place in kept or unicodedata.category(char)[0] in "LMN" else _unheard(char)
        for place, char in enumerate(text)
    )
    return " ".join("".join(heard).split())


def _unheard(char):
    # Joiners and other marks of format stand inside words.
    return "" if unicodedata.category(char) == "Cf" else " "


class ErrorRate:
    """Errors per unit of reference, over all utterances added: base of the two error rates.

    Keeps sums alone, so that memory does not grow with the utterances. An utterance's errors are
    the fewest substitutions, deletions and insertions that make the reference into the
    hypothesis, as jiwer counts them. The rate is the sum of all errors over the sum of all
    reference units, not a mean over utterances.

    Nothing needs a reference to hold words: against an empty reference every unit is an
    insertion, and an empty hypothesis deletes the whole reference. Where no reference holds a
    unit, the rate is 0 without insertions and infinite with some.

    Args:
        normalized: bool, `True` if the texts are normalized already: taken as they are, but for
            white space. `False` to pass them through `normalize`.
        seed: whole number, of the interval.
    """

    name, unit = "", ""

    def __init__(self, normalized=False, seed=0):
        self.normalized = normalized
        self.seed = seed
        self.reset()

    def reset(self):
        """Forgets all utterances."""
        self._counts = np.zeros(4, np.int64)
        self._utterances = self._wrong = 0
        self._random = np.random.default_rng(self.seed)
        self._replicates = np.zeros((2, REPLICATES))

    def update(self, hypotheses, references):
        """Adds utterances; none is added if one of them is refused.

        Args:
            hypotheses: list of str, what was recognized.
            references: list of str, what was said, as many.

        Raises:
            ValueError: if the lengths differ or a text is not a str.
        """
        self.add(self.counts(hypotheses, references))

    def counts(self, hypotheses, references):
        """Counts the errors of each utterance, without adding them.

        Args:
            hypotheses: list of str.
            references: list of str, as many.

        Returns:
            int array `(utterances, 4)`: hits, substitutions, deletions, insertions.

        Raises:
            ValueError: if the lengths differ or a text is not a str.
        """
        texts = _checked(hypotheses, references)
        found = [_count(steps) for *_, steps in _aligned(*texts, self.unit, self.normalized)]
        return np.array(found, np.int64).reshape(-1, 4)

    def add(self, counts):
        """Adds utterances as `counts` gives them."""
        errors, lengths = _errors(counts), _lengths(counts)
        self._counts += counts.sum(0)
        self._utterances += len(counts)
        self._wrong += int((errors > 0).sum())
        sums = np.stack([errors, lengths]).astype(float)
        # Each utterance is drawn for itself, so that replicates are summed as utterances come.
        for part, drawn in resample(np.ones(len(counts)), self._random):
            self._replicates += sums[:, part] @ drawn

    def result(self):
        """The rate and its parts: dict of the rate (float), its interval and the counts.

        `"<name> interval"` holds 95 % of the rates of 1000 sets of utterances drawn from these
        (Bisani and Ney, "Bootstrap Estimates for Confidence Intervals in ASR Performance
        Evaluation", 2004; drawn as they come, after Chamandy et al., 2012).

        Raises:
            ValueError: if there is no utterance.
        """
        if not self._utterances:
            raise ValueError(
                f"{type(self).__name__} should have at least one utterance before it is asked for "
                "a rate: call `update(hypotheses, references)`. Received: 0 utterances"
            )
        hits, substitutions, deletions, insertions = map(int, self._counts)
        return {
            self.name: self._rate(),
            f"{self.name} interval": self._interval(),
            "substitutions": substitutions,
            "deletions": deletions,
            "insertions": insertions,
            f"{self.unit}s": hits + substitutions + deletions,
            "wrong utterances": self._wrong,
            "utterances": self._utterances,
        }

    def _rate(self):
        errors, length = int(_errors(self._counts)), int(_lengths(self._counts))
        return errors / length if length else (math.inf if errors else 0.0)

    def _interval(self):
        errors, lengths = self._replicates[:, self._replicates[1] > 0]
        if not len(lengths):
            return (self._rate(),) * 2
        return interval(errors / lengths)

    @property
    def signature(self):
        """What has to be equal for two rates to be comparable."""
        text = "case:given|punct:given" if self.normalized else "case:lower|punct:none|nfkc"
        return f"{self.name}|{text}|{self._tokens}|rate:corpus|v:mmkeras-{__version__}"


class WordErrorRate(ErrorRate):
    """Streaming word error rate, in words between spaces.

    Text in scripts without spaces, as Chinese, is one word: look at its `CharacterErrorRate`.

    Args:
        normalized: bool, `True` if the texts are normalized already: taken as they are.
        seed: whole number, of the interval.

    Example:

    >>> wer = WordErrorRate()
    >>> wer.update(["a bat sat"], ["The cat sat."])
    >>> wer.update(["yes", ""], ["yes", "no"])
    >>> wer.result()["WER"], wer.result()["substitutions"], wer.result()["deletions"]
    (0.6, 2, 1)
    """

    name, unit, _tokens = "WER", "word", "tok:spaces"


class CharacterErrorRate(ErrorRate):
    """Streaming character error rate; a space between words counts as a character.

    Spaces beside Chinese characters and Japanese kana are dropped, for they mean nothing there.

    Args:
        normalized: bool, `True` if the texts are normalized already: taken as they are.
        seed: whole number, of the interval.

    Example:

    >>> cer = CharacterErrorRate()
    >>> cer.update(["今天 天汽 好"], ["今天天气好。"])
    >>> cer.result()["CER"]
    0.2
    """

    name, unit, _tokens = "CER", "character", "spaces:counted,not-cjk"


def align_words(hypothesis, reference, normalized=False, unit="word"):
    """Lays a hypothesis beside its reference, word by word.

    Args:
        hypothesis: str, what was recognized.
        reference: str, what was said.
        normalized: bool, `True` if the texts are normalized already: taken as they are.
        unit: `"word"` or `"character"`.

    Returns:
        List of `(what, reference word, hypothesis word)`, `what` one of `"equal"`,
        `"substitute"`, `"delete"` and `"insert"`; the word that is not there is `None`.

    Raises:
        ValueError: if a text is not a str or `unit` is unknown.

    Example:

    >>> align_words("a bat sat", "the cat sat down")[2:]
    [('equal', 'sat', 'sat'), ('delete', 'down', None)]
    """
    if unit not in ("word", "character"):
        raise ValueError(f'`unit` should be "word" or "character". Received: unit={unit!r}')
    texts = _checked([hypothesis], [reference])
    ((said, heard, chunks),) = _aligned(*texts, unit, normalized)
    steps = []
    for chunk in chunks:
        left = said[chunk.ref_start_idx : chunk.ref_end_idx]
        right = heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
        steps += [(chunk.type, *pair) for pair in itertools.zip_longest(left, right)]
    return steps


def speech_scores(hypotheses, references, groups=None, normalized=False, seed=0):
    """Scores recognized speech: word and character error rate, with intervals and tables.

    Args:
        hypotheses: list of str, what was recognized.
        references: list of str, what was said, as many.
        groups: list as long, such as the speakers, for a table of their own; or `None`.
        normalized: bool, `True` if the texts are normalized already: taken as they are. `False`
            to pass them through `normalize`.
        seed: whole number, of the intervals.

    Returns:
        dict of what `WordErrorRate.result` gives, "CER", "CER interval", "by length" (the same by
        number of reference words, as "4-7"), "by group" (the same by group, if asked for) and
        "signatures" (list of str).

    Raises:
        ValueError: if there is no utterance, the lengths differ, or a text is not a str.

    Example:

    >>> scores = speech_scores(["yes", "go"], ["yes", "no"], groups=["ann", "ben"])
    >>> scores["WER"], scores["CER"], scores["by group"]["ben"]["WER"]
    (0.5, 0.2, 1.0)
    """
    rates = WordErrorRate(normalized, seed), CharacterErrorRate(normalized, seed)
    counts = [rate.counts(hypotheses, references) for rate in rates]
    groups = groups if groups is None else list(groups)
    if groups is not None and len(groups) != len(counts[0]):
        raise ValueError(
            "`groups` should hold a value for each hypothesis. Received: "
            f"{len(counts[0])} hypotheses and {len(groups)} groups"
        )

    def scored(rows):
        results = []
        for rate, each in zip(rates, counts, strict=True):
            rate.reset()
            rate.add(each[rows])
            results.append(rate.result())
        words, characters = results
        return words | {name: characters[name] for name in ("CER", "CER interval")}

    scores = scored(slice(None))
    lengths = _lengths(counts[0])
    by_length = _rows_by(map(_length_range, lengths))
    order = sorted(by_length, key=lambda label: lengths[by_length[label][0]])
    scores["by length"] = {label: scored(by_length[label]) for label in order}
    if groups is not None:
        scores["by group"] = {label: scored(rows) for label, rows in _rows_by(groups).items()}
    scores["signatures"] = [rate.signature for rate in rates]
    return scores


def format_speech_scores(scores):
    """Writes scores of recognized speech as small tables with the signatures under them.

    Args:
        scores: dict, as `speech_scores` returns it.

    Returns:
        str of several lines.

    Example:

    >>> print(format_speech_scores(speech_scores(["yes", "go"], ["yes", "no"])))
    WER  50.00 %  (95 %: 0.00 to 100.00)
    CER  20.00 %  (95 %: 0.00 to 50.00)
    2 words: 1 substituted, 0 deleted, 0 inserted; 1 of 2 utterances wrong
    <BLANKLINE>
    words       WER       CER  utterances
    1       50.00 %   20.00 %           2
    <BLANKLINE>
    WER|case:lower|punct:none|nfkc|tok:spaces|rate:corpus|v:mmkeras-0.1.0
    CER|case:lower|punct:none|nfkc|spaces:counted,not-cjk|rate:corpus|v:mmkeras-0.1.0
    """
    lines = []
    for name in ("WER", "CER"):
        low, high = scores[f"{name} interval"]
        rate = _percent(scores[name])
        lines.append(f"{name}  {rate}  (95 %: {100 * low:.2f} to {100 * high:.2f})")
    lines.append(
        f"{scores['words']} words: {scores['substitutions']} substituted, "
        f"{scores['deletions']} deleted, {scores['insertions']} inserted; "
        f"{scores['wrong utterances']} of {scores['utterances']} utterances wrong"
    )
    for title, table in (("words", "by length"), ("group", "by group")):
        if table in scores:
            lines += ["", *_formatted(title, scores[table])]
    return "\n".join([*lines, "", *scores["signatures"]])


def format_speech_comparison(scores):
    """Writes several scores of the same utterances beside each other, such as of several searches.

    Args:
        scores: dict by name of what `speech_scores` returns.

    Returns:
        str of several lines.

    Raises:
        ValueError: if there are none, or they are of different numbers of utterances.

    Example:

    >>> said = ["yes", "no"]
    >>> print(format_speech_comparison({
    ...     "greedy": speech_scores(["yes", "go"], said), "beam": speech_scores(said, said)
    ... }))
                 WER             95 %       CER             95 %
    greedy   50.00 %   0.00 to 100.00   20.00 %    0.00 to 50.00
    beam      0.00 %     0.00 to 0.00    0.00 %     0.00 to 0.00
    2 utterances
    """
    counts = {name: each["utterances"] for name, each in scores.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(
            "`scores` should be of the same utterances, one dict by name at least. "
            f"Received: numbers of utterances {counts}"
        )
    width = max(map(len, scores))
    lines = [" " * width + "".join(f"  {name:>8}  {'95 %':>15}" for name in ("WER", "CER"))]
    for label, each in scores.items():
        line = f"{label:<{width}}"
        for name in ("WER", "CER"):
            low, high = (100 * bound for bound in each[f"{name} interval"])
            line += f"  {_percent(each[name]):>8}  {f'{low:.2f} to {high:.2f}':>15}"
        lines.append(line)
    return "\n".join([*lines, f"{next(iter(counts.values()))} utterances"])


def _formatted(title, table):
    width = max(len(title), *(len(str(label)) for label in table))
    yield f"{title:<{width}}  {'WER':>8}  {'CER':>8}  utterances"
    for label, row in table.items():
        rates = "  ".join(f"{_percent(row[name]):>8}" for name in ("WER", "CER"))
        yield f"{label!s:<{width}}  {rates}  {row['utterances']:>10}"


def _percent(rate):
    return f"{100 * rate:.2f} %"


def _checked(hypotheses, references):
    lists = {"hypotheses": hypotheses, "references": references}
    for name, texts in lists.items():
        if isinstance(texts, str | bytes) or not hasattr(texts, "__iter__"):
            raise ValueError(f"`{name}` should be a list of str. Received: {name}={texts!r:.80}")
        lists[name] = list(texts)
        for index, text in enumerate(lists[name]):
            if not isinstance(text, str):
                raise ValueError(f"`{name}[{index}]` should be a str. Received: {text!r:.80}")
    hypotheses, references = lists.values()
    if len(hypotheses) != len(references):
        raise ValueError(
            "`references` should hold one text for each hypothesis. Received: "
            f"{len(hypotheses)} hypotheses and {len(references)} references"
        )
    return hypotheses, references


def _aligned(hypotheses, references, unit, normalized):
    """Units of reference and hypothesis, and jiwer's steps between them, for each utterance."""
    # Captioning need not load it.
    import jiwer

    def prepared(texts):
        texts = [" ".join(text.split()) if normalized else normalize(text) for text in texts]
        return [_MEANINGLESS.sub("", text) for text in texts] if unit == "character" else texts

    if not hypotheses:
        return []
    split = {
        "word": jiwer.ReduceToListOfListOfWords,
        "character": jiwer.ReduceToListOfListOfChars,
    }[unit]()
    found = jiwer.process_words(prepared(references), prepared(hypotheses), split, split)
    return zip(found.references, found.hypotheses, found.alignments, strict=True)


def _count(chunks):
    """Hits, substitutions, deletions and insertions of one utterance."""
    counts = dict.fromkeys(("equal", "substitute", "delete", "insert"), 0)
    for chunk in chunks:
        counts[chunk.type] += max(
            chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx
        )
    return list(counts.values())


def _errors(counts):
    return counts[..., 1:].sum(-1)


def _lengths(counts):
    return counts[..., :3].sum(-1)


def _length_range(length):
    """Lengths by doubling: "0", "1", "2-3", "4-7" and so on."""
    low = 1 << int(length).bit_length() - 1 if length else 0
    return f"{low}-{2 * low - 1}" if low > 1 else f"{low}"


def _rows_by(labels):
    rows = {}
    for row, label in enumerate(labels):
        rows.setdefault(label, []).append(row)
    return rows
