"""Listening to streams: recordings in pieces of any size, with the text so far after each."""

import keras
import tensorflow as tf
from keras import tree


class Stream:
    """A Task that listens while it is spoken to, as functions over explicit state.

    However a recording is cut into pieces, its answer is the one that the Task gives to the whole.
    Every piece goes through the layers once; what later pieces need of it is kept in the state, a
    dict of tensors, so that any number of streams can be served by functions that keep nothing.

    Of a joint head only CTC listens, so that its answer is that of `method="ctc"`. A stream of less
    than 10 ms makes no frame, and says nothing.

    Args:
        task: A Task of one recording and one CTC target, whose encoder takes chunks (such as
            `mm.conformer("small", chunk=8)`) and whose `Audio` field needs no whole recording.
        **options: Of the search, as in `Task.infer`.

    Raises:
        ValueError: if the task cannot listen to streams, saying what hinders it.

    Example:

    ```python
    import mmkeras as mm

    stream = mm.Stream(model, beam_width=8)
    state = stream.initial_state()
    for samples in pieces:                       # float32 (1, any), at the field's rate
        heard, state = stream.step(samples, state)
        print(heard["transcript"], heard["transcript_stable"])
    print(stream.end(state)["transcript"])
    ```
    """

    def __init__(self, task, **options):
        hindrance = what_hinders(task)
        if hindrance:
            raise ValueError(f"`task` should be able to listen to streams: {hindrance}")
        ((self.target, self.text),) = task.preprocessor.targets.items()
        (self.field,) = task.preprocessor.inputs.values()
        (self.encoder,) = _encoders(task)
        head = task.get_layer(self.target)
        self.head = getattr(head, "ctc", head)
        self.search = head.search(**options)
        # What stands between encoder and head looks at each frame by itself.
        self.between = keras.Function(self.encoder.output, task.head_arguments(self.target))
        first = self._first(1)
        self.names = _paths(first)
        specs = self._flat({key: _specs(key, value) for key, value in first.items()})
        self.signature = {
            name: tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in specs.items()
        }
        samples = tf.TensorSpec([None, None], tf.float32, name="samples")
        self._step = tf.function(
            self.step_graph, input_signature=[samples, self.signature], autograph=False
        )
        self._end = tf.function(self.end_graph, input_signature=[self.signature], autograph=False)

    def initial_state(self, batch=1):
        """What stands before the first sample, for `batch` streams."""
        return self._flat(self._first(batch))

    def _first(self, batch):
        return {
            "tail": self.field.first_tail(batch),
            "frames": tf.zeros([batch, 0, self.field.width]),
            "encoder": self.encoder.initial_state(batch),
            "search": self.search.initial_state(batch),
        }

    def step(self, samples, state):
        """Samples that come next, `(batch, any)` at the field's rate -> what is heard, new state.

        Returns:
            A dict: the target's name -> the texts so far, `NAME_stable` -> their beginnings, that
            nothing to come can change; lists. And the state.
        """
        heard, state = self._step(tf.convert_to_tensor(samples, tf.float32), state)
        return {name: _texts(x) for name, x in heard.items()}, state

    def end(self, state):
        """The answers to streams that have ended, as `Task.infer` gives them."""
        answer = self._end(state)
        return {
            self.target: _texts(answer[self.target]),
            "score": answer["score"].numpy().tolist(),
        }

    def step_graph(self, samples, state):
        """`step` in tensors."""
        state = self._nested(state)
        frames, state["tail"] = self.field.stream(samples, state["tail"])
        frames = tf.concat([state["frames"], frames], axis=1)
        count = tf.shape(frames)[1] // self.encoder.chunk_frames * self.encoder.chunk_frames
        state["frames"] = frames[:, count:]
        state = self._advanced(frames[:, :count], state)
        ids = state["search"]["ids"][:, 0]
        stable = tf.range(tf.shape(ids)[1]) < self.search.stable(state["search"])[:, None]
        heard = {
            self.target: self.text.decode(ids),
            f"{self.target}_stable": _whole(self.text.decode(tf.where(stable, ids, 0))),
        }
        return heard, self._flat(state)

    def end_graph(self, state):
        """`end` in tensors."""
        state = self._nested(state)
        state = self._advanced(state["frames"], state)
        found = self.search.finish(state["search"])
        return {
            self.target: self.text.decode(found["ids"][:, 0]),
            "score": found["scores"][:, 0],
        }

    def signatures(self):
        """What an export serves: `{name: (function of a dict of tensors, its specs)}`.

        - `stream_init`: `sample_rate` `(batch,)`, that of the samples to come as a check, or 0 ->
          the state, of which `sample_rate` says how they have to come
        - `stream_step`: `samples` `(batch, any)` and the state -> what `step` gives and the state
        - `stream_end`: the state -> what `end` gives
        """
        rate = {"sample_rate": tf.TensorSpec([None], tf.int32, name="sample_rate")}
        samples = {"samples": tf.TensorSpec([None, None], tf.float32, name="samples")}
        return {
            "stream_init": (self._served_init, rate),
            "stream_step": (self._served_step, samples | rate | self.signature),
            "stream_end": (self.end_graph, rate | self.signature),
        }

    def _served_init(self, raw):
        rate, right = raw["sample_rate"], self.field.sample_rate
        message = f"`sample_rate` should be {right}, or 0 to ask: a server resamples no stream"
        good = tf.reduce_all((rate == right) | (rate == 0))
        with tf.control_dependencies([tf.debugging.Assert(good, [message])]):
            state = self._flat(self._first(tf.size(rate)))
        return state | {"sample_rate": tf.fill([tf.size(rate)], right)}

    def _served_step(self, raw):
        heard, state = self.step_graph(raw["samples"], raw)
        return heard | state | {"sample_rate": tf.identity(raw["sample_rate"])}

    def _advanced(self, frames, state):
        def listen():
            sequence, mask, encoder = self.encoder.step(frames, state["encoder"])
            log_probs = self.head(**self.between([sequence, mask]))
            return encoder, self.search.advance(log_probs, state["search"])

        encoder, search = tf.cond(
            tf.shape(frames)[1] > 0, listen, lambda: (state["encoder"], state["search"])
        )
        return {**state, "encoder": encoder, "search": search}

    def _nested(self, state):
        return tree.map_structure(lambda name: state[name], self.names)

    def _flat(self, state):
        named = zip(tree.flatten(self.names), tree.flatten(state), strict=True)
        return dict(named)


def _texts(tensor):
    return [text.decode("utf-8", "replace") for text in tensor.numpy()]


def _whole(texts):
    """Texts without a character at their end of which bytes may still come."""
    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
    return tf.strings.regex_replace(texts, "\ufffd+$", "")


def what_hinders(task):
    """Why a Task cannot listen to streams, as text; None if it can."""
    fields, targets = task.preprocessor.inputs, task.preprocessor.targets
    if len(fields) != 1 or len(targets) != 1:
        return f"it has inputs {sorted(fields)} and targets {sorted(targets)}, not one of each"
    if not getattr(*fields.values(), "streams", False):
        return f"its input {next(iter(fields))!r} needs the whole recording"
    if len(_encoders(task)) != 1:
        return "it has no encoder made with `chunk`"
    if not hasattr(task.get_layer(*targets), "search"):
        return f"its head {next(iter(targets))!r} is no CTC"
    return None


def _encoders(task):
    return [layer for layer in task.layers if getattr(layer, "chunk_frames", None)]


def _paths(state):
    """A nest with the path of each leaf in its place, such as `encoder_blocks_0`."""
    paths = ["_".join(map(str, path)) for path, _ in tree.flatten_with_path(state)]
    return tree.pack_sequence_as(state, paths)


def _specs(key, state):
    """What a part of the state may be: of any batch, and of any length where it begins empty."""
    return tree.map_structure(
        lambda x: tf.TensorSpec(
            [
                size if axis and size and key != "tail" else None
                for axis, size in enumerate(x.shape)
            ],
            x.dtype,
        ),
        state,
    )
