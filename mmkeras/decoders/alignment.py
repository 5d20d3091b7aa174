"""Forced alignment: when each id of a text was said, by the log-probabilities of CTC."""

import tensorflow as tf

from mmkeras.decoders.prefix_search import BLANK_ID, IMPOSSIBLE, per_frame


def align(log_probs, ids):
    """The likeliest alignment of each text to its frames (Viterbi), in TensorFlow ops.

    Args:
        log_probs: `(batch, frames, vocabulary)`, as `CTC` gives them.
        ids: `(batch, length)`, padded with 0.

    Returns:
        A dict of `frames` `(batch, length, 2)` int32, the first frame of each id and the one after
        its last, and `confidence` `(batch, length)`, the mean probability of the id over these
        frames. Padding has zeros, and so has a text that needs more frames than there are.

    Example:

    >>> frames = tf.math.log([[[0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.9, 0.1]]])
    >>> align(frames, tf.constant([[1]]))["frames"].numpy().tolist()
    [[[1, 3]]]
    """
    ids = tf.cast(ids, tf.int32)
    batch, length = tf.unstack(tf.shape(ids))
    # Blank, id, blank, id, ..., blank: what a text is before frames repeat any of it.
    states = tf.reshape(tf.stack([tf.zeros_like(ids), ids], axis=-1), [batch, 2 * length])
    states = tf.pad(states, [[0, 0], [0, 1]])
    values = tf.gather(log_probs, states, axis=2, batch_dims=1)
    score, choices = _forward(tf.transpose(values, [1, 0, 2]), states)
    last = 2 * tf.math.count_nonzero(ids, axis=-1, dtype=tf.int32)
    ends = tf.gather(score, tf.stack([last, tf.maximum(last - 1, 0)], axis=1), batch_dims=1)
    path = _backward(choices, last - tf.argmax(ends, axis=1, output_type=tf.int32))
    possible = tf.reduce_max(ends, axis=1) > IMPOSSIBLE / 2

    value = tf.exp(tf.gather(values, path, axis=2, batch_dims=2))
    frame = tf.broadcast_to(tf.range(tf.shape(path)[1])[None], tf.shape(path))
    # Frames of an id gather in its place, those of blanks in one place more.
    place = tf.where(path % 2 == 1, path // 2, length)
    place += tf.range(batch)[:, None] * (length + 1)

    def gathered(reduce, x):
        return tf.reshape(reduce(x, place, batch * (length + 1)), [batch, length + 1])[:, :-1]

    said = (ids != BLANK_ID) & possible[:, None]
    start = tf.where(said, gathered(tf.math.unsorted_segment_min, frame), 0)
    end = tf.where(said, gathered(tf.math.unsorted_segment_max, frame) + 1, 0)
    confidence = tf.where(said, gathered(tf.math.unsorted_segment_mean, value), 0.0)
    return {"frames": tf.stack([start, end], axis=-1), "confidence": confidence}


def _forward(values, states):
    """The best score of every state at the end, and how far back each came from at each frame."""
    before = tf.pad(states, [[0, 0], [2, 0]])[:, :-2]
    skips = tf.where((states != BLANK_ID) & (states != before), 0.0, IMPOSSIBLE)
    frames = tf.shape(values)[0]

    def body(frame, score, choices):
        ways = tf.stack(
            [
                score,
                tf.pad(score, [[0, 0], [1, 0]], constant_values=IMPOSSIBLE)[:, :-1],
                tf.pad(score, [[0, 0], [2, 0]], constant_values=IMPOSSIBLE)[:, :-2] + skips,
            ]
        )
        choice = tf.argmax(ways, axis=0, output_type=tf.int32)
        score = tf.reduce_max(ways, axis=0) + values[frame]
        return frame + 1, score, choices.write(frame, tf.cast(choice, tf.uint8))

    first = tf.where(tf.range(tf.shape(states)[1]) == 0, 0.0, IMPOSSIBLE)
    first = tf.broadcast_to(first[None], tf.shape(states))
    choices = per_frame(frames, tf.zeros_like(states, tf.uint8))
    _, score, choices = tf.while_loop(
        lambda frame, *_: frame < frames, body, (tf.constant(0), first, choices)
    )
    return score, choices.stack()


def _backward(choices, state):
    """The state of every frame, `(batch, frames)`, from that of the last one."""
    frames = tf.shape(choices)[0] - 1

    def body(frame, state, path):
        back = tf.gather(choices[frame], state, batch_dims=1)
        return frame - 1, state - tf.cast(back, tf.int32), path.write(frame, state)

    path = per_frame(frames, state)
    *_, path = tf.while_loop(lambda frame, *_: frame >= 0, body, (frames - 1, state, path))
    return tf.transpose(path.stack()[:frames])
