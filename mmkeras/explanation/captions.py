"""Where each word of an answer looked."""

import numpy as np

from mmkeras.explanation.places import attention_grid
from mmkeras.explanation.words import whole_words


def each_word(task, columns, options):
    """Explanations of a batch by the words of the answers, see `explain`."""
    name, start, (height, width) = attention_grid(task)
    ((target, field),) = task.preprocessor.targets.items()
    raw = task.raw_tensors(columns)
    answers = {k: v.numpy() for k, v in task.serve_function("explain", **options)(raw).items()}
    photos = [task.preprocessor.inputs[name](value).numpy() for value in columns[name]]
    for row, photo in enumerate(photos):
        attention = answers[f"{target}_attention"][row].astype("float32")
        words, tokens = whole_words(answers[f"{target}_tokens"][row], field.tokenizer)
        looked = [attention[places].mean(axis=0) for places in tokens]
        looked = np.reshape(looked, (len(words), attention.shape[-1])).astype("float32")
        maps = looked[:, start : start + height * width]
        sums = maps.sum(axis=1, keepdims=True)
        maps = maps / np.maximum(sums, np.finfo("float32").tiny)
        yield {
            target: answers[target][row].decode("utf-8", "replace"),
            "score": float(answers["score"][row]),
            "words": words,
            "maps": maps.reshape(-1, height, width),
            "share": sums[:, 0],
            "photo": photo,
        }
