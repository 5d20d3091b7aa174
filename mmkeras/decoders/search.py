"""Search: choosing the ids that a decoder writes, step by step, in TensorFlow ops.

Every search drives one function, `step(ids, state, index) -> (logits, state)`: `ids` `(rows,)`
int32 are the ids written last, `index` is the scalar int32 position they stand at, `logits`
`(rows, vocabulary)` say what comes next. `rows` is `batch_size * beam_width` in beam search and
`batch_size * samples` in sampling, the rows of one example side by side.

`state` is any nest of tensors whose first axis is `batch_size` when it is handed in; the search
repeats each leaf to `rows` and, in beam search, reorders it after every step. Spared both is what
stands in a state that is a dict under the keys `"context"` and `"cache"`: the first is the same for
all beams of an example, the second is theirs together, and neither is ever copied.

Every answer ends: END is the one id allowed at the last of `max_length` steps. An id that may not
come (PAD, START, END before `min_length`, a repeated n-gram) is passed over without making the
others likelier: a score is the decoder's own log-probability of the answer, END included, divided
by the length penalty `((5 + n) / 6) ** length_penalty` of Wu et al. 2016
(https://arxiv.org/abs/1609.08144), `n` being the ids of the answer, END included. An answer that
cannot be continued scores `-inf`.

Every search returns a dict, best answer first (samples in the order drawn):

- `ids`: `(batch_size, answers, max_length)` int32 without START and END, zeros after the last id.
- `scores`: `(batch_size, answers)` float32.
- `lengths`: `(batch_size, answers)` int32, how many of `ids` are not zero.

Scorers, see `mmkeras.decoders.scoring`, add to the log-probability of every id, before the length
penalty. With some the state has to be a dict; theirs stands beside the decoder's in it.

Ops are TensorFlow core's, so a search runs eagerly, in a `tf.function` and in a served graph.
"""

import inspect
import numbers
from typing import NamedTuple

import numpy as np
import tensorflow as tf

PAD_ID = 0
IMPOSSIBLE = -np.inf
# What scorers add to an id that cannot come is less.
LEAST = -1e29
SPARED = ("context", "cache")
BEAM_WIDTH = 4


class _Rules(NamedTuple):
    max_length: int
    min_length: int
    no_repeat_ngram: int
    start_id: int
    end_id: int
    # `(rows, 1)` int32: the most ids of each row, END included; None for `max_length`.
    limit: tf.Tensor | None = None


def greedy(
    step,
    state,
    batch_size,
    max_length,
    scorers=None,
    *,
    length_penalty=0.6,
    min_length=0,
    no_repeat_ngram=0,
    length_limit=None,
    start_id=1,
    end_id=2,
):
    """Takes the likeliest id at every step.

    Args:
        step: the decoder's step, see the module.
        state: its state before the first step, `batch_size` rows.
        batch_size: int or scalar int32 tensor; 0 gives an empty answer.
        max_length: int, the most ids in an answer, END included; `step` runs at most so often.
        scorers: dict of scorers by name, or None.
        length_penalty: number from 0, or `(batch_size,)` tensor; 0 scores by plain log-probability.
        min_length: int, the least ids before END.
        no_repeat_ngram: int, no run of so many ids comes twice; 0 allows all.
        length_limit: int or `(batch_size,)` tensor: the most ids in the answer of an example, END
            included, where it may be shorter than `max_length`; above `min_length`.
        start_id, end_id: int, the ids of START and END.

    Raises:
        ValueError: if an option is out of its range.

    Example:

    >>> table = tf.math.log([[0.1, 0.1, 0.1, 0.7]] * 3 + [[0.1, 0.1, 0.7, 0.1]])
    >>> step = lambda ids, state, index: (tf.gather(table, ids), state)
    >>> greedy(step, (), batch_size=1, max_length=5)["ids"].numpy().tolist()
    [[[3, 0, 0, 0, 0]]]
    """
    rules = _rules(max_length, min_length, no_repeat_ngram, start_id, end_id)
    rules = _limited(rules, length_limit, 1)
    length_penalty = _column("length_penalty", length_penalty, least=0.0)

    def likeliest(logits, index):
        return tf.argmax(logits, axis=-1, output_type=tf.int32)

    step, state = _scored(step, state, batch_size, scorers, rules)
    ids, log_probability = _write(likeliest, step, state, batch_size, rules)
    return _answers(ids[:, None], log_probability[:, None], length_penalty)


def sample(
    step,
    state,
    batch_size,
    max_length,
    scorers=None,
    *,
    temperature=1.0,
    top_k=0,
    top_p=1.0,
    seed=None,
    samples=1,
    length_penalty=0.6,
    min_length=0,
    no_repeat_ngram=0,
    length_limit=None,
    start_id=1,
    end_id=2,
):
    """Draws every id from the decoder's distribution, or from its head.

    `temperature` comes first, then `top_k`, then `top_p` (nucleus sampling, Holtzman et al. 2020,
    https://arxiv.org/abs/1904.09751). Scores are log-probabilities before all three. `top_p` is
    cheaper with a `top_k` beside it: fewer ids are sorted at every step.

    Args:
        step, state, batch_size, max_length, scorers: as in `greedy`.
        temperature: number above 0, or `(batch_size,)` tensor, in which 0 means greedy.
        top_k: int, only the so many likeliest ids can come; 0 allows all.
        top_p: number in (0, 1], or `(batch_size,)` tensor: only the fewest likeliest ids that
            together have this probability can come.
        seed: int or scalar tensor: an example's draws depend on it and on the example's place in
            the batch. Or `(batch_size,)` integer tensor: they depend on its own seed alone. Neither
            depends on the neighbours. None draws anew at every call.
        samples: int, answers per example, drawn independently.
        length_penalty, min_length, no_repeat_ngram, length_limit, start_id, end_id: as in `greedy`.

    Raises:
        ValueError: if an option is out of its range.

    Example:

    >>> step = lambda ids, state, index: (tf.zeros([len(ids), 9]), state)
    >>> sample(step, (), batch_size=2, max_length=5, samples=3, seed=1)["ids"].shape
    TensorShape([2, 3, 5])
    """
    rules = _rules(max_length, min_length, no_repeat_ngram, start_id, end_id)
    _whole("top_k", top_k, 0)
    _whole("samples", samples, 1)
    rules = _limited(rules, length_limit, samples)
    length_penalty = _column("length_penalty", length_penalty, least=0.0)
    everything = isinstance(top_p, numbers.Real) and top_p == 1
    top_p = _per_sample(_column("top_p", top_p, above=0.0, most=1.0), samples)
    temperature = _per_sample(_column("temperature", temperature, above=0.0), samples)
    temperature = tf.maximum(temperature, 1e-6)
    uniform = _uniform(seed, batch_size, samples, max_length)

    def drawn(logits, index):
        ids = None
        if top_k:
            logits, ids = _top(logits, min(top_k, logits.shape[-1]))
        weights = tf.nn.softmax(logits / temperature)
        if not everything:
            if ids is None:
                weights, ids = _sorted_head(weights, top_p)
            weights = tf.where(tf.cumsum(weights, axis=-1, exclusive=True) < top_p, weights, 0.0)
        place = _draw(weights, tf.gather(uniform, index, axis=1))
        return place if ids is None else tf.gather(ids, place, batch_dims=1)

    step, state = _scored(step, state, batch_size, scorers, rules)
    state = _by_row(lambda leaf: tf.repeat(leaf, samples, axis=0), state)
    ids, log_probability = _write(drawn, step, state, batch_size * samples, rules)
    ids = tf.reshape(ids, [-1, samples, max_length])
    return _answers(ids, tf.reshape(log_probability, [-1, samples]), length_penalty)


def beam(
    step,
    state,
    batch_size,
    max_length,
    scorers=None,
    *,
    beam_width=BEAM_WIDTH,
    beam_limit=None,
    n_best=1,
    length_penalty=0.6,
    min_length=0,
    no_repeat_ngram=0,
    length_limit=None,
    start_id=1,
    end_id=2,
):
    """Follows the `beam_width` likeliest beginnings at every step and keeps the best that ended.

    At each step the `beam_width` likeliest continuations of an example are taken. Those with END
    are finished: they leave the beam for the set of the `n_best` finished answers, where only a
    better score displaces them. Without an END the beam is full again at the next step. A beginning
    that no continuation could bring into that set is dropped, and the search stops when no example
    has one left, which changes no result. `beam_width=1` is `greedy`.

    Args:
        step, state, batch_size, max_length, scorers: as in `greedy`.
        beam_width: int, beginnings followed per example.
        beam_limit: int or `(batch_size,)` tensor: an example may follow fewer than `beam_width`,
            and is answered as with so many.
        n_best: int, answers per example, at most `beam_width`. Where fewer answers exist the rest
            is empty and scores `-inf`.
        length_penalty, min_length, no_repeat_ngram, length_limit, start_id, end_id: as in `greedy`.

    Raises:
        ValueError: if an option is out of its range.

    Example:

    >>> table = tf.math.log([[0.1, 0.1, 0.01, 0.79]] * 3 + [[0.1, 0.1, 0.7, 0.1]])
    >>> step = lambda ids, state, index: (tf.gather(table, ids), state)
    >>> beam(step, (), batch_size=1, max_length=5, n_best=2)["ids"].numpy().tolist()
    [[[3, 0, 0, 0, 0], [3, 3, 0, 0, 0]]]
    """
    rules = _rules(max_length, min_length, no_repeat_ngram, start_id, end_id)
    _whole("beam_width", beam_width, 1)
    _whole("n_best", n_best, 1)
    if n_best > beam_width:
        raise ValueError(
            "`n_best` should be at most `beam_width`. "
            f"Received: n_best={n_best}, beam_width={beam_width}"
        )
    length_penalty = _column("length_penalty", length_penalty, least=0.0)
    penalties = _penalty(tf.range(1, max_length + 1), length_penalty)
    rules = _limited(rules, length_limit, beam_width)
    followed = None
    if beam_limit is not None:
        followed = tf.range(beam_width) < _limits("beam_limit", beam_limit)
    first_rows = tf.range(batch_size)[:, None] * beam_width
    step, state = _scored(step, state, batch_size, scorers, rules)
    most = sum(scorer.most for scorer in (scorers or {}).values())

    def body(index, last, scores, ids, done_scores, done_ids, state):
        logits, total, state = step(tf.reshape(last, [-1]), state, index)
        allowed = _allowed(logits, tf.reshape(ids, [-1, max_length]), index, rules)
        # No row gives the beam more than `beam_width` continuations.
        values, words = _top(allowed, min(beam_width, logits.shape[-1]))
        values += tf.reshape(scores, [-1, 1]) - total[:, None]
        each = values.shape[-1]
        scores, picked = tf.math.top_k(tf.reshape(values, [-1, beam_width * each]), beam_width)
        words = tf.gather(tf.reshape(words, [-1, beam_width * each]), picked, batch_dims=1)
        if followed is not None:
            scores = tf.where(followed, scores, IMPOSSIBLE)
        parent = picked // each
        ids = _put(tf.gather(ids, parent, batch_dims=1), index, words)

        ended = words == end_id
        final = tf.where(ended, scores / tf.gather(penalties, index, axis=1)[:, None], IMPOSSIBLE)
        done_scores, kept = tf.math.top_k(tf.concat([done_scores, final], axis=1), n_best)
        done_ids = tf.gather(tf.concat([done_ids, ids], axis=1), kept, batch_dims=1)

        # Log-probability only falls, scorers add so much at most, and the penalty divides by most
        # at the greatest length.
        hoped = scores
        if most:
            hoped += most * tf.cast(max_length - 1 - index, tf.float32)
        alive = ~ended & (hoped > done_scores[:, -1:] * penalties[:, -1:])
        scores = tf.where(alive, scores, IMPOSSIBLE)
        last = tf.where(alive, words, PAD_ID)
        rows = tf.reshape(first_rows + parent, [-1])
        state = _by_row(lambda leaf: tf.gather(leaf, rows), state)
        return index + 1, last, scores, ids, done_scores, done_ids, state

    one_beginning = np.full([1, beam_width], IMPOSSIBLE, "float32")
    one_beginning[0, 0] = 0.0
    variables = (
        tf.constant(0),
        tf.fill([batch_size, beam_width], start_id),
        tf.repeat(one_beginning, batch_size, axis=0),
        tf.zeros([batch_size, beam_width, max_length], tf.int32),
        tf.fill([batch_size, n_best], IMPOSSIBLE),
        tf.zeros([batch_size, n_best, max_length], tf.int32),
        _by_row(lambda leaf: tf.repeat(leaf, beam_width, axis=0), state),
    )
    *_, done_scores, done_ids, _ = _loop(
        lambda index, last, scores, *_: tf.reduce_any(scores > IMPOSSIBLE), body, variables
    )
    ids = _without(end_id, done_ids)
    return {"ids": ids, "scores": done_scores, "lengths": _lengths(ids)}


def search(step, state, batch_size, max_length, scorers=None, **options):
    """Searches by the method that the options name.

    `beam_width` or `n_best` mean `beam`; any of `temperature`, `top_k`, `top_p`, `seed` and
    `samples` mean `sample`; without these it is `greedy`. An option that is None is not given.

    Args:
        step, state, batch_size, max_length, scorers: as in `greedy`.
        **options: the keyword arguments of one of the three.

    Raises:
        ValueError: if an option is unknown, out of its range, or at odds with another.

    Example:

    >>> step = lambda ids, state, index: (tf.zeros([len(ids), 9]), state)
    >>> search(step, (), batch_size=2, max_length=5, beam_width=4)["scores"].shape
    TensorShape([2, 1])
    """
    options = {name: value for name, value in options.items() if value is not None}
    beams = [name for name in options if name in BEAM_OPTIONS]
    draws = [name for name in options if name in SAMPLE_OPTIONS]
    unknown = [name for name in options if name not in ALL_OPTIONS]
    if unknown:
        raise ValueError(
            f"`options` should be among {sorted(ALL_OPTIONS)}. Received: options={unknown}"
        )
    if beams and draws:
        raise ValueError(
            "`options` should be of beam search or of sampling, not of both. "
            f"Received: {beams} and {draws}"
        )
    method = beam if beams else sample if draws else greedy
    return method(step, state, batch_size, max_length, scorers, **options)


def count_followed(options):
    """How many hypotheses of an example `search` follows at once with these options."""
    if options.get("beam_width") or options.get("n_best"):
        return options.get("beam_width") or BEAM_WIDTH
    return options.get("samples") or 1


def write_cells(cells, place, new):
    """Cells `(batch, heads, count, depth)` with new ones, `(batch, heads, n, depth)`, from `place`.

    The buffer is written where it stands. Keras's `scatter_update` copies it, and its
    `slice_update` emits an operation of XLA that stock model servers refuse.
    """
    last = place + new.shape[2]
    return tf.raw_ops.TensorStridedSliceUpdate(
        input=cells,
        begin=tf.stack([0, 0, place]),
        end=tf.stack([0, 0, last]),
        strides=[1, 1, 1],
        value=new,
        begin_mask=0b011,
        end_mask=0b011,
    )


def _options(method):
    parameters = inspect.signature(method).parameters.values()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}


BEAM_OPTIONS = _options(beam) - _options(greedy)
SAMPLE_OPTIONS = _options(sample) - _options(greedy)
ALL_OPTIONS = _options(greedy) | BEAM_OPTIONS | SAMPLE_OPTIONS


def _scored(step, state, batch_size, scorers, rules):
    """A step that gives logits in float32, what a score lacks of each row of them, and a state.

    And the state that it begins with.
    """

    def bare(ids, state, index):
        logits, state = step(ids, state, index)
        logits = tf.cast(logits, tf.float32)
        return logits, _log_total(logits), state

    if not scorers:
        return bare, state

    def scored(ids, state, index):
        theirs = state["scorers"]
        logits, total, after = bare(ids, {k: v for k, v in state.items() if k != "scorers"}, index)
        values, after["scorers"] = _added(scorers, theirs, ids, logits.shape[-1], rules)
        values += logits - total[:, None]
        return tf.where(values < LEAST, IMPOSSIBLE, values), tf.zeros_like(total), after

    # Each hypothesis is an example of one beam to them.
    theirs = {name: scorer.initial_state(batch_size) for name, scorer in scorers.items()}
    return scored, {**state, "scorers": tf.nest.map_structure(lambda x: x[:, None], theirs)}


def _added(scorers, states, ids, size, rules):
    """What scorers add to each of `size` ids after those written last, and their new states."""
    written = tf.where(ids == rules.start_id, PAD_ID, ids)[:, None]
    candidates = tf.repeat(tf.range(size)[None], tf.shape(ids)[0], axis=0)
    added, after = 0.0, {}
    for name, scorer in scorers.items():
        after[name] = scorer.advance(states[name], written)
        more = scorer.score(after[name], candidates)[:, 0]
        added += tf.where(tf.range(size) == rules.end_id, scorer.end(after[name]), more)
    return added, after


def _write(choose, step, state, rows, rules):
    """One answer per row, each id chosen for itself: ids and their log-probability."""

    def body(index, last, alive, ids, score, state):
        logits, total, state = step(last, state, index)
        allowed = _allowed(logits, ids, index, rules)
        last = choose(allowed, index)
        value = tf.gather(allowed, last, batch_dims=1)
        score += tf.where(alive, value - total, 0.0)
        last = tf.where(alive & (value > IMPOSSIBLE), last, PAD_ID)
        alive = (last != PAD_ID) & (last != rules.end_id)
        return index + 1, last, alive, _put(ids, index, last), score, state

    variables = (
        tf.constant(0),
        tf.fill([rows], rules.start_id),
        tf.fill([rows], True),
        tf.zeros([rows, rules.max_length], tf.int32),
        tf.zeros([rows]),
        state,
    )
    _, _, _, ids, score, _ = _loop(
        lambda index, last, alive, *_: tf.reduce_any(alive), body, variables
    )
    return _without(rules.end_id, ids), score


def _loop(condition, body, variables):
    """`tf.while_loop` over variables that keep their static shapes."""

    def checked(*old):
        new = body(*old)
        tf.nest.map_structure(lambda after, before: after.set_shape(before.shape), new, old)
        return new

    variables = tf.nest.map_structure(tf.convert_to_tensor, variables)
    return tf.while_loop(condition, checked, variables)


def _by_row(function, state):
    """Maps the leaves of a state that have a row of their own per answer."""
    if not isinstance(state, dict):
        return tf.nest.map_structure(function, state)
    return {
        name: leaves if name in SPARED else tf.nest.map_structure(function, leaves)
        for name, leaves in state.items()
    }


def _allowed(logits, ids, index, rules):
    """The logits, with `-inf` where an id may not come after the `index` ids written."""
    now = np.ones([3, logits.shape[-1]], bool)
    now[:, [PAD_ID, rules.start_id]] = False
    now[:, rules.end_id] = [False, True, True]
    now[2, np.arange(logits.shape[-1]) != rules.end_id] = False
    kind = np.ones([rules.max_length], "int32")
    kind[: rules.min_length] = 0
    kind[-1] = 2
    now = tf.gather(now, tf.gather(kind, index))
    if rules.limit is not None:
        now &= (index < rules.limit - 1) | (tf.range(logits.shape[-1]) == rules.end_id)
    logits = tf.where(now, logits, IMPOSSIBLE)
    if rules.no_repeat_ngram:
        logits = _without_repeats(logits, ids, index, rules.no_repeat_ngram)
    return logits


def _without_repeats(logits, ids, index, n):
    """The logits, with `-inf` for each id that once followed the last `n - 1` ids of its row."""
    rows, length = tf.unstack(tf.shape(ids))
    # Zeros stand before the first id and after the last: what they match forbids only PAD.
    padded = tf.pad(ids, [[0, 0], [n - 1, 0]])
    again = tf.ones_like(ids, tf.bool)
    for offset in range(n - 1):
        tail = tf.gather(padded, index + offset, axis=1)[:, None]
        again &= padded[:, offset : offset + length] == tail
    row = tf.broadcast_to(tf.range(rows)[:, None], [rows, length])
    places = tf.stack([row, tf.where(again, ids, PAD_ID)], axis=-1)
    return tf.tensor_scatter_nd_update(logits, places, tf.fill([rows, length], IMPOSSIBLE))


def _log_total(logits):
    """`reduce_logsumexp` over the last axis: the fused softmax passes over memory less often."""
    likeliest = tf.reduce_max(tf.nn.softmax(logits), axis=-1)
    return tf.reduce_max(logits, axis=-1) - tf.math.log(likeliest)


def _top(logits, count, group=64):
    """`tf.math.top_k`, by way of the groups with the greatest maxima where that is cheaper.

    `top_k` looks at every value; a maximum per group costs a quarter of that, and the `count`
    greatest values are in the `count` groups with the greatest maxima.
    """
    size = logits.shape[-1]
    if size < 4 * count * group:
        return tf.math.top_k(logits, count)
    grouped = _whole_groups(logits, group, IMPOSSIBLE)
    grouped = tf.reshape(grouped, [-1, -(-size // group), group])
    _, groups = tf.math.top_k(tf.reduce_max(grouped, axis=-1), count)
    best = tf.reshape(tf.gather(grouped, groups, batch_dims=1), [-1, count * group])
    values, places = tf.math.top_k(best, count)
    ids = tf.gather(groups, places // group, batch_dims=1) * group + places % group
    return values, ids


def _sorted_head(weights, top_p):
    """The likeliest ids, sorted: so many that in every row they reach `top_p`."""
    size = weights.shape[-1]
    # Ids with less than an equal share of the rest cannot be needed: together they have less.
    needed = tf.reduce_sum(tf.cast(weights >= (1.0 - top_p) / size, tf.int32), axis=-1)
    return tf.math.top_k(weights, tf.maximum(tf.reduce_max(needed), 1))


def _draw(weights, uniform, group=64):
    """A place in each row by its weight, from two draws: first of its group, then within it."""
    size = weights.shape[-1]
    if size is None or size < 16 * group:
        return _place(weights, uniform[:, :1])
    weights = tf.reshape(_whole_groups(weights, group, 0.0), [-1, -(-size // group), group])
    picked = _place(tf.reduce_sum(weights, axis=-1), uniform[:, :1])
    within = tf.gather(weights, picked, batch_dims=1)
    return picked * group + _place(within, uniform[:, 1:])


def _place(weights, uniform):
    reached = tf.cumsum(weights, axis=-1)
    point = uniform * reached[:, -1:]
    place = tf.raw_ops.UpperBound(sorted_inputs=reached, values=point)[:, 0]
    # Where no id is possible the weights are NaN, and the place may be past the end.
    return tf.minimum(place, tf.shape(weights)[-1] - 1)


def _whole_groups(values, group, filling):
    missing = -values.shape[-1] % group
    if not missing:
        return values
    return tf.pad(values, [[0, 0], [0, missing]], constant_values=filling)


def _put(ids, index, word):
    """The ids with one more word, at `index` of the last axis."""
    return tf.where(tf.range(ids.shape[-1]) == index, word[..., None], ids)


def _without(end_id, ids):
    return tf.where(ids == end_id, PAD_ID, ids)


def _uniform(seed, batch_size, samples, max_length):
    """`(batch_size * samples, max_length, 2)` draws from [0, 1), made at once for all steps."""
    shape = [samples, max_length, 2]
    if seed is None:
        uniform = tf.random.uniform([batch_size, *shape])
    else:
        seed = tf.convert_to_tensor(seed)
        if seed.shape.rank == 0:
            uniform = tf.random.stateless_uniform([batch_size, *shape], tf.stack([seed, 0]))
        else:
            uniform = tf.map_fn(
                lambda one: tf.random.stateless_uniform(shape, tf.stack([one, 0])),
                seed,
                fn_output_signature=tf.float32,
            )
    return tf.reshape(uniform, [-1, max_length, 2])


def _penalty(length, length_penalty):
    return ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** length_penalty


def _answers(ids, log_probability, length_penalty):
    scores = log_probability / _penalty(_lengths(ids) + 1, length_penalty)
    return {"ids": ids, "scores": scores, "lengths": _lengths(ids)}


def _lengths(ids):
    return tf.math.count_nonzero(ids, axis=-1, dtype=tf.int32)


def _rules(max_length, min_length, no_repeat_ngram, start_id, end_id):
    _whole("max_length", max_length, 1)
    _whole("min_length", min_length, 0)
    _whole("no_repeat_ngram", no_repeat_ngram, 0)
    if min_length >= max_length:
        raise ValueError(
            "`min_length` should be below `max_length`, which counts END. "
            f"Received: min_length={min_length}, max_length={max_length}"
        )
    return _Rules(max_length, min_length, no_repeat_ngram, start_id, end_id)


def _limited(rules, length_limit, repeats):
    """The rules with a limit of its own for each row, of which an example has so many."""
    if length_limit is None:
        return rules
    limit = _limits("length_limit", length_limit, rules.min_length + 1)
    return rules._replace(limit=_per_sample(limit, repeats))


def _limits(name, value, least=1):
    """A whole number or one per example as a column of int32; a tensor's values are not checked."""
    if isinstance(value, numbers.Real):
        _whole(name, value, least)
    return tf.reshape(tf.cast(value, tf.int32), [-1, 1])


def _whole(name, value, least):
    if not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(
            f"`{name}` should be a whole number from {least}. Received: {name}={value!r}"
        )


def _column(name, value, least=-np.inf, above=-np.inf, most=np.inf):
    """A number or one number per example as a column; a tensor's values are not checked."""
    if isinstance(value, numbers.Real) and not (least <= value <= most and value > above):
        allowed = f"from {least}" if above == -np.inf else f"above {above}"
        most = "" if most == np.inf else f" and at most {most}"
        raise ValueError(f"`{name}` should be {allowed}{most}. Received: {name}={value!r}")
    return tf.reshape(tf.cast(value, tf.float32), [-1, 1])


def _per_sample(column, samples):
    """One row per sample; a single row, which broadcasts, stays."""
    return column if column.shape[0] == 1 else tf.repeat(column, samples, axis=0)
