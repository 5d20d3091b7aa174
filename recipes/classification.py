"""Classification: from labelled texts or pictures to a served model.

    python recipes/classification.py --data sst --path sst
    python recipes/classification.py --data trec --path trec --encoder transformer
    python recipes/classification.py --data mr_polarity --path mr_polarity --folds 10
    python recipes/classification.py --data image_folder --path photos --encoder conv_lstm

A tenth is held out for validation where the data has no part for it; with `--folds` every record is
held out once. What these commands reached, in what time and on what machine, is in the README.
"""

import argparse
from pathlib import Path

import mmkeras as mm  # isort: skip (first, so that TensorFlow starts quietly)
import keras
import numpy as np


def main():
    args = arguments()
    strategy = mm.strategy(args.strategy)
    train, valid, test = mm.read(args.data, args.path)
    if args.test:
        test = mm.read_manifest(args.test)
    if args.folds:
        with strategy.scope():
            return cross_validate(args, train)
    if valid is None:
        train, valid = next(mm.folds(train, 10, seed=args.seed))
    with strategy.scope():
        model, history = fit(args, train, valid)
    if not strategy.extended.should_checkpoint:
        return  # Of several workers the first goes on alone.
    held_out = test or valid
    scores, labels = mm.evaluate(model, held_out, 64)
    print(f"\n{'test' if test else 'valid'} split\n{mm.format_class_scores(scores)}")

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "model.keras")
    (name,) = model.preprocessor.inputs
    exported = mm.export(model, out / "saved_model", {name: held_out[name][:4]})
    print(f"\nExported to {exported}: {'; '.join(mm.verify(exported)) or 'verified, equal'}")
    report = mm.write_answer_report(
        out / "report.html",
        model,
        held_out,
        labels,
        history,
        title=f"Classification: {args.data}",
        details={"seed": args.seed},
    )
    print(f"Look at {report}")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", default="sst", help="a layout that `mm.read` knows")
    add("--path", help="of the data")
    add("--test", help="a manifest to score instead of what is held out")
    add("--folds", type=int, default=0, help="of cross-validation; 0 for none")
    add("--out", default="runs/classification")
    add("--vectors", help="a file of word vectors, of word2vec or GloVe")
    add("--minimum-words", type=int, default=2, help="of a word in training")
    add("--sequence-length", type=int, default=50)
    add("--image-size", type=int, default=32)
    add("--encoder", help="see the builders; by default bilstm of texts, conv of pictures")
    add("--size", default="tiny", choices=["tiny", "small", "base"])
    add("--dropout", type=float, default=0.5)
    add("--epochs", type=int, default=5)
    add("--batch-size", type=int, default=50)
    add("--learning-rate", type=float, default=1e-3)
    add("--weight-decay", type=float, default=0.01)
    add("--seed", type=int, default=0)
    add("--strategy", help="of `mm.strategy`: one, mirrored or multi_worker")
    add("--save-steps", type=int, help="save so often, and go on from there when run again")
    add("--check", action="store_true", help="only see whether one batch is learned by heart")
    return parser.parse_args()


def build(args, train):
    classes = mm.most_common(train["label"])
    if "image" in train:
        encoder = args.encoder or "conv"
        return mm.image_classification(classes, args.image_size, encoder, args.size, args.dropout)
    words = mm.train_tokenizer(train["text"], "word", minimum_count=args.minimum_words)
    vectors = None
    if args.vectors:
        vectors, found = mm.read_word_vectors(args.vectors, words, any_case=True)
        print(f"Word vectors of {found['found']} words; {found['missing']} have none")
    text = mm.Text(words, args.sequence_length)
    encoder = args.encoder or "bilstm"
    return mm.text_classification(text, classes, encoder, args.size, vectors, args.dropout)


def fit(args, train, valid):
    keras.utils.set_random_seed(args.seed)
    model = build(args, train)
    data = mm.dataset(train, model.preprocessor, args.batch_size, shuffle=True, seed=args.seed)
    steps = args.epochs * len(data)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=args.learning_rate, warmup_steps=steps // 20
    )
    mm.compile_task(
        model, keras.optimizers.AdamW(rate, weight_decay=args.weight_decay, clipnorm=1.0)
    )
    if args.check:
        raise SystemExit(not mm.check(model, data))
    check = mm.dataset(valid, model.preprocessor, args.batch_size)
    watch = [mm.StopOnNaN()]
    if args.save_steps:
        watch.append(mm.Resume(Path(args.out) / "checkpoints", every_steps=args.save_steps))
    return model, model.fit(data, validation_data=check, epochs=args.epochs, callbacks=watch)


def cross_validate(args, records):
    accuracies, out = [], args.out
    for train, held_out in mm.folds(records, args.folds, seed=args.seed):
        args.out = f"{out}/fold{len(accuracies) + 1}"
        model, _ = fit(args, train, held_out)
        accuracies.append(mm.evaluate(model, held_out, 64)[0]["accuracy"])
        print(f"fold {len(accuracies)}: {accuracies[-1]:.2%}")
    print(f"{args.folds} folds: {np.mean(accuracies):.2%}, deviation {np.std(accuracies):.2%}")


if __name__ == "__main__":
    main()
