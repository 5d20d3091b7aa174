"""Answers to questions about a text."""

import keras

from mmkeras.assembly import assemble
from mmkeras.builders import parts
from mmkeras.encoders import check_size
from mmkeras.fusion import CrossAttentionFusion, fuse
from mmkeras.heads import Locate
from mmkeras.layers import FirstPlaces
from mmkeras.preprocessing import Answer, Passage, Span, Text

KINDS = ("extractive", "generative")
# After these the places of the context are still there, before all others.
KEEPING = (
    "bottleneck",
    "co_attention",
    "concatenate",
    "cross_attention",
    "early",
    "film",
    "recurrent",
)


def question_answering(
    tokenizer,
    kind="extractive",
    encoder="bilstm",
    fusion="co_attention",
    size="small",
    sequence_length=400,
    vectors=None,
    dropout=0.2,
):
    """Question and a context to read -> answer.

    One encoder reads both, so that a word means the same in either.

    Args:
        tokenizer: A trained tokenizer, see `train_tokenizer`.
        kind: `"extractive"`: the answer is a part of the context, to the character, or the empty
            string where the context has none. `"generative"`: the answer is written, word by word.
        encoder: `"lstm"`, `"bilstm"`, `"gru"`, `"transformer"`, or a function from token ids to
            `(sequence, mask)`.
        fusion: A name in `mmkeras.fusion.FUSIONS`, a layer or a function, see `fuse`; the inputs
            are `context`, then `question`. For extractive answers one that keeps the places of the
            context and puts them first.
        size: `"tiny"`, `"small"` or `"base"`: of all parts that are given by name.
        sequence_length: Longest context in tokens; what is longer is cut off at its end.
        vectors: Word vectors to begin with, see `read_word_vectors`.
        dropout: Rate in encoder, fusion and head.

    Returns:
        A compiled `Task`: inputs `context` and `question`, target `answer`, which of extractive
        answers takes the column `answer_start` with it, see `Span`.

    Raises:
        ValueError: naming the argument that is not one of these.

    Example:

    ```python
    import mmkeras as mm

    train, valid, _ = mm.read("squad", "path/to/squad", version="2.0")
    words = mm.train_tokenizer(train["context"] + train["question"], vocabulary_size=30_000)
    model = mm.question_answering(words)
    model.fit(mm.dataset(train, model.preprocessor, 32, shuffle=True), epochs=3)
    model.infer({"question": ["who runs?"], "context": ["A dog runs."]})    # {"answer": ["A dog"]}
    ```
    """
    if kind not in KINDS:
        raise ValueError(f"`kind` should be one of {list(KINDS)}. Received: kind={kind!r}")
    extractive = kind == "extractive"
    if extractive and isinstance(fusion, str) and fusion not in KEEPING:
        raise ValueError(
            f"`fusion` should be one of {list(KEEPING)}, which keep the places of the context, "
            f"a layer or a function. Received: fusion={fusion!r}"
        )
    width, _, _ = check_size(size, parts.SIZES)
    context, question = Passage(tokenizer, sequence_length), Text(tokenizer)
    encoder = parts.text_encoder(encoder, tokenizer, size, dropout, "text", vectors)
    ids = keras.Input((None,), dtype="int32")
    encoder = keras.Model(ids, encoder(ids), name="text_encoder")
    if fusion == "cross_attention":
        fusion = CrossAttentionFusion(width, dropout, query="context", name="fusion")
    if extractive:
        answer = Span(context), Locate(dropout=dropout, name="answer")
    else:
        answer = parts.answer(Answer(tokenizer, 16), size, dropout)
    return assemble(
        {"context": (context, encoder), "question": (question, encoder)},
        {"answer": answer},
        width,
        dropout,
        _of_the_context(fusion) if extractive else fusion,
        name="question_answering",
    )


def _of_the_context(fusion):
    """A fusion of which only the places of the context are left."""

    def fused(encoded, width, dropout):
        sequence, _ = fuse(encoded, width, dropout, fusion)
        _, mask = encoded["context"]
        return FirstPlaces(name="context_places")(sequence, padding_mask=mask), mask

    return fused
