"""Values: the cube, its band table, its mask with reasons, its place on the ground, its importance."""

from palimpsest.cubes.bands import BandTable, Reason
from palimpsest.cubes.cube import Cube, CubeShape
from palimpsest.cubes.georeference import Georeference
from palimpsest.cubes.importance import ImportanceMap
from palimpsest.cubes.window import Window

__all__ = ["BandTable", "Cube", "CubeShape", "Georeference", "ImportanceMap", "Reason", "Window"]
