"""The built-in world: scenes of our own, drawn, told and asked about from a seed."""

from mmkeras.data.world.asking import QUESTIONS, read_world_questions, world_questions
from mmkeras.data.world.composing import (
    HELD_OUT_LOOKS,
    HELD_OUT_RELATIONS,
    SPLITS,
    held_out,
    read_world,
    world,
)
from mmkeras.data.world.drawing import render
from mmkeras.data.world.meaning import (
    INVERSE,
    Gist,
    arrangement,
    between,
    gist,
    group,
    place,
    relation,
)
from mmkeras.data.world.relations import (
    CLEVR_COLORS,
    CLEVR_SHAPES,
    draw_objects,
    read_sort_of_clevr,
    sort_of_clevr,
)
from mmkeras.data.world.scene import COLORS, SHAPES, SIZES, TEXTURES, Background, Object, Scene
from mmkeras.data.world.sensing import READINGS
from mmkeras.data.world.sentences import captions
from mmkeras.data.world.sounds import MOTIFS, PITCHES, Call, play
from mmkeras.data.world.telling import read_world_texts, world_texts

__all__ = [
    "CLEVR_COLORS",
    "CLEVR_SHAPES",
    "COLORS",
    "HELD_OUT_LOOKS",
    "HELD_OUT_RELATIONS",
    "INVERSE",
    "MOTIFS",
    "PITCHES",
    "QUESTIONS",
    "READINGS",
    "SHAPES",
    "SIZES",
    "SPLITS",
    "TEXTURES",
    "Background",
    "Call",
    "Gist",
    "Object",
    "Scene",
    "arrangement",
    "between",
    "captions",
    "draw_objects",
    "gist",
    "group",
    "held_out",
    "place",
    "play",
    "read_sort_of_clevr",
    "read_world",
    "read_world_questions",
    "read_world_texts",
    "relation",
    "render",
    "sort_of_clevr",
    "world",
    "world_questions",
    "world_texts",
]
