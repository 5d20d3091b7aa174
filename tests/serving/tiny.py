"""Every kind of task, not trained and as small as can be, with examples of its inputs."""

import io

import keras
import numpy as np
import PIL.Image
import tones

import mmkeras as mm

TEXTS = ["a red dog runs", "two cats", "is it warm on the sofa"]
CLASSES = ["a ring", "two", "否"]


def words():
    return mm.train_tokenizer(TEXTS + CLASSES, "word")


def photo(seed, kind, size=(24, 20)):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


PHOTOS = [photo(1, "JPEG"), photo(2, "PNG", (16, 33)), photo(3, "GIF")]
SOUNDS = [tones.wav(seconds, seed) for seed, seconds in enumerate((0.3, 0.2, 0.4))]


def captioning(decoder):
    return mm.image_captioning(words(), 16, decoder=decoder, size="tiny", sequence_length=6)


def answering(answers):
    return mm.visual_question_answering(
        words(), answers, 16, question_encoder="lstm", fusion="gated", size="tiny"
    )


def reading():
    return mm.question_answering(
        words(), encoder="lstm", fusion="film", size="tiny", sequence_length=30
    )


def room():
    inputs = {
        "image": mm.Image(16, optional=True),
        "audio": mm.Audio(8000, bands=20, optional=True),
        "readings": mm.Features((2,), optional=True),
    }
    return mm.multimodal_question_answering(words(), CLASSES, inputs, "lstm", "gated", "tiny")


TASKS = {
    "captioning, LSTM": (lambda: captioning("lstm"), {"image": PHOTOS}),
    "captioning, Transformer": (lambda: captioning("transformer"), {"image": PHOTOS}),
    "answering": (lambda: answering(CLASSES), {"image": [*PHOTOS[:2], None], "question": TEXTS}),
    "answering in words": (lambda: answering(words()), {"image": PHOTOS, "question": TEXTS}),
    "answering about a room": (
        room,
        {
            "image": [PHOTOS[0], None, PHOTOS[2]],
            "audio": [None, *SOUNDS[:2]],
            "readings": [None, [1.0, 2.0], [0.0, 0.5]],
            "question": TEXTS,
        },
    ),
    "reading": (reading, {"context": TEXTS, "question": TEXTS[::-1]}),
    "speech, CTC": (tones.recognizer, {"audio": SOUNDS}),
    "speech, attention": (lambda: tones.recognizer("attention"), {"audio": SOUNDS}),
    "retrieval": (
        lambda: mm.image_text_retrieval(words(), 16, text_encoder="lstm", size="tiny"),
        {"image": PHOTOS, "caption": TEXTS},
    ),
    "classes of texts": (
        lambda: mm.text_classification(words(), CLASSES, "lstm", "tiny"),
        {"text": TEXTS},
    ),
    "classes of pictures": (
        lambda: mm.image_classification(CLASSES, 16, size="tiny"),
        {"image": PHOTOS},
    ),
}


def make(name):
    """A task and its examples."""
    keras.utils.set_random_seed(0)
    build, examples = TASKS[name]
    return build(), examples
