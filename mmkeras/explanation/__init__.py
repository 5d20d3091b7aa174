"""Where a task looked: on a picture, and on the words of a question."""

from mmkeras.explanation.drawing import overlay, png, write_whole
from mmkeras.explanation.gradients import grad_cam
from mmkeras.explanation.looking import explain, ways
from mmkeras.explanation.places import attention_grid, picture_grid, seen, text_input
from mmkeras.explanation.similarity import draw_search, draw_similarity

__all__ = [
    "attention_grid",
    "draw_search",
    "draw_similarity",
    "explain",
    "grad_cam",
    "overlay",
    "picture_grid",
    "png",
    "seen",
    "text_input",
    "ways",
    "write_whole",
]
