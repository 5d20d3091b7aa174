"""Question answering: from texts with questions to a served model that answers to the character.

    python recipes/question_answering.py
    python recipes/question_answering.py --kind generative
    python recipes/question_answering.py --data squad --path squad --version 2.0 \
        --vectors glove.840B.300d.txt.gz --size small --epochs 10 --batch-size 32
    python recipes/question_answering.py --data manifest --path questions.jsonl

Without any data the built-in world tells of itself. The lines of a manifest have `context`,
`question`, `answer` (a list, empty where there is none) and `answer_start`. What these commands
reached, in what time and on what machine, is in the README.
"""

import argparse
import time
from pathlib import Path

import mmkeras as mm  # isort: skip (first, so that TensorFlow starts quietly)
import keras


def main():
    args = arguments()
    strategy = mm.strategy(args.strategy)
    keras.utils.set_random_seed(args.seed)
    started = time.time()

    train, valid, test = read(args)
    with strategy.scope():
        model = build(args, train)
        train_model(args, model, train, valid)
    print(f"Trained in {(time.time() - started) / 60:.1f} minutes")
    if not strategy.extended.should_checkpoint:
        return  # Of several workers the first goes on alone.

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "model.keras")
    held_out = test or valid
    scores, found = mm.evaluate(model, held_out, 64)
    print(f"\n{'test' if test else 'valid'} split\n{mm.format_span_scores(scores)}\n")
    for question, answer in list(zip(held_out["question"], found, strict=True))[:5]:
        print(f"{question}  {answer or '(no answer)'}")

    examples = {name: held_out[name][:4] for name in model.preprocessor.inputs}
    exported = mm.export(model, out / "saved_model", examples)
    print(f"\nExported to {exported}: {'; '.join(mm.verify(exported)) or 'verified, equal'}")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", default="world_texts", help="a layout that `mm.read` knows")
    add("--path", help="of the data")
    add("--version", help="of SQuAD, 1.1 or 2.0")
    add("--test", help="a file of SQuAD's form to score instead of what is held out")
    add("--out", default="runs/question_answering")
    add("--hold-out", type=float, default=0.1, help="share of the texts, where none are held out")
    add("--kind", default="extractive", choices=["extractive", "generative"])
    add("--vectors", help="a file of word vectors, of word2vec or GloVe")
    add("--minimum-words", type=int, default=2, help="of a word in training")
    add("--sequence-length", type=int, default=400)
    add("--encoder", default="bilstm", choices=["lstm", "bilstm", "gru", "bigru", "transformer"])
    add("--fusion", default="co_attention", help="see docs/fusion.md")
    add("--size", default="tiny", choices=["tiny", "small", "base"])
    add("--dropout", type=float, default=0.1)
    add("--epochs", type=int, default=10)
    add("--batch-size", type=int, default=64)
    add("--learning-rate", type=float, default=2e-3)
    add("--on-error", default="raise", choices=["raise", "skip"], help="at a wrong question")
    add("--seed", type=int, default=0)
    add("--strategy", help="of `mm.strategy`: one, mirrored or multi_worker")
    add("--save-steps", type=int, help="save so often, and go on from there when run again")
    add("--check", action="store_true", help="only see whether one batch is learned by heart")
    return parser.parse_args()


def read(args):
    options = {"version": args.version} if args.version else {}
    train, valid, test = mm.read(args.data, args.path, **options)
    if args.test:
        test = mm.read_squad(args.test)
    if valid is None:
        train, valid = mm.hold_out(train, args.hold_out, by="context", seed=args.seed)
    if args.kind == "generative":
        train, valid, test = (part and answered(part) for part in (train, valid, test))
    print(f"{len(train['question'])} questions to train on")
    return train, valid, test


def answered(records):
    """What has an answer: none cannot be written."""
    rows = [row for row, answers in enumerate(records["answer"]) if answers]
    return {name: [column[row] for row in rows] for name, column in records.items()}


def build(args, train):
    texts = [*dict.fromkeys(train["context"]), *train["question"]]
    words = mm.train_tokenizer(
        texts, "word", vocabulary_size=100_000, minimum_count=args.minimum_words
    )
    vectors = None
    if args.vectors:
        vectors, found = mm.read_word_vectors(args.vectors, words, any_case=True)
        print(f"Word vectors of {found['found']} words; {found['missing']} have none")
    return mm.question_answering(
        words,
        args.kind,
        args.encoder,
        args.fusion,
        args.size,
        args.sequence_length,
        vectors,
        args.dropout,
    )


def train_model(args, model, train, valid):
    fields, size, wrong = model.preprocessor, args.batch_size, {"on_error": args.on_error}
    data = mm.dataset(train, fields, size, shuffle=True, seed=args.seed, **wrong)
    steps = args.epochs * len(data)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=args.learning_rate, warmup_steps=steps // 20
    )
    mm.compile_task(model, keras.optimizers.AdamW(rate, weight_decay=0.01, clipnorm=1.0))
    if args.check:
        raise SystemExit(not mm.check(model, data))
    check = mm.dataset(valid, fields, size, **wrong)
    watch = [mm.StopOnNaN()]
    if args.save_steps:
        watch.append(mm.Resume(Path(args.out) / "checkpoints", every_steps=args.save_steps))
    model.fit(data, validation_data=check, epochs=args.epochs, callbacks=watch)


if __name__ == "__main__":
    main()
