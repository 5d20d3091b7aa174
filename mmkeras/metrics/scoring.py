"""What the scores of answers, spans and classes share: checked input, intervals, printed tables."""

import numpy as np

REPLICATES = 1000
_CHUNK = 256


def resample(counts, random):
    """Says how often each item comes up in each of 1000 sets that are drawn from all of them.

    How often one item of many is drawn again is close to Poisson (Chamandy et al., "Estimating
    Uncertainty for Massive Data Streams", 2012), so that each can be drawn for itself.

    Args:
        counts: array `(items,)`, how often each item was seen.
        random: `np.random.Generator`.

    Yields:
        A slice of the items, and an int array `(items of the slice, 1000)`.
    """
    for start in range(0, len(counts), _CHUNK):
        part = slice(start, start + _CHUNK)
        seen = np.asarray(counts[part])[:, None]
        yield part, random.poisson(seen, (len(seen), REPLICATES))


def interval(values):
    """The middle 95 % of values, as `(low, high)`: of the rates of sets drawn again."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def means(values, counts, seed):
    """Means over all items, with their 95 % intervals.

    Args:
        values: array `(kinds, columns)`, what each kind of item is worth.
        counts: array `(kinds,)`, how many items there are of each kind.
        seed: whole number, of the intervals.

    Returns:
        A list with `(mean, (low, high))` for each column.
    """
    values, counts = np.asarray(values, float), np.asarray(counts)
    totals, sizes = 0.0, 0
    for part, drawn in resample(counts, np.random.default_rng(seed)):
        totals = totals + values[part].T @ drawn
        sizes = sizes + drawn.sum(0)
    redrawn = totals[:, sizes > 0] / sizes[sizes > 0]
    return [
        (float(mean), interval(row))
        for mean, row in zip(counts @ values / counts.sum(), redrawn, strict=True)
    ]


def checked(answers, references, fewest=1):
    """Answers and their references as lists.

    Args:
        answers: list of str.
        references: list as long, of a str or a list of str each.
        fewest: how many references an answer has at least.

    Returns:
        list of str, and list of lists of str.

    Raises:
        ValueError: if the lengths differ, there are too few references, or a text is not a str.
    """
    answers, references = texts("answers", answers), reference_texts(references, fewest)
    as_many("references", references, len(answers))
    return answers, references


def reference_texts(references, fewest=1):
    """References as a list of lists of str, `fewest` or more each; a ValueError otherwise."""
    if isinstance(references, str | bytes) or not hasattr(references, "__iter__"):
        _refuse("references", "a list with a str or a list of str for each answer", references)
    found = []
    for index, given in enumerate(references):
        name = f"references[{index}]"
        found.append([given] if isinstance(given, str) else texts(name, given))
        if len(found[-1]) < fewest:
            _refuse(name, f"a list of at least {fewest} str", given)
    return found


def texts(name, values):
    """A list of str; a ValueError with the name of the argument otherwise."""
    if isinstance(values, str | bytes) or not hasattr(values, "__iter__"):
        _refuse(name, "a list of str", values)
    values = list(values)
    for index, value in enumerate(values):
        if not isinstance(value, str):
            _refuse(f"{name}[{index}]", "a str", value)
    return values


def as_many(name, values, answers):
    """Refuses a list that has not an entry for each answer."""
    if len(values) != answers:
        raise ValueError(
            f"`{name}` should hold an entry for each answer. Received: {answers} answers and "
            f"{len(values)} {name}"
        )


def _refuse(name, expected, value):
    raise ValueError(f"`{name}` should be {expected}. Received: {name}={value!r:.80}")


def require(metric, items):
    """Refuses to score nothing."""
    if not items:
        raise ValueError(
            f"{type(metric).__name__} should have at least one answer before it is asked for a "
            "score: call `update(answers, references)`. Received: 0 answers"
        )


def rows_by(name, labels, answers):
    """Which answers have each label, the most frequent label first: dict of lists of rows."""
    labels = list(labels)
    as_many(name, labels, answers)
    rows = {}
    for row, label in enumerate(labels):
        rows.setdefault(label, []).append(row)
    return dict(sorted(rows.items(), key=lambda item: -len(item[1])))


def percent(share):
    """A share of 0 to 1 as it is printed."""
    return f"{100 * share:.2f} %"


def headline(scores, *names):
    """Lines of scores with their intervals, where they have one."""
    width = max(map(len, names), default=0)
    for name in names:
        line = f"{name:<{width}}  {percent(scores[name]):>8}"
        if f"{name} interval" in scores:
            low, high = scores[f"{name} interval"]
            line += f"  (95 %: {100 * low:.2f} to {100 * high:.2f})"
        yield line


def table(title, rows, shares, counts):
    """Lines of a table: a label, then shares in percent, then counts."""
    width = max(len(title), *(len(str(label)) for label in rows))
    heads = [f"{name:>9}" for name in (*shares, *counts)]
    yield "  ".join([f"{title:<{width}}", *heads])
    for label, row in rows.items():
        cells = [f"{percent(row[name]):>9}" for name in shares]
        cells += [f"{row[name]:>{max(9, len(name))}}" for name in counts]
        yield "  ".join([f"{label!s:<{width}}", *cells])
