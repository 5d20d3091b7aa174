"""Photos made up from a seed: JPEG files with detail at every scale, as a camera's have."""

import io

import numpy as np
import PIL.Image

COARSEST = 4
QUALITY = 85


def photo(seed, width, height):
    """A JPEG of that size, as bytes."""
    random = np.random.default_rng(seed)
    side = COARSEST
    pixels = random.integers(0, 256, (side, side, 3)).astype(np.uint8)
    while side < max(width, height):
        side *= 2
        finer = PIL.Image.fromarray(pixels).resize((side, side), PIL.Image.Resampling.BICUBIC)
        # In photos contrast falls with the scale; a grey grain makes files as large as theirs.
        contrast = 60 * (COARSEST / side) ** 0.4
        grain = random.standard_normal((side, side, 1), np.float32) * contrast
        pixels = np.clip(np.asarray(finer) + grain, 0, 255).astype(np.uint8)
    encoded = io.BytesIO()
    PIL.Image.fromarray(pixels[:height, :width]).save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue()


def write_photos(folder, count, width, height):
    """Paths of `count` JPEG files of that size, written into a folder."""
    paths = [folder / f"{number:06}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(photo(number, width, height))
    return [str(path) for path in paths]
