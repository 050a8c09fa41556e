"""Data sets of RGB images, with a second modality (thermal, depth), with prompts, or alone."""

from rgbx.data.base import RGBXDataModule
from rgbx.data.dataset import Batch, RGBXDataset, Sample, collate
from rgbx.data.datasets.cod import COD
from rgbx.data.datasets.folder import FolderRGBX
from rgbx.data.datasets.hqseg import HQSeg44K
from rgbx.data.datasets.istd import ISTD
from rgbx.data.datasets.kvasir import KvasirSEG
from rgbx.data.datasets.mfnet import MFNet
from rgbx.data.datasets.neu_rsdds import NEURSDDS
from rgbx.data.datasets.prompt_folder import PromptFolder
from rgbx.data.datasets.pst900 import PST900
from rgbx.data.datasets.rgbd_saliency import RGBDSaliency
from rgbx.data.datasets.vt5000 import VT5000
from rgbx.data.promptable import PromptableDataModule
from rgbx.data.saliency import SaliencyDataModule
from rgbx.data.splits.records import Problem, Record, Scan
from rgbx.data.two_class import TwoClassDataModule

__all__ = [
    "COD",
    "ISTD",
    "NEURSDDS",
    "PST900",
    "VT5000",
    "Batch",
    "FolderRGBX",
    "HQSeg44K",
    "KvasirSEG",
    "MFNet",
    "Problem",
    "PromptFolder",
    "PromptableDataModule",
    "RGBDSaliency",
    "RGBXDataModule",
    "RGBXDataset",
    "Record",
    "SaliencyDataModule",
    "Sample",
    "Scan",
    "TwoClassDataModule",
    "collate",
]
