"""The peer: the same Conformer with a CTC loss in plain torch, in a process of its own.

Its one argument are settings as JSON, see `speech_training.py`. It answers with a line of JSON,
its `versions` or what is `missing`, and then to each line that it reads, `train` or `matmul`,
with the seconds that took.
"""

import json
import os
import sys
import time


def main():
    settings = json.loads(sys.argv[1])
    try:
        import torch
    except ImportError as error:
        say(json.dumps({"missing": str(error)}))
        return
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    runs = {
        "train": trainer(torch, recognizer(torch, settings), settings),
        "matmul": multiplier(torch, settings["peak_side"]),
    }
    say(json.dumps({"versions": {"torch": torch.__version__}}))
    for line in sys.stdin:
        start = time.perf_counter()
        runs[line.strip()]()
        say(time.perf_counter() - start)


def say(line):
    print(line, flush=True)


def recognizer(torch, settings):
    """A function of frames and mask -> log-probabilities `(batch, length, vocabulary)`."""
    nn, functional = torch.nn, torch.nn.functional
    width, heads, kernel = settings["width"], settings["heads"], settings["kernel"]

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.query_key_value = nn.Linear(width, 3 * width)
            self.out = nn.Linear(width, width)

        def forward(self, x, mask, turns):
            x = self.query_key_value(x).unflatten(-1, (3, heads, width // heads))
            query, keys, values = x.permute(2, 0, 3, 1, 4)
            x = functional.scaled_dot_product_attention(
                turn(query, turns), turn(keys, turns), values, mask[:, None, None]
            )
            return self.out(x.transpose(1, 2).flatten(2))

    def turn(x, turns):
        (cosine, sine), (one, other) = turns, x.chunk(2, dim=-1)
        return torch.cat([one * cosine - other * sine, other * cosine + one * sine], dim=-1)

    def angles(length):
        pairs = width // heads // 2
        speeds = 10000.0 ** -(torch.arange(pairs) / pairs)
        angles = torch.arange(length)[:, None] * speeds
        return angles.cos(), angles.sin()

    class Convolution(nn.Module):
        def __init__(self):
            super().__init__()
            self.gated = nn.Linear(width, 2 * width)
            self.filters = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
            self.norm = nn.LayerNorm(width)
            self.out = nn.Linear(width, width)

        def forward(self, x, mask):
            x = functional.glu(self.gated(x)) * mask[..., None]
            x = self.filters(x.transpose(1, 2)).transpose(1, 2)
            return self.out(functional.silu(self.norm(x)))

    def feed_forward():
        return nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = feed_forward(), feed_forward()
            self.attention, self.convolution = Attention(), Convolution()
            self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(5))
            self.drop = nn.Dropout(settings["dropout"])

        def forward(self, x, mask, turns):
            x = x + 0.5 * self.drop(self.first(self.norms[0](x)))
            x = x + self.drop(self.attention(self.norms[1](x), mask, turns))
            x = x + self.drop(self.convolution(self.norms[2](x), mask))
            x = x + 0.5 * self.drop(self.second(self.norms[3](x)))
            return self.norms[4](x)

    class Recognizer(nn.Module):
        def __init__(self):
            super().__init__()
            channels, bands = settings["channels"], settings["bands"]
            self.convolutions = nn.ModuleList()
            depth = 1
            for _ in range(settings["subsampling"].bit_length() - 1):
                self.convolutions.append(nn.Conv2d(depth, channels, 3, 2, padding=1))
                depth, bands = channels, -(-bands // 2)
            self.project = nn.Linear(bands * channels, width)
            self.drop = nn.Dropout(settings["dropout"])
            self.blocks = nn.ModuleList(Block() for _ in range(settings["depth"]))
            self.head = nn.Linear(width, settings["vocabulary"])

        def forward(self, x, mask):
            x = x[:, None]
            for convolution in self.convolutions:
                x = functional.relu(convolution(x * mask[:, None, :, None]))
                mask = mask[:, ::2]
            x = self.drop(self.project(x.transpose(1, 2).flatten(2)))
            turns = angles(x.shape[1])
            for block in self.blocks:
                x = block(x, mask, turns)
            return functional.log_softmax(self.head(x), dim=-1)

    return Recognizer()


def trainer(torch, model, settings):
    """A function that takes one training step, with what mmkeras's own step has in it."""
    batch, frames, labels = settings["batch"], settings["frames"], settings["labels"]
    x = torch.randn(batch, frames, settings["bands"])
    mask = torch.ones(batch, frames, dtype=torch.bool)
    ids = torch.randint(1, settings["vocabulary"], (batch, labels))
    label_lengths = torch.full((batch,), labels)
    lengths = torch.full((batch,), -(-frames // settings["subsampling"]))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )

    def step():
        model.train()
        log_probabilities = model(x, mask).transpose(0, 1)
        loss = torch.nn.functional.ctc_loss(log_probabilities, ids, lengths, label_lengths)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def multiplier(torch, side):
    left, right = torch.rand(2, side, side)
    return lambda: torch.mm(left, right)


if __name__ == "__main__":
    main()
