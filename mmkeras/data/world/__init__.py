"""The built-in world: scenes of our own, drawn and told from a seed."""

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
from mmkeras.data.world.scene import COLORS, SHAPES, SIZES, TEXTURES, Background, Object, Scene
from mmkeras.data.world.sentences import captions

__all__ = [
    "COLORS",
    "HELD_OUT_LOOKS",
    "HELD_OUT_RELATIONS",
    "INVERSE",
    "SHAPES",
    "SIZES",
    "SPLITS",
    "TEXTURES",
    "Background",
    "Gist",
    "Object",
    "Scene",
    "arrangement",
    "between",
    "captions",
    "gist",
    "group",
    "held_out",
    "place",
    "read_world",
    "relation",
    "render",
    "world",
]
