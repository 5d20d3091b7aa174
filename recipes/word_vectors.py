"""Word vectors: from a text file to a file that any tool for word vectors reads.

    python recipes/word_vectors.py                           # the built-in world's captions
    python recipes/word_vectors.py --path captions.txt --minimum-count 3 --out runs/captions.txt
    python recipes/word_vectors.py --path captions.txt --minimum-count 3 --method glove

A text file holds one text a line, and may be compressed with gzip. What these commands reached, in
what time and on what machine, is in the README.
"""

import argparse
import gzip
import time
from pathlib import Path

import mmkeras as mm  # isort: skip (first, so that TensorFlow starts quietly)
import keras
import numpy as np


def main():
    args = arguments()
    keras.utils.set_random_seed(args.seed)
    started = time.time()

    texts = read(args)
    words = mm.train_tokenizer(texts, "word", args.vocabulary_size, args.minimum_count)
    print(f"{len(texts)} texts, {words.vocabulary_size} words")
    vectors = train_vectors(args, texts, words)
    print(f"Trained in {(time.time() - started) / 60:.1f} minutes")

    first = len(words.reserved)
    known, vectors = words.vocabulary[first:], vectors[first:]
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    mm.write_word_vectors(args.out, known, vectors)
    print(f"Wrote {args.out}")
    for word in args.words or known[:: -(-len(known) // 10)]:
        near = "is not known"
        if word in known:
            near = ", ".join(
                f"{other} {cosine:.2f}" for other, cosine in nearest(word, known, vectors)
            )
        print(f"{word}: {near}")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--path", help="of a text file; the built-in world's captions without it")
    add("--out", default="runs/word_vectors.txt", help="a file; compressed if it ends in .gz")
    add("--method", default="skip_gram", choices=["skip_gram", "glove"])
    add("--vocabulary-size", type=int, default=50000)
    add("--minimum-count", type=int, default=1, help="of a word in the texts")
    add("--dimensions", type=int, default=100)
    add("--window", type=int, default=5, help="how far apart words are at most")
    add("--epochs", type=int, default=5)
    add("--batch-size", type=int, default=1024)
    add("--words", nargs="+", help="whose nearest neighbours to print")
    add("--seed", type=int, default=0)
    return parser.parse_args()


def read(args):
    if args.path is None:
        return [text for captions in mm.world(3000, size=8)["caption"] for text in captions]
    with open(args.path, "rb") as file:
        opened = gzip.open if file.read(2) == b"\x1f\x8b" else open
    with opened(args.path, "rt", encoding="utf-8") as lines:
        return [line.strip() for line in lines]


def train_vectors(args, texts, words):
    options = {"window": args.window, "batch_size": args.batch_size, "seed": args.seed}
    if args.method == "skip_gram":
        model = mm.skip_gram(words.vocabulary_size, args.dimensions)
        model.fit(mm.skip_gram_pairs(texts, words, **options), epochs=args.epochs)
        return model.get_layer("words").get_weights()[0]
    model = mm.glove(words.vocabulary_size, args.dimensions)
    model.fit(mm.glove_pairs(texts, words, **options), epochs=args.epochs)
    return sum(model.get_layer(name).get_weights()[0] for name in ("words", "contexts"))


def nearest(word, known, vectors, count=6):
    """The words whose vectors point most nearly where the word's does, and their cosines."""
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = directions @ directions[known.index(word)]
    places = np.argsort(-cosines)[1 : count + 1]
    return [(known[i], cosines[i]) for i in places]


if __name__ == "__main__":
    main()
