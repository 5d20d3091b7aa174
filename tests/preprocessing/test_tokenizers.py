"""Tokenizers: what they split, that they round-trip, and that they run and export as core ops."""

import json
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tensorflow.python.framework import op_def_registry

from mmkeras.preprocessing import tokenizers
from mmkeras.preprocessing.tokenizers import (
    CharacterTokenizer,
    SubwordTokenizer,
    WordTokenizer,
    train_tokenizer,
)

SHARED = Path(__file__).parents[3] / "shared" / "data"
KINDS = ["word", "character", "subword"]
SPECIAL = ["[PAD]", "[START]", "[END]", "[UNK]"]
BYTES = [chr(byte) for byte in range(256)]

TEXTS = [
    "A dog runs on the green grass.",
    "Two dogs run, a man's t-shirt is 3.5 m away!",
    "一只狗在草地上奔跑。 犬が走る",
    "كلب يركض على العشب",
    "family 👨‍👩‍👧‍👦 waves 👋🏽 हिन्दी",
    "Ein Mädchen läuft über die Straße",
]
HARD = [
    "",
    " ",
    "\0",
    "a\0b\n\tc\r\n",
    "\u2028\u3000x\u00a0y",
    "👨‍👩‍👧",
    "שלום עולם",
    "e\u0301\u200d\ufffd",
]

quick = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
unicode_batches = st.lists(st.text(max_size=30) | st.sampled_from(TEXTS + HARD), max_size=5)
byte_batches = st.lists(
    st.binary(max_size=40)
    | st.text(max_size=20).map(str.encode)
    | st.sampled_from([text.encode() for text in TEXTS + HARD]),
    max_size=5,
)


@pytest.fixture(scope="module")
def trained():
    return {kind: train_tokenizer(TEXTS * 3, kind, vocabulary_size=400) for kind in KINDS}


@pytest.fixture(scope="module")
def in_graph(trained):
    """Each tokenizer's encode, traced once for any batch."""
    signature = [tf.TensorSpec([None], tf.string)]
    return {kind: tf.function(trained[kind].encode, signature) for kind in KINDS}


def decoded(tokenizer, ids):
    return tokenizer.decode(ids).numpy().tolist()


def words_of(text, **options):
    tokenizer = train_tokenizer([text], vocabulary_size=10_000, **options)
    return [tokenizer.vocabulary[i] for i in tokenizer.encode([text])[0].numpy()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A dog, running.", ["a", "dog", ",", "running", "."]),
        ("The man's T-shirt", ["the", "man", "'s", "t-shirt"]),
        ("DON'T 'quote'", ["don", "'t", "'", "quote", "'"]),
        ("3.5 of 10,000 at 12:30.", ["3.5", "of", "10,000", "at", "12:30", "."]),
        ("a -- b_c", ["a", "-", "-", "b", "_", "c"]),
        ("一只dog跑。", ["一", "只", "dog", "跑", "。"]),
        ("カー와 한국어", ["カ", "ー", "와", "한국어"]),
        ("हिन्दी ÉCOLE straße", ["हिन्दी", "école", "straße"]),
        ("hi👨‍👩‍👧👋🏽!", ["hi", "👨‍👩‍👧", "👋🏽", "!"]),
        ("a\0b\u00a0c\u3000d\u2028e\nf", ["a", "b", "c", "d", "e", "f"]),
    ],
)
def test_word_tokenizer_splits(text, words):
    assert words_of(text) == words


def test_word_tokenizer_keeps_case_on_request():
    assert words_of("A Dog's", lowercase=False) == ["A", "Dog", "'s"]


def test_word_vocabulary_is_by_count_then_spelling():
    tokenizer = train_tokenizer(["b a c", "c b d"], vocabulary_size=7)
    assert tokenizer.vocabulary == [*SPECIAL, "b", "c", "a"]
    assert tokenizer.vocabulary_size == 7


def test_unknown_words_and_characters():
    words = WordTokenizer([*SPECIAL, "a", "dog"])
    assert words.encode(["a red dog"]).to_list() == [[4, 3, 5]]
    assert decoded(words, [[4, 3, 5]]) == [b"a [UNK] dog"]
    characters = CharacterTokenizer([*SPECIAL, "a", "b"])
    assert characters.encode(["abA"]).to_list() == [[4, 5, 3]]
    assert decoded(characters, [[4, 5, 3]]) == ["ab\ufffd".encode()]


def test_lowercase_loses_nothing_after_a_nul():
    assert words_of("A\0B") == ["a", "b"]
    tokenizer = train_tokenizer(["A\0B"], "character", lowercase=True)
    assert decoded(tokenizer, tokenizer.encode(["aB", "A\0B"])) == [b"ab", "a\ufffdb".encode()]


def test_minimum_count():
    assert train_tokenizer(["a b", "a"], minimum_count=2).vocabulary == [*SPECIAL, "a"]
    assert train_tokenizer(["aab"], "character", minimum_count=2).vocabulary == [*SPECIAL, "a"]
    pieces = train_tokenizer(["ab", "ab", "cd"], "subword", minimum_count=2).vocabulary
    assert pieces[259:] == ["ab"]
    with pytest.raises(ValueError, match="`minimum_count` should be at most 2"):
        train_tokenizer(["a b", "a"], minimum_count=3)


def test_subword_pieces_are_the_commonest_pairs_first():
    tokenizer = train_tokenizer(["low low lower lowest"], "subword", vocabulary_size=263)
    assert tokenizer.vocabulary[3:259] == BYTES
    assert tokenizer.vocabulary[259:] == ["lo", "low", " low", " lowe"]


@quick
@given(st.lists(st.text("abc", min_size=1, max_size=12), min_size=1, max_size=6))
def test_subword_training_equals_counting_all_pairs_anew(words):
    sequences, learned = [list(word) for word in words], []
    while len(learned) < 20:
        pairs = Counter(pair for sequence in sequences for pair in pairwise(sequence))
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if "".join(best) not in learned:
            learned.append("".join(best))
        for sequence in sequences:
            at = 0
            while at < len(sequence) - 1:
                if tuple(sequence[at : at + 2]) == best:
                    sequence[at : at + 2] = ["".join(best)]
                at += 1
    assert train_tokenizer(words, "subword", vocabulary_size=279).vocabulary[259:] == learned


def test_subword_takes_the_longest_piece():
    tokenizer = SubwordTokenizer([*SPECIAL[:3], *BYTES, "ab", "abcd", "bc"])
    assert tokenizer.encode(["abc", "abcd", "xbc"]).to_list() == [
        [259, 3 + ord("c")],
        [260],
        [3 + ord("x"), 261],
    ]


def test_subword_pieces_never_cross_from_one_string_to_the_next():
    tokenizer = SubwordTokenizer([*SPECIAL[:3], *BYTES, "ab"])
    assert tokenizer.encode(["a", "b", "", "ab"]).to_list() == [[100], [101], [], [259]]


def test_subword_matches_a_plain_loop():
    tokenizer = train_tokenizer(TEXTS, "subword", vocabulary_size=500)
    ids = {
        spelling.encode("latin-1"): i for i, spelling in enumerate(tokenizer.vocabulary) if i > 2
    }

    def greedy(text):
        while text:
            size = max(size for size in range(1, len(text) + 1) if text[:size] in ids)
            yield ids[text[:size]]
            text = text[size:]

    assert tokenizer.encode(TEXTS).to_list() == [list(greedy(text.encode())) for text in TEXTS]


def test_subword_shortens_what_it_was_trained_on(trained):
    text = TEXTS[0]
    assert len(trained["subword"].encode([text])[0]) < len(text) / 2


@quick
@given(byte_batches)
@example([b"\xff\xfe", b"\xe4\xb8", b"\0\0"])
def test_subword_round_trips_any_bytes(trained, in_graph, batch):
    ids = in_graph["subword"](tf.constant(batch, tf.string, [len(batch)]))
    assert decoded(trained["subword"], ids) == batch
    assert decoded(trained["subword"], ids.to_tensor()) == batch


@quick
@given(unicode_batches.filter(any))
def test_character_round_trips_what_it_knows(batch):
    tokenizer = train_tokenizer(batch, "character", vocabulary_size=1000)
    assert decoded(tokenizer, tokenizer.encode(batch)) == [text.encode() for text in batch]


@quick
@given(unicode_batches.map(lambda batch: [*batch, "a dog"]))
def test_word_round_trips_the_normalised_text(batch):
    tokenizer = train_tokenizer(batch, vocabulary_size=1000)
    ids = tokenizer.encode(batch)
    normalised = decoded(tokenizer, ids)
    assert not tf.reduce_any(ids.flat_values == tokenizer.unknown_id)
    assert normalised == [
        " ".join(tokenizer.vocabulary[i] for i in row).encode() for row in ids.to_list()
    ]
    assert tokenizer.encode(normalised).to_list() == ids.to_list()


@pytest.mark.parametrize("kind", KINDS)
@quick
@given(byte_batches)
@example([b"\xff\xfe", b"a\xe4\xb8b", b"\xed\xa0\x80"])
def test_any_bytes_in_graph_equal_eager_and_do_not_depend_on_neighbours(
    trained, in_graph, kind, batch
):
    tokenizer = trained[kind]
    ids = in_graph[kind](tf.constant(batch, tf.string, [len(batch)]))
    assert ids.dtype == tf.int32
    assert ids.to_list() == tokenizer.encode(batch).to_list()
    assert ids.to_list() == [in_graph[kind](tf.constant([text])).to_list()[0] for text in batch]
    assert all(3 <= i < tokenizer.vocabulary_size for row in ids.to_list() for i in row)
    assert len(decoded(tokenizer, ids)) == len(batch)


@pytest.mark.parametrize("kind", KINDS)
def test_empty_batch_and_empty_strings(trained, in_graph, kind):
    for encode in (trained[kind].encode, in_graph[kind]):
        assert encode(tf.constant([], tf.string)).to_list() == []
        assert encode(tf.constant(["", ""])).to_list() == [[], []]
    assert decoded(trained[kind], trained[kind].encode([])) == []
    assert decoded(trained[kind], tf.zeros([0, 4], tf.int32)) == []
    assert decoded(trained[kind], tf.zeros([2, 0], tf.int32)) == [b"", b""]


@pytest.mark.parametrize("kind", KINDS)
def test_special_ids_decode_to_nothing(trained, kind):
    tokenizer = trained[kind]
    assert (tokenizer.pad_id, tokenizer.start_id, tokenizer.end_id) == (0, 1, 2)
    ids = tokenizer.encode([TEXTS[0], ""])
    assert decoded(tokenizer, tf.cast(ids, tf.int64)) == decoded(tokenizer, ids)
    framed = tf.concat([tf.fill([2, 1], 1), ids, tf.fill([2, 1], 2)], axis=1)
    assert decoded(tokenizer, framed.to_tensor()) == decoded(tokenizer, ids)
    assert decoded(tokenizer, framed.to_tensor())[1] == b""


@pytest.mark.parametrize("kind", KINDS)
def test_spelled_special_tokens_are_plain_text(trained, kind):
    ids = trained[kind].encode(["[PAD] [START] [END]"]).flat_values
    assert tf.reduce_min(ids) >= 3


def test_ids_outside_the_vocabulary_are_refused(trained):
    with pytest.raises(tf.errors.InvalidArgumentError, match="9999"):
        trained["word"].decode([[4, 9999]])


@pytest.mark.parametrize("kind", KINDS)
def test_is_called_as_a_layer(trained, kind):
    assert trained[kind](TEXTS).to_list() == trained[kind].encode(TEXTS).to_list()


@pytest.mark.parametrize("kind", KINDS)
def test_runs_in_tf_data(trained, kind):
    tokenizer = trained[kind]
    dataset = tf.data.Dataset.from_tensor_slices(TEXTS).batch(4)
    encoded = dataset.map(tokenizer.encode)
    assert [row for batch in encoded for row in batch.to_list()] == tokenizer.encode(
        TEXTS
    ).to_list()
    strings = encoded.map(tokenizer.decode)
    assert [s for batch in strings for s in batch.numpy()] == decoded(
        tokenizer, tokenizer.encode(TEXTS)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_serializes_with_its_vocabulary(trained, kind):
    tokenizer = trained[kind]
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(tokenizer)))
    again = keras.saving.deserialize_keras_object(saved)
    assert type(again) is type(tokenizer)
    assert again.get_config() == tokenizer.get_config()
    assert again.encode(TEXTS).to_list() == tokenizer.encode(TEXTS).to_list()


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_deterministic_and_takes_columns_and_streams(kind):
    whole = train_tokenizer(TEXTS, kind, vocabulary_size=400).vocabulary
    assert train_tokenizer(iter(TEXTS), kind, vocabulary_size=400).vocabulary == whole
    assert train_tokenizer([TEXTS[:2], TEXTS[2:]], kind, vocabulary_size=400).vocabulary == whole
    assert train_tokenizer(TEXTS[::-1], kind, vocabulary_size=400).vocabulary == whole


class Counted(str):
    """A text that counts how many of its kind are held."""

    held = most = 0

    def __init__(self, _):
        Counted.held += 1
        Counted.most = max(Counted.most, Counted.held)

    def __del__(self):
        Counted.held -= 1


@pytest.mark.parametrize("kind", KINDS)
def test_training_holds_few_texts_at_once(kind):
    texts = (Counted(f"dog {number % 50} runs") for number in range(20_000))
    train_tokenizer(texts, kind, vocabulary_size=300)
    assert Counted.held == 0
    assert Counted.most < 3_000


def test_training_forgets_the_rarest_words_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(tokenizers, "_MOST_DISTINCT", 100)
    texts = (f"word{index} common and frequent" for index in range(5000))
    vocabulary = train_tokenizer(texts).vocabulary
    assert vocabulary[4:7] == ["and", "common", "frequent"]
    assert len(vocabulary) < 1200


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "at least one text"),
        (["", ""], "at least one text"),
        (["a", None], r"texts\[1\]=None of type NoneType"),
        ([["a"], ["b", b"c"]], r"texts\[1\]\[1\]=b'c' of type bytes"),
        (["a", 3.5], r"texts\[1\]=3.5 of type float"),
        (["a", "\ud800"], r"surrogates. Received: texts\[1\]"),
        ("a dog", "iterable of str"),
        (None, "iterable of str"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_bad_texts_are_named(kind, texts, message):
    with pytest.raises(ValueError, match=message):
        train_tokenizer(texts, kind)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "bpe"}, "`kind` should be one of"),
        ({"kind": "subword", "vocabulary_size": 259}, "`vocabulary_size` should be above 259"),
        ({"vocabulary_size": 4}, "`vocabulary_size` should be above 4"),
        ({"kind": "subword", "lowercase": True}, "`lowercase` should be"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        train_tokenizer(TEXTS, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WordTokenizer(["a", "dog"]), "should begin with"),
        (lambda: WordTokenizer([*SPECIAL, "a", "a"]), "should not repeat"),
        (lambda: SubwordTokenizer([*SPECIAL[:3], "a"]), "256 bytes in order"),
        (lambda: SubwordTokenizer([*SPECIAL[:3], *BYTES, "犬"]), "Latin-1"),
        (lambda: SubwordTokenizer([*SPECIAL[:3], *BYTES, "ab", "ab"]), "256 bytes in order"),
    ],
)
def test_bad_vocabularies_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_encode_refuses_other_ranks(trained):
    for strings in ("a dog", [["a dog"]]):
        with pytest.raises(ValueError, match="`strings` should be a batch"):
            trained["word"].encode(strings)


def dense(tokenizer):
    return lambda strings: tokenizer.encode(strings).to_tensor()


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """An export of all tokenizers, each with `encode` and `decode` signatures."""
    archive = keras.export.ExportArchive()
    for kind, tokenizer in trained.items():
        archive.track(tokenizer)
        archive.add_endpoint(
            f"{kind}_encode", dense(tokenizer), [tf.TensorSpec([None], tf.string, "strings")]
        )
        archive.add_endpoint(
            f"{kind}_decode", tokenizer.decode, [tf.TensorSpec([None, None], tf.int32, "ids")]
        )
    path = str(tmp_path_factory.mktemp("export") / "1")
    archive.write_out(path, verbose=False)
    return path


RELOAD = """
import json, sys
sys.modules["mmkeras"] = None
import tensorflow as tf
signatures = tf.saved_model.load(sys.argv[1]).signatures
texts = json.loads(sys.argv[2])
answer = {}
for kind in ("word", "character", "subword"):
    ids = signatures[kind + "_encode"](strings=tf.constant(texts))["output_0"]
    strings = signatures[kind + "_decode"](ids=ids)["output_0"]
    answer[kind] = [ids.numpy().tolist(), [s.decode() for s in strings.numpy().tolist()]]
print(json.dumps(answer))
"""


def test_export_runs_in_a_process_without_mmkeras(trained, exported):
    texts = [*TEXTS, ""]
    process = subprocess.run(
        [sys.executable, "-c", RELOAD, exported, json.dumps(texts)],
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert process.returncode == 0, process.stderr
    answer = json.loads(process.stdout.splitlines()[-1])
    for kind, tokenizer in trained.items():
        ids = tokenizer.encode(texts).to_tensor()
        assert answer[kind][0] == ids.numpy().tolist()
        assert answer[kind][1] == [text.decode() for text in decoded(tokenizer, ids)]


def test_export_holds_core_ops_only(exported):
    for name, signature in tf.saved_model.load(exported).signatures.items():
        graph = signature.graph.as_graph_def()
        nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
        functions = {function.signature.name for function in graph.library.function}
        ops = {node.op for node in nodes} - functions
        assert ops, name
        assert all(op_def_registry.get(op) for op in ops)
        assert not [op for op in ops if op.startswith(("Sentencepiece", "Wordpiece", "Xla"))]
        assert not [op for op in ops if "PyFunc" in op or op == "RegexSplitWithOffsets"]


def test_flickr8k_captions():
    path = SHARED / "flickr8k" / "Flickr8k.token.txt"
    if not path.exists():
        pytest.skip("needs ../shared/data/flickr8k")
    with path.open(encoding="utf-8") as lines:
        captions = [line.rstrip("\n").split("\t")[1] for line in lines][:5000]
    subword = train_tokenizer(captions, "subword", vocabulary_size=2000)
    ids = subword.encode(captions)
    assert decoded(subword, ids) == [caption.encode() for caption in captions]
    assert len(ids.flat_values) < 0.35 * sum(map(len, captions))
    word = train_tokenizer(captions, vocabulary_size=10_000)
    assert tf.reduce_min(word.encode(captions).flat_values) > word.unknown_id
