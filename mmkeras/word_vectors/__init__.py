"""Word vectors: read and written in the usual formats, and trained from text."""

from mmkeras.word_vectors.files import read_word_vectors, write_word_vectors
from mmkeras.word_vectors.training import (
    count_tokens,
    glove,
    glove_pairs,
    skip_gram,
    skip_gram_pairs,
)

__all__ = [
    "count_tokens",
    "glove",
    "glove_pairs",
    "read_word_vectors",
    "skip_gram",
    "skip_gram_pairs",
    "write_word_vectors",
]
