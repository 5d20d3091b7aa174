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
    rows = [row for row, value in enumerate(column) if value in held]
    if not 0 < len(rows) < len(column):
        raise ValueError(
            f"`share` should hold out some of {len(set(column))} values of {by!r} and leave some. "
            f"Received: share={share!r}"
        )
    others = [row for row, value in enumerate(column) if value not in held]
    return tuple(
        {name: [values[row] for row in part] for name, values in records.items()}
        for part in (others, rows)
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
