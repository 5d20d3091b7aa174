"""The peer of `audio.py`: WhisperFeatureExtractor of Transformers, in a process of its own.

Its one argument are settings as JSON, the `pieces` and `samples` of each. It answers with a line of
JSON, its `versions` or what is `missing`, and then to each line that it reads, `log_mel`, with the
seconds that took.
"""

import json
import os
import sys
import time


def main():
    settings = json.loads(sys.argv[1])
    try:
        import numpy as np
        import torch
        import transformers
    except ImportError as error:
        say(json.dumps({"missing": str(error)}))
        return
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    extractor = transformers.WhisperFeatureExtractor()
    random = np.random.default_rng(0)
    shape = settings["pieces"], settings["samples"]
    sound = list(random.normal(0, 0.1, shape).astype(np.float32))
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    say(json.dumps({"versions": versions}))
    for _ in sys.stdin:
        start = time.perf_counter()
        extractor(sound, sampling_rate=16000, return_tensors="np")
        say(time.perf_counter() - start)


def say(line):
    print(line, flush=True)


if __name__ == "__main__":
    main()
