"""Inputs, fusion and targets meet here, and nowhere else, to make a compiled Task."""

import keras

from mmkeras.fusion import Presence, fuse
from mmkeras.preprocessing import Preprocessor
from mmkeras.schedules import Noam
from mmkeras.task import Task


def assemble(
    inputs,
    targets,
    width=256,
    dropout=0.1,
    fusion="concatenate",
    modality_dropout=0.0,
    optimizer=None,
    name=None,
):
    """Build and compile a Task from its parts.

    Every input is encoded to a sequence; a fusion makes them one; each target's head or decoder
    attends to the result.

    Args:
        inputs: `{name: (field, encoder)}`; an encoder is a function from the field's
            `keras.Input` to `(sequence, mask)`, shapes `(batch, length, any)` and
            `(batch, length)`, or None for a mask that hides nothing. Of a masked field it takes
            the input and its mask.
        targets: `{name: (field, head)}`; a head is a layer of that name.
        width: Of the joined sequence.
        dropout: Rate on the joined sequence.
        fusion: A name in `mmkeras.fusion.FUSIONS`, a layer or a function, see
            `mmkeras.fusion.fuse`. `"concatenate"` joins the sequences along time.
        modality_dropout: Probability that training hides an input of an example.
        optimizer: What to compile with; None for AdamW, see `default_optimizer`.
        name: Of the model.

    Returns:
        A compiled `Task` with inputs `{name: ..., target_input: ...}` and outputs `{target: ...}`.

    Raises:
        ValueError: if a head's name is not its target's, or it is made for another vocabulary than
            that of its field's tokenizer.

    Example:

    ```python
    import mmkeras as mm

    words = mm.train_tokenizer(["a dog runs"], kind="word")
    decoder = mm.LSTMDecoder(words.vocabulary_size, 16, name="caption")
    model = mm.assemble(
        {"image": (mm.Image(64), mm.conv("tiny"))}, {"caption": (mm.Text(words, 15), decoder)}
    )
    ```
    """
    for target, (field, head) in targets.items():
        _check_head(target, field, head)
    taken, encoded = {}, {}
    for key, (field, encoder) in inputs.items():
        tensors, encoded[key] = _encoded(key, field, encoder)
        taken |= tensors
    sequence, mask = fuse(encoded, width, dropout, fusion, modality_dropout)
    outputs = {}
    for target, (field, head) in targets.items():
        context = {} if mask is None else {"context_mask": mask}
        own = field.target_input(target)
        if own is None:
            outputs[target] = head(sequence, **context)
        else:
            taken[f"{target}_input"] = own
            outputs[target] = head(own, sequence, **context)
    preprocessor = Preprocessor(
        {key: field for key, (field, _) in inputs.items()},
        {key: field for key, (field, _) in targets.items()},
    )
    task = Task(taken, outputs, preprocessor=preprocessor, name=name)
    compile_task(task, optimizer)
    return task


def _encoded(key, field, encoder):
    """The model's inputs of a field, by name, and what its encoder makes of them."""
    value = field.input(key)
    if field.masked:
        return field.named(key, value), encoder(*value)
    if not field.flagged:
        return {key: value}, encoder(value)
    present = keras.Input((1,), dtype="bool", name=f"{key}_mask")
    sequence, mask = encoder(value)
    mask = Presence(name=f"{key}_presence")(sequence, present, mask)
    return {key: value, f"{key}_mask": present}, (sequence, mask)


def _check_head(target, field, head):
    if head.name != target:
        raise ValueError(
            f"The head of the target {target!r} should have that name. Received: name={head.name!r}"
        )
    tokenizer = getattr(field, "tokenizer", None)
    shared = [
        key
        for key in ("vocabulary_size", "start_id", "end_id")
        if hasattr(head, key) and hasattr(tokenizer, key)
    ]
    classes = getattr(field, "classes", None)
    if classes is not None and getattr(head, "classes", None) != len(classes):
        raise ValueError(
            f"The head of the target {target!r} should be made for the {len(classes)} classes of "
            f"its field. Received: {type(head).__name__} with "
            f"classes={getattr(head, 'classes', None)}"
        )
    wanted, received = ({key: getattr(x, key) for key in shared} for x in (tokenizer, head))
    if received != wanted:
        raise ValueError(
            f"The head of the target {target!r} should be made for the tokenizer of its field, "
            f"with {wanted}. Received: {received}"
        )


def compile_task(task, optimizer=None):
    """Compile a Task with the loss and metrics that its heads ask for."""
    heads = {name: task.get_layer(name) for name in task.preprocessor.targets}
    task.compile(
        optimizer=optimizer or default_optimizer(),
        loss={name: head.loss() for name, head in heads.items()},
        weighted_metrics={name: head.metrics_to_compile() for name, head in heads.items()},
    )


def default_optimizer(learning_rate=1e-3):
    """AdamW with clipping, warmed up and then falling with the root of the step."""
    return keras.optimizers.AdamW(
        Noam(learning_rate, 400), weight_decay=0.01, clipnorm=1.0, beta_2=0.98
    )
