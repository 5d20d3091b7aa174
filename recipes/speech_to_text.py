"""Speech-to-text: from recordings with transcripts to a served model.

    python recipes/speech_to_text.py --data an4 --path an4 --out runs/an4
    python recipes/speech_to_text.py --data fsdd --path fsdd --hold-out george $DIGITS
    python recipes/speech_to_text.py --data manifest --path takes.jsonl --test new.jsonl

Speakers are held out for validation where the data has no part for it. What these commands
reached, in what time and on what machine, is in the README. The spoken digits are so few and so
short that they need other settings, and words of other people, see `cut_words.py`:

    DIGITS="--sample-rate 8000 --bands 40 --normalization peak --tokenizer word --size nano
        --batch-size 64 --epochs 24 --learning-rate 3e-3 --speed 0.3 --tone-db 6 --hiss-db 0 35
        --also runs/an4_digits.jsonl --out runs/digits"

Other takes of known speakers need no words of other people:

    python recipes/speech_to_text.py --data fsdd --path fsdd --hold-out-takes 5 6 7 8 9 \
        --sample-rate 8000 --bands 40 --normalization peak --tokenizer word --encoder conv_lstm \
        --batch-size 64 --epochs 50 --dropout 0.2 --out runs/takes
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
    tokens = mm.train_tokenizer(train["transcript"], args.tokenizer, args.vocabulary_size)
    print(f"{len(train['audio'])} recordings to train on, {tokens.vocabulary_size} tokens")
    with strategy.scope():
        model = mm.speech_to_text(
            tokens,
            audio(args),
            encoder(args),
            decoder=args.decoder,
            size=args.size,
            subsampling=args.subsampling,
            dropout=args.dropout,
        )
        history = train_model(args, model, train, valid)
    print(f"Trained in {(time.time() - started) / 60:.1f} minutes")
    if not strategy.extended.should_checkpoint:
        return  # Of several workers the first goes on alone.

    held_out, scores = test or valid, {}
    for name, language, search in searches(args, train["transcript"], tokens):
        model.get_layer("transcript").set_language_model(language)
        scores[name], answers = mm.evaluate(model, held_out, **search)
    report_scores(name, scores[name], answers)
    print(f"\nWhat each adds:\n{mm.format_speech_comparison(scores)}")
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "model.keras")
    if args.scores_only:
        return

    examples = {"audio": held_out["audio"][:2]}
    options = {"beam_width": None, **search}
    exported = mm.export(model, out / "saved_model", examples=examples, **options)
    print(f"\nExported to {exported}: {'; '.join(mm.verify(exported)) or 'verified, equal'}")
    page = mm.write_speech_report(
        out / "report.html",
        model,
        held_out,
        answers,
        history,
        title=f"Speech-to-text: {args.data}",
        details={"seed": args.seed},
        **search,
    )
    print(f"Look at {page}")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", default="spoken_world", help="a layout that `mm.read` knows")
    add("--path", help="of the data")
    add("--test", help="a manifest of recordings to score instead of the held-out ones")
    add("--out", default="runs/speech_to_text", help="where model, export and report go")
    add("--hold-out", nargs="+", default=["0.1"], help="a share of the speakers, or their names")
    add("--hold-out-takes", nargs="+", type=int, help="of the spoken digits, of all speakers")
    add("--also", help="a manifest of more recordings to train on, cut_words.py makes one")
    add("--tokenizer", default="character", choices=["character", "subword", "word"])
    add("--vocabulary-size", type=int, default=500)
    add("--sample-rate", type=int, default=16000)
    add("--bands", type=int, default=80)
    add("--normalization", default="utterance", choices=["utterance", "peak"])
    add("--encoder", default="conformer", choices=["conformer", "conv_lstm", "conv_transformer"])
    add("--chunk", type=int, help="listen in chunks of so many encoder frames, to streams too")
    add("--decoder", default="ctc", choices=["ctc", "attention", "joint"])
    add("--size", default="tiny", choices=["nano", "tiny", "small", "base"])
    add("--subsampling", type=int, default=4)
    add("--dropout", type=float, default=0.1)
    add("--epochs", type=int, default=60)
    add("--batch-size", type=int, default=16)
    add("--batch-seconds", type=float, default=60)
    add("--learning-rate", type=float, default=2e-3)
    add("--speed", type=float, default=0.1, help="how much faster or slower recordings are made")
    add("--tone-db", type=float, help="how much another tone recordings are given")
    add(
        "--hiss-db",
        type=float,
        nargs=2,
        help="how much louder than a hiss they are, at least and most",
    )
    add("--language-order", type=int, default=0, help="of a word n-gram of the transcripts")
    add("--neural", choices=["tiny", "small", "base"], help="size of a neural language model")
    add("--neural-epochs", type=int, default=20)
    add("--language-weight", type=float, default=0.5)
    add("--word-bonus", type=float, help="for a word, or for a token of a neural language model")
    add("--hot-words", nargs="+", default=[], help="phrases to prefer")
    add("--beam-width", type=int, default=16)
    add("--on-error", default="raise", choices=["raise", "skip"], help="at a broken recording")
    add("--scores-only", action="store_true", help="no export, and no report")
    add("--seed", type=int, default=0)
    add("--strategy", help="of `mm.strategy`: one, mirrored or multi_worker")
    add("--save-steps", type=int, help="save so often, and go on from there when run again")
    add("--check", action="store_true", help="only see whether one batch is learned by heart")
    return parser.parse_args()


def read(args):
    train, valid, test = mm.read(args.data, args.path, on_error=args.on_error)
    if args.test:
        test = mm.read_manifest(args.test, on_error=args.on_error)
    if args.hold_out_takes:
        # The first five are the official test.
        takes = [set(range(5, 100)) - set(args.hold_out_takes), args.hold_out_takes]
        train, valid = (mm.read_fsdd(args.path, part, args.on_error) for part in takes)
    if not valid:
        names = args.hold_out
        share = float(names[0]) if names[0].replace(".", "").isdigit() else names
        train, valid = mm.hold_out(train, share, seed=args.seed)
        print(f"Held out: {', '.join(sorted(set(valid['speaker'])))}")
    if args.also:
        more = mm.read_manifest(args.also, on_error=args.on_error)
        train = {name: [*train[name], *more[name]] for name in ("audio", "transcript")}
    return tuple(part and {**part, "transcript": lowered(part)} for part in (train, valid, test))


def lowered(records):
    return [text.lower() for text in records["transcript"]]


def audio(args):
    if args.chunk is None:
        return mm.Audio(args.sample_rate, bands=args.bands, normalization=args.normalization)
    return mm.Audio(args.sample_rate, bands=args.bands, normalization=None, centered=False)


def encoder(args):
    if args.chunk is None:
        return args.encoder
    make = getattr(mm, args.encoder)
    return make(args.size, args.subsampling, args.dropout, chunk=args.chunk)


def train_model(args, model, train, valid):
    heard = {"batch_seconds": args.batch_seconds, "cache": True, "on_error": args.on_error}
    augment = None
    if args.speed or args.tone_db or args.hiss_db:
        change = mm.audio_augmentation(
            (1 - args.speed, 1 + args.speed),
            rate=args.sample_rate,
            chance=0.75,
            tone_db=args.tone_db,
            hiss_db=args.hiss_db,
        )
        augment = {"audio": change}
    fields, size = model.preprocessor, args.batch_size
    data = mm.dataset(train, fields, size, shuffle=True, seed=args.seed, augment=augment, **heard)
    check = mm.dataset(valid, fields, size, **heard)
    steps = args.epochs * len(data)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=args.learning_rate, warmup_steps=steps // 10
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=0.01, clipnorm=1.0, beta_2=0.98, use_ema=True, ema_momentum=0.995
    )
    mm.compile_task(model, optimizer)
    if args.check:
        raise SystemExit(not mm.check(model, data))
    watch = [mm.StopOnNaN()]
    if args.save_steps:
        watch.append(mm.Resume(Path(args.out) / "checkpoints", every_steps=args.save_steps))
    return model.fit(data, validation_data=check, epochs=args.epochs, callbacks=watch)


def searches(args, texts, tokens):
    """What was asked for, one upon the other: a name, a language model, options of the search."""
    yield "as it is", None, {}
    beam = {"beam_width": args.beam_width}
    if args.language_order or args.neural or args.hot_words:
        yield f"beam {args.beam_width}", None, beam
    weights = {"language_weight": args.language_weight, "word_bonus": args.word_bonus}
    language, fused = None, beam
    if args.language_order:
        language, fused = ngrams(args, texts, tokens), {**beam, **weights}
        yield f"and a word {args.language_order}-gram", language, fused
    if args.neural:
        language, fused = neural(args, texts, tokens), {**beam, **weights}
        yield "or a neural language model", language, fused
    if args.hot_words:
        hot = mm.hot_word_ids(args.hot_words, tokens)
        yield "and hot words", language, {**fused, "hot_words": hot}


def ngrams(args, texts, tokens):
    return mm.NgramLanguageModel.train(texts, tokens, args.language_order)


def neural(args, texts, tokens):
    longest = int(max(tokens.encode(texts).row_lengths()))
    language = mm.language_model(tokens, args.neural, longest)
    data = mm.dataset({"text": texts}, language.preprocessor, 64, shuffle=True, seed=args.seed)
    language.fit(data, epochs=args.neural_epochs)
    return language.get_layer("text")


def report_scores(name, scores, answers):
    right = 100 * (1 - scores["wrong utterances"] / scores["utterances"])
    print(f"\n{len(answers)} held-out recordings, {name}, {right:.2f} % of them wholly right:")
    print(mm.format_speech_scores(scores))


if __name__ == "__main__":
    main()
