import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkeras.decoders.search import beam, greedy, sample, search

PAD, START, END = 0, 1, 2
seeds = st.integers(0, 2**31 - 1)
few = settings(max_examples=6, deadline=None, derandomize=True)


class Teller:
    """A fake decoder: what comes next depends on the example, the last id and all ids before."""

    def __init__(self, seed, vocabulary=6, examples=1, scale=2.0):
        random = np.random.default_rng(seed)
        self.after = random.normal(0, scale, [vocabulary, vocabulary]).astype("float32")
        self.history = random.normal(0, scale, [31, vocabulary]).astype("float32")
        self.context = random.normal(0, scale, [examples, vocabulary]).astype("float32")
        self.steps = 0

    def state(self, chosen=slice(None)):
        context = self.context[chosen]
        return {"context": {"bias": tf.constant(context)}, "hash": tf.zeros(len(context), tf.int32)}

    def step(self, ids, state, index):
        self.steps += 1
        code = (state["hash"] * 5 + ids + index) % 31
        bias = state["context"]["bias"]
        beams = tf.shape(ids)[0] // tf.maximum(tf.shape(bias)[0], 1)
        bias = tf.repeat(bias, beams, axis=0)
        logits = tf.gather(self.after, ids) + tf.gather(self.history, code) + bias
        return logits, {"context": state["context"], "hash": code}

    def log_probabilities(self, example, prefix):
        """What `step` says after START and the prefix, in plain NumPy."""
        code = 0
        for index, word in enumerate([START, *prefix]):
            code = (code * 5 + word + index) % 31
        logits = self.after[[START, *prefix][-1]] + self.history[code] + self.context[example]
        logits = logits.astype("float64")
        return logits - np.log(np.exp(logits).sum())


def repeats(words, n):
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(runs)) < len(runs)


def continuations(teller, example, prefix, max_length, min_length=0, no_repeat_ngram=0):
    """(id, log-probability) of each id that may come after the prefix."""
    for word, value in enumerate(teller.log_probabilities(example, prefix)):
        last = len(prefix) == max_length - 1
        if word == END and len(prefix) < min_length and not last:
            continue
        if word in (PAD, START) or (last and word != END):
            continue
        if word != END and no_repeat_ngram and repeats([*prefix, word], no_repeat_ngram):
            continue
        yield word, value


def reference_beam(teller, example, max_length, width, n_best, alpha, **rules):
    """Beam search without an early stop, on Python lists."""
    alive, done = [((), 0.0)], []
    for length in range(1, max_length + 1):
        grown = [
            ((*prefix, word), score + value)
            for prefix, score in alive
            for word, value in continuations(teller, example, prefix, max_length, **rules)
        ]
        grown = sorted(grown, key=lambda item: -item[1])[:width]
        alive = [item for item in grown if item[0][-1] != END]
        penalty = ((5 + length) / 6) ** alpha
        done += [(p[:-1], score / penalty) for p, score in grown if p[-1] == END]
    return sorted(done, key=lambda item: -item[1])[:n_best]


def every_answer(teller, example, max_length, alpha):
    for count in range(max_length):
        for words in itertools.product(range(3, teller.after.shape[0]), repeat=count):
            score = sum(
                teller.log_probabilities(example, words[:i])[word]
                for i, word in enumerate([*words, END])
            )
            yield words, score / ((6 + count) / 6) ** alpha


def told(result, example=0):
    """[(words, score)] of one example, checking that nothing but zeros follows."""
    answers = []
    for ids, score, length in zip(
        *(result[k][example] for k in ("ids", "scores", "lengths")), strict=True
    ):
        assert not np.any(ids[length:])
        assert not np.isin(ids[:length], [PAD, START, END]).any()
        answers.append((tuple(ids[:length].numpy().tolist()), float(score)))
    return answers


def assert_told(result, expected, example=0):
    answers = told(result, example)
    assert [words for words, _ in answers[: len(expected)]] == [words for words, _ in expected]
    np.testing.assert_allclose(
        [score for _, score in answers],
        [score for _, score in expected] + [-np.inf] * (len(answers) - len(expected)),
        rtol=1e-5,
        atol=1e-5,
    )


@few
@given(seed=seeds, alpha=st.sampled_from([0.0, 0.6, 1.0, 2.5]))
def test_a_wide_beam_finds_the_best_of_all_answers(seed, alpha):
    teller = Teller(seed, examples=3)
    result = beam(teller.step, teller.state(), 3, 4, beam_width=36, n_best=5, length_penalty=alpha)
    for example in range(3):
        best = sorted(every_answer(teller, example, 4, alpha), key=lambda item: -item[1])[:5]
        assert_told(result, best, example)


@few
@given(
    seed=seeds,
    width=st.integers(1, 4),
    alpha=st.sampled_from([0.0, 0.6, 2.5]),
    min_length=st.integers(0, 4),
    no_repeat_ngram=st.integers(0, 3),
)
def test_beam_equals_the_plain_algorithm(seed, width, alpha, min_length, no_repeat_ngram):
    teller = Teller(seed, vocabulary=8, examples=4)
    rules = {"min_length": min_length, "no_repeat_ngram": no_repeat_ngram}
    result = beam(
        teller.step,
        teller.state(),
        4,
        7,
        beam_width=width,
        n_best=width,
        length_penalty=alpha,
        **rules,
    )
    for example in range(4):
        expected = reference_beam(teller, example, 7, width, width, alpha, **rules)
        assert_told(result, expected, example)


def test_beam_keeps_a_finished_answer_that_later_beginnings_outnumber():
    first = np.full([9, 9], -20.0, "float32")
    first[START, [END, 3, 4]] = np.log([0.4, 0.3, 0.3])
    first[3:, 3:] = np.log(1 / 6)

    def step(ids, state, index):
        return tf.gather(first, ids), state

    result = beam(step, (), 1, 6, beam_width=2, length_penalty=0.0)
    assert_told(result, [((), np.log(0.4))])


@few
@given(
    seed=seeds,
    alpha=st.sampled_from([0.0, 0.6, 2.5]),
    min_length=st.integers(0, 4),
    no_repeat_ngram=st.integers(0, 3),
)
def test_a_beam_of_one_is_greedy(seed, alpha, min_length, no_repeat_ngram):
    teller = Teller(seed, vocabulary=8, examples=3)
    rules = {"min_length": min_length, "no_repeat_ngram": no_repeat_ngram}
    options = {"length_penalty": alpha, **rules}
    one = beam(teller.step, teller.state(), 3, 7, beam_width=1, **options)
    best = greedy(teller.step, teller.state(), 3, 7, **options)
    for example in range(3):
        assert_told(one, told(best, example), example)
        assert_told(best, reference_beam(teller, example, 7, 1, 1, alpha, **rules), example)


METHODS = {
    "greedy": {},
    "beam": {"beam_width": 3, "n_best": 2},
    "sample": {"temperature": 1.5, "top_p": 0.9, "samples": 2, "seed": 7},
    "rules": {"beam_width": 3, "min_length": 2, "no_repeat_ngram": 2},
}


@pytest.mark.parametrize("options", METHODS.values(), ids=METHODS)
def test_an_answer_does_not_depend_on_the_neighbours(options):
    teller = Teller(11, vocabulary=12, examples=6)
    together = search(teller.step, teller.state(), 6, 9, **options)
    fewer = search(teller.step, teller.state(slice(4)), 4, 9, **options)
    for example in range(4):
        assert_told(fewer, told(together, example), example)
    if "seed" not in options:
        for example in range(6):
            alone = search(teller.step, teller.state([example]), 1, 9, **options)
            assert_told(alone, told(together, example))


@pytest.mark.parametrize("options", METHODS.values(), ids=METHODS)
def test_graph_equals_eager(options):
    teller = Teller(12, vocabulary=12, examples=3)

    @tf.function(
        input_signature=[
            {
                "context": {"bias": tf.TensorSpec([None, 12])},
                "hash": tf.TensorSpec([None], tf.int32),
            }
        ]
    )
    def answer(state):
        return search(teller.step, state, tf.shape(state["hash"])[0], 9, **options)

    eager = search(teller.step, teller.state(), 3, 9, **options)
    for example in range(3):
        assert_told(answer(teller.state()), told(eager, example), example)
    for name, nothing in answer(teller.state(slice(0))).items():
        assert nothing.shape == (0, *eager[name].shape[1:])


def test_an_export_answers_with_core_ops_only(tmp_path):
    teller = Teller(13, vocabulary=300, examples=3)

    class Served(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 300]), tf.TensorSpec([None])])
        def __call__(self, bias, temperature):
            rows = tf.shape(bias)[0]
            state = {"context": {"bias": bias}, "hash": tf.zeros([rows], tf.int32)}
            best = search(teller.step, state, rows, 9, beam_width=4, no_repeat_ngram=2)
            drawn = search(teller.step, state, rows, 9, temperature=temperature, top_k=9, seed=1)
            return {"best": best["ids"], "drawn": drawn["ids"]}

    served = Served()
    tf.saved_model.save(served, tmp_path)
    loaded = tf.saved_model.load(tmp_path)
    inputs = tf.constant(teller.context), tf.constant([0.0, 1.0, 9.0])
    expected = served(*inputs)
    for name, ids in loaded(*inputs).items():
        np.testing.assert_array_equal(ids, expected[name])
    best = greedy(teller.step, teller.state(), 3, 9)
    np.testing.assert_array_equal(expected["drawn"][0], best["ids"][0])

    graph = loaded.signatures["serving_default"].graph.as_graph_def()
    ops = {node.op for f in graph.library.function for node in f.node_def}
    assert not [op for op in ops if op.startswith(("Xla", "PyFunc", "EagerPyFunc"))]


def ending_at(*positions):
    """A step for as many examples, each sure to end at its position."""

    def step(ids, state, index):
        step.calls += 1
        end = tf.cast(tf.constant(positions) == index, tf.float32)
        end = tf.repeat(end, tf.shape(ids)[0] // len(positions))
        return tf.one_hot(END, 6) * (end * 40 - 20)[:, None], state

    step.calls = 0
    return step


@pytest.mark.parametrize(
    "options", [{}, {"beam_width": 3, "length_penalty": 0.0}, {"seed": 1}], ids=str
)
def test_the_loop_stops_when_every_example_has_ended(options):
    step = ending_at(2, 0, 4)
    result = search(step, (), 3, 50, **options)
    assert step.calls == 5
    assert result["lengths"][:, 0].numpy().tolist() == [2, 0, 4]


def test_the_last_step_ends_every_answer():
    result = greedy(ending_at(99), (), 1, 4, length_penalty=0.0)
    ((words, score),) = told(result)
    assert len(words) == 3
    assert score == pytest.approx(-20 - 4 * np.log(5), rel=1e-4)


def test_options_that_leave_nothing_to_say_score_minus_infinity():
    teller = Teller(14, vocabulary=5)
    rules = {"no_repeat_ngram": 1, "min_length": 4}
    for options in ({}, {"beam_width": 2}, {"seed": 1}, {"top_k": 2}, {"top_p": 0.5}):
        result = search(teller.step, teller.state(), 1, 8, **options, **rules)
        assert result["scores"].numpy().tolist() == [[-np.inf]]
        assert len(told(result)) == 1


def test_large_vocabularies_are_searched_exactly():
    for vocabulary in (1024, 1500, 3333):
        teller = Teller(vocabulary, vocabulary=vocabulary, examples=2, scale=4.0)
        result = beam(teller.step, teller.state(), 2, 6, beam_width=3, n_best=3)
        for example in range(2):
            assert_told(result, reference_beam(teller, example, 6, 3, 3, 0.6), example)
    end_last = {"end_id": 1024, "beam_width": 4, "n_best": 4}
    step = lambda ids, state, index: (tf.random.stateless_normal([4, 1025], [1, 2]), state)  # noqa: E731
    assert tf.reduce_max(search(step, (), 1, 3, **end_last)["ids"]) < 1024


def test_half_precision_and_another_start():
    table = np.eye(8, dtype="float16")[[0, 1, 2, 5, 2, 4, 2, 3]] * 9

    def step(ids, state, index):
        return tf.gather(table, ids), state

    for options in ({}, {"beam_width": 2}, {"top_k": 1}):
        result = search(step, (), 1, 6, start_id=7, **options)
        assert result["scores"].dtype == tf.float32
        assert told(result)[0][0] == (3, 5, 4)
        same = search(step, (), 1, 6, start_id=3, end_id=3, **options)
        assert same["ids"].numpy().tolist() == [[[5, 4, 2, 2, 2, 0]]]


def test_options_per_example_equal_the_same_options_alone():
    teller = Teller(15, vocabulary=12, examples=2)
    alphas = tf.constant([0.0, 2.0])
    for options in ({}, {"beam_width": 3, "n_best": 2}, {"samples": 2, "seed": 3}):
        both = search(teller.step, teller.state(), 2, 9, length_penalty=alphas, **options)
        for example, alpha in enumerate([0.0, 2.0]):
            one = search(teller.step, teller.state(), 2, 9, length_penalty=alpha, **options)
            assert_told(one, told(both, example), example)
    mixed = {"temperature": tf.constant([0.0, 1.0]), "top_p": tf.constant([1.0, 1e-6])}
    drawn = sample(teller.step, teller.state(), 2, 9, samples=3, **mixed)
    best = greedy(teller.step, teller.state(), 2, 9)
    np.testing.assert_array_equal(drawn["ids"], tf.repeat(best["ids"], 3, axis=1))


WORDS = np.log([0.4, 0.3, 0.15, 0.1, 0.05])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.4, 0.3, 0.15, 0.1, 0.05]),
        ({"temperature": 0.5}, np.square([0.4, 0.3, 0.15, 0.1, 0.05]) / 0.285),
        ({"top_k": 2}, [4 / 7, 3 / 7, 0, 0, 0]),
        ({"top_k": 99}, [0.4, 0.3, 0.15, 0.1, 0.05]),
        ({"top_p": 0.69}, [4 / 7, 3 / 7, 0, 0, 0]),
        ({"top_p": 0.71}, np.array([0.4, 0.3, 0.15, 0, 0]) / 0.85),
        ({"top_k": 3, "top_p": 0.81}, [4 / 7, 3 / 7, 0, 0, 0]),
    ],
    ids=str,
)
def test_samples_come_as_often_as_they_should(options, expected):
    order = [4, 7, 3, 6, 5]
    logits = np.full(8, -30.0, "float32")
    logits[order] = WORDS

    def step(ids, state, index):
        return tf.repeat(logits[None], tf.shape(ids)[0], axis=0), state

    result = sample(step, (), 2, 11, samples=1000, seed=5, min_length=10, **options)
    ids = result["ids"].numpy()[:, :, :10]
    often = [(ids == word).mean() for word in order]
    np.testing.assert_allclose(often, expected, atol=0.015)
    assert set(ids.ravel()) == {word for word, share in zip(order, expected, strict=True) if share}
    value = np.array(logits, "float64")[ids].sum(-1) - 30
    np.testing.assert_allclose(result["scores"], value / (16 / 6) ** 0.6, rtol=1e-4)


@pytest.mark.parametrize("vocabulary", [1024, 1500])
def test_large_vocabularies_are_sampled_exactly(vocabulary):
    chances = np.random.default_rng(1).dirichlet(np.full(vocabulary - 3, 0.01))
    logits = np.full(vocabulary, -90.0, "float32")
    logits[3:] = np.log(np.maximum(chances, 1e-30))

    def step(ids, state, index):
        return tf.repeat(logits[None], tf.shape(ids)[0], axis=0), state

    for top_p in (1.0, 0.5):
        sorted_chances = np.sort(chances)[::-1]
        count = np.searchsorted(np.cumsum(sorted_chances), top_p) + 1
        head = np.where(chances >= sorted_chances[:count][-1], chances, 0)
        result = sample(step, (), 1, 11, samples=1000, seed=5, min_length=10, top_p=top_p)
        often = np.bincount(result["ids"].numpy()[..., :10].ravel(), minlength=vocabulary)[3:]
        np.testing.assert_allclose(often / 10_000, head / head.sum(), atol=0.015)
        assert not often[head < 1e-9].any()


def test_seeds():
    teller = Teller(16, vocabulary=40, examples=3, scale=0.5)
    teller.context[:] = teller.context[0]

    def ids(chosen=slice(None), **options):
        state = teller.state(chosen)
        rows = state["hash"].shape[0]
        return sample(teller.step, state, rows, 9, samples=2, **options)["ids"].numpy()

    one = ids(seed=1)
    np.testing.assert_array_equal(one, ids(seed=1))
    np.testing.assert_array_equal(one, ids(seed=tf.constant(1)))
    assert len({answer.tobytes() for answer in one.reshape(6, 9)}) == 6
    assert not np.array_equal(one, ids(seed=2))
    assert not np.array_equal(ids(), ids())
    own = ids(seed=tf.constant([5, 6, 5]))
    np.testing.assert_array_equal(own[0], own[2])
    np.testing.assert_array_equal(own[1:2], ids([1], seed=tf.constant([6])))


@few
@given(seed=seeds, n=st.integers(1, 4))
def test_no_run_of_ids_comes_twice(seed, n):
    teller = Teller(seed, vocabulary=7, examples=4, scale=4.0)
    options = {"no_repeat_ngram": n, "min_length": 3}
    for method in ({"beam_width": 3, "n_best": 3}, {"samples": 4, "seed": seed}):
        result = search(teller.step, teller.state(), 4, 9, **options, **method)
        answers = [words for example in range(4) for words, _ in told(result, example)]
        assert not any(repeats(words, n) for words in answers)


def test_unused_rules_add_no_ops():
    def count(**options):
        function = tf.function(
            lambda: greedy(lambda ids, state, index: (tf.zeros([2, 9]), state), (), 2, 5, **options)
        )
        graph = function.get_concrete_function().graph.as_graph_def()
        return sum(len(f.node_def) for f in graph.library.function)

    assert count() == count(min_length=2) < count(no_repeat_ngram=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"beams": 3},
            r"`options` should be among \[.*'beam_width'.*Received: options=\['beams'\]",
        ),
        ({"beam_width": 2, "top_k": 3}, "`options` should be of beam search or of sampling"),
        ({"n_best": 3, "beam_width": 2}, "`n_best` should be at most `beam_width`.*n_best=3"),
        ({"beam_width": 0}, "`beam_width` should be a whole number from 1. Received: beam_width=0"),
        ({"beam_width": 2.5}, "`beam_width` should be a whole number"),
        ({"n_best": 0}, "`n_best` should be a whole number from 1"),
        ({"samples": 0}, "`samples` should be a whole number from 1"),
        ({"top_k": -1}, "`top_k` should be a whole number from 0"),
        ({"top_p": 0.0}, "`top_p` should be above 0.0 and at most 1.0. Received: top_p=0.0"),
        ({"top_p": 1.1}, "`top_p` should be"),
        ({"temperature": 0}, "`temperature` should be above 0.0. Received: temperature=0"),
        ({"length_penalty": -1}, "`length_penalty` should be from 0.0. Received"),
        ({"length_penalty": float("nan")}, "`length_penalty` should be"),
        ({"min_length": 9}, "`min_length` should be below `max_length`"),
        ({"min_length": -1}, "`min_length` should be a whole number from 0"),
        ({"no_repeat_ngram": -1}, "`no_repeat_ngram` should be a whole number from 0"),
        ({"max_length": 0}, "`max_length` should be a whole number from 1"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(options, message):
    def step(ids, state, index):
        raise AssertionError("refused before the first step")

    with pytest.raises(ValueError, match=message):
        search(step, (), 1, **{"max_length": 9, **options})


def test_options_of_none_are_not_given():
    teller = Teller(17)
    given_none = search(
        teller.step, teller.state(), 1, 5, beam_width=None, temperature=None, seed=None
    )
    assert_told(given_none, told(greedy(teller.step, teller.state(), 1, 5)))


@few
@given(seeds)
def test_limits_of_examples_are_those_of_searches_alone(seed):
    """Each example of a batch is searched as if it had its width and its length to itself."""
    widths, lengths = [1, 4, 2], [7, 3, 5]
    teller = Teller(seed, examples=3)
    found = {
        "beam": beam(
            teller.step,
            teller.state(),
            3,
            7,
            beam_width=4,
            beam_limit=tf.constant(widths),
            length_limit=tf.constant(lengths),
        ),
        "greedy": greedy(teller.step, teller.state(), 3, 7, length_limit=tf.constant(lengths)),
        "sample": sample(
            teller.step,
            teller.state(),
            3,
            7,
            samples=2,
            seed=tf.constant([5, 6, 7]),
            length_limit=tf.constant(lengths),
        ),
    }
    for i, (width, length) in enumerate(zip(widths, lengths, strict=True)):
        one = (teller.step, teller.state(slice(i, i + 1)), 1, length)
        alone = {"beam": beam(*one, beam_width=width), "greedy": greedy(*one)}
        for name, each in alone.items():
            ids = found[name]["ids"][i].numpy()
            assert ids[:, :length].tolist() == each["ids"][0].numpy().tolist()
            assert not ids[:, length:].any()
            np.testing.assert_allclose(found[name]["scores"][i], each["scores"][0], rtol=1e-5)
        assert (found["sample"]["lengths"][i] < length).numpy().all()


@pytest.mark.parametrize("options", [{"beam_limit": 0}, {"length_limit": 0}])
def test_limits_are_above_0(options):
    (name,) = options
    with pytest.raises(ValueError, match=rf"`{name}` should be a whole number from 1"):
        beam(Teller(0).step, Teller(0).state(), 1, 4, **options)
