"""Image captioning: from photos with captions to a served model.

    python recipes/image_captioning.py --demo             # the built-in world, in some minutes
    python recipes/image_captioning.py --data flickr8k --path flickr8k --decoder lstm \
        --backbone-weights mobilenet_v2_1.0_224_quant.tflite --out runs/flickr8k_lstm
    python recipes/image_captioning.py --data manifest --path photos.jsonl --out runs/mine

What these commands reached, in what time and on what machine, is in the README.
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
    held_out = test or valid
    words = mm.train_tokenizer(
        train["caption"], args.tokenizer, args.vocabulary_size, args.minimum_count
    )
    print(f"{len(train['image'])} photos to train on, {words.vocabulary_size} tokens")
    with strategy.scope():
        model = build(args, words)
        histories = train_model(args, model, train, valid)
    print(f"Trained in {(time.time() - started) / 60:.1f} minutes")
    if not strategy.extended.should_checkpoint:
        return  # Of several workers the first goes on alone.

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "model.keras")
    search = {"beam_width": args.beam_width, "length_penalty": args.length_penalty}
    scores, captions = mm.evaluate(model, held_out, **search)
    print(
        f"\n{'test' if test else 'valid'} split, {len(captions)} photos\n{mm.format_scores(scores)}"
    )
    baselines = None
    if args.data == "world":
        baselines = mm.baselines(train, held_out, model.preprocessor.inputs["image"])
        compare(scores, baselines)

    exported = mm.export(
        model, out / "saved_model", examples={"image": held_out["image"][:4]}, **search
    )
    print(f"\nExported to {exported}: {'; '.join(mm.verify(exported)) or 'verified, equal'}")
    photo = model.preprocessor.load({"image": held_out["image"][:1]})
    print(f"From bytes: {mm.Export(exported).infer(photo)}")
    report = mm.write_report(
        out / "report.html",
        model,
        held_out,
        captions,
        histories,
        title=f"Image captioning: {args.data}",
        baselines=baselines,
        details={"seed": args.seed},
        **search,
    )
    print(f"Look at {report}")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--demo", action="store_true", help="the settings of `make demo`")
    add("--data", default="world", choices=["world", "coco", "flickr8k", "flickr30k", "manifest"])
    add("--path", help="of the data")
    add("--out", default="runs/image_captioning", help="where model, export and report go")
    add("--tokenizer", default="word", choices=["word", "character", "subword"])
    add("--vocabulary-size", type=int, default=8000)
    add("--minimum-count", type=int, default=1, help="of a word in the training captions")
    add("--image-size", type=int, default=224)
    add("--encoder", default="conv", choices=["conv", "patch"])
    add("--backbone", default="MobileNetV2", help="of keras.applications")
    add("--backbone-weights", help="a local file; then the backbone is the encoder, frozen")
    add("--alpha", type=float, default=1.0, help="width of the backbone")
    add("--decoder", default="transformer", choices=["lstm", "transformer"])
    add("--size", default="small", choices=["tiny", "small", "base"])
    add("--sequence-length", type=int, default=22)
    add("--dropout", type=float, default=0.3)
    add("--feature-dropout", type=float, default=0.0, help="on what the backbone gives")
    add("--epochs", type=int, default=10)
    add("--batch-size", type=int, default=64)
    add("--learning-rate", type=float, default=1e-3)
    add("--weight-decay", type=float, default=0.01)
    add("--self-critical-steps", type=int, default=0, help="further steps, on CIDEr-D and BLEU-4")
    add("--self-critical-rate", type=float, default=1e-4, help="learning rate of these")
    add("--truth", type=float, default=0.2, help="weight of the true captions in these")
    add("--beam-width", type=int, default=4)
    add("--length-penalty", type=float, default=0.6)
    add("--on-error", default="raise", choices=["raise", "skip"], help="at a broken photo")
    add("--seed", type=int, default=0)
    add("--strategy", help="of `mm.strategy`: one, mirrored or multi_worker")
    add("--save-steps", type=int, help="save so often, and go on from there when run again")
    add("--check", action="store_true", help="only see whether one batch is learned by heart")
    args = parser.parse_args()
    if args.demo:
        parser.set_defaults(**DEMO)
        args = parser.parse_args()
    return args


DEMO = {
    "data": "world",
    "out": "runs/demo",
    "image_size": 64,
    "decoder": "lstm",
    "size": "tiny",
    "dropout": 0.1,
    "epochs": 4,
    "batch_size": 50,
    "learning_rate": 3e-3,
}


def read(args):
    if args.data == "world":
        return mm.read("world", train=3000, valid=100, test=300, size=args.image_size)
    return mm.read(args.data, args.path, on_error=args.on_error)


def build(args, words):
    encoder = args.encoder
    if args.backbone_weights:
        backbone = getattr(keras.applications, args.backbone)(
            (args.image_size, args.image_size, 3),
            alpha=args.alpha,
            include_top=False,
            weights=None,
        )
        encoder = mm.pretrained(
            backbone, weights=args.backbone_weights, dropout=args.feature_dropout
        )
    return mm.image_captioning(
        words,
        args.image_size,
        encoder=encoder,
        decoder=args.decoder,
        size=args.size,
        sequence_length=args.sequence_length,
        dropout=args.dropout,
    )


def train_model(args, model, train, valid):
    """Train in place; returns the history of each stage by name."""
    augment = None if args.data == "world" else {"image": mm.image_augmentation(crop=0.85)}
    trained = model
    if args.backbone_weights:
        # A frozen network gives the same features every epoch: compute them once, of each photo
        # and of its mirror image, and train what comes behind it.
        frozen, trained = mm.split_frozen(model)
        field = model.preprocessor.inputs["image"]
        cache = Path(args.out).parent / "features"
        features = mm.precompute(frozen, train["image"], field, mirrored=True, cache=cache)
        train = {"image": features, "caption": [*train["caption"], *train["caption"]]}
        if valid:
            computed = mm.precompute(frozen, valid["image"], field, cache=cache)
            valid = {**valid, "image": computed}
        augment = None

    preprocessor, size = trained.preprocessor, args.batch_size
    data = mm.dataset(
        train,
        preprocessor,
        size,
        shuffle=True,
        seed=args.seed,
        augment=augment,
        on_error=args.on_error,
    )
    check = valid and mm.dataset(valid, preprocessor, size)
    steps = args.epochs * len(data)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=args.learning_rate, warmup_steps=steps // 20
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=args.weight_decay, clipnorm=1.0, use_ema=True, ema_momentum=0.998
    )
    mm.compile_task(trained, optimizer)
    if args.check:
        raise SystemExit(not mm.check(trained, data))
    watch = [mm.StopOnNaN()]
    if args.save_steps:
        watch.append(mm.Resume(Path(args.out) / "checkpoints", every_steps=args.save_steps))
    fitted = trained.fit(data, validation_data=check, epochs=args.epochs, callbacks=watch)
    histories = [fitted.history]
    if args.self_critical_steps:
        if valid:
            before, _ = mm.evaluate(trained, valid, beam_width=args.beam_width)
            print(f"Before self-critical training, on valid:\n{mm.format_scores(before)}")
        rewards = mm.CaptionReward(train["caption"])
        samples = mm.self_critical(trained, train, rewards, truth=args.truth, seed=args.seed)
        steps = args.self_critical_steps
        rate = keras.optimizers.schedules.PolynomialDecay(args.self_critical_rate, steps, 0.0)
        trained.compile(
            keras.optimizers.Adam(rate, clipnorm=1.0), {"caption": mm.SelfCriticalLoss()}
        )
        fitted = trained.fit(samples, steps_per_epoch=steps, callbacks=watch[:1])
        histories.append(fitted.history)
    return histories


def compare(scores, baselines):
    rows = {"this model": scores, **{name: weak for name, (weak, _) in baselines.items()}}
    print(f"\n{'':20}  BLEU-4  CIDEr-D")
    for name, row in rows.items():
        print(f"{name:20}  {row['BLEU-4']:.4f}  {row['CIDEr-D']:.4f}")


if __name__ == "__main__":
    main()
