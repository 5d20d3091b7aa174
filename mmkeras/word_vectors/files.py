"""Files of word vectors, read as a stream: word2vec's text and binary formats, and GloVe's text."""

import gzip
import itertools
import os
import re
import zlib
from collections import defaultdict

import numpy as np

KINDS = ("glove", "word2vec", "word2vec_binary")

_HEADER = re.compile(rb"(\d+) +(\d+)\s*")
_AT_ONCE = 1 << 20
_LONGEST_WORD = 1 << 16  # bytes; a longer one means that the file holds something else
_NUMBER = frozenset(b"0123456789+-.eE \r\nainf")


def read_word_vectors(path, tokenizer, kind=None, any_case=False, counts=None, seed=0):
    """Reads the vectors of a tokenizer's words from a file of many more.

    The file is read once, as a stream, and only what is asked for is kept: memory grows with the
    vocabulary and not with the file. What is wrong with the numbers of other words is not seen.

    Args:
        path: A file, plain or compressed with gzip.
        tokenizer: A `WordTokenizer`.
        kind: `"word2vec"` (text that begins with a line `WORDS DIMENSIONS`), `"word2vec_binary"`,
            `"glove"` (the same text without that line), or None to tell it by how the file begins.
        any_case: Whether a word that the file lacks takes the vector of its lower-cased, else
            capitalised, else upper-cased form.
        counts: How often each id occurs in the training texts, see `count_tokens`, for the report.
        seed: Of the vectors that the file lacks.

    Returns:
        The vectors `(vocabulary_size, dimensions)`, float32, one row per id: of padding zero, and
        of what the file lacks, special tokens too, normal random numbers as large as the others;
        and a report: a dict of how many words were `found` and how many are `missing`, the
        `missing_words`, most frequent first, and with `counts` the `missing_share` of all tokens
        that are one of these or unknown to the tokenizer.

    Raises:
        ValueError: naming the file, and the line or word at fault; or if it holds no word of the
            tokenizer.

    Example:

    ```python
    import mmkeras as mm

    words = mm.train_tokenizer(train["caption"], kind="word")
    vectors, report = mm.read_word_vectors("glove.6B.100d.txt.gz", words)
    print(report["missing"], report["missing_words"][:10])
    encoder = mm.text_rnn(words.vocabulary_size, vectors=vectors)
    ```
    """
    path = os.fspath(path)
    if kind is not None and kind not in KINDS:
        raise ValueError(f"`kind` should be one of {list(KINDS)} or None. Received: kind={kind!r}")
    special = len(tokenizer.reserved)
    wanted = _wanted(tokenizer.vocabulary, special, any_case)
    found, read = {}, set()
    try:
        for place, word, vector in _vectors(path, kind or _kind_of(path), wanted):
            if word in read:
                _refuse(path, place, "a word that was not there before", repr(word.decode()))
            read.add(word)
            for rank, index in wanted[word]:
                if index not in found or rank < found[index][0]:
                    found[index] = rank, vector
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} should be a whole gzip file. Received: {error}") from None
    if not found:
        raise ValueError(
            f"{path} holds none of the {tokenizer.vocabulary_size - special} words of the tokenizer"
        )
    vectors = np.stack([vector for _, vector in found.values()])
    table = np.random.default_rng(seed).normal(
        scale=np.sqrt(np.mean(np.square(vectors, dtype="float64"))),
        size=(tokenizer.vocabulary_size, vectors.shape[1]),
    )
    table[0] = 0.0
    table[list(found)] = vectors
    missing = [i for i in range(special, tokenizer.vocabulary_size) if i not in found]
    return table.astype("float32"), _report(tokenizer, len(found), missing, counts)


def _wanted(vocabulary, special, any_case):
    """`{spelling: [(rank, id), ...]}`: lower ranks are the better spellings of an id."""
    wanted = defaultdict(list)
    for index, word in enumerate(vocabulary[special:], special):
        others = [word.lower(), word.capitalize(), word.upper()] if any_case else []
        for rank, spelling in enumerate(dict.fromkeys([word, *others])):
            wanted[spelling.encode()].append((rank, index))
    return wanted


def _report(tokenizer, found, missing, counts):
    vocabulary = tokenizer.vocabulary
    report = {
        "found": found,
        "missing": len(missing),
        "missing_words": [vocabulary[i] for i in missing],
    }
    if counts is not None:
        counts = np.asarray(counts)
        if counts.shape != (len(vocabulary),):
            raise ValueError(
                f"`counts` should be ({len(vocabulary)},), one per id of the vocabulary. "
                f"Received: shape {counts.shape}"
            )
        lacking = counts[missing].sum() + counts[tokenizer.unknown_id]
        report["missing_share"] = float(lacking / max(counts.sum(), 1))
    return report


def _open(path):
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else open(path, "rb")


def _kind_of(path):
    with _open(path) as file:
        header = _HEADER.fullmatch(file.readline(_LONGEST_WORD))
        if not header:
            return "glove"
        # Text has a digit and a space at least for every number, all on the line of the word.
        _, _, numbers = file.read(_LONGEST_WORD).partition(b" ")
        text = _NUMBER.issuperset(numbers[: 2 * int(header[2]) - 1])
        return "word2vec" if text else "word2vec_binary"


def _vectors(path, kind, wanted):
    """`(place in the file, word, vector)` of the words that are wanted."""
    with _open(path) as file:
        first = file.readline()
        if not first:
            raise ValueError(f"{path} should hold word vectors. Received: an empty file")
        header = _HEADER.fullmatch(first)
        if kind == "glove":
            records = _glove(path, file, first)
        elif not header or not int(header[2]):
            _refuse(path, "line 1", "`WORDS DIMENSIONS`", _shown(first))
        else:
            read = _word2vec if kind == "word2vec" else _binary
            records = read(path, file, *map(int, header.groups()))
        for place, word, numbers in records:
            if word in wanted:
                yield place, word, _checked(path, place, numbers)


def _glove(path, file, first):
    dimensions = first.rstrip(b" \r\n").count(b" ")
    if not dimensions:
        _refuse(path, "line 1", "a word and its numbers", _shown(first))
    for number, line in enumerate(itertools.chain([first], file), 1):
        yield _split(path, number, line, dimensions)


def _word2vec(path, file, words, dimensions):
    number = 1
    for number, line in enumerate(file, 2):
        yield _split(path, number, line, dimensions)
    if number - 1 != words:
        _refuse(path, "line 1", f"the number of words that follow, {number - 1}", words)


def _split(path, number, line, dimensions):
    """A line of text -> its place, its word, and the numbers as text."""
    line = line.rstrip(b" \r\n")
    spaces = line.count(b" ")
    # Some words of GloVe's Common Crawl vectors have spaces in them.
    start = line.index(b" ") if spaces == dimensions else len(line.rsplit(b" ", dimensions)[0])
    word = line[:start]
    if spaces < dimensions or (spaces > dimensions and _is_number(word.rpartition(b" ")[2])):
        _refuse(path, f"line {number}", f"a word and {dimensions} numbers", _shown(line))
    return f"line {number}", word, line[start + 1 :]


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _binary(path, file, words, dimensions):
    """Each word, a space, its numbers as bytes, and maybe the end of a line."""
    data, start, size = b"", 0, 4 * dimensions
    for number in range(1, words + 1):
        while (space := data.find(b" ", start)) < 0 or len(data) < space + 1 + size:
            more = file.read(_AT_ONCE) if space >= 0 or len(data) - start < _LONGEST_WORD else b""
            if not more:
                what = "a word and its numbers" if space < 0 else f"{dimensions} whole numbers"
                _refuse(path, f"word {number} of {words}", what, _shown(data[start:]))
            data, start = data[start:] + more, 0
        word = data[start:space].lstrip(b"\n")
        start = space + 1 + size
        yield f"word {number}", word, np.frombuffer(data, "<f4", dimensions, space + 1)
    rest = data[start:] + file.read(_LONGEST_WORD)
    if rest.strip(b"\n"):
        _refuse(path, "line 1", "the number of words", f"{words}, and more after as many")


def _checked(path, place, numbers):
    try:
        vector = np.array(
            [float(x) for x in numbers.split(b" ")] if isinstance(numbers, bytes) else numbers,
            "float32",
        )
    except ValueError as error:
        _refuse(path, place, "numbers after the word", error)
    if not np.isfinite(vector).all():
        _refuse(path, place, "finite numbers", vector[~np.isfinite(vector)][0])
    return vector


def _shown(data):
    return repr(data[:60].decode("utf-8", "replace"))


def _refuse(path, place, wanted, received):
    raise ValueError(f"{path}, {place}: should be {wanted}. Received: {received}")


def write_word_vectors(path, words, vectors, kind="word2vec"):
    """Writes word vectors, compressed if the name ends in `.gz`.

    Args:
        path: The file.
        words: List of str, without spaces.
        vectors: `(words, dimensions)`.
        kind: `"word2vec"`, `"word2vec_binary"` or `"glove"`, see `read_word_vectors`.

    Raises:
        ValueError: naming the argument and the word at fault.

    Example:

    ```python
    import mmkeras as mm

    first = len(words.reserved)
    mm.write_word_vectors("vectors.txt.gz", words.vocabulary[first:], vectors[first:])
    ```
    """
    vectors = np.asarray(vectors, "<f4")
    _check_to_write(words, vectors, kind)
    path = os.fspath(path)
    with (gzip.open if path.endswith(".gz") else open)(path, "wb") as file:
        if kind != "glove":
            file.write(b"%d %d\n" % vectors.shape)
        for word, vector in zip(words, vectors, strict=True):
            binary = kind == "word2vec_binary"
            # NumPy writes the fewest digits that give the same number again.
            numbers = vector.tobytes() if binary else " ".join(vector.astype(str)).encode()
            file.write(word.encode() + b" " + numbers + b"\n")


def _check_to_write(words, vectors, kind):
    if kind not in KINDS:
        raise ValueError(f"`kind` should be one of {list(KINDS)}. Received: kind={kind!r}")
    if vectors.ndim != 2 or not vectors.shape[1] or len(vectors) != len(words):
        raise ValueError(
            f"`vectors` should be ({len(words)}, dimensions), a row per word. "
            f"Received: shape {vectors.shape}"
        )
    if not np.isfinite(vectors).all():
        word = words[np.argmin(np.isfinite(vectors).all(axis=1))]
        raise ValueError(f"`vectors` should be finite. Received: others for {word!r}")
    seen = set()
    for word in words:
        if not word or " " in word or "\n" in word or word in seen:
            raise ValueError(
                "`words` should be neither empty nor twice there, and without spaces and ends of "
                f"lines. Received: {word!r}"
            )
        seen.add(word)
