"""Data sets of RGB pictures, with a second modality (thermal, depth), with prompts, or alone."""

from rgbx.data.base import RGBXDataModule
from rgbx.data.cod import COD
from rgbx.data.dataset import Batch, RGBXDataset, Sample, collate
from rgbx.data.folder import FolderRGBX
from rgbx.data.hqseg import HQSeg44K
from rgbx.data.istd import ISTD
from rgbx.data.kvasir import KvasirSEG
from rgbx.data.mfnet import MFNet
from rgbx.data.neu_rsdds import NEURSDDS
from rgbx.data.prompt_folder import PromptFolder
from rgbx.data.promptable import PromptableDataModule
from rgbx.data.pst900 import PST900
from rgbx.data.records import Problem, Record, Scan
from rgbx.data.rgbd_saliency import RGBDSaliency
from rgbx.data.saliency import SaliencyDataModule
from rgbx.data.two_class import TwoClassDataModule
from rgbx.data.vt5000 import VT5000

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
