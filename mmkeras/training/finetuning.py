"""What a trained model needs to learn something more: rates by depth, thawing, LoRA."""

import re

import keras


@keras.saving.register_keras_serializable("mmkeras")
class LayerwiseAdamW(keras.optimizers.AdamW):
    """AdamW whose learning rate is another one in some layers.

    Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification":
    discriminative fine-tuning. Weight decay is scaled alike.

    Args:
        rates: `{pattern: factor}`: the learning rate of a weight is multiplied by the factor of
            the first regular expression that its path, such as `"encoder/kernel"`, begins with;
            by 1 if none. See `layerwise_rates`.
        learning_rate, **kwargs: As in `keras.optimizers.AdamW`.

    Raises:
        ValueError: a factor is below 0, or a pattern is no regular expression.

    Example:

    ```python
    import mmkeras as mm

    optimizer = mm.LayerwiseAdamW(mm.layerwise_rates(model, 0.8), 1e-4)
    mm.compile_task(model, optimizer)
    ```
    """

    def __init__(self, rates, learning_rate=1e-3, name="layerwise_adamw", **kwargs):
        super().__init__(learning_rate, name=name, **kwargs)
        for pattern, factor in rates.items():
            if not factor >= 0:
                raise ValueError(f"`rates` should be 0 or above. Received: {pattern!r}: {factor!r}")
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(
                    f"`rates` should be by regular expression. Received: {pattern!r}: {error}"
                ) from None
        self.rates = dict(rates)

    def factor(self, variable):
        """By what the learning rate of a weight is multiplied."""
        path = variable.path
        return next((x for pattern, x in self.rates.items() if re.match(pattern, path)), 1.0)

    def update_step(self, gradient, variable, learning_rate):
        # On TensorFlow Keras gives the variable within its own.
        own = self._trainable_variables[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * self.factor(own))

    def _apply_weight_decay(self, variables):
        whole = self.weight_decay
        if whole is None:
            return
        for factor in sorted({self.factor(variable) for variable in variables}):
            self.weight_decay = whole * factor
            super()._apply_weight_decay([x for x in variables if self.factor(x) == factor])
        self.weight_decay = whole

    def get_config(self):
        return {**super().get_config(), "rates": self.rates}


def layerwise_rates(task, decay=0.8):
    """Factors that fall with the distance from the answer, for `LayerwiseAdamW`.

    Args:
        task: A built `keras.Model`.
        decay: Factor of each layer to the next one that has weights, above 0 to 1.

    Returns:
        `{pattern: factor}`: 1 for the last layer with weights, `decay` for the one before it.

    Raises:
        ValueError: `decay` is out of its range.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"`decay` should be above 0, at most 1. Received: decay={decay!r}")
    names = [layer.name for layer in task.layers if layer.weights]
    return {
        rf"{re.escape(name)}/": decay**distance for distance, name in enumerate(reversed(names))
    }


def freeze(task, *names):
    """Freeze layers, by name, and everything in them; all others are trained.

    Args:
        task: A built `keras.Model`. To take effect it is to be compiled again.
        *names: Regular expressions that names of its layers match as a whole.

    Returns:
        Names of the frozen layers.

    Raises:
        ValueError: no layer has such a name.

    Example:

    ```python
    import mmkeras as mm

    mm.freeze(model, "conv.*", "question_encoder.*")
    mm.compile_task(model)
    ```
    """
    layers = {layer.name: layer for layer in task.layers if layer.weights}
    frozen = []
    for pattern in names:
        found = [name for name in layers if re.fullmatch(pattern, name)]
        if not found:
            raise ValueError(
                f"`names` should match layers, of {list(layers)}. Received: {pattern!r}"
            )
        frozen += found
    for name, layer in layers.items():
        layer.trainable = name not in frozen
    return frozen


class GradualUnfreeze(keras.callbacks.Callback):
    """Trains the last layers first, and some more with every epoch.

    Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification". The
    gradient of a layer that is not yet due is not applied; its weights and the optimizer's state
    of them do not change.

    Args:
        groups: Lists of regular expressions that names of layers match as a whole: those of the
            first group are trained from the first epoch on, those of the second from the second,
            and so on. Layers in no group are trained from the start.
        epochs: Epochs from group to group.

    Raises:
        ValueError: no layer has such a name, or `epochs` is below 1.

    Example:

    ```python
    groups = [["answer"], ["question_encoder.*"], ["conv.*"]]
    model.fit(data, epochs=6, callbacks=[mm.GradualUnfreeze(groups)])
    ```
    """

    def __init__(self, groups, epochs=1):
        super().__init__()
        if not isinstance(epochs, int) or epochs < 1:
            raise ValueError(f"`epochs` should be 1 or more. Received: epochs={epochs!r}")
        self.groups, self.epochs = groups, epochs

    def on_train_begin(self, logs=None):
        # The optimizer takes none later that it does not know at first.
        self.model.optimizer.build(self.model.trainable_variables)
        self.trained = {layer.name for layer in self.model.layers if layer.trainable}

    def on_epoch_begin(self, epoch, logs=None):
        later = [pattern for group in self.groups[epoch // self.epochs + 1 :] for pattern in group]
        before = [layer.trainable for layer in self.model.layers]
        waiting = freeze(self.model, *later)
        for layer in self.model.layers:
            layer.trainable = layer.name in self.trained - set(waiting)
        if before != [layer.trainable for layer in self.model.layers]:
            # `fit` traces a step once, and with it the weights that it trains.
            self.model.make_train_function(force=True)

    def on_train_end(self, logs=None):
        for layer in self.model.layers:
            layer.trainable = layer.name in self.trained


def enable_lora(task, rank, names=(".*",), alpha=None):
    """Learn a change of few numbers to each weight matrix, and freeze all that there is.

    Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models"; as Keras does it, in
    every `Dense`, `EinsumDense`, `Embedding` and convolution within. A saved model holds the sum.

    Args:
        task: A built `keras.Model`; it is not compiled any more, see `compile_task`.
        rank: Of the changes.
        names: Regular expressions that names of layers of the task match as a whole.
        alpha: The change is scaled by `alpha / rank`; None for `rank`.

    Returns:
        How many weights are left to train.

    Raises:
        ValueError: there is no such layer.

    Example:

    ```python
    import mmkeras as mm

    model = keras.models.load_model("captions.keras")
    print(mm.enable_lora(model, rank=4))
    mm.compile_task(model, keras.optimizers.AdamW(1e-3))
    ```
    """
    chosen = [
        each
        for layer in task.layers
        if any(re.fullmatch(pattern, layer.name) for pattern in names)
        for each in layer._flatten_layers()
        if hasattr(each, "enable_lora") and each.built and each.weights
    ]
    if not chosen:
        raise ValueError(
            f"`names` should match layers with matrices of weights. Received: names={names!r} "
            f"and layers {[layer.name for layer in task.layers if layer.weights]}"
        )
    for layer in task._flatten_layers(include_self=False):
        for weight in layer._trainable_variables:
            weight.trainable = False
    for layer in chosen:
        layer.enable_lora(rank, alpha)
    # What was traced before knows nothing of the changes.
    vars(task).pop("_serve_functions", None)
    return sum(int(keras.ops.size(weight)) for weight in task.trainable_weights)
