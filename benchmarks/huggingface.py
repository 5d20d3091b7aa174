"""The peer: the same captioner in Hugging Face Transformers on torch, in a process of its own.

Its one argument are settings as JSON, see `captioner.peer_settings`. It answers with a line of
JSON, its `versions` or what is `missing`, and then to each line that it reads, one of `greedy`,
`beam4`, `train` and `matmul`, with the seconds that took.
"""

import json
import os
import sys
import time

START, END, PAD = 1, 2, 0


def main():
    settings = json.loads(sys.argv[1])
    try:
        import torch
        import transformers
    except ImportError as error:
        say(json.dumps({"missing": str(error)}))
        return
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    model = captioner(transformers, settings)
    pixels = torch.rand(settings["batch"], 3, settings["image_size"], settings["image_size"])
    runs = {
        "greedy": lambda: generate(torch, transformers, model, settings, pixels, beams=1),
        "beam4": lambda: generate(torch, transformers, model, settings, pixels, beams=4),
        "train": trainer(torch, model, settings, pixels),
        "matmul": multiplier(torch, settings["peak_side"]),
    }
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    say(json.dumps({"versions": versions}))
    for line in sys.stdin:
        start = time.perf_counter()
        runs[line.strip()]()
        say(time.perf_counter() - start)


def say(line):
    print(line, flush=True)


def captioner(transformers, settings):
    """`VisionEncoderDecoderModel` of a ViT and a GPT-2 with cross-attention, both pre-norm."""
    width, depth, heads = settings["encoder"]
    encoder = transformers.ViTConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        image_size=settings["image_size"],
        patch_size=settings["patch"],
        hidden_dropout_prob=settings["dropout"],
    )
    decoder = transformers.GPT2Config(
        vocab_size=settings["vocabulary"],
        n_positions=settings["tokens"],
        n_embd=settings["width"],
        n_layer=settings["depth"],
        n_head=settings["heads"],
        embd_pdrop=settings["dropout"],
        resid_pdrop=settings["dropout"],
        attn_pdrop=0.0,
        bos_token_id=START,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    join = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs
    return transformers.VisionEncoderDecoderModel(config=join(encoder, decoder))


def generate(torch, transformers, model, settings, pixels, beams):
    config = transformers.GenerationConfig(
        min_new_tokens=settings["tokens"],
        max_new_tokens=settings["tokens"],
        num_beams=beams,
        do_sample=False,
        decoder_start_token_id=START,
        bos_token_id=START,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    model.eval()
    with torch.inference_mode():
        ids = model.generate(pixel_values=pixels, generation_config=config)
    if tuple(ids.shape) != (len(pixels), settings["tokens"] + 1):
        raise ValueError(f"{settings['tokens']} tokens should come after START. Got {ids.shape}")


def trainer(torch, model, settings, pixels):
    """A function that takes one training step, with what mmkeras's own step has in it."""
    shape = len(pixels), settings["tokens"]
    ids, labels = torch.randint(END + 1, settings["vocabulary"], (2, *shape))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )

    def step():
        model.train()
        logits = model(pixel_values=pixels, decoder_input_ids=ids, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), label_smoothing=settings["label_smoothing"]
        )
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
