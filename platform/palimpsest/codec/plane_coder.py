"""The mixer's state under its earlier name."""

from palimpsest.codec.planes import MixerState

__all__ = ["MixerState"]
