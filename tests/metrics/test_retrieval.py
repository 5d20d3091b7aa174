"""Recall, median rank and mean reciprocal rank, both ways, against ranks counted one by one."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mmkeras.metrics.retrieval
from mmkeras.metrics import format_retrieval_scores, retrieval_ranks, retrieval_scores


def counted(similarities, owners):
    """Ranks by the definition, as slowly as it is read."""
    images, texts = similarities.shape
    image_ranks, text_ranks = [], []
    for image in range(images):
        own = [text for text in range(texts) if owners[text] == image]
        if own:
            best = max(similarities[image, text] for text in own)
            others = [text for text in range(texts) if owners[text] != image]
            image_ranks.append(1 + sum(similarities[image, text] >= best for text in others))
    for text in range(texts):
        right = similarities[owners[text], text]
        others = [image for image in range(images) if image != owners[text]]
        text_ranks.append(1 + sum(similarities[image, text] >= right for image in others))
    return image_ranks, text_ranks


class TestRanks:
    # Few different similarities, so that ties are many; some images have no text.
    @settings(max_examples=50, deadline=None)
    @given(st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 12))
    def test_are_counted(self, seed, images, texts):
        random = np.random.default_rng(seed)
        similarities = random.integers(0, 4, (images, texts)) / 3
        owners = random.integers(0, images, texts)
        found = retrieval_ranks(similarities=similarities, owners=owners)
        assert tuple(map(np.ndarray.tolist, found)) == counted(similarities, owners)

    def test_of_embeddings_are_those_of_their_products(self):
        random = np.random.default_rng(0)
        # More texts than a block, and the last block is not full.
        images, texts = random.normal(size=(13, 4)), random.normal(size=(1100, 4))
        owners = random.integers(0, 13, 1100)
        found = retrieval_ranks(images, texts, owners)
        products = (images @ texts.T).astype(np.float32)
        for ranks, expected in zip(
            found, retrieval_ranks(similarities=products, owners=owners), strict=True
        ):
            np.testing.assert_array_equal(ranks, expected)
        np.testing.assert_array_equal(found[1][:40], counted(products[:, :40], owners[:40])[1])

    def test_texts_of_one_image_are_no_rivals(self):
        similarities = [[0.9, 0.9, 0.8, 0.1], [0.1, 0.1, 0.2, 0.3]]
        image_ranks, text_ranks = retrieval_ranks(similarities=similarities)
        assert image_ranks.tolist() == [1, 1]
        assert text_ranks.tolist() == [1, 1, 2, 1]

    def test_collapse_is_ranked_last(self):
        same = np.full((6, 3), 1 / 3, np.float32)
        image_ranks, text_ranks = retrieval_ranks(same, np.repeat(same, 5, axis=0))
        assert set(image_ranks.tolist()) == {26}
        assert set(text_ranks.tolist()) == {6}

    def test_numbers_of_two_precisions_are_compared_as_given(self):
        near = [[0.5, 0.5 + 1e-12], [0.5 - 1e-12, 0.5]]
        image_ranks, text_ranks = retrieval_ranks(similarities=near)
        assert image_ranks.tolist() == [2, 1]
        assert text_ranks.tolist() == [1, 2]


class TestScores:
    def test_from_ranks(self):
        random = np.random.default_rng(1)
        similarities = random.normal(size=(20, 100))
        scores = retrieval_scores(similarities=similarities)
        owners = np.repeat(np.arange(20), 5)
        ways = zip(
            ("image to text", "text to image"),
            counted(similarities, owners),
            (100, 20),
            strict=True,
        )
        for way, ranks, candidates in ways:
            row = scores[way]
            for limit in (1, 5, 10):
                assert row[f"R@{limit}"] == sum(r <= limit for r in ranks) / len(ranks)
            assert row["median rank"] == np.median(ranks)
            assert row["MRR"] == pytest.approx(sum(1 / r for r in ranks) / len(ranks))
            assert (row["queries"], row["candidates"]) == (len(ranks), candidates)

    def test_embeddings_that_fit(self):
        images = np.eye(8)
        scores = retrieval_scores(images, np.repeat(images, 5, axis=0))
        for way in ("image to text", "text to image"):
            assert scores[way]["R@1"] == scores[way]["MRR"] == scores[way]["median rank"] == 1

    def test_printed(self):
        scores = retrieval_scores(np.eye(4), np.eye(4)[[1, 0, 2, 3]])
        text = format_retrieval_scores(scores)
        assert "text to image   50.00 %  100.00 %  100.00 %" in text
        assert text.splitlines()[-1] == scores["signatures"][0]

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({}, r"given, or `similarities` alone. Received: \[\]"),
            ({"images": np.eye(2)}, r"Received: \['images'\]"),
            (
                {"images": np.eye(2), "texts": np.eye(2), "similarities": np.eye(2)},
                "`similarities` alone",
            ),
            ({"images": np.eye(2), "texts": np.ones((2, 3))}, r"one width.* \(2, 2\) and \(2, 3\)"),
            ({"images": np.eye(2), "texts": [[1, np.nan]] * 2}, "`texts` .* not finite"),
            ({"similarities": np.ones(3)}, r"`similarities` should be a matrix.* shape \(3,\)"),
            ({"similarities": np.ones((2, 0))}, r"a matrix of finite numbers.* shape \(2, 0\)"),
            ({"similarities": [["a"]]}, "a matrix of finite numbers"),
            ({"similarities": np.ones((2, 3))}, "`owners` should be given.* 2 images and 3 texts"),
            ({"similarities": np.eye(2), "owners": [0]}, r"each of 2 texts.* shape \(1,\)"),
            ({"similarities": np.eye(2), "owners": [0.0, 1.0]}, "a whole number.* float64"),
            ({"similarities": np.eye(2), "owners": [0, 2]}, "rows of 2 images. Received: 0 to 2"),
        ],
    )
    def test_bad_input(self, given, message):
        with pytest.raises(ValueError, match=message):
            retrieval_scores(**given)


def test_examples_in_the_docstrings():
    assert doctest.testmod(mmkeras.metrics.retrieval).failed == 0
