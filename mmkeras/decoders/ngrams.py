"""N-gram probabilities: estimated from sentences, read from ARPA files and written to them."""

import gzip
import math
import os
from collections import Counter, defaultdict

UNKNOWN, START, END = "<unk>", "<s>", "</s>"
SPECIAL = (UNKNOWN, START, END)
NEVER = -99.0


def estimate(sentences, order):
    """Interpolated modified Kneser-Ney probabilities of n-grams.

    Chen and Goodman 1998, "An Empirical Study of Smoothing Techniques for Language Modeling", with
    sentence ends and unknown words as in Heafield et al. 2013, "Scalable Modified Kneser-Ney
    Language Model Estimation". An order whose counts of counts give no discounts, as in little
    text, is discounted as Witten and Bell 1991 do.

    Args:
        sentences: Iterable of lists of words.
        order: The longest n-gram.

    Returns:
        A list by order of dicts `{words: (log10 probability, log10 backoff weight)}`.

    Raises:
        ValueError: if there is no sentence, or one holds a word that has a meaning of its own.
    """
    counts = _adjusted(_count(sentences, order))
    words = [word for (word,) in counts[0] if word != START]
    size = len(words) + 1  # the unknown word
    lower = {(): 1.0 / size}
    probabilities, weights = [], []
    for n, table in enumerate(counts):
        discounted, left = _discounted(table)
        probabilities.append(
            {
                gram: value + left[gram[:-1]] * lower[gram[1:] if n else ()]
                for gram, value in discounted.items()
            }
        )
        weights.append(left)
        lower = probabilities[-1]
    probabilities[0][(UNKNOWN,)] = weights[0][()] / size
    tables = []
    for n, table in enumerate(probabilities):
        backoff = weights[n + 1] if n + 1 < order else {}
        tables.append(
            {gram: (math.log10(p), math.log10(backoff.get(gram, 1.0))) for gram, p in table.items()}
        )
    start = math.log10(weights[1].get((START,), 1.0)) if order > 1 else 0.0
    tables[0][(START,)] = (NEVER, start)
    return tables


def _count(sentences, order):
    counts = [Counter() for _ in range(order)]
    for words in sentences:
        strange = set(words) & set(SPECIAL)
        if strange:
            raise ValueError(
                f"`texts` should not hold the words {list(SPECIAL)}. Received: {sorted(strange)}"
            )
        words = (START, *words, END)
        for n in range(1, order + 1):
            counts[n - 1].update(zip(*(words[i:] for i in range(n)), strict=False))
    if not counts[0]:
        raise ValueError("`texts` should hold at least one text. Received: none")
    return counts


def _adjusted(counts):
    """Below the highest order, how many words an n-gram follows: what a backoff asks for."""
    adjusted = [*counts]
    for n in range(len(counts) - 1):
        follows = Counter(gram[1:] for gram in counts[n + 1])
        adjusted[n] = {
            gram: count if gram[0] == START else follows[gram] for gram, count in counts[n].items()
        }
    adjusted[0] = {gram: count for gram, count in adjusted[0].items() if gram != (START,)}
    return adjusted


def _discounted(table):
    """What each n-gram keeps of its context's probability, and what each context has left."""
    totals, kinds = Counter(), defaultdict(Counter)
    for gram, count in table.items():
        totals[gram[:-1]] += count
        kinds[gram[:-1]][min(count, 3)] += 1
    discounts = _discounts(Counter(table.values()))
    if discounts is None:
        seen = {context: sum(kind.values()) for context, kind in kinds.items()}
        kept = {g: c / (totals[g[:-1]] + seen[g[:-1]]) for g, c in table.items()}
        return kept, {c: seen[c] / (totals[c] + seen[c]) for c in totals}
    kept = {g: (c - discounts[min(c, 3) - 1]) / totals[g[:-1]] for g, c in table.items()}
    left = {
        context: sum(discounts[k - 1] * number for k, number in kind.items()) / totals[context]
        for context, kind in kinds.items()
    }
    return kept, left


def _discounts(of_counts):
    """The discounts of counts 1, 2, and 3 or more; None where the counts are too few."""
    if not all(of_counts[k] for k in (1, 2, 3, 4)):
        return None
    share = of_counts[1] / (of_counts[1] + 2 * of_counts[2])
    discounts = [k - (k + 1) * share * of_counts[k + 1] / of_counts[k] for k in (1, 2, 3)]
    allowed = all(0 < discount < k for k, discount in enumerate(discounts, 1))
    return discounts if allowed else None


def read_arpa(path):
    """The n-grams of an ARPA file, plain or `.gz`, as `estimate` gives them.

    Raises:
        ValueError: naming the file and the line at fault.
    """
    path = os.fspath(path)
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rb") as file:
        lines = (
            (number, line.decode("utf-8").strip(" \r\n")) for number, line in enumerate(file, 1)
        )
        try:
            return _Arpa(path, lines).tables()
        except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
            raise ValueError(
                f"{path} should be an ARPA file in UTF-8. Received: {error}"
            ) from error


class _Arpa:
    """A reader of the lines of one file."""

    def __init__(self, path, lines):
        self.path = path
        self.lines = lines
        self.number, self.line = 0, ""

    def tables(self):
        while self.next() != "\\data\\":
            pass
        sizes = []
        while self.next().startswith("ngram "):
            order, _, size = self.line[6:].partition("=")
            if order.strip() != str(len(sizes) + 1) or not size.strip().isdigit():
                self.refuse(f"`ngram {len(sizes) + 1}=COUNT`")
            sizes.append(int(size))
        tables = []
        for n, size in enumerate(sizes, 1):
            tables.append(self.section(n, size, tables, n == len(sizes)))
        if not sizes or self.line != "\\end\\":
            self.refuse("`\\end\\`" if sizes else "`ngram 1=COUNT`")
        return tables

    def next(self):
        """The next line that is not empty."""
        for number, line in self.lines:
            if line:
                self.number, self.line = number, line
                return line
        self.refuse("more lines, from `\\data\\` to `\\end\\`", "the end of the file")

    def section(self, n, size, before, last):
        if self.line != f"\\{n}-grams:":
            self.refuse(f"`\\{n}-grams:`")
        table = {}
        while not self.next().startswith("\\"):
            parts = self.line.replace("\t", " ").split(" ")
            if len(parts) not in ((n + 1,) if last else (n + 1, n + 2)):
                self.refuse(f"a log10 probability, {n} words" + ("" if last else ", a weight"))
            gram = tuple(parts[1 : n + 1])
            if n > 1 and any((word,) not in before[0] for word in gram):
                self.refuse(f"{n} words that are 1-grams")
            if n > 1 and gram[:-1] not in before[-1]:
                self.refuse(f"an n-gram whose first {n - 1} words are one too")
            try:
                weight = float(parts[n + 1]) if len(parts) == n + 2 else 0.0
                table[gram] = float(parts[0]), weight
            except ValueError:
                self.refuse("numbers before and after the words")
            if not table[gram][0] <= 0:
                self.refuse("a log10 probability of at most 0")
        if len(table) != size:
            self.refuse(f"{size} different {n}-grams before it", f"{len(table)}")
        return table

    def refuse(self, wanted, received=None):
        received = repr(self.line) if received is None else received
        raise ValueError(
            f"{self.path}, line {self.number}: should be {wanted}. Received: {received}"
        )


def write_arpa(path, tables):
    """Write n-grams as an ARPA file, compressed if its name ends in `.gz`."""
    path = os.fspath(path)
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "wt", encoding="utf-8", newline="\n") as file:
        file.write("\\data\\\n")
        file.writelines(f"ngram {n}={len(table)}\n" for n, table in enumerate(tables, 1))
        for n, table in enumerate(tables, 1):
            file.write(f"\n\\{n}-grams:\n")
            for gram, (probability, weight) in sorted(table.items()):
                ending = "" if n == len(tables) else f"\t{weight:.7g}"
                file.write(f"{probability:.7g}\t{' '.join(gram)}{ending}\n")
        file.write("\n\\end\\\n")
