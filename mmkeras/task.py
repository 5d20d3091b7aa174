"""Task: a Functional Keras model that carries its preprocessor, so that it takes raw values."""

import contextlib
import functools
import hashlib
import inspect
import os
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from mmkeras.steps import Steps

# Other backends have steps of another form.
_BASES = (Steps, keras.Model) if keras.backend.backend() == "tensorflow" else (keras.Model,)


@keras.saving.register_keras_serializable("mmkeras")
class Task(*_BASES):
    """A Functional `keras.Model` with fields: it fits like any, and answers from raw values.

    Made by `mmkeras.assemble` and the builders. Its inputs and outputs are dicts by name; each
    output comes from a head or decoder layer of that name, whose `answer` method it asks.

    Args:
        inputs, outputs, name: As in a Functional `keras.Model`.
        preprocessor: The fields, a `Preprocessor`.

    Example:

    ```python
    import mmkeras as mm

    words = mm.train_tokenizer(["a dog runs"], kind="word")
    model = mm.image_captioning(words, image_size=64, size="tiny")
    model.infer({"image": ["photo.jpg"]}, beam_width=4)   # {"caption": ["..."], "score": [...]}
    ```
    """

    def __init__(self, *args, preprocessor=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.preprocessor = preprocessor

    def infer(self, records, batch_size=32, **options):
        """Raw values -> answers, as Python values.

        Args:
            records: A dict of lists by input name: paths, bytes, strings, arrays.
            batch_size: How many examples go through the graph at once.
            **options: Of the target, such as `beam_width=4` for text, see
                `mmkeras.decoders.search.search`.

        Returns:
            A dict of lists: the target's name -> its answers, `"score"` -> their scores. With
            several answers per example (`n_best`, `samples`) each is a list of its own.

        Raises:
            ValueError: naming the input and row that is missing or cannot be read.
        """
        columns = self.preprocessor.load(records)
        rows = len(next(iter(columns.values())))
        function = self.serve_function(**options)
        # Like this an empty list gives empty answers and not an error.
        starts = range(0, max(rows, 1), batch_size)
        parts = [
            function(self.raw_tensors({name: c[i : i + batch_size] for name, c in columns.items()}))
            for i in starts
        ]
        joined = tree.map_structure(lambda *x: np.concatenate(x), *parts)
        return {name: _python(values) for name, values in joined.items()}

    @property
    def embeds(self):
        """Names of the inputs that have an embedding: what the layer `NAME_embedding` gives."""
        layers = {layer.name for layer in self.layers}
        return [name for name in self.preprocessor.inputs if f"{name}_embedding" in layers]

    def embed(self, name, values, batch_size=32):
        """Raw values of one input -> their embeddings, in the space that all inputs share.

        Args:
            name: Of the input.
            values: A list: paths, bytes, strings, arrays; some are read at a time.
            batch_size: How many go through the graph at once.

        Returns:
            A float32 array `(values, width)`; vectors of length 1.

        Raises:
            ValueError: if the input has no embedding, or naming the row that cannot be read.

        Example:

        ```python
        model = mm.image_text_retrieval(words)
        photos = model.embed("image", ["a.jpg", "b.jpg"])
        cosines = photos @ model.embed("caption", ["a dog runs"]).T  # (2, 1)
        ```
        """
        if name not in self.embeds:
            raise ValueError(f"`name` should be one of {self.embeds}. Received: name={name!r}")
        only = self.preprocessor.only(name)
        function = self.serve_function("embedding", name=name)
        parts = []
        for start in range(0, max(len(values), 1), batch_size):
            columns = only.load({name: values[start : start + batch_size]}, start)
            parts.append(function(self.raw_tensors(columns))["embedding"])
        return np.concatenate(parts)

    def embedding_id(self):
        """A string that tells these embeddings from those of another model or state of training."""
        made_of = hashlib.sha256()
        for name in self.embeds:
            for weight in self.get_layer(f"{name}_embedding").get_weights():
                made_of.update(weight.tobytes())
        return made_of.hexdigest()[:16]

    def raw_tensors(self, columns):
        """Lists by input name -> tensors by the names of the serving signature."""
        raw = {}
        for name, values in columns.items():
            for key, spec in self.preprocessor.inputs[name].signature(name).items():
                empty = np.zeros([0, *spec.shape[1:]], spec.dtype.as_numpy_dtype)
                raw[key] = tf.constant(values, spec.dtype) if values else tf.constant(empty)
        return raw

    def serve_function(self, method="serve", /, **options):
        """`serve`, `explain` or the like with these options, compiled; traced once."""
        functions = self.__dict__.setdefault("_serve_functions", {})
        heads = map(self.get_layer, self.preprocessor.targets)
        # A head may have got another language model meanwhile.
        languages = (getattr(head, "language_model", None) for head in heads)
        key = (method, *languages, *sorted(options.items()))
        if key not in functions:
            self.preprocessor.build()
            run = functools.partial(getattr(self, method), **options)
            specs = self.signature(options.get("name"))
            functions[key] = tf.function(run, input_signature=[specs], autograph=False)
        return functions[key]

    def signature(self, name=None):
        """What serving takes: a dict of `tf.TensorSpec` by name, `(batch, ...)`; of one input."""
        fields = self.preprocessor.inputs
        names = fields if name is None else [name]
        return {key: spec for n in names for key, spec in fields[n].signature(n).items()}

    def serve(self, raw, **options):
        """Raw tensors -> answers as tensors, in TensorFlow operations only.

        Args:
            raw: A dict of tensors as `signature` says.
            **options: As in `infer`.

        Returns:
            A dict of tensors `(batch,)`, or `(batch, n)` with several answers per example: the
            answer under the target's name, its score under `score`; with several targets
            `NAME_score`.
        """
        found = self._search(self.context(self.preprocessor.tensors(raw)), **options)
        return self._decode(found, raw, first=not {"n_best", "samples"} & set(options))

    def explain(self, raw, **options):
        """As `serve` with one answer each, and how it came about.

        Returns:
            A dict of tensors: what `serve` gives; and for each target `NAME_tokens`
            `(batch, length)`, its tokens as strings, empty after the end, and what its head's
            `explain` gives: of a decoder `NAME_attention` `(batch, length, context length)`,
            weights that sum to 1 per token. Of a span the tokens are those of the whole passage.
        """
        context = self.context(self.preprocessor.tensors(raw))
        found = self._search(context, **options)
        explained = self._decode(found, raw, first=True)
        for name, field in self.preprocessor.targets.items():
            ids = found[name]["ids"][:, 0]
            explained[f"{name}_tokens"] = field.spelled(ids, **field.beside(raw))
            more = self.get_layer(name).explain(ids, **context[name])
            explained |= {f"{name}_{key}": value for key, value in more.items()}
        return explained

    def timestamps(self, raw, **options):
        """As `serve` with one answer each, and when each word of it was said.

        Returns:
            A dict of tensors: what `serve` gives; and for each target that is aligned to a
            recording `NAME_words` `(batch, words)`, empty after the last, `NAME_seconds`
            `(batch, words, 2)`, begin and end, and `NAME_confidence` `(batch, words)`, 0 to 1.
        """
        context = self.context(self.preprocessor.tensors(raw))
        found = self._search(context, **options)
        timed = self._decode(found, raw, first=True)
        for name in self.aligned:
            field = self.preprocessor.targets[name]
            ids = found[name]["ids"][:, 0]
            said = self.get_layer(name).explain(ids, **context[name])
            words = field.words(ids, said["frames"], said["confidence"])
            frame = self.preprocessor.inputs[field.source].frame_seconds * field.subsampling
            timed[f"{name}_words"] = words["words"]
            timed[f"{name}_seconds"] = tf.cast(words["frames"], tf.float32) * frame
            timed[f"{name}_confidence"] = words["confidence"]
        return timed

    @property
    def aligned(self):
        """Names of the targets whose words `timestamps` finds in a recording."""
        return [
            name
            for name, field in self.preprocessor.targets.items()
            if hasattr(field, "words") and getattr(self.get_layer(name), "aligns", False)
        ]

    def embedding(self, raw, name):
        """Raw tensors of one input -> `{"embedding": (batch, width)}`, see `embed`."""
        tensors = self.preprocessor.only(name).tensors(raw)
        return {"embedding": _run(self._tower(name), tensors)}

    def context(self, inputs):
        """Input tensors -> what each target's head attends to, `{target: {argument: tensor}}`."""
        return _run(self._context_model(), inputs)

    def _search(self, context, **options):
        targets = self.preprocessor.targets
        return {name: self.get_layer(name).answer(**context[name], **options) for name in targets}

    def _decode(self, found, raw, first):
        targets = self.preprocessor.targets
        answers = {}
        for name, field in targets.items():
            answer = {key: x[:, 0] if first else x for key, x in found[name].items()}
            # Whether two inputs match is a score and nothing more.
            if "ids" in answer:
                answers[name] = field.decode(answer["ids"], **field.beside(raw))
            answers["score" if len(targets) == 1 else f"{name}_score"] = answer["scores"]
        return answers

    def _context_model(self):
        if "_context" not in self.__dict__:
            heads = {name: self.head_arguments(name) for name in self.preprocessor.targets}
            own = {f"{name}_input" for name in heads}
            inputs = {name: x for name, x in self.input.items() if name not in own}
            # Kept out of Keras's tracking: its layers are this model's own.
            self.__dict__["_context"] = keras.Model(inputs, heads)
        return self.__dict__["_context"]

    def _tower(self, name):
        """The part of this model from an input to its embedding."""
        layer = self.get_layer(f"{name}_embedding")
        # Another task may share the layer: its place in this one's graph is meant.
        nodes = (node for nodes in self._nodes_by_depth.values() for node in nodes)
        output = next(node.outputs[0] for node in nodes if node.operation is layer)
        own = {name, f"{name}_mask"}
        return keras.Model({key: x for key, x in self.input.items() if key in own}, output)

    def head_arguments(self, name):
        """The tensors that the head `name` was called with, but for its own `name_input`."""
        layer, node, _ = self.output[name]._keras_history
        arguments = layer._inbound_nodes[node].arguments
        bound = inspect.signature(layer.call).bind(*arguments.args, **arguments.kwargs).arguments
        own = self.input.get(f"{name}_input")
        return {
            key: value
            for key, value in bound.items()
            if isinstance(value, keras.KerasTensor) and value is not own
        }

    def save(self, filepath, overwrite=True, zipped=None, **kwargs):
        """As `keras.Model.save`, but a `.keras` file gives way only to a whole new one.

        Keras empties the file before it writes: on a full disk, or killed, it would leave a stump
        in place of a good model. With `overwrite=False` Keras asks first, and does that still.
        """
        asks = not overwrite and os.path.exists(filepath)
        if asks or zipped is False or not _is_local(filepath, ".keras"):
            return super().save(filepath, overwrite, zipped, **kwargs)
        with _whole(filepath) as part:
            super().save(part, overwrite, zipped, **kwargs)

    def save_weights(self, filepath, overwrite=True, max_shard_size=None):
        """As `keras.Model.save_weights`, and one file gives way only to a whole new one."""
        asks = not overwrite and os.path.exists(filepath)
        if asks or max_shard_size is not None or not _is_local(filepath, ".weights.h5"):
            return super().save_weights(filepath, overwrite, max_shard_size)
        with _whole(filepath) as part:
            super().save_weights(part, overwrite)

    def get_config(self):
        preprocessor = keras.saving.serialize_keras_object(self.preprocessor)
        return {**super().get_config(), "preprocessor": preprocessor}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        preprocessor = keras.saving.deserialize_keras_object(config.pop("preprocessor"))
        task = super().from_config(config, custom_objects)
        task.preprocessor = preprocessor
        return task


def load_model(path):
    """Load a `.keras` file that holds a Task; the same as `keras.models.load_model`.

    Raises:
        ValueError: if the file is not a Keras model or holds no Task.
    """
    model = keras.models.load_model(path)
    if not isinstance(model, Task):
        raise ValueError(f"{path} should hold a Task of mmkeras. Received: {type(model).__name__}")
    return model


def _run(model, inputs):
    """A part of a task over input tensors, which may have no rows."""
    rows = tf.shape(next(iter(inputs.values())))[0]
    # TensorFlow's convolutions give a wrong shape for no rows; so there is always one, of one
    # frame at least.
    filler = tf.cast(rows == 0, tf.int32)
    inputs = {
        name: tf.pad(x, [[0, 0 if size else filler] for size in x.shape])
        for name, x in inputs.items()
    }
    return tree.map_structure(lambda x: x[:rows], model(inputs, training=False))


def _is_local(path, suffix):
    path = os.fspath(path)
    return path.endswith(suffix) and "://" not in path


@contextlib.contextmanager
def _whole(path):
    """Gives a path beside `path` to write to; what was written takes its place at the end."""
    path = Path(path).resolve()
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        part = Path(folder, path.name)
        try:
            yield part
        except OSError as error:
            # A failed write does not know the file it was for.
            error.filename = error.filename or str(path)
            raise
        with open(part, "rb") as file:
            os.fsync(file)
        os.replace(part, path)


def _python(values):
    if values.dtype == object:
        return np.vectorize(lambda b: b.decode("utf-8", "replace"), otypes=[object])(
            values
        ).tolist()
    return values.tolist()
