"""Stable-SAM: promptable segmentation that survives bad prompts."""

from rgbx.models.stable_sam.attach import Attachment, attach
from rgbx.models.stable_sam.attention import AttentionMap
from rgbx.models.stable_sam.load import load_plugin
from rgbx.models.stable_sam.module import StableSAM
from rgbx.models.stable_sam.network import StableSAMNetwork
from rgbx.models.stable_sam.plugin import Plugin

__all__ = [
    "Attachment",
    "AttentionMap",
    "Plugin",
    "StableSAM",
    "StableSAMNetwork",
    "attach",
    "load_plugin",
]
