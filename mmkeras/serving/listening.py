"""Listening to streams by an export, without the Task that wrote it."""

import tensorflow as tf


class ExportStream:
    """The streams of an export, as `mmkeras.Stream` has those of a Task; see there.

    Args:
        exported: An `Export` of a task that can listen to streams.

    Attributes:
        target: The name of what is written down.
        sample_rate: Samples a second, as they have to come.

    Raises:
        ValueError: if the export has no streams.

    Example:

    ```python
    import mmkeras as mm

    stream = mm.Export("saved_models/speech").stream()
    state = stream.initial_state()
    for samples in pieces:                       # float32 (1, any), at `stream.sample_rate`
        heard, state = stream.step(samples, state)
    print(stream.end(state)["transcript"])
    ```
    """

    def __init__(self, exported):
        if "stream_init" not in exported.signatures:
            raise ValueError(
                "An export should be of a task that can listen to streams. "
                f"Received: an export with the signatures {exported.signatures}"
            )
        self.exported = exported
        state = self.initial_state()
        self.sample_rate = int(state["sample_rate"][0])
        (self.target,) = set(self.end(state)) - {"score"}

    def initial_state(self, batch=1):
        """What stands before the first sample, for `batch` streams."""
        return self.exported.run({"sample_rate": tf.zeros([batch], tf.int32)}, "stream_init")

    def step(self, samples, state):
        """Samples that come next, `(batch, any)` -> what is heard, as lists, and the state."""
        samples = tf.convert_to_tensor(samples, tf.float32)
        found = self.exported.run({"samples": samples, **_tensors(state)}, "stream_step")
        heard = {name: found.pop(name) for name in {*found} - {*state}}
        return {name: _texts(values) for name, values in heard.items()}, found

    def end(self, state):
        """The answers to streams that have ended, as lists."""
        answer = self.exported.run(_tensors(state), "stream_end")
        return {
            name: values.tolist() if name == "score" else _texts(values)
            for name, values in answer.items()
        }


def _tensors(state):
    return {name: tf.constant(values) for name, values in state.items()}


def _texts(values):
    return [text.decode("utf-8", "replace") for text in values]
