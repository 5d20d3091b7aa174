"""What every report has: the page and its style, its heading, key figures, model and run."""

import datetime
import html
import math
import os
import platform
import shlex
import sys
from pathlib import Path

import keras
import tensorflow as tf

import mmkeras

# Everything that comes from outside passes through here.
escaped = html.escape


def page(title, body, style=""):
    """The whole page; nothing in it may come from elsewhere."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{escaped(title)}</title>
<style>{_STYLE}{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def section(title, body, lead=""):
    """A part of the page under a heading; `title` and `lead` are HTML."""
    lead = f'<p class="lead">{lead}</p>\n' if lead else ""
    return f"<section>\n<h2>{title}</h2>\n{lead}{body}\n</section>"


def header(title, task, notes):
    """The heading of the page, and notes under it; an empty line parts paragraphs."""
    paragraphs = [part.strip() for part in (notes or "").split("\n\n") if part.strip()]
    return "\n".join(
        [
            "<header>",
            f'<p class="eyebrow">{escaped(task.name.replace("_", " "))} · {_today():%d %B %Y}</p>',
            f'<h1 dir="auto">{escaped(title)}</h1>',
            *(f'<p class="note" dir="auto">{escaped(part)}</p>' for part in paragraphs),
            "</header>",
        ]
    )


def _today():
    return datetime.datetime.now().astimezone()


def key_figures(task, figures):
    """`(name, text)` pairs, and how many parameters there are."""
    figures = [*figures, ("parameters", _short(task.count_params()))]
    cells = [f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures]
    return '<dl class="figures">\n' + "\n".join(cells) + "\n</dl>"


def _short(count):
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


def model(task):
    """The section of the model's fields and layers."""
    trainable = sum(math.prod(weight.shape) for weight in task.trainable_weights)
    fields = [
        f'<tr><th scope="row">{escaped(name)}</th><td>{kind}</td>'
        f"<td>{escaped(_described(field))}</td></tr>"
        for kind, group in (
            ("input", task.preprocessor.inputs),
            ("target", task.preprocessor.targets),
        )
        for name, field in group.items()
    ]
    layers = [
        f'<tr><th scope="row">{escaped(layer.name)}</th><td>{type(layer).__name__}</td>'
        f"<td>{layer.count_params():,}</td></tr>"
        for layer in task.layers
        if layer.weights
    ]
    return section(
        "Model",
        f'<p class="lead">{task.count_params():,} parameters, {trainable:,} of them trained.</p>\n'
        f'<div class="wide"><table>\n<tbody>\n{chr(10).join(fields)}\n</tbody></table></div>\n'
        f"<details><summary>Parameters by layer</summary>\n"
        f'<div class="wide"><table class="layers">\n<tbody>\n{chr(10).join(layers)}\n'
        "</tbody></table></div></details>",
    )


def _described(field):
    """A field by its settings, and its tokenizer by its size."""
    config = {
        name: value
        for name, value in field.get_config().items()
        if name not in ("name", "trainable", "dtype", "tokenizer")
    }
    if hasattr(field, "tokenizer"):
        kind = type(field.tokenizer).__name__
        config = {kind: f"{field.tokenizer.vocabulary_size:,} ids", **config}
    settings = ", ".join(
        f"{name.replace('_', ' ')} {f'{value:,}' if type(value) is int else value}"
        for name, value in config.items()
    )
    return f"{type(field).__name__}: {settings}"


def run(details):
    """The section of how and where it was run."""
    devices = tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("CPU")
    kind = devices[0].device_type if devices else "none"
    rows = {
        "command": _command(),
        "date": f"{_today():%Y-%m-%d %H:%M %Z}",
        **details,
        "versions": f"mmkeras {mmkeras.__version__}, Keras {keras.__version__}, "
        f"TensorFlow {tf.__version__}, Python {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores, "
        f"{len(devices)} {kind} device{'s' if len(devices) != 1 else ''}",
    }
    listed = [
        f"<dt>{escaped(str(name))}</dt><dd>{escaped(str(value))}</dd>"
        for name, value in rows.items()
    ]
    return section("Run", f'<dl class="run">\n{chr(10).join(listed)}\n</dl>')


def searched(options):
    """The options of a search as a row of the table of the run."""
    return ", ".join(f"{name}={value!r}" for name, value in options.items()) or "greedy"


def _command():
    program, *arguments = sys.argv
    here, program = Path.cwd(), Path(program)
    # Whole paths tell more of the machine than of the run.
    if program.is_absolute():
        program = program.relative_to(here) if program.is_relative_to(here) else program.name
    return shlex.join(["python", str(program), *arguments])


_STYLE = """
:root {
  --ink: #1b1d22; --soft: #5c6270; --faint: #e4e6eb; --paper: #f7f7f9; --card: #ffffff;
  --train: #2f6fde; --valid: #d9730d;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e8e9ec; --soft: #9aa0ad; --faint: #2c3038; --paper: #14161a; --card: #1c1f25;
    --train: #7aa7ff; --valid: #ffab5c;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0; letter-spacing: -0.02em; text-wrap: balance; }
h2 { font-size: 1.25rem; margin: 0 0 .75rem; letter-spacing: -0.01em; }
h3 { font-size: 1rem; font-weight: 600; margin: 1.5rem 0 .6rem; }
section { margin-top: 3rem; }
p { margin: 0; }
.eyebrow { color: var(--soft); font-size: .875rem; margin-bottom: .4rem; }
.note { max-width: 44rem; margin-top: .75rem; }
.lead { color: var(--soft); max-width: 44rem; margin: -.4rem 0 1rem; font-size: .9375rem; }
.figures {
  display: flex; flex-wrap: wrap; gap: 1px;
  margin: 2rem 0 0; background: var(--faint); border: 1px solid var(--faint);
  border-radius: 10px; overflow: hidden;
}
.figures div { flex: 1 1 150px; background: var(--card); padding: .9rem 1.1rem; }
.figures dt { color: var(--soft); font-size: .8125rem; }
.figures dd { margin: 0; font-size: 1.6rem; font-weight: 600; letter-spacing: -0.02em; }
.figures dd, td, svg text { font-variant-numeric: tabular-nums; }
figure { margin: 0; }
img { display: block; width: 100%; height: auto; }
audio { display: block; width: 100%; max-width: 26rem; height: 36px; margin: .6rem 0; }
.charts, .cards, .tiles { display: grid; gap: 1.25rem; }
.charts { grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)); }
.charts figure, .card {
  background: var(--card); border: 1px solid var(--faint); border-radius: 10px; overflow: hidden;
}
.charts figure { padding: .9rem 1rem .4rem; }
.charts figcaption { font-size: .875rem; margin-bottom: .4rem; }
.charts figcaption span { color: var(--soft); margin-left: .9rem; white-space: nowrap; }
.charts figcaption span::before {
  content: ""; display: inline-block; width: .9em; height: 3px; border-radius: 2px;
  margin-right: .4em; vertical-align: middle;
}
span.train::before { background: var(--train); }
span.valid::before { background: var(--valid); }
svg { display: block; width: 100%; height: auto; }
svg text { font-size: 12px; fill: var(--soft); }
svg .grid { stroke: var(--faint); }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
polyline.train { stroke: var(--train); }
polyline.valid { stroke: var(--valid); }
circle.train { fill: var(--train); }
circle.valid { fill: var(--valid); }
.told { color: var(--soft); font-size: .8125rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9375rem; }
th, td {
  text-align: left; vertical-align: top; padding: .45rem 1.25rem .45rem 0;
  border-bottom: 1px solid var(--faint);
}
th { font-weight: 500; }
thead th { color: var(--soft); font-size: .8125rem; }
.scores td, .scores thead th {
  text-align: right; white-space: nowrap; padding: .45rem 0 .45rem 2rem;
}
.scores td:nth-child(2) { font-weight: 600; }
small { color: var(--soft); font-size: .8125rem; font-weight: 400; }
th small { display: block; min-width: 10rem; max-width: 24rem; }
.signatures { list-style: none; margin: .9rem 0 0; padding: 0; color: var(--soft); }
.layers td:last-child { text-align: right; }
.signatures, .run dd, .layers {
  font: .8125rem/1.6 ui-monospace, "SF Mono", Menlo, Consolas, monospace;
}
.signatures li, .run dd { overflow-wrap: anywhere; }
.cards { grid-template-columns: repeat(auto-fill, minmax(min(100%, 210px), 1fr)); }
.card { display: flex; flex-direction: column; }
.card figcaption { padding: .8rem .95rem .75rem; display: flex; flex-direction: column; flex: 1; }
.answer { font-weight: 600; line-height: 1.35; overflow-wrap: anywhere; }
.references {
  margin: .5rem 0 .6rem; color: var(--soft); font-size: .8125rem; line-height: 1.4;
  overflow-wrap: anywhere;
}
.references ul { margin: 0; padding: 0; list-style: none; }
.references li + li, .references details, .references details ul { margin-top: .25rem; }
.references summary { font-size: .75rem; }
.row {
  margin-top: auto; padding-top: .5rem; border-top: 1px solid var(--faint);
  color: var(--soft); font-size: .75rem;
}
.tiles { grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: .75rem .6rem; }
.tiles img { border-radius: 6px; }
.tiles figcaption {
  font-size: .875rem; line-height: 1.3; margin-top: .25rem; overflow-wrap: anywhere;
}
details { margin-top: 1rem; }
summary { cursor: pointer; color: var(--soft); font-size: .9375rem; }
.run { display: grid; grid-template-columns: max-content 1fr; gap: .4rem 1.5rem; margin: 0; }
.run dt { color: var(--soft); font-size: .875rem; }
.run dd { margin: 0; }
@media print { section { break-inside: avoid; } body { background: #fff; } }
"""
