"""Image-text retrieval: photos found by captions, captions by photos, and a search of a folder.

    python recipes/image_text_retrieval.py                # the built-in world, in some minutes
    python recipes/image_text_retrieval.py --data flickr8k --path flickr8k \
        --backbone-weights mobilenet_v2_1.0_224_quant.tflite --out runs/flickr8k_retrieval
    python recipes/image_text_retrieval.py --data flickr8k --path flickr8k \
        --features features_mobilenetv2_train.npz features_mobilenetv2_dev.npz
    python recipes/image_text_retrieval.py --data manifest --path photos.jsonl --out runs/mine
"""

import argparse
import time
from pathlib import Path

import mmkeras as mm  # isort: skip (first, so that TensorFlow starts quietly)
import keras
import numpy as np


def main():
    args = arguments()
    strategy = mm.strategy(args.strategy)
    keras.utils.set_random_seed(args.seed)
    started = time.time()

    train, valid, test = read(args)
    held_out = test or valid
    pictures = held_out["image"]
    if args.features:
        train, valid, held_out = (
            part and {**part, "image": mm.read_features(args.features, part["image"])}
            for part in (train, valid, held_out)
        )
    words = mm.train_tokenizer(
        train["caption"], args.tokenizer, args.vocabulary_size, args.minimum_count
    )
    print(f"{len(train['image'])} photos to train on, {words.vocabulary_size} tokens")
    with strategy.scope():
        model = build(args, words, train)
        train_model(args, model, train, valid)
    print(f"Trained in {(time.time() - started) / 60:.1f} minutes")
    if not strategy.extended.should_checkpoint:
        return  # Of several workers the first goes on alone.

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "model.keras")
    # Photos of the built-in world are bytes, not files.
    names = [x if isinstance(x, str) else f"{row}.png" for row, x in enumerate(pictures)]
    photos = mm.Index(model).add("image", held_out["image"], names)
    captions = [caption for several in held_out["caption"] for caption in several]
    owners = np.repeat(range(len(photos)), [len(several) for several in held_out["caption"]])
    scores = mm.retrieval_scores(photos.vectors, model.embed("caption", captions), owners)
    split = "test" if test else "valid"
    print(f"\n{split} split, {len(photos)} photos\n{mm.format_retrieval_scores(scores)}\n")
    photos.save(out / "photos.npz")
    look(photos, pictures, held_out["caption"], out)

    examples = {"image": held_out["image"][:4], "caption": [c[0] for c in held_out["caption"][:4]]}
    exported = mm.export(model, out / "saved_model", examples)
    print(f"Exported to {exported}: {'; '.join(mm.verify(exported)) or 'verified, equal'}")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", default="world", choices=["world", "coco", "flickr8k", "flickr30k", "manifest"])
    add("--path", help="of the data")
    add("--out", default="runs/image_text_retrieval", help="where model, index and export go")
    add("--tokenizer", default="word", choices=["word", "character", "subword"])
    add("--vocabulary-size", type=int, default=8000)
    add("--minimum-count", type=int, default=1, help="of a word in the training captions")
    add("--sequence-length", type=int, default=22)
    add("--image-size", type=int, default=224)
    add("--features", nargs="+", help="files of them, see `mm.read_features`, and no encoder")
    add("--encoder", default="conv", choices=["conv", "patch"])
    add("--backbone", default="MobileNetV2", help="of keras.applications")
    add("--backbone-weights", help="a local file; then the backbone is the encoder, frozen")
    texts = ["bag", "bigru", "bilstm", "gru", "lstm", "transformer"]
    add("--text-encoder", default="bigru", choices=texts)
    add("--word-vectors", help="a file to begin with, see recipes/word_vectors.py")
    add("--loss", default="info_nce", choices=["info_nce", "siglip", "triplet"])
    add("--size", default="small", choices=["tiny", "small", "base"])
    add("--dropout", type=float, default=0.2)
    add("--feature-dropout", type=float, default=0.0, help="on what the backbone gives")
    add("--epochs", type=int, default=10)
    add("--batch-size", type=int, default=128)
    add("--learning-rate", type=float, default=1e-3)
    add("--weight-decay", type=float, default=0.01)
    add("--on-error", default="raise", choices=["raise", "skip"], help="at a broken photo")
    add("--seed", type=int, default=0)
    add("--strategy", help="of `mm.strategy`: one, mirrored or multi_worker")
    add("--save-steps", type=int, help="save so often, and go on from there when run again")
    add("--check", action="store_true", help="only see whether one batch is learned by heart")
    return parser.parse_args()


def read(args):
    if args.data == "world":
        return mm.read("world", train=3000, valid=100, test=300, size=64)
    return mm.read(args.data, args.path, on_error=args.on_error)


def build(args, words, train):
    encoder, image = args.encoder, args.image_size
    if args.features:
        image = mm.Features(train["image"].shape[1:])
    if args.backbone_weights:
        backbone = getattr(keras.applications, args.backbone)(
            (args.image_size, args.image_size, 3), include_top=False, weights=None, pooling="avg"
        )
        encoder = mm.pretrained(
            backbone, weights=args.backbone_weights, dropout=args.feature_dropout
        )
    return mm.image_text_retrieval(
        mm.Text(words, args.sequence_length),
        image,
        encoder,
        args.text_encoder,
        args.loss,
        args.size,
        args.word_vectors and mm.read_word_vectors(args.word_vectors, words),
        args.dropout,
    )


def train_model(args, model, train, valid):
    """Train in place."""
    augment = {"image": mm.image_augmentation(crop=0.85)}
    if args.data == "world" or args.features:
        augment = None
    trained = model
    if args.backbone_weights:
        # A frozen network gives the same features every epoch: compute them once, of each photo
        # and of its mirror image, which is no mismatch to the captions of the other.
        frozen, trained = mm.split_frozen(model)
        field = model.preprocessor.inputs["image"]
        cache = Path(args.out).parent / "features"
        features = mm.precompute(frozen, train["image"], field, mirrored=True, cache=cache)
        train = {
            "image": features,
            "caption": [*train["caption"], *train["caption"]],
            "match": [*train["image"], *train["image"]],
        }
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
        drop_remainder=True,
    )
    check = valid and mm.dataset(valid, preprocessor, size)
    steps = args.epochs * len(data)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=args.learning_rate, warmup_steps=steps // 20
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=args.weight_decay, clipnorm=1.0, use_ema=True, ema_momentum=0.99
    )
    mm.compile_task(trained, optimizer)
    if args.check:
        raise SystemExit(not mm.check(trained, data))
    watch = [mm.StopOnNaN()]
    if args.save_steps:
        watch.append(mm.Resume(Path(args.out) / "checkpoints", every_steps=args.save_steps))
    trained.fit(data, validation_data=check, epochs=args.epochs, callbacks=watch)


def look(photos, pictures, captions, out, queries=8):
    """Search for the photos of some captions, and hold these against each other, as pictures."""
    field = mm.Image(160)
    pixels = [field(field.load(picture)).numpy() for picture in pictures]
    pixels = dict(zip(photos.items, pixels, strict=True))
    right = photos.items[:queries]
    asked = [several[0] for several in captions[:queries]]
    found = [
        [(pixels[item], score, item == own) for item, score in row]
        for row, own in zip(photos.search("caption", asked, k=6), right, strict=True)
    ]
    mm.draw_search(asked, found, out / "searches.png")
    cosines = photos.task.embed("caption", asked) @ photos.vectors[: len(asked)].T
    mm.draw_similarity(cosines, asked, [pixels[item] for item in right], out / "similarities.png")
    print(f"Look at {out / 'searches.png'} and {out / 'similarities.png'}")


if __name__ == "__main__":
    main()
