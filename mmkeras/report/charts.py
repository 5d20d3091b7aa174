"""Curves of training as SVG."""

import math

from mmkeras.report.page import escaped, section


def training(history):
    """The section of curves: of one history, or of a list with one per stage."""
    stages = history if isinstance(history, list) else [history]
    stages = [_charts(getattr(stage, "history", stage) or {}) for stage in stages]
    stages = [charts for charts in stages if charts]
    if len(stages) > 1:
        stages = [f"<h3>Stage {i}</h3>\n{charts}" for i, charts in enumerate(stages, 1)]
    return section("Training", "\n".join(stages)) if stages else ""


def _charts(history):
    names = dict.fromkeys(name.removeprefix("val_") for name in history)
    series = {name: (history.get(name, []), history.get(f"val_{name}", [])) for name in names}
    charts = [_chart(name, *both) for name, both in series.items() if any(map(len, both))]
    return f'<div class="charts">\n{chr(10).join(charts)}\n</div>' if charts else ""


_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 480, 256, 48, 12, 10, 40


def _chart(name, train, valid):
    epochs = len(train) or len(valid)
    lines = {"train": _points(train, epochs), "valid": _points(valid, epochs)}
    lines = {which: points for which, points in lines.items() if points}
    name = escaped(name.replace("_", " "))
    if not lines:
        return f"<figure><figcaption><b>{name}</b> was never finite</figcaption></figure>"
    ticks = _ticks([value for points in lines.values() for _, value in points])

    def x(epoch):
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (
            (epoch - 1) / (epochs - 1) if epochs > 1 else 0.5
        )

    def y(value):
        part = (value - ticks[0]) / (ticks[-1] - ticks[0])
        return _HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM)

    drawn = [
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text x="{_LEFT - 8}" y="{y(t) + 4:.1f}" text-anchor="end">{t:g}</text>'
        for t in ticks
    ]
    drawn += [
        f'<text x="{x(e):.1f}" y="{_HEIGHT - 20}" text-anchor="middle">{e}</text>'
        for e in _epoch_ticks(epochs)
    ]
    drawn.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">epoch</text>')
    legend = []
    for which, points in lines.items():
        path = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in points)
        drawn.append(f'<polyline class="{which}" points="{path}"/>')
        dots = points if len(points) <= 40 else points[-1:]
        drawn += [
            f'<circle class="{which}" cx="{x(epoch):.1f}" cy="{y(value):.1f}" r="3">'
            f"<title>{which}, epoch {epoch:g}: {value:.4g}</title></circle>"
            for epoch, value in dots
        ]
        legend.append(f'<span class="{which}">{which} {points[-1][1]:.4g}</span>')
    said = ", ".join(f"{which} ends at {points[-1][1]:.4g}" for which, points in lines.items())
    return (
        f"<figure><figcaption><b>{name}</b> {' '.join(legend)}</figcaption>\n"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{name} by epoch: {said}">\n{chr(10).join(drawn)}\n</svg></figure>'
    )


def _points(values, epochs):
    """Epoch and value, where it is finite; validated less often, the epochs are spread evenly."""
    return [
        ((i + 1) * epochs / len(values), float(value))
        for i, value in enumerate(values)
        if math.isfinite(value)
    ]


def _ticks(values):
    low, high = min(values), max(values)
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    step = 10 ** math.floor(math.log10(high - low))
    step *= next(nice for nice in (0.2, 0.5, 1, 2) if (high - low) / (nice * step) <= 5)
    return [i * step for i in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _epoch_ticks(epochs):
    step = next(
        nice * scale
        for scale in (1, 10, 100, 1000, 10**4, 10**5, 10**6)
        for nice in (1, 2, 5)
        if epochs / (nice * scale) <= 10
    )
    return [1, *range(step, epochs + 1, step)] if step > 1 else range(1, epochs + 1)
