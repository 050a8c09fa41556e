"""Data sets of RGB pictures with a second modality (thermal, depth), and their loaders."""

from rgbx.data.base import RGBXDataModule
from rgbx.data.dataset import Batch, RGBXDataset, Sample, collate
from rgbx.data.mfnet import MFNet
from rgbx.data.records import Problem, Record, Scan

__all__ = [
    "Batch",
    "MFNet",
    "Problem",
    "RGBXDataModule",
    "RGBXDataset",
    "Record",
    "Sample",
    "Scan",
    "collate",
]
