"""Small speech: words of tones, and recognizers small enough to trace in seconds."""

from unittest import mock

import keras
import numpy as np
import tensorflow as tf

import mmkeras as mm
from mmkeras.builders import speech
from mmkeras.encoders import AudioEncoder
from mmkeras.layers.conformer import RotaryBlock
from mmkeras.layers.subsampling import Subsampling

RATE = 8000
TEXTS = ["ab", "b a", "c ab"]
LETTERS = mm.train_tokenizer(TEXTS, kind="character")


def samples(seconds=0.4, seed=0):
    """A tone every 50 ms, float32."""
    random = np.random.default_rng(seed)
    count = int(seconds * RATE)
    pitch = np.repeat(random.uniform(200, 3000, count // 400 + 1), 400)[:count]
    sound = 0.4 * np.sin(2 * np.pi * np.cumsum(pitch) / RATE) + random.normal(0, 0.01, count)
    return sound.astype("float32")


def wav(seconds=0.4, seed=0, rate=RATE):
    """The bytes of such a recording, 16 bits."""
    return mm.Audio(RATE).load((np.int16(samples(seconds, seed) * 2**15), rate))


def field(streams=False):
    """Of recordings, whole or streamed."""
    options = {"normalization": None, "centered": False} if streams else {}
    return mm.Audio(RATE, bands=20, **options)


def encoder(chunk=None):
    """One block of width 16."""
    block = RotaryBlock(2, chunk=chunk, left=2, name="block0")
    return AudioEncoder(Subsampling(16, 2, name="front"), [block], chunk, name="encoder")


def recognizer(decoder="ctc", streams=False, tokenizer=LETTERS, **options):
    """A `speech_to_text` that is not trained, but does not keep silent."""
    keras.utils.set_random_seed(7)
    options = {"encoder": encoder(2 if streams else None), "size": "tiny", "dropout": 0} | options
    options = {"sequence_length": 12, "audio": field(streams)} | options
    with mock.patch.dict(speech.SIZES, tiny=(16, 1, 2)):
        task = mm.speech_to_text(tokenizer, decoder=decoder, **options)
    head = task.get_layer("transcript")
    _loosen(task, getattr(head, "ctc", head))
    return task


def _loosen(task, head):
    """Makes each id as likely as another in a recording, the blank too."""
    if not isinstance(head, mm.CTC):
        return
    task.preprocessor.build()
    raw = {"audio_bytes": tf.constant([wav(1.0, 5)])}
    context = task.context(task.preprocessor.tensors(raw))["transcript"]["context"]
    kernel, bias = head.output_layer.kernel, head.output_layer.bias
    special = np.isin(np.arange(head.vocabulary_size), [1, 2, 3])
    logits = np.reshape(context, [-1, kernel.shape[0]]) @ kernel.numpy()
    kernel.assign(3 * kernel / logits.std(axis=0))
    bias.assign(-3 * (logits / logits.std(axis=0)).mean(axis=0) - 99 * special)
