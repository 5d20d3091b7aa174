"""The command line: infer, export, verify, inspect, serve."""

import argparse
import json
import logging
import sys
from pathlib import Path

import numpy as np

import mmkeras
from mmkeras import startup


def main(argv=None):
    """Run one command; errors are one line on standard error and exit status 1.

    Args:
        argv: The arguments, without the program's name; None for the process's own.

    Returns:
        0 if all is well, 1 if not.
    """
    args, rest = _parser().parse_known_args(argv)
    startup.start()
    try:
        return args.run(args, rest)
    except (ValueError, OSError) as error:
        print(f"mmkeras: {_one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser():
    parser = argparse.ArgumentParser(
        "mmkeras", description="Multimodal models in Keras 3 on TensorFlow."
    )
    parser.add_argument("--version", action="version", version=mmkeras.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    infer = commands.add_parser(
        "infer",
        help="answer from raw files",
        description="Answer from raw files: one option per input of the model, such as --image.",
        usage="mmkeras infer MODEL --image FILE [FILE ...] [--beam-width N] [--json]",
        epilog="The file - is standard input. A recording in it, a WAV or 16-bit samples without a "
        "header, is written down while it comes, by a model that can listen to streams.",
    )
    infer.add_argument("model", help="a .keras file or an export")
    infer.add_argument("--beam-width", type=int, help="beam search (.keras files only)")
    infer.add_argument("--json", action="store_true", help="print JSON, one object per example")
    infer.add_argument(
        "--rate",
        type=int,
        help="samples a second of a recording on standard input that has no header; else the "
        "model's",
    )
    infer.set_defaults(run=_infer)

    export = commands.add_parser("export", help="write a SavedModel for TF Serving")
    export.add_argument("model", help="a .keras file")
    export.add_argument("path", help="directory of versions, or a version directory")
    export.add_argument("--beam-width", type=int, default=4)
    export.add_argument(
        "--card", help="a JSON file: data, scores, languages, licence and limits of the model"
    )
    kinds = ["float32", "bfloat16", "int8"]
    export.add_argument("--weights", choices=kinds, default="float32", help="how they are stored")
    export.set_defaults(run=_export)

    verify = commands.add_parser("verify", help="replay an export's golden requests")
    verify.add_argument("path", help="an export")
    verify.add_argument("--server", help="ask this one too: http://host:8501 or grpc://host:8500")
    verify.add_argument("--name", help="of the model there; by default the directory's")
    verify.add_argument("--token", help="that the server wants")
    verify.set_defaults(run=_verify)

    inspect = commands.add_parser("inspect", help="what a model takes, gives and weighs")
    inspect.add_argument("model", help="a .keras file or an export")
    inspect.set_defaults(run=_inspect)

    runs = commands.add_parser(
        "runs",
        help="list and compare trainings",
        description="List the trainings that `RunLog` has written. Of several that are named, it "
        "is also told what differs in their configurations. A + behind a commit: with changes.",
    )
    runs.add_argument("paths", nargs="*", default=["runs"], help="directories; by default runs")
    runs.set_defaults(run=_runs)

    serve = commands.add_parser(
        "serve",
        help="serve exports as TF Serving does",
        description="Serve exports over TensorFlow Serving's REST and gRPC interfaces, for "
        "development and small use; for all that is larger TensorFlow Serving takes the same "
        "exports. Each path is a directory of versions, of which the newest good one is served, "
        "also if it comes later.",
    )
    serve.add_argument("paths", nargs="+", metavar="PATH", help="an export")
    serve.add_argument("--host", default="127.0.0.1", help="default: this machine only")
    serve.add_argument("--port", type=int, default=8501, help="of REST, 0 for any (8501)")
    serve.add_argument("--grpc-port", type=int, default=8500, help="of gRPC, 0 for any (8500)")
    serve.add_argument("--token-file", help="a file with what requests have to send as a bearer")
    serve.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="NAME:LABEL=VERSION",
        help="serve a version beside the newest, under /v1/models/NAME/labels/LABEL",
    )
    serve.add_argument("--batch-size", type=int, help="rows that go through a model at once (64)")
    serve.add_argument("--batch-timeout-ms", type=float, help="to wait for more of them (1)")
    serve.add_argument("--batch-threads", type=int, help="batches at the same time (cores)")
    serve.add_argument("--queue", type=int, help="rows that may wait; more get a 503 (128)")
    serve.add_argument("--timeout", type=float, help="seconds that a request may take (30)")
    serve.add_argument("--body-mb", type=float, help="megabytes of a request (64)")
    serve.set_defaults(run=_serve)
    return parser


def _infer(args, rest):
    records = _records(rest)
    model = _load(args.model)
    options = {}
    if args.beam_width is not None:
        if isinstance(model, mmkeras.Export):
            raise ValueError(
                "--beam-width is fixed in an export; give it to `mmkeras export`, or infer from "
                "the .keras file"
            )
        options["beam_width"] = args.beam_width
    if ["-"] in records.values():
        return _infer_input(model, records, options, args)
    if args.rate is not None:
        raise ValueError("--rate is for a recording on standard input, such as --audio -")
    answers = model.infer(_as_wav(model, records), **options)
    for row in range(len(next(iter(answers.values())))):
        given = {name: values[row] for name, values in records.items()}
        answer = {name: values[row] for name, values in answers.items()}
        if args.json:
            print(json.dumps(given | answer, ensure_ascii=False))
        else:
            texts = [value for value in answer.values() if isinstance(value, str)]
            texts = texts or [f"{value:.4f}" for value in answer.values()]
            print("\t".join([*given.values(), *texts]))
    return 0


def _infer_input(model, records, options, args):
    """Answers from standard input."""
    if len(records) > 1:
        raise ValueError("Standard input should be the only input of the model")
    (name,) = records
    file, given = sys.stdin.buffer, {name: "-"}
    field, stream = _ears(model, name, args.rate, options)
    if field is None and args.rate is not None:
        raise ValueError(f"--rate is for a recording. Received: --{name}")
    if stream is not None:
        return _listen(stream, field.pieces(file, args.rate), given if args.json else None)
    if field is None:
        contents = _as_wav(model, {name: [file.read()]})
    else:
        samples = np.concatenate([np.zeros(0, np.float32), *field.pieces(file, args.rate)])
        contents = {name: [field.load((samples, field.sample_rate))]}
    answers = model.infer(contents, **options)
    answer = {key: values[0] for key, values in answers.items()}
    texts = [value for value in answer.values() if isinstance(value, str)]
    print(json.dumps(given | answer, ensure_ascii=False) if args.json else "\t".join(texts))
    return 0


def _ears(model, name, rate, options):
    """The field that hears the input `name` and the stream that listens to it, None without."""
    if isinstance(model, mmkeras.Export):
        if "stream_init" in model.signatures and f"{name}_bytes" in model.specs():
            stream = model.stream()
            return mmkeras.Audio(stream.sample_rate), stream
        # What has no streams does not tell at which rate it hears.
        return None if rate is None else mmkeras.Audio(rate), None
    field = model.preprocessor.inputs.get(name)
    if not hasattr(field, "pieces"):
        return None, None
    try:
        return field, mmkeras.Stream(model, **options)
    except ValueError:
        # What is no good for both is told by `infer`.
        return field, None


def _listen(stream, pieces, given=None):
    """Writes what is certain as it comes, or with `given` one JSON object at the end."""
    state, shown = None, ""

    def show(text, end=""):
        if given is None:
            print(text.removeprefix(shown), end=end, flush=True)

    try:
        for samples in pieces:
            heard, state = stream.step(samples[None], state or stream.initial_state())
            stable = heard[f"{stream.target}_stable"][0]
            show(stable)
            shown = stable
    except KeyboardInterrupt:
        pass  # It ends the recording, and what was said counts.
    finally:
        # Also where the input turns out to be damaged.
        if state:
            answer = {key: values[0] for key, values in stream.end(state).items()}
            show(answer[stream.target], end="\n")
            if given is not None:
                print(json.dumps(given | answer, ensure_ascii=False))
    return 0


def _as_wav(model, records):
    """An export takes WAV only, and cannot tell what a file is; a Task reads files itself."""
    if not isinstance(model, mmkeras.Export) or "audio" not in records:
        return records
    return records | {"audio": [mmkeras.Audio().load(value) for value in records["audio"]]}


def _export(args, rest):
    _refuse(rest)
    path = mmkeras.export(
        mmkeras.load_model(_file(args.model)),
        args.path,
        beam_width=args.beam_width,
        card=args.card and _json(args.card),
        weights=args.weights,
    )
    print(path)
    return 0


def _verify(args, rest):
    _refuse(rest)
    client = None
    if args.server:
        version = mmkeras.Export(args.path).path.resolve()
        name = args.name or version.parent.name
        client = mmkeras.Client(args.server, name, int(version.name), args.token)
    try:
        differences = mmkeras.verify(args.path, client)
    except LookupError as error:  # the server knows no such model
        raise ValueError(error) from None
    print("\n".join(differences) or "equal")
    return 1 if differences else 0


def _inspect(args, rest):
    _refuse(rest)
    model = _load(args.model)
    if isinstance(model, mmkeras.Export):
        rows = [("export", model.path)]
        for signature in model.signatures:
            takes = ", ".join(
                f"{k} {list(s.shape)} {s.dtype.name}" for k, s in model.specs(signature).items()
            )
            rows.append((f"signature {signature}", f"takes {takes}"))
    else:
        rows = list(_describe(model))
    for name, value in rows:
        print(f"{name}: {value}")
    return 0


def _runs(args, rest):
    _refuse(rest)
    print(mmkeras.format_runs(mmkeras.read_runs(*args.paths), differences=len(args.paths) > 1))
    return 0


def _describe(task):
    yield "task", task.name
    for name, field in task.preprocessor.inputs.items():
        tensor = task.input[name]
        lacks = ", may be missing" if field.optional else ""
        yield f"input {name}", f"{type(field).__name__} {tensor.shape[1:]} {tensor.dtype}{lacks}"
    for name, field in task.preprocessor.targets.items():
        head = task.get_layer(name)
        yield f"target {name}", f"{type(field).__name__} from {type(head).__name__}"
        tokenizer = getattr(field, "tokenizer", None)
        if tokenizer is not None:
            yield (
                f"vocabulary of {name}",
                f"{tokenizer.vocabulary_size} ({type(tokenizer).__name__})",
            )
            yield f"longest {name}", f"{field.sequence_length} tokens"
        if hasattr(field, "classes"):
            yield f"classes of {name}", f"{len(field.classes)}, such as {field.classes[:5]}"
    trained = sum(w.shape.num_elements() for w in task.trainable_weights)
    yield "parameters", f"{task.count_params():,}, of which {trained:,} are trained"


def _serve(args, rest):
    _refuse(rest)
    limits = {
        "batch_size": args.batch_size,
        "batch_timeout": args.batch_timeout_ms and args.batch_timeout_ms / 1000,
        "batch_threads": args.batch_threads,
        "queue": args.queue,
        "request_timeout": args.timeout,
        "body_size": args.body_mb and int(args.body_mb * 2**20),
    }
    limits = {name: value for name, value in limits.items() if value is not None}
    token = args.token_file and Path(args.token_file).read_text(encoding="utf-8").strip()
    if token == "":
        raise ValueError(f"--token-file should hold a token. Received: {args.token_file}, empty")
    _log_to_stderr()
    try:
        make = mmkeras.Server
    except ModuleNotFoundError as error:
        raise ValueError(error) from None
    labels = _labels(args.label)
    server = make(args.paths, args.host, args.port, args.grpc_port, token, labels, **limits)
    for name, versions in server.served.items():
        served = f"{name} {', '.join(map(str, versions))}"
        print(f"{served}: {server.url}/v1/models/{name} and {server.grpc_url}", flush=True)
    server.run()
    return 0


def _labels(words):
    """`["captions:stable=3"]` -> `{"captions": {"stable": 3}}`."""
    labels = {}
    for word in words:
        name, _, pair = word.partition(":")
        label, _, version = pair.partition("=")
        if not (name and label and version.isdecimal()):
            raise ValueError(f"--label should be NAME:LABEL=VERSION. Received: {word}")
        labels.setdefault(name, {})[label] = int(version)
    return labels


def _log_to_stderr():
    log = logging.getLogger("mmkeras")
    log.setLevel(logging.INFO)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.handlers = [handler]


def _load(path):
    if Path(path).is_dir():
        return mmkeras.Export(path)
    return mmkeras.load_model(_file(path))


def _file(path):
    if not Path(path).is_file():
        raise ValueError(f"No model file {path}")
    return path


def _json(path):
    try:
        return json.loads(Path(_file(path)).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} should be a JSON file: {error}") from None


def _records(words):
    """`--image a.jpg b.jpg` -> `{"image": ["a.jpg", "b.jpg"]}`."""
    records = {}
    for word in words:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            values = records.setdefault(name.replace("-", "_"), [value] if value else [])
        elif not records:
            raise ValueError(f"Every file should stand behind its input, such as --image {word}")
        else:
            values.append(word)
    if not records:
        raise ValueError("Files should be named by input, such as --image photo.jpg")
    return records


def _refuse(words):
    if words:
        raise ValueError(f"Unknown arguments: {' '.join(words)}")


def _one_line(error):
    return " ".join(str(error).split())
