"""Questions about a room with a picture, a sound and the readings of its meters.

    python recipes/multimodal_question_answering.py
    python recipes/multimodal_question_answering.py --fusion co_attention --epochs 20

The rooms are of the built-in world. Some questions need the picture, some the sound, some both of
them or the readings; training hides inputs now and then, so that one model answers from whatever
is there. What these commands reached, in what time and on what machine, is in the README.
"""

import argparse
import time
from pathlib import Path

import mmkeras as mm  # isort: skip (first, so that TensorFlow starts quietly)
import keras

NEEDS = ["image", "sound", "both", "readings", "image and readings"]
INPUTS = ["image", "audio", "readings"]
PRESENT = [INPUTS, *([name] for name in INPUTS), ["image", "audio"], ["image", "readings"]]


def main():
    args = arguments()
    strategy = mm.strategy(args.strategy)
    keras.utils.set_random_seed(args.seed)
    started = time.time()
    train, valid, test = mm.read(
        "world_questions",
        train=args.rooms,
        valid=args.held_out,
        test=args.held_out,
        per_scene=args.questions,
        needs=NEEDS,
        seed=args.seed,
    )
    words = mm.train_tokenizer(train["question"], "word")
    with strategy.scope():
        # All questions about a room share the encoding of its picture and its sound.
        room = {
            "image": (mm.Image(64, optional=True), mm.once(mm.conv("tiny"), "image_once")),
            "audio": (
                mm.Audio(args.sample_rate, bands=40, optional=True),
                mm.once(mm.conv_lstm("nano", dropout=args.dropout), "audio_once"),
            ),
            "readings": mm.Features((len(train["readings"][0]),), optional=True),
        }
        model = mm.multimodal_question_answering(
            words,
            mm.Labels(mm.most_common(train["answer"]), unknown="ignore"),
            room,
            fusion=args.fusion,
            size=args.size,
            modality_dropout=args.modality_dropout,
            dropout=args.dropout,
        )
        history = fit(args, model, train, valid)
    print(f"Trained in {(time.time() - started) / 60:.1f} minutes")
    if not strategy.extended.should_checkpoint:
        return  # Of several workers the first goes on alone.

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "model.keras")
    scores, answers = mm.evaluate(model, test, 64)
    print(f"\ntest split\n{mm.format_answer_scores(scores)}\n")
    compare(model, test)
    for name, weak in mm.answer_baselines(train, test).items():
        print(f"{name}: {weak['accuracy']:.1%}")

    examples = {name: test[name][:4] for name in model.preprocessor.inputs}
    exported = mm.export(model, out / "saved_model", examples)
    print(f"\nExported to {exported}: {'; '.join(mm.verify(exported)) or 'verified, equal'}")
    report = mm.write_answer_report(
        out / "report.html",
        model,
        test,
        answers,
        history,
        title="Questions about a room",
        details={"seed": args.seed},
    )
    print(f"Look at {report}")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", default="runs/multimodal_question_answering")
    add("--rooms", type=int, default=4000, help="to train on")
    add("--held-out", type=int, default=500, help="rooms to validate on, and as many to test on")
    add("--questions", type=int, default=8, help="about each of them")
    add("--sample-rate", type=int, default=8000)
    add("--fusion", default="cross_attention", help="see docs/fusion.md")
    add("--size", default="tiny", choices=["tiny", "small", "base"])
    add("--modality-dropout", type=float, default=0.1)
    add("--dropout", type=float, default=0.1)
    add("--epochs", type=int, default=10)
    add("--batch-size", type=int, default=64)
    add("--learning-rate", type=float, default=1e-3)
    add("--seed", type=int, default=0)
    add("--strategy", help="of `mm.strategy`: one, mirrored or multi_worker")
    add("--save-steps", type=int, help="save so often, and go on from there when run again")
    add("--check", action="store_true", help="only see whether one batch is learned by heart")
    return parser.parse_args()


def fit(args, model, train, valid):
    data = mm.dataset(train, model.preprocessor, args.batch_size, shuffle="image", seed=args.seed)
    steps = args.epochs * len(data)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=args.learning_rate, warmup_steps=steps // 20
    )
    mm.compile_task(model, keras.optimizers.AdamW(rate, weight_decay=0.01, clipnorm=1.0))
    if args.check:
        raise SystemExit(not mm.check(model, data))
    check = mm.dataset(valid, model.preprocessor, args.batch_size)
    watch = [mm.StopOnNaN()]
    if args.save_steps:
        watch.append(mm.Resume(Path(args.out) / "checkpoints", every_steps=args.save_steps))
    return model.fit(data, validation_data=check, epochs=args.epochs, callbacks=watch)


def compare(model, records):
    """What the same model answers from fewer inputs, by what a question needs."""
    print(f"{'accuracy with':20}" + "".join(f"{need:>20}" for need in NEEDS))
    for names in PRESENT:
        there = {key: column for key, column in records.items() if key not in INPUTS}
        there |= {name: records[name] for name in names}
        there["question_type"] = records["needs"]
        scores, _ = mm.evaluate(model, there, 64, progress=False)
        row = [scores["by question type"][need]["accuracy"] for need in NEEDS]
        print(f"{', '.join(names):20}" + "".join(f"{value:>20.1%}" for value in row))


if __name__ == "__main__":
    main()
