import gzip
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import mmkeras as mm

KINDS = ["glove", "word2vec", "word2vec_binary"]
SPECIAL = ["[PAD]", "[START]", "[END]", "[UNK]"]
RECIPE = Path(__file__).parents[1] / "recipes" / "word_vectors.py"

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
spellings = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=" \n"), min_size=1)
finite = st.floats(-(2.0**99), 2.0**99, width=32)


@st.composite
def word_vectors(draw):
    words = draw(st.lists(spellings, min_size=1, max_size=8, unique=True))
    shape = (len(words), draw(st.integers(1, 5)))
    return words, draw(arrays.arrays("float32", shape, elements=finite))


def tokenizer(*words):
    return mm.WordTokenizer([*SPECIAL, *words], lowercase=False)


def written(path, content, kind="glove"):
    """A file of these words and vectors, or of these bytes."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        vectors = np.array(list(content.values()), "float32")
        mm.write_word_vectors(path, list(content), vectors, kind)
    return path


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("kind", KINDS)
@quick
@given(word_vectors())
def test_what_is_written_is_read(tmp_path, kind, suffix, content):
    words, vectors = content
    path = tmp_path / f"vectors{suffix}"
    mm.write_word_vectors(path, words, vectors, kind)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == bool(suffix)
    table, report = mm.read_word_vectors(path, tokenizer(*words[::-1]), kind)
    np.testing.assert_array_equal(table[4:], vectors[::-1])
    assert table.dtype == np.float32
    assert report == {"found": len(words), "missing": 0, "missing_words": []}


@pytest.mark.parametrize("kind", KINDS)
@quick
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_by_name(tmp_path, kind, content):
    path = written(tmp_path / "bytes", content)

    def found(kind):
        try:
            return mm.read_word_vectors(path, tokenizer("a", "b"), kind)[0]
        except ValueError as error:
            return str(error)

    for answer in (found(kind), found(None)):
        assert str(path) in answer if isinstance(answer, str) else np.isfinite(answer).all()


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_is_told_by_how_the_file_begins(tmp_path, kind, suffix):
    random = np.random.default_rng(0)
    vectors = {f"word{i}": random.normal(size=50) for i in range(200)}
    path = written(tmp_path / f"vectors{suffix}", vectors, kind)
    table, report = mm.read_word_vectors(path, tokenizer("word0", "word199"))
    np.testing.assert_allclose(table[4:], [vectors["word0"], vectors["word199"]], rtol=1e-6)
    assert report["missing"] == 0


def test_files_of_other_tools(tmp_path):
    """The original word2vec ends lines with a space, others end binary vectors with nothing."""
    path = written(tmp_path / "text", b"2 2 \r\na 0.5 -2.5e-1 \r\nb 1 2 \r\n")
    assert mm.read_word_vectors(path, tokenizer("b", "a"))[0][4:].tolist() == [[1, 2], [0.5, -0.25]]
    numbers = np.array([[1, 2], [3, 4]], "<f4")
    binary = b"2 2\na " + numbers[0].tobytes() + b"b " + numbers[1].tobytes()
    path = written(tmp_path / "binary", binary)
    assert mm.read_word_vectors(path, tokenizer("b", "a"))[0][4:].tolist() == [[3, 4], [1, 2]]
    # In GloVe's vectors of Common Crawl some words have spaces.
    path = written(tmp_path / "crawl", b"a 1 2\n. . . 3 4\nat me@x.org 5 6\nb 7 8\n")
    assert mm.read_word_vectors(path, tokenizer("b", "a"))[0][4:].tolist() == [[7, 8], [1, 2]]


def test_what_the_file_lacks_is_drawn_at_the_same_scale(tmp_path):
    random = np.random.default_rng(0)
    path = written(tmp_path / "f", {f"word{i}": random.normal(3, 4, size=50) for i in range(40)})
    words = tokenizer(*(f"word{i}" for i in range(400)))
    table, report = mm.read_word_vectors(path, words)
    assert report["found"] == 40
    assert report["missing_words"][:2] == ["word40", "word41"]
    assert not table[0].any()
    found, drawn = table[4:44], np.concatenate([table[1:4], table[44:]])
    assert np.mean(drawn**2) == pytest.approx(np.mean(found**2), rel=0.05)
    assert len({row.tobytes() for row in drawn}) == len(drawn)
    np.testing.assert_array_equal(mm.read_word_vectors(path, words)[0], table)
    other, _ = mm.read_word_vectors(path, words, seed=1)
    np.testing.assert_array_equal(other[4:44], found)
    assert not np.any(other[44:] == table[44:])


def test_the_report_counts_tokens(tmp_path):
    path = written(tmp_path / "f", {"a": [1], "dog": [2]})
    words = tokenizer("a", "dog", "runs")
    counts = mm.count_tokens(["a dog runs", ["a cat runs", "and runs"]], words)
    assert counts.tolist() == [0, 0, 0, 2, 2, 1, 3]
    _, report = mm.read_word_vectors(path, words, counts=counts)
    assert report == {
        "found": 2,
        "missing": 1,
        "missing_words": ["runs"],
        "missing_share": 5 / 8,
    }


def test_other_cases_stand_in_where_the_word_itself_is_not_there(tmp_path):
    content = {"PARIS": [1], "Paris": [2], "NATO": [3], "dog": [4], "it": [5], "IT": [6]}
    path = written(tmp_path / "f", content)
    words = tokenizer("paris", "nato", "Dog", "IT", "It", "cat")
    table, report = mm.read_word_vectors(path, words, any_case=True)
    assert table[4:9, 0].tolist() == [2, 3, 4, 6, 5]
    assert report["missing_words"] == ["cat"]
    _, strict = mm.read_word_vectors(path, words)
    assert strict["missing_words"] == ["paris", "nato", "Dog", "It", "cat"]


@pytest.mark.parametrize("kind", KINDS)
def test_memory_does_not_grow_with_the_file(tmp_path, kind):
    names = [f"word{i}" for i in range(20_000)]
    path = tmp_path / "many"
    mm.write_word_vectors(path, names, np.random.rand(20_000, 64).astype("float32"), kind)
    assert path.stat().st_size > 5_000_000
    words = tokenizer("word7")
    tracemalloc.start()
    mm.read_word_vectors(path, words, kind)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4_000_000


WRONG = {
    "empty": (None, b"", "an empty file"),
    "no_words": ("glove", b"x 1 2\n", "none of the 2 words"),
    "no_numbers": (None, b"hello\n", "line 1: should be a word and its numbers. Received: 'hello"),
    "header": ("word2vec", b"a 1 2\n", "line 1: should be `WORDS DIMENSIONS`. Received: 'a 1 2"),
    "no_dimensions": (None, b"1 0\na\n", "line 1: should be `WORDS DIMENSIONS`"),
    "fewer": ("word2vec", b"3 1\na 1\nb 2\n", "line 1: should be the number of words that follow"),
    "more": ("word2vec", b"1 1\na 1\nb 2\n", "the number of words that follow, 2. Received: 1"),
    "ragged": (None, b"a 1 2\nx 3\n", "line 2: should be a word and 2 numbers. Received: 'x 3'"),
    "long": (None, b"a 1 2\nx 3 4 5\n", "line 2: should be a word and 2 numbers"),
    "blank": (None, b"a 1 2\n\nb 3 4\n", "line 2: should be a word and 2 numbers. Received: ''"),
    "letters": (None, b"x 1 2\na 1 two\n", "line 2: should be numbers after the word. .*two"),
    "nan": (None, b"x 1 2\na 1 nan\n", "line 2: should be finite numbers. Received: nan"),
    "inf": (None, b"b -inf 2\n", "line 1: should be finite numbers. Received: -inf"),
    "twice": (None, b"a 1\nx 2\na 3\n", "line 3: .* not there before. Received: 'a'"),
    "cut_word": ("word2vec_binary", b"2 1\na 1234b", "word 2 of 2: should be a word"),
    "cut_numbers": ("word2vec_binary", b"2 2\na 12345678b 123", "word 2 of 2: .* 2 whole numbers"),
    "left_over": ("word2vec_binary", b"1 1\na 1234b 5678", "should be the number of words"),
    "binary_nan": ("word2vec_binary", b"1 1\na \xff\xff\xff\xff", "word 1: .* finite numbers"),
    "cut_gzip": (None, gzip.compress(b"a 1 2\n")[:-9], "should be a whole gzip file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(tmp_path, name):
    kind, content, message = WRONG[name]
    path = written(tmp_path / name, content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}.*{message}"):
        mm.read_word_vectors(path, tokenizer("a", "b"), kind)


def test_errors_name_the_argument(tmp_path):
    path = written(tmp_path / "f", {"a": [1]})
    with pytest.raises(ValueError, match="`kind` should be one of"):
        mm.read_word_vectors(path, tokenizer("a"), "fasttext")
    with pytest.raises(ValueError, match=r"`counts` should be \(5,\)"):
        mm.read_word_vectors(path, tokenizer("a"), counts=[1])
    with pytest.raises(FileNotFoundError):
        mm.read_word_vectors(tmp_path / "none", tokenizer("a"))
    for words, vectors, message in (
        (["a"], [[1], [2]], "`vectors` should be .* a row per word"),
        (["a"], [1], "`vectors` should be"),
        (["a", "b"], [[1], [np.nan]], "finite. Received: others for 'b'"),
        (["a b"], [[1]], "`words` should be .* Received: 'a b'"),
        (["a", "a"], [[1], [2]], "`words` should be"),
        ([""], [[1]], "`words` should be"),
    ):
        with pytest.raises(ValueError, match=message):
            mm.write_word_vectors(path, words, np.array(vectors, "float32"))
    with pytest.raises(ValueError, match="`kind` should be one of"):
        mm.write_word_vectors(path, ["a"], np.ones((1, 1)), "fasttext")


def topics():
    """Texts of two topics, whose words never stand beside those of the other."""
    random = np.random.default_rng(0)
    for _ in range(300):
        topic = random.choice(["abcd", "wxyz"])
        yield " ".join(random.choice(list(topic), 5))


def near_and_far(words, vectors):
    """Mean cosine of words of one topic and of two."""
    rows = vectors[[words.vocabulary.index(word) for word in "abcdwxyz"]]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = (rows @ rows.T).reshape(2, 4, 2, 4)
    near = (cosines[0, :, 0].sum() + cosines[1, :, 1].sum() - 8) / 24
    return near, cosines[0, :, 1].mean()


def test_skip_gram_learns_who_stands_beside_whom():
    keras.utils.set_random_seed(0)
    texts = list(topics())
    words = mm.train_tokenizer(texts)
    model = mm.skip_gram(words.vocabulary_size, 8, learning_rate=0.05)
    data = mm.skip_gram_pairs(texts, words, 2, subsample=1, batch_size=256)
    losses = model.fit(data, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    near, far = near_and_far(words, model.get_layer("words").get_weights()[0])
    assert near > far + 0.5


def test_glove_learns_who_stands_beside_whom():
    keras.utils.set_random_seed(0)
    # GloVe learns from counts alone, so it needs pairs of the two topics to tell them apart.
    texts = [*topics(), "a w", "b x", "c y", "d z", "a z", "b w", "c x", "d y"]
    words = mm.train_tokenizer(texts)
    model = mm.glove(words.vocabulary_size, 8, learning_rate=0.05)
    losses = model.fit(mm.glove_pairs(texts, words, batch_size=8), epochs=30, verbose=0)
    assert losses.history["loss"][-1] < losses.history["loss"][0]
    near, far = near_and_far(words, model.get_layer("words").get_weights()[0])
    assert near > far + 0.5


def pairs_of(data):
    return [
        (word, other)
        for x, labels in data
        for word, other in zip(x["word"].numpy(), x["others"].numpy()[:, 0], strict=True)
        if labels.numpy()[0, 0] == 1
    ]


def test_skip_gram_pairs_are_true_and_the_rest_are_drawn():
    words = tokenizer("a", "b", "c", "d")
    texts = ["a b [what] c", "d"] * 40
    data = mm.skip_gram_pairs(texts, words, window=2, negatives=3, subsample=1, batch_size=50)
    (x, labels), *_ = data
    assert x["others"].shape == (50, 4)
    assert labels.numpy().tolist() == [[1, 0, 0, 0]] * 50
    # [UNK] is not there: b stands beside c. No pair crosses from one text to the next.
    apart = {(4, 5): 1, (5, 6): 1, (4, 6): 2}
    pairs = pairs_of(data)
    assert {tuple(sorted(pair)) for pair in pairs} == set(apart)
    noise = np.concatenate([x["others"].numpy()[:, 1:].ravel() for x, _ in data])
    assert set(noise) == {4, 5, 6, 7}
    # Of words two apart half of the windows take note.
    times = {pair: sum(tuple(sorted(p)) == pair for p in pairs) for pair in apart}
    assert times[4, 6] < 0.75 * times[4, 5]


def test_skip_gram_pairs_follow_the_seed_and_differ_by_epoch():
    texts = list(topics())
    words = mm.train_tokenizer(texts)

    def epochs(seed):
        data = mm.skip_gram_pairs(texts, words, 2, 2, subsample=1, batch_size=64, seed=seed)
        return [[x["others"].numpy().tolist() for x, _ in data] for _ in range(2)], len(data)

    (first, second), steps = epochs(0)
    assert epochs(0) == ([first, second], steps)
    assert first != second
    assert epochs(1)[0][0] != first
    assert len(first) == len(second) == steps


def test_frequent_words_are_left_out_more():
    texts = ["a b"] * 900 + ["c d"] * 100
    words = mm.train_tokenizer(texts)
    pairs = pairs_of(mm.skip_gram_pairs(texts, words, 1, 1, subsample=0.05))
    share = np.mean([words.vocabulary[word] in "cd" for word, _ in pairs])
    assert 0.2 < share < 0.8


def test_glove_pairs_are_counted_by_how_far_apart():
    words = tokenizer("a", "b", "c")
    data = mm.glove_pairs(["a b [what] c", "b a", "c"], words, window=2, enough=2, batch_size=99)
    ((x, logarithms, weights),) = data
    counts = dict(
        zip(
            zip(x["word"].numpy().tolist(), x["other"].numpy().tolist(), strict=True),
            np.exp(logarithms).tolist(),
            strict=True,
        )
    )
    one_way = {(4, 5): 2, (4, 6): 0.5, (5, 6): 1}
    assert counts == pytest.approx({**one_way, **{pair[::-1]: n for pair, n in one_way.items()}})
    expected = [min(n / 2, 1) ** 0.75 for n in np.exp(logarithms)]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


@pytest.mark.parametrize("pairs", [mm.skip_gram_pairs, mm.glove_pairs])
def test_texts_without_pairs_are_refused(pairs):
    for texts in (["x y", ""], ["a", "b"]):
        with pytest.raises(ValueError, match="`texts` should hold words beside each other"):
            pairs(texts, tokenizer("a", "b"), window=1)


@pytest.mark.parametrize("method", ["skip_gram", "glove"])
def test_the_recipe(method, tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(topics()))
    out = tmp_path / "vectors.txt.gz"
    command = [sys.executable, RECIPE, "--method", method, "--path", tmp_path / "texts.txt"]
    command += ["--out", out, "--dimensions", "8", "--epochs", "1", "--words", "a", "z"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"^a: [b-z] 0\.\d\d, ", done.stdout, re.MULTILINE)
    table, report = mm.read_word_vectors(out, tokenizer(*"abcdwxyz"))
    assert table.shape == (12, 8)
    assert report["missing"] == 0
