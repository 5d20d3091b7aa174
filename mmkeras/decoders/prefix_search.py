"""CTC search: from log-probabilities per frame to ids, in TensorFlow ops, whole or in chunks.

A search has three functions, and the whole of an utterance is one `advance`:

- `initial_state(batch_size)`: a dict of tensors, `batch_size` rows each.
- `advance(log_probs, state)`: log-probabilities `(batch, frames, vocabulary)` of the frames that
  come next -> the new state. `state["ids"]` `(batch, beams, length)` is the text so far.
- `finish(state)`: the answer, a dict of `ids` `(batch, n_best, length)` int32 padded with 0,
  `scores` and `lengths` `(batch, n_best)`, best first; of prefixes also `added`, what of the scores
  is the scorers'.

Id 0 is the blank. Frames in which it is certain, as in padding, change nothing.
"""

import numbers

import numpy as np
import tensorflow as tf

BLANK_ID = 0
# Finite, because sums and differences of infinities are no numbers.
IMPOSSIBLE = -1e30
CANDIDATES = 40


class GreedySearch:
    """The likeliest id of every frame, repeats joined and blanks left out.

    The score is the log-probability of that one alignment (Graves et al. 2006, best path).

    Example:

    >>> search = GreedySearch()
    >>> frames = tf.math.log([[[0.1, 0.9], [0.2, 0.8], [0.9, 0.1], [0.3, 0.7]]])
    >>> search.finish(search.advance(frames, search.initial_state(1)))["ids"].numpy().tolist()
    [[[1, 1]]]
    """

    def initial_state(self, batch_size):
        return {
            "last": tf.fill([batch_size], BLANK_ID),
            "score": tf.zeros([batch_size]),
            "ids": tf.zeros([batch_size, 1, 0], tf.int32),
        }

    def advance(self, log_probs, state):
        best = tf.argmax(log_probs, axis=-1, output_type=tf.int32)
        path = tf.concat([state["last"][:, None], best], axis=1)
        new = tf.where(path[:, 1:] != path[:, :-1], path[:, 1:], BLANK_ID)
        return {
            "last": path[:, -1],
            "score": state["score"] + tf.reduce_sum(tf.reduce_max(log_probs, axis=-1), axis=-1),
            "ids": to_left(tf.concat([state["ids"], new[:, None]], axis=-1)),
        }

    def finish(self, state):
        return _answer(state["ids"], state["score"][:, None])

    def stable(self, state):
        """How many of the ids no frame to come can change, `(batch,)`."""
        return tf.math.count_nonzero(state["ids"][:, 0], axis=-1, dtype=tf.int32)


class PrefixSearch:
    """Beam search over texts, each with the probability of all its alignments.

    Hannun et al. 2014, "First-Pass Large Vocabulary Continuous Speech Recognition using
    Bi-Directional Recurrent DNNs", after Graves 2012. Equal texts are merged wherever they come
    from. A text scores its log-probability plus what the scorers add.

    Scorers add to the score of a text as its ids come, see `mmkeras.decoders.scoring`.

    Args:
        beam_width: Texts followed per example.
        n_best: Texts in the answer, at most `beam_width`. Where fewer exist the rest is empty and
            scores `-inf`.
        scorers: A dict of scorers by name, or None.

    Without scorers only the `beam_width + 1` likeliest ids of a frame can change the answer, and
    only they are tried; with scorers the 40 likeliest, or more for a wider beam.

    Example:

    >>> search = PrefixSearch(beam_width=2, n_best=2)
    >>> frames = tf.math.log([[[0.6, 0.4], [0.6, 0.4]]])
    >>> search.finish(search.advance(frames, search.initial_state(1)))["ids"].numpy().tolist()
    [[[1], [0]]]
    """

    def __init__(self, beam_width, n_best=1, scorers=None):
        for name, value in (("beam_width", beam_width), ("n_best", n_best)):
            if not isinstance(value, numbers.Integral) or value < 1:
                raise ValueError(
                    f"`{name}` should be a whole number from 1. Received: {name}={value!r}"
                )
        if n_best > beam_width:
            raise ValueError(
                "`n_best` should be at most `beam_width`. "
                f"Received: n_best={n_best}, beam_width={beam_width}"
            )
        self.beam_width = beam_width
        self.n_best = n_best
        self.scorers = scorers or {}

    def initial_state(self, batch_size):
        shape = [batch_size, self.beam_width]
        first = np.full([1, self.beam_width], IMPOSSIBLE, "float32")
        first[0, 0] = 0.0
        # The places that are still empty are told apart, so that nothing merges with them.
        codes = tf.range(1, self.beam_width + 1, dtype=tf.int64)[None]
        return {
            "blank": tf.repeat(first, batch_size, axis=0),
            "token": tf.fill(shape, IMPOSSIBLE),
            "added": tf.zeros(shape),
            "last": tf.zeros(shape, tf.int32),
            "code": tf.repeat(codes, batch_size, axis=0),
            "parent": tf.repeat(-codes, batch_size, axis=0),
            "ids": tf.zeros([*shape, 0], tf.int32),
            **{
                f"{name}_{key}": tf.repeat(value[:, None], self.beam_width, axis=1)
                for name, scorer in self.scorers.items()
                for key, value in scorer.initial_state(batch_size).items()
            },
        }

    def advance(self, log_probs, state):
        vocabulary = log_probs.shape[-1]
        log_probs = tf.transpose(log_probs, [1, 0, 2])
        values, tokens = self._candidates(log_probs)
        frames = tf.shape(log_probs)[0]
        beams = {key: value for key, value in state.items() if key != "ids"}
        history = per_frame(frames, tf.zeros_like(state["last"]))

        def body(frame, history, beams):
            chosen = tokens[frame] if tokens.shape[0] != 1 else tokens[0]
            beams, came_from, new = self._step(beams, log_probs[frame], values[frame], chosen)
            history = history.write(frame, came_from * vocabulary + new)
            return frame + 1, history, beams

        _, history, beams = tf.while_loop(
            lambda frame, *_: frame < frames, body, (tf.constant(0), history, beams)
        )
        ids = self._trace(history, frames, state["ids"], vocabulary)
        return {**beams, "ids": ids}

    def finish(self, state):
        added = state["added"]
        for name, scorer in self.scorers.items():
            added += scorer.end(_under(state, name))
        scores = _log_sum(state["blank"], state["token"]) + added
        scores, order = tf.math.top_k(scores, self.n_best)
        found = scores > IMPOSSIBLE / 2
        ids = tf.gather(state["ids"], order, batch_dims=1)
        ids = tf.where(found[..., None], ids, BLANK_ID)
        answer = _answer(ids, tf.where(found, scores, -np.inf))
        return {**answer, "added": tf.gather(added, order, batch_dims=1)}

    def stable(self, state):
        """How many ids at the beginning all texts in the beam share, `(batch,)`."""
        ids = state["ids"]
        live = _log_sum(state["blank"], state["token"]) > IMPOSSIBLE / 2
        same = (ids == ids[:, :1]) | ~live[..., None]
        shared = tf.reduce_all(same, axis=1) & (ids[:, 0] != BLANK_ID)
        return tf.reduce_sum(tf.math.cumprod(tf.cast(shared, tf.int32), axis=1), axis=1)

    def _candidates(self, log_probs):
        """The likeliest ids of all frames and their values, `(frames or 1, batch, candidates)`."""
        size = log_probs.shape[-1] - 1
        most = max(self.beam_width + 1, CANDIDATES if self.scorers else 0)
        if most < size:
            values, tokens = tf.math.top_k(log_probs[..., 1:], most)
            return values, tokens + 1
        tokens = tf.repeat(tf.range(1, size + 1)[None, None], tf.shape(log_probs)[1], axis=1)
        return log_probs[..., 1:], tokens

    def _step(self, beams, frame, values, tokens):
        """One frame: the beams after it, the place each came from, and its new id or 0."""
        blank, token, last = beams["blank"], beams["token"], beams["last"]
        each = tokens.shape[-1]
        total = _log_sum(blank, token)
        # A text that stays: by a blank, by its last id once more, or written anew by its parent.
        stay_blank = total + frame[:, :1]
        stay_token = token + tf.gather(frame, last, batch_dims=1)
        again = last[..., None] == tokens[:, None]
        longer = tf.where(again, blank[..., None], total[..., None]) + values[:, None]
        children = beams["code"][:, :, None] == beams["parent"][:, None]
        written = tf.matmul(tf.cast(children, tf.float32), tf.cast(again, tf.float32)) > 0.0
        parent = tf.argmax(children, axis=1, output_type=tf.int32)
        anew = tf.where(again, tf.gather(longer, parent, batch_dims=1), IMPOSSIBLE)
        anew = tf.reduce_max(anew, axis=-1)
        anew = tf.where(tf.reduce_any(children, axis=1), anew, IMPOSSIBLE)
        stay_token = _log_sum(stay_token, anew)
        longer = tf.where(written, IMPOSSIBLE, longer)

        added = beams["added"][..., None]
        for name, scorer in self.scorers.items():
            added += scorer.score(_under(beams, name), tokens)
        stay_score = _log_sum(stay_blank, stay_token) + beams["added"]
        scores = tf.concat([stay_score, _flat(longer + added)], axis=1)
        _, picked = tf.math.top_k(scores, self.beam_width)
        grown = picked >= self.beam_width
        place = tf.maximum(picked - self.beam_width, 0)
        came_from = tf.where(grown, place // each, picked)
        new = tf.where(grown, tf.gather(tokens, place % each, batch_dims=1), BLANK_ID)

        def kept(x):
            return tf.gather(x, came_from, batch_dims=1)

        def either(old, extended):
            return tf.gather(tf.concat([old, _flat(extended)], axis=1), picked, batch_dims=1)

        code = kept(beams["code"])
        after = {
            f"{name}_{key}": value
            for name, scorer in self.scorers.items()
            for key, value in scorer.advance(
                {key: kept(value) for key, value in _under(beams, name).items()}, new
            ).items()
        }
        beams = {
            "blank": tf.where(grown, IMPOSSIBLE, kept(stay_blank)),
            "token": either(stay_token, longer),
            "added": either(beams["added"], added) if self.scorers else beams["added"],
            "last": tf.where(grown, new, kept(last)),
            "code": tf.where(grown, _mixed(code, new), code),
            "parent": tf.where(grown, code, kept(beams["parent"])),
            **after,
        }
        return beams, came_from, new

    def _trace(self, history, frames, ids, vocabulary):
        """The texts of the beam: those before these frames, and what these frames wrote."""
        history = history.stack()
        written = per_frame(frames, history[0])

        def body(frame, place, written):
            step = tf.gather(history[frame], place, batch_dims=1)
            return frame - 1, step // vocabulary, written.write(frame, step % vocabulary)

        place = tf.repeat(tf.range(self.beam_width)[None], tf.shape(ids)[0], axis=0)
        _, place, written = tf.while_loop(
            lambda frame, *_: frame >= 0, body, (frames - 1, place, written)
        )
        before = tf.gather(ids, place, batch_dims=1)
        written = tf.transpose(written.stack()[:frames], [1, 2, 0])
        return to_left(tf.concat([before, written], axis=-1))


def per_frame(frames, like):
    """An array to be written frame by frame, and one element more: of none no shape is known."""
    return tf.TensorArray(like.dtype, frames + 1, element_shape=like.shape).write(frames, like)


def to_left(ids):
    """Ids `(batch, beams, length)` without the zeros between them, cut to the longest."""
    shape = tf.shape(ids)
    flat = tf.reshape(ids, [shape[0] * shape[1], shape[2]])
    left = tf.ragged.boolean_mask(flat, flat != BLANK_ID).to_tensor(BLANK_ID)
    # Without rows there is nothing to infer a size from.
    return tf.reshape(left, [shape[0], ids.shape[1], tf.shape(left)[1]])


def _answer(ids, scores):
    # A text without ids still has one place, so that nothing downstream sees an empty axis.
    missing = tf.cast(tf.shape(ids)[-1] == 0, tf.int32)
    ids = tf.pad(ids, [[0, 0], [0, 0], [0, missing]])
    lengths = tf.math.count_nonzero(ids, axis=-1, dtype=tf.int32)
    return {"ids": ids, "scores": scores, "lengths": lengths}


def _mixed(code, ids):
    """A number for the text `code` with one more id; of 64 bits, so that no two are alike."""
    code = tf.bitwise.bitwise_xor(code, tf.cast(ids, tf.int64) * 0x1E3779B97F4A7C15)
    code *= 0x3F58476D1CE4E5B9
    high = tf.bitwise.right_shift(code, tf.constant(29, tf.int64))
    return tf.bitwise.bitwise_xor(code, tf.bitwise.bitwise_and(high, (1 << 35) - 1))


def _log_sum(a, b):
    return tf.maximum(a, b) + tf.math.log1p(tf.exp(-tf.abs(a - b)))


def _flat(x):
    return tf.reshape(x, [-1, x.shape[1] * x.shape[2]])


def _under(state, name):
    """What belongs to one scorer."""
    prefix = f"{name}_"
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
