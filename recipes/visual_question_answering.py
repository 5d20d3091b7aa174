"""Visual question answering: from pictures with questions to a served model.

    python recipes/visual_question_answering.py --data easy_vqa --path easy_vqa
    python recipes/visual_question_answering.py --data daquar --path daquar --minimum-count 3 \
        --backbone-weights mobilenet_v2_1.0_224_quant.tflite --image-size 224
    python recipes/visual_question_answering.py --data nlvr --path nlvr --read train=hidden \
        valid=dev --image-size 48 192
    python recipes/visual_question_answering.py --data sort_of_clevr --read train=3000 \
        --image-size 75
    python recipes/visual_question_answering.py --data manifest --path questions.jsonl

Pictures are held out for validation where the data has no part for it. What these commands
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
    words = mm.train_tokenizer(train["question"], "word", minimum_count=args.minimum_words)
    answers = mm.most_common(train["answer"], args.answers, args.minimum_count)
    print(f"{len(train['question'])} questions to train on, {len(answers)} answers")
    with strategy.scope():
        model = build(args, words, answers)
        history = train_model(args, model, train, valid)
    print(f"Trained in {(time.time() - started) / 60:.1f} minutes")
    if not strategy.extended.should_checkpoint:
        return  # Of several workers the first goes on alone.

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "model.keras")
    held_out = test or valid
    scores, found = mm.evaluate(model, held_out, 64)
    if args.wordnet:
        scores |= mm.wups(found, held_out["answer"], args.wordnet)
    print(f"\n{'test' if test else 'valid'} split\n{mm.format_answer_scores(scores)}")
    removed, baselines = mm.without(model, held_out, 64), mm.answer_baselines(train, held_out)
    compare(removed, baselines)

    examples = {name: held_out[name][:4] for name in model.preprocessor.inputs}
    exported = mm.export(model, out / "saved_model", examples)
    print(f"\nExported to {exported}: {'; '.join(mm.verify(exported)) or 'verified, equal'}")
    report = mm.write_answer_report(
        out / "report.html",
        model,
        held_out,
        found,
        history,
        title=f"Visual question answering: {args.data}",
        baselines=baselines,
        removed=removed,
        details={"seed": args.seed},
    )
    print(f"Look at {report}")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", default="world_questions", help="a layout that `mm.read` knows")
    add("--path", help="of the data")
    add("--read", nargs="+", default=[], help="options of `mm.read`, such as train=hidden")
    add("--test", help="a manifest of questions to score instead of the held-out ones")
    add("--out", default="runs/visual_question_answering")
    add("--hold-out", type=float, default=0.1, help="share of the pictures")
    add("--hold-out-by", default="image", help="the column that no two parts share")
    add("--minimum-words", type=int, default=1, help="of a word in the training questions")
    add("--answers", type=int, default=3000, help="the commonest ones, that can be given")
    add("--minimum-count", type=int, default=1, help="of an answer in training")
    add("--image-size", type=int, nargs="+", default=[64], help="the side, or height and width")
    add("--encoder", default="conv", choices=["conv", "conv_lstm", "patch"])
    add("--backbone", default="MobileNetV2", help="of keras.applications")
    add("--backbone-weights", help="a local file; then the backbone is the encoder, frozen")
    add("--question-encoder", default="bilstm")
    add("--fusion", default="cross_attention", help="see docs/fusion.md")
    add("--size", default="tiny", choices=["tiny", "small", "base"])
    add("--dropout", type=float, default=0.1)
    add("--epochs", type=int, default=10)
    add("--batch-size", type=int, default=128)
    add("--learning-rate", type=float, default=2e-3)
    add("--weight-decay", type=float, default=0.01)
    add("--wordnet", help="the folder of a WordNet database, for WUPS")
    add("--on-error", default="raise", choices=["raise", "skip"], help="at a broken picture")
    add("--seed", type=int, default=0)
    add("--strategy", help="of `mm.strategy`: one, mirrored or multi_worker")
    add("--save-steps", type=int, help="save so often, and go on from there when run again")
    add("--check", action="store_true", help="only see whether one batch is learned by heart")
    return parser.parse_args()


def read(args):
    options = dict(each.split("=", 1) for each in args.read)
    options = {name: int(each) if each.isdigit() else each for name, each in options.items()}
    train, valid, test = mm.read(args.data, args.path, **options)
    if valid is None:
        train, valid = mm.hold_out(train, args.hold_out, by=args.hold_out_by, seed=args.seed)
    if args.test:
        test = mm.read_manifest(args.test)
    return train, valid, test


def build(args, words, answers):
    encoder, sides = args.encoder, (args.image_size * 2)[:2]
    if args.backbone_weights:
        backbone = getattr(keras.applications, args.backbone)(
            (*sides, 3), include_top=False, weights=None
        )
        encoder = mm.pretrained(backbone, weights=args.backbone_weights, dropout=args.dropout)
    return mm.visual_question_answering(
        words,
        mm.Labels(answers, unknown="ignore"),
        sides,
        encoder,
        args.question_encoder,
        args.fusion,
        args.size,
        args.dropout,
    )


def train_model(args, model, train, valid):
    """Train in place; returns what `fit` does."""
    trained = model
    if args.backbone_weights:
        frozen, trained = mm.split_frozen(model)
        field, cache = model.preprocessor.inputs["image"], Path(args.out).parent / "features"
        pictures = list(dict.fromkeys([*train["image"], *valid["image"]]))
        computed = mm.precompute(frozen, pictures, field, cache=cache)
        of = dict(zip(pictures, computed, strict=True))
        train, valid = (
            {**part, "image": [of[name] for name in part["image"]]} for part in (train, valid)
        )
    data = mm.dataset(
        train,
        trained.preprocessor,
        args.batch_size,
        shuffle=True,
        seed=args.seed,
        on_error=args.on_error,
    )
    steps = args.epochs * len(data)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=args.learning_rate, warmup_steps=steps // 20
    )
    mm.compile_task(
        trained, keras.optimizers.AdamW(rate, weight_decay=args.weight_decay, clipnorm=1.0)
    )
    if args.check:
        raise SystemExit(not mm.check(trained, data))
    check = mm.dataset(valid, trained.preprocessor, args.batch_size)
    watch = [mm.StopOnNaN()]
    if args.save_steps:
        watch.append(mm.Resume(Path(args.out) / "checkpoints", every_steps=args.save_steps))
    return trained.fit(data, validation_data=check, epochs=args.epochs, callbacks=watch)


def compare(without, baselines):
    """One line for the model, for what it loses with each input, and for not looking at all."""
    rows = {f"without {name}" if name else "this model": each for name, each in without.items()}
    print(f"\n{'':36}  accuracy")
    for name, scores in {**rows, **baselines}.items():
        print(f"{name:36}  {scores['accuracy']:.2%}")


if __name__ == "__main__":
    main()
