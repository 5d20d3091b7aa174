"""The peer: the same answerer of questions about pictures in plain torch, a process of its own.

Its one argument are settings as JSON, see `answering.py`. It answers with a line of JSON, its
`versions` or what is `missing`, and then to each line that it reads, `train`, `infer` or `matmul`,
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
    model = answerer(torch, settings)
    batch, side = settings["batch"], settings["side"]
    photos = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)
    ids = torch.randint(4, settings["vocabulary"], (batch, settings["words"]))
    left, right = torch.rand(2, settings["peak_side"], settings["peak_side"])
    runs = {
        "train": trainer(torch, model, (photos, ids), settings),
        "infer": inferrer(torch, model, (photos, ids)),
        "matmul": lambda: torch.mm(left, right),
    }
    say(json.dumps({"versions": {"torch": torch.__version__}}))
    for line in sys.stdin:
        start = time.perf_counter()
        runs[line.strip()]()
        say(time.perf_counter() - start)


def say(line):
    print(line, flush=True)


def answerer(torch, settings):
    """A function of photos and token ids -> logits `(batch, answers)`."""
    nn, functional = torch.nn, torch.nn.functional
    width, heads, drop = settings["width"], settings["heads"], settings["dropout"]

    class Residual(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(2))
            self.convolutions = nn.ModuleList(
                nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2)
            )

        def forward(self, x):
            y = x
            for norm, convolution in zip(self.norms, self.convolutions, strict=True):
                y = convolution(functional.relu(norm(y)))
            return x + y

    def photo_encoder():
        layers, before = [], 3
        for stage in range(4):
            channels = settings["channels"] * 2**stage
            layers.append(nn.Conv2d(before, channels, 3, 2, padding=1, bias=False))
            layers += [Residual(channels) for _ in range(settings["residuals"])]
            before = channels
        return nn.Sequential(*layers, nn.BatchNorm2d(before), nn.ReLU()), before

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
            self.key_value = nn.Linear(width, 2 * width)

        def forward(self, x, context):
            def split(x):
                return x.unflatten(-1, (heads, width // heads)).transpose(1, 2)

            keys, values = self.key_value(context).chunk(2, dim=-1)
            y = functional.scaled_dot_product_attention(
                split(self.query(x)), split(keys), split(values)
            )
            return self.out(y.transpose(1, 2).flatten(2))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
            self.attention, self.drop = Attention(), nn.Dropout(drop)
            self.feed = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
            )

        def forward(self, x, context=None):
            y = self.norms[0](x)
            context = y if context is None else self.norms[1](context)
            x = x + self.drop(self.attention(y, context))
            return x + self.drop(self.feed(self.norms[2](x)))

    class Answerer(nn.Module):
        def __init__(self):
            super().__init__()
            self.photo, channels = photo_encoder()
            self.words = nn.Embedding(settings["vocabulary"], width)
            self.word_norm = nn.LayerNorm(width)
            self.lstm = nn.LSTM(width, width // 2, bidirectional=True, batch_first=True)
            self.project = nn.ModuleList(
                nn.Sequential(nn.Linear(wide, width), nn.LayerNorm(width), nn.Dropout(drop))
                for wide in (channels, width)
            )
            self.across = nn.ModuleList(nn.ModuleList(Block() for _ in range(2)) for _ in range(2))
            self.within = nn.ModuleList(nn.ModuleList(Block() for _ in range(2)) for _ in range(2))
            self.norm = nn.LayerNorm(width)
            self.hidden, self.score = nn.Linear(width, width), nn.Linear(width, 1, bias=False)
            self.head = nn.Sequential(
                nn.Dropout(drop), nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width),
                nn.Dropout(drop), nn.Linear(width, settings["answers"]),
            )  # fmt: skip
            self.drop = nn.Dropout(drop)

        def forward(self, photos, ids):
            grid = self.photo(photos.float() / 127.5 - 1).flatten(2).transpose(1, 2)
            words = self.drop(self.lstm(self.word_norm(self.drop(self.words(ids))))[0])
            x = [project(x) for project, x in zip(self.project, (grid, words), strict=True)]
            for across, within in zip(self.across, self.within, strict=True):
                x = [within[i](across[i](x[i], x[1 - i])) for i in range(2)]
            x = self.norm(torch.cat(x, dim=1))
            weights = self.score(torch.tanh(self.hidden(x))).softmax(dim=1)
            return self.head((weights * x).sum(dim=1))

    return Answerer()


def trainer(torch, model, inputs, settings):
    """A function that takes one training step, with what mmkeras's own step has in it."""
    labels = torch.randint(0, settings["answers"], (settings["batch"],))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )

    def step():
        model.train()
        torch.nn.functional.cross_entropy(model(*inputs), labels).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def inferrer(torch, model, inputs):
    def infer():
        model.eval()
        with torch.inference_mode():
            model(*inputs).softmax(dim=-1).topk(1)

    return infer


if __name__ == "__main__":
    main()
