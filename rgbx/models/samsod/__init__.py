"""SAMSOD: salient objects from two cameras with SAM2."""

from rgbx.models.samsod.module import SAMSOD

__all__ = ["SAMSOD"]
