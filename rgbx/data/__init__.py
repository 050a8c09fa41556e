"""Data sets of RGB pictures with a second modality (thermal, depth), and their loaders."""

from rgbx.data.base import RGBXDataModule
from rgbx.data.dataset import Batch, RGBXDataset, Sample, collate
from rgbx.data.folder import FolderRGBX
from rgbx.data.mfnet import MFNet
from rgbx.data.pst900 import PST900
from rgbx.data.records import Problem, Record, Scan

__all__ = [
    "PST900",
    "Batch",
    "FolderRGBX",
    "MFNet",
    "Problem",
    "RGBXDataModule",
    "RGBXDataset",
    "Record",
    "Sample",
    "Scan",
    "collate",
]
