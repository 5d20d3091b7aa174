"""Words cut out of longer recordings by a recognizer's timestamps, as a manifest of parts.

    python recipes/cut_words.py saved_models/an4_speech.keras --data an4 --path an4 \\
        --words zero one two three four five six seven eight nine --out runs/an4_digits.jsonl

A recording counts if the recognizer heard what its transcript says. A word begins halfway from the
word before it and ends halfway to the next; at the ends of a recording it has a margin.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path

import mmkeras as mm

MARGIN = 0.15
SHORTEST, LONGEST = 0.12, 1.2


def main():
    args = arguments()
    model = mm.load_model(args.model)
    records, _, _ = mm.read(args.data, args.path)
    rows = [
        {"audio": str(Path(audio).resolve()), "speaker": speaker, **part}
        for audio, transcript, speaker in zip(*map(records.get, COLUMNS), strict=True)
        for part in cut(model, audio, transcript.lower().split(), set(args.words))
    ]
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    speakers = {row["speaker"] for row in rows}
    print(f"{len(rows)} words of {len(speakers)} speakers in {out}")


COLUMNS = ("audio", "transcript", "speaker")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a recognizer")
    parser.add_argument(
        "--data", default="an4", help="a layout that `mm.read` knows, with speakers"
    )
    parser.add_argument("--path", help="of the data")
    parser.add_argument("--words", nargs="+", required=True, help="to cut out")
    parser.add_argument("--out", required=True, help="the manifest, JSON lines")
    return parser.parse_args()


def cut(model, audio, transcript, wanted):
    """The parts of a recording that hold wanted words: `text`, `start` and `duration` of each."""
    if not wanted & set(transcript):
        return
    raw = model.raw_tensors(model.preprocessor.load({"audio": [audio]}))
    heard = model.serve_function("timestamps")(raw)
    words = [word.decode() for word in heard["transcript_words"].numpy()[0]]
    if words != transcript:
        return
    times = heard["transcript_seconds"].numpy()[0].astype(float)
    last = min(times[-1, 1] + MARGIN, model.preprocessor.inputs["audio"].seconds(audio))
    middles = [(end + start) / 2 for (_, end), (start, _) in pairwise(times)]
    edges = [max(times[0, 0] - MARGIN, 0), *middles, last]
    for word, (start, end) in zip(words, pairwise(edges), strict=True):
        if word in wanted and SHORTEST < end - start < LONGEST:
            yield {"text": word, "start": round(start, 3), "duration": round(end - start, 3)}


if __name__ == "__main__":
    main()
