import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkeras.decoders.prefix_search import IMPOSSIBLE, GreedySearch, PrefixSearch

seeds = st.integers(0, 2**31 - 1)
few = settings(max_examples=5, deadline=None, derandomize=True)


def log_probabilities(seed, batch=2, frames=5, vocabulary=4, scale=2.0):
    logits = np.random.default_rng(seed).normal(0, scale, [batch, frames, vocabulary])
    return tf.nn.log_softmax(logits.astype("float32")).numpy()


def whole(search, log_probs):
    return search.finish(search.advance(log_probs, search.initial_state(log_probs.shape[0])))


def texts_of(log_probs):
    """(text, log-probability) of all texts, best first: the sum over all their alignments."""
    totals = {}
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        text = tuple(token for token, _ in itertools.groupby(path) if token)
        value = log_probs[range(len(path)), path].sum(dtype="float64")
        totals[text] = np.logaddexp(totals.get(text, -np.inf), value)
    return sorted(totals.items(), key=lambda item: -item[1])


def answers(found, example):
    ids, scores = found["ids"].numpy()[example], found["scores"].numpy()[example]
    return [(tuple(row[row != 0].tolist()), score) for row, score in zip(ids, scores, strict=True)]


def check_equal(got, expected):
    assert [text for text, _ in got] == [text for text, _ in expected]
    np.testing.assert_allclose([s for _, s in got], [s for _, s in expected], atol=1e-4)


@few
@given(seeds, st.integers(1, 6), st.integers(2, 4))
def test_a_wide_beam_is_exact(seed, frames, vocabulary):
    log_probs = log_probabilities(seed, 2, frames, vocabulary)
    search = PrefixSearch(beam_width=400, n_best=4)
    found = whole(search, log_probs)
    for example in range(2):
        expected = texts_of(log_probs[example])[:4]
        check_equal(answers(found, example)[: len(expected)], expected)


def reference_beam(log_probs, width):
    """Hannun's search with dicts; the texts and scores of the last beam."""
    beams = {(): (0.0, -np.inf)}
    for frame in log_probs.astype("float64"):
        new = {}
        for text, (blank, token) in beams.items():
            for i, value in enumerate(frame):
                longer = (*text, i) if i else text
                to_blank, to_token = new.get(longer, (-np.inf, -np.inf))
                if i == 0:
                    to_blank = np.logaddexp(to_blank, np.logaddexp(blank, token) + value)
                elif text and text[-1] == i:
                    to_token = np.logaddexp(to_token, blank + value)
                    same = new.get(text, (-np.inf, -np.inf))
                    new[text] = (same[0], np.logaddexp(same[1], token + value))
                else:
                    to_token = np.logaddexp(to_token, np.logaddexp(blank, token) + value)
                new[longer] = (to_blank, to_token)
        best = sorted(new.items(), key=lambda item: -np.logaddexp(*item[1]))
        beams = dict(best[:width])
    return [(text, np.logaddexp(*value)) for text, value in beams.items()]


@few
@given(seeds, st.sampled_from([1, 2, 3, 7]))
def test_a_narrow_beam_equals_a_search_with_dicts(seed, width):
    # Of 30 ids only the likeliest are tried, which may change nothing.
    log_probs = log_probabilities(seed, 1, 20, 31)
    found = whole(PrefixSearch(width, width), log_probs)
    check_equal(answers(found, 0), reference_beam(log_probs[0], width))


def test_texts_that_part_and_meet_again_merge():
    # With three beams a text is dropped and comes back while what it led to stays.
    search = PrefixSearch(3, 3)
    run = tf.function(lambda log_probs: whole(search, log_probs), autograph=False)
    for seed in range(30):
        log_probs = log_probabilities(seed, 1, 30, 3, scale=0.7)
        found = answers(run(tf.constant(log_probs)), 0)
        check_equal(found, reference_beam(log_probs[0], 3))
        assert len({text for text, _ in found}) == 3


@pytest.mark.parametrize("search", [GreedySearch(), PrefixSearch(4, 4)])
def test_neither_neighbours_nor_padding_change_an_answer(search):
    log_probs = log_probabilities(3, 3, 12, 6)
    silence = np.full([3, 40, 6], IMPOSSIBLE, "float32")
    silence[..., 0] = 0
    together = whole(search, np.concatenate([log_probs, silence], axis=1))
    for example in range(3):
        alone = whole(search, log_probs[example : example + 1])
        check_equal(answers(alone, 0), answers(together, example))


@settings(max_examples=2, deadline=None, derandomize=True)
@given(seeds, st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_chunks_of_any_size_give_the_answer_of_the_whole(seed, sizes):
    log_probs = log_probabilities(seed, 2, sum(sizes), 5)
    for search in (GreedySearch(), PrefixSearch(4, 2)):
        state, said = search.initial_state(2), [(), ()]
        for chunk in np.split(log_probs, np.cumsum(sizes)[:-1], axis=1):
            state = search.advance(chunk, state)
            stable = search.stable(state).numpy()
            for i in range(2):
                now = tuple(state["ids"].numpy()[i, 0, : stable[i]])
                if isinstance(search, GreedySearch):
                    assert now[: len(said[i])] == said[i]
                said[i] = now
        found, at_once = search.finish(state), whole(search, log_probs)
        for i in range(2):
            check_equal(answers(found, i), answers(at_once, i))


def test_the_stable_part_is_what_all_beams_share():
    log_probs = np.log(np.full([1, 6, 4], 0.02, "float32"))
    log_probs[0, range(6), [1, 0, 2, 0, 3, 0]] = np.log(0.94)
    search = PrefixSearch(2)
    state = search.advance(log_probs, search.initial_state(1))
    texts = state["ids"].numpy()[0]
    shared = 0
    while shared < 3 and texts[0, shared] == texts[1, shared] != 0:
        shared += 1
    assert search.stable(state).numpy().tolist() == [shared]


def test_more_answers_than_texts():
    found = whole(PrefixSearch(8, 8), log_probabilities(0, 1, 1, 3))
    assert np.isfinite(found["scores"]).sum() == 3
    assert not found["ids"].numpy()[0, 3:].any()


@pytest.mark.parametrize("search", [GreedySearch(), PrefixSearch(4, 2)])
@pytest.mark.parametrize("shape", [(0, 5, 4), (2, 0, 4)])
def test_empty_batches_and_no_frames(search, shape):
    found = whole(search, np.zeros(shape, "float32"))
    assert found["ids"].shape[0] == shape[0]
    assert not found["lengths"].numpy().any()


@pytest.mark.parametrize("options", [(0,), (2, 3), (2.5,), (2, 0)])
def test_refuses_options_out_of_range(options):
    with pytest.raises(ValueError, match=r"beam_width|n_best"):
        PrefixSearch(*options)


def test_a_graph_of_core_ops_with_free_batch_and_frames():
    search = PrefixSearch(3, 2)
    run = tf.function(
        lambda x: search.finish(search.advance(x, search.initial_state(tf.shape(x)[0]))),
        input_signature=[tf.TensorSpec([None, None, 5])],
        autograph=False,
    )
    for shape in ((2, 7), (1, 0), (0, 4)):
        log_probs = log_probabilities(1, *shape, 5)
        expected = whole(search, log_probs)
        np.testing.assert_array_equal(run(log_probs)["ids"], expected["ids"])
