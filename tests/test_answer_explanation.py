"""What answers rest on: attention followed back through fusions, Grad-CAM, and their pictures."""

import keras
import numpy as np
import PIL.Image
import pytest
from keras import ops

import mmkeras as mm
from mmkeras.explanation import overlay
from mmkeras.fusion import FUSIONS
from mmkeras.layers import FlattenGrid

QUESTIONS = ["what is red", "is the tiny ring here", "unheard"]
ANSWERS = ["a ring", "two", "yes"]
LENGTHS = {"image": 4, "question": 5}


@pytest.fixture(scope="module")
def words():
    return mm.train_tokenizer([*QUESTIONS[:2], *ANSWERS], "word")


@pytest.fixture(scope="module")
def records(photo):
    return {"image": [photo(i, (40, 50), "JPEG") for i in range(3)], "question": QUESTIONS}


def build(words, answers=ANSWERS, **options):
    keras.utils.set_random_seed(0)
    options = {"image": 32, "size": "tiny", "dropout": 0.0} | options
    return mm.visual_question_answering(words, answers, **options)


def encoded(batch=2, seed=0):
    random = np.random.default_rng(seed)
    mask = np.arange(5) < np.array([[5], [3]])[:batch]
    image = random.normal(size=(batch, 4, 6)).astype("float32")
    question = random.normal(size=(batch, 5, 7)).astype("float32")
    return {"image": (image, None), "question": (question, mask)}


class TestAttentionOfFusions:
    @pytest.mark.parametrize("name", ["cross_attention", "co_attention", "early"])
    def test_every_place_rests_on_what_is_there_by_one_in_all(self, name):
        fusion = FUSIONS[name](8, heads=2)
        sequence, _ = fusion(encoded())
        rests = fusion.attention(encoded())
        assert list(rests) == ["image", "question"]
        for key, length in LENGTHS.items():
            assert rests[key].shape == (2, sequence.shape[1], length)
        total = sum(ops.sum(each, axis=-1) for each in rests.values())
        np.testing.assert_allclose(total, 1, rtol=1e-5)
        # Nothing but padding rests on padding.
        np.testing.assert_allclose(np.asarray(rests["question"])[1, :-2, 3:], 0, atol=1e-6)

    @pytest.mark.parametrize("name", ["bottleneck", "perceiver"])
    def test_what_learned_tokens_add_is_missing_from_the_sum(self, name):
        fusion = FUSIONS[name](8, heads=2, tokens=3)
        fusion(encoded())
        total = sum(ops.sum(each, axis=-1) for each in fusion.attention(encoded()).values())
        assert (0 < np.asarray(total)).all()
        assert (np.asarray(total) < 1 - 1e-3).all()

    def test_the_result_is_carried_through_unchanged(self):
        """What is carried behind the channels does not touch them."""
        fusion = FUSIONS["bottleneck"](8, heads=2)
        before = fusion(encoded())[0]
        fusion.attention(encoded())
        np.testing.assert_array_equal(before, fusion(encoded())[0])

    def test_one_block_of_one_head_by_hand(self):
        fusion = FUSIONS["cross_attention"](8, heads=1, blocks=1)
        fusion(encoded())
        (image, question), _ = fusion.projected(encoded())
        ((block,),) = fusion.layers
        query = block.attention.query(block.attention_norm(question))
        keys = ops.split(block.attention.key_value(block.context_norm(image)), 2, axis=-1)[0]
        looked = ops.softmax(ops.einsum("bqw,bkw->bqk", query, keys) / 8**0.5)
        rests = fusion.attention(encoded())
        np.testing.assert_allclose(rests["image"], looked / 2, rtol=1e-4)
        np.testing.assert_allclose(rests["question"], [np.eye(5) / 2] * 2)
