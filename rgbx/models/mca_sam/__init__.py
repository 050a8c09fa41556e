"""MCA-SAM: multi-scale contrastive adaptors on SAM; SAM-Adapter is a setting of it."""

from rgbx.models.mca_sam.adaptors import Generator
from rgbx.models.mca_sam.contrast import SampleContrast, TokenContrast
from rgbx.models.mca_sam.features import high_pass
from rgbx.models.mca_sam.module import MCASAM
from rgbx.models.mca_sam.network import MCASAMNetwork

__all__ = ["MCASAM", "Generator", "MCASAMNetwork", "SampleContrast", "TokenContrast", "high_pass"]
