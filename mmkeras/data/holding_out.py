"""Records parted into some to learn from and some to measure on."""

import collections

import numpy as np


def hold_out(records, share, by="speaker", seed=0):
    """Parts records in two that share no speaker, or no value of another column such as `"image"`.

    Which values are held out follows from the values, `share` and `seed` alone, not from the order
    of the records.

    Args:
        records: dict of equally long lists by name.
        share: how much to hold out: below 1 a share of the records, whose values are then taken
            one by one until they hold so many; a whole number of values; or a list of values.
        by: the column: `"speaker"`, `"image"` (of several questions on each), `"text"`, ...
        seed: whole number, of the choice.

    Returns:
        `(rest, held out)`, records in their order.

    Raises:
        ValueError: there is no such column, or it holds lists, the list holds a value that the
            column has not, or nothing would be held out or left.

    Example:

    >>> takes = {"audio": ["a", "b", "c", "d"], "speaker": ["ann", "ben", "ann", "cid"]}
    >>> rest, held = hold_out(takes, ["ann"])
    >>> rest["audio"], held["audio"]
    (['b', 'd'], ['a', 'c'])
    """
    if by not in records:
        raise ValueError(f"`by` should be one of {sorted(records)}. Received: by={by!r}")
    column = list(records[by])
    if any(isinstance(value, list) for value in column):
        raise ValueError(f"`by` should name a column without lists. Received: by={by!r}")
    held = _held_values(column, share, seed)
    if not 0 < sum(value in held for value in column) < len(column):
        raise ValueError(
            f"`share` should hold out some of {len(set(column))} values of {by!r} and leave some. "
            f"Received: share={share!r}"
        )
    return _parted(records, [value in held for value in column])


def folds(records, count, by=None, seed=0):
    """Parts records in so many, and holds out each part once: k-fold cross-validation.

    Args:
        records: dict of equally long lists by name.
        count: how many parts, of sizes that differ by one at most.
        by: a column whose values are not divided, such as `"speaker"`, of which the parts then
            have equally many; None parts the records as they are.
        seed: whole number, of the parts.

    Yields:
        `(rest, held out)`, records in their order.

    Raises:
        ValueError: there is no such column, or not so many records or values.

    Example:

    >>> texts = {"text": ["a", "b", "c", "d"], "label": ["0", "1", "0", "1"]}
    >>> [held["text"] for _, held in folds(texts, 2)]
    [['b', 'c'], ['a', 'd']]
    """
    if by is not None and by not in records:
        raise ValueError(f"`by` should be one of {sorted(records)}. Received: by={by!r}")
    rows = range(len(next(iter(records.values()))))
    column = list(rows) if by is None else list(records[by])
    values = sorted(set(column), key=str)
    if not (isinstance(count, int) and 2 <= count <= len(values)):
        raise ValueError(
            f"`count` should be from 2 to {len(values)}, as many as there are to part. "
            f"Received: count={count!r}"
        )
    order = np.random.default_rng(seed).permutation(len(values))
    part = {values[place]: turn % count for turn, place in enumerate(order)}
    for fold in range(count):
        yield _parted(records, [part[value] == fold for value in column])


def _parted(records, held):
    """Records in two, of which the second has the rows that are true."""
    return tuple(
        {
            name: [value for value, there in zip(values, held, strict=True) if there == wanted]
            for name, values in records.items()
        }
        for wanted in (False, True)
    )


def _held_values(column, share, seed):
    values = sorted(set(column), key=str)
    if isinstance(share, list | tuple | set | frozenset):
        unknown = sorted(set(share) - set(values), key=str)
        if unknown:
            raise ValueError(f"`share` should hold values of the column. Received: {unknown}")
        return set(share)
    order = [values[i] for i in np.random.default_rng(seed).permutation(len(values))]
    if isinstance(share, int):
        return set(order[: max(share, 0)])
    numbers = collections.Counter(column)
    counts = np.cumsum([numbers[value] for value in order])
    return set(order[: int(np.searchsorted(counts, share * len(column))) + 1])
