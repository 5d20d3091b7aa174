"""One model of several: means of weights."""

import keras
import numpy as np


def average_weights(task, paths):
    """Set the weights of a model to the mean of those in files.

    Of checkpoints at the end of one training (Vaswani et al. 2017, section 6.1), or of several
    trainings from one start.

    Args:
        task: The `keras.Model`.
        paths: Of `.keras` or `.weights.h5` files of the same model.

    Returns:
        `task`.

    Raises:
        ValueError: no path, or naming the file whose weights are not those of this model.

    Example:

    ```python
    import mmkeras as mm

    mm.average_weights(model, ["epoch08.keras", "epoch09.keras", "epoch10.keras"])
    ```
    """
    if not paths:
        raise ValueError("`paths` should name at least one file. Received: none")
    total = 0.0
    for path in paths:
        total = total + _flat(_weights_of(task, path))
    _set_flat(task, total / len(paths))
    return task


def greedy_soup(task, paths, score):
    """Set the weights of a model to the mean of those files that make it better together.

    Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models improves
    accuracy without increasing inference time", algorithm 1: from the best by itself to the worst,
    each is taken in if the mean with it is no worse.

    Args:
        task, paths: As in `average_weights`.
        score: A function of the model that gives a number, the higher the better, on data that
            is neither trained on nor reported.

    Returns:
        `(the paths that were taken, the score)`.

    Raises:
        ValueError: as in `average_weights`.

    Example:

    ```python
    import mmkeras as mm

    taken, best = mm.greedy_soup(
        model, paths, lambda model: model.evaluate(valid, return_dict=True)["accuracy"]
    )
    ```
    """
    if not paths:
        raise ValueError("`paths` should name at least one file. Received: none")
    alone = {path: score(average_weights(task, [path])) for path in paths}
    ranked = sorted(paths, key=alone.get, reverse=True)
    taken, best = ranked[:1], alone[ranked[0]]
    for path in ranked[1:]:
        tried = score(average_weights(task, [*taken, path]))
        if tried >= best:
            taken, best = [*taken, path], tried
    average_weights(task, taken)
    return taken, best


def _weights_of(task, path):
    """The weights that a file holds for this model, which takes them."""
    try:
        task.load_weights(path)
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"`paths` should be of files with the weights of this model. Received: {path}: {error}"
        ) from None
    return task.get_weights()


def _flat(weights):
    return np.concatenate([np.ravel(weight).astype("float64") for weight in weights])


def _set_flat(task, flat):
    parts = np.split(flat, np.cumsum([int(keras.ops.size(w)) for w in task.weights])[:-1])
    task.set_weights([part.reshape(w.shape) for part, w in zip(parts, task.weights, strict=True)])
