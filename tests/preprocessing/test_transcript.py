import numpy as np
import pytest

from mmkeras.preprocessing import Transcript, train_tokenizer

TEXTS = ["go home now", "a dog"]


def timed(kind, texts):
    """The words of texts whose token `i` is said in frames `2 i` and `2 i + 1`, at `0.1 i`."""
    field = Transcript(train_tokenizer(TEXTS, kind), 20)
    ids = field(texts).numpy()
    begin = 2 * np.arange(ids.shape[1])
    frames = np.where(ids[..., None] > 0, np.stack([begin, begin + 2], axis=-1), 0)
    confidence = np.where(ids > 0, 0.1 * np.arange(ids.shape[1]), 0.0).astype("float32")
    found = field.words(ids, frames, confidence)
    words = [[word.decode() for word in row] for row in found["words"].numpy()]
    return words, found["frames"].numpy(), found["confidence"].numpy()


class TestWords:
    def test_of_characters_lie_between_spaces(self):
        words, frames, confidence = timed("character", ["go home", "a"])
        assert words == [["go", "home"], ["a", ""]]
        assert frames.tolist() == [[[0, 4], [6, 14]], [[0, 2], [0, 0]]]
        assert confidence[0] == pytest.approx([0.05, 0.45])

    def test_of_words_are_its_tokens(self):
        words, frames, _ = timed("word", ["go home", "a dog"])
        assert words == [["go", "home"], ["a", "dog"]]
        assert frames.tolist() == [[[0, 2], [2, 4]]] * 2

    def test_of_subwords_begin_with_a_space(self):
        words, frames, _ = timed("subword", ["go home now", "a dog"])
        assert words == [["go", "home", "now"], ["a", "dog", ""]]
        ends = frames[0, :, 1]
        assert (frames[0, 1:, 0] == ends[:-1]).all()

    @pytest.mark.parametrize("text", ["go home", " go home", "go  home ", "  go   home  "])
    def test_of_characters_stand_between_spaces_however_many(self, text):
        words, frames, _ = timed("character", [text])
        assert words == [["go", "home"]]
        starts = [text.index("go"), text.index("home")]
        assert frames.tolist() == [
            [[2 * starts[0], 2 * starts[0] + 4], [2 * starts[1], 2 * starts[1] + 8]]
        ]

    def test_of_nothing_are_none(self):
        words, frames, confidence = timed("character", ["", ""])
        assert words == [[], []]
        assert frames.shape == (2, 0, 2)
        assert confidence.shape == (2, 0)
