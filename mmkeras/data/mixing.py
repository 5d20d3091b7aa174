"""Several sets of records as one, each with its share of every epoch."""

import bisect
import itertools

import numpy as np

from mmkeras.data.shards import ShardColumn, Shards


def mix(sets, weights):
    """Records of several sets, of which an epoch draws by weights.

    An epoch has as many examples as all sets together, and each set has its share of them, exactly.
    A set is gone through before any of it comes again, from one epoch to the next: of a large set
    with a small weight each epoch has others, a small set with a large one comes several times.
    Which they are follows from the seed and the epoch alone. Without `shuffle` the sets take turns.

    Args:
        sets: list of records, dicts of equally long lists by name. A name that one of them lacks
            is None there.
        weights: list of numbers above 0, one for each set; their sum does not matter.

    Returns:
        Records for `mm.dataset`, one set after the other.

    Raises:
        ValueError: a weight is no number above 0, or there is not one for each set.

    Example:

    ```python
    import mmkeras as mm

    records = mm.mix([mm.world(100, seed=1), mm.world(900, seed=2)], [1, 1])
    ```
    """
    weights = [float(weight) for weight in weights]
    if len(weights) != len(sets) or not all(0 < weight < float("inf") for weight in weights):
        raise ValueError(
            f"`weights` should be {len(sets)} numbers above 0, one for each set. "
            f"Received: weights={weights}"
        )
    names = dict.fromkeys(itertools.chain.from_iterable(sets))
    counts = [len(next(iter(records.values()), ())) for records in sets]
    if 0 in counts:
        raise ValueError(f"`sets` should hold records. Received: {counts} of them")
    return _Mixed(
        {
            name: _joined(
                [each.get(name, [None] * n) for each, n in zip(sets, counts, strict=True)]
            )
            for name in names
        },
        Mixture(counts, weights),
    )


class _Mixed(dict):
    """Records that know how an epoch is drawn from them."""

    def __init__(self, columns, mixture):
        super().__init__(columns)
        self.mixture = mixture


class Mixture:
    """How many records each set has, and its weight."""

    def __init__(self, counts, weights):
        self.counts = counts
        self.weights = weights

    def of(self, rows):
        """The draws from examples, of which the record of each is given.

        Raises:
            ValueError: no example of a set is left.
        """
        sets = np.searchsorted(np.cumsum(self.counts), rows, side="right")
        groups = [np.flatnonzero(sets == number) for number in range(len(self.counts))]
        if not all(map(len, groups)):
            raise ValueError(
                "Each of the sets that are mixed should have examples. "
                f"Received: {[len(group) for group in groups]}"
            )
        return _Draws(groups, self.weights)


class _Draws:
    """Which examples an epoch has, from groups of them."""

    def __init__(self, groups, weights):
        self.groups = groups
        ends = np.cumsum([0, *weights]) / sum(weights) * sum(map(len, groups))
        self.shares = np.diff(np.rint(ends).astype(np.int64))

    def epoch(self, epoch, seed, shuffle):
        """Positions of examples, as many as there are, `(examples,)` int64."""
        parts = []
        for number, (group, share) in enumerate(zip(self.groups, self.shares, strict=True)):
            begin, skipped = divmod(int(epoch) * int(share), len(group))
            turns = range(begin, begin + -(-(skipped + int(share)) // len(group)))
            orders = [_order(group, shuffle and (seed, number, turn)) for turn in turns]
            parts.append(np.concatenate([group[:0], *orders])[skipped : skipped + share])
        order = np.concatenate(parts)
        if shuffle:
            return _order(order, (seed, int(epoch)))
        places = np.concatenate([(np.arange(len(part)) + 0.5) / len(part) for part in parts])
        return order[np.argsort(places, kind="stable")]


def _order(values, seed):
    return np.random.default_rng(seed).permutation(values) if seed else values


def _joined(columns):
    if all(isinstance(column, ShardColumn) for column in columns):
        parts = [part for column in columns for part in column.shards.parts]
        return ShardColumn(Shards(parts), columns[0].name)
    if all(isinstance(column, list) for column in columns):
        return [value for column in columns for value in column]
    return _Joined(columns)


class _Joined:
    """Columns behind each other, some of which may be larger than memory."""

    def __init__(self, columns):
        self._columns = columns
        self._starts = [0, *itertools.accumulate(map(len, columns))]
        self.made_of = columns

    def __len__(self):
        return self._starts[-1]

    def __getitem__(self, row):
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        column, row = self._place(row)
        return column[row]

    def glance(self, row):
        """As of a `ShardColumn`; what is in memory is given as it is."""
        column, row = self._place(row)
        return column.glance(row) if isinstance(column, ShardColumn) else column[row]

    def _place(self, row):
        row = range(len(self))[int(row)]
        number = bisect.bisect_right(self._starts, row) - 1
        return self._columns[number], row - self._starts[number]
