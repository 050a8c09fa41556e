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
from rgbx.data.detection.flir import FLIR
from rgbx.data.detection.folder import M3FD, FolderRGBXBoxes
from rgbx.data.detection.kaist import KAIST
from rgbx.data.detection.llvip import LLVIP
from rgbx.data.detection.module import BoxDataModule
from rgbx.data.promptable import PromptableDataModule
from rgbx.data.saliency import SaliencyDataModule
from rgbx.data.splits.records import Problem, Record, Scan
from rgbx.data.two_class import TwoClassDataModule

__all__ = [
    "COD",
    "FLIR",
    "ISTD",
    "KAIST",
    "LLVIP",
    "M3FD",
    "NEURSDDS",
    "PST900",
    "VT5000",
    "Batch",
    "BoxDataModule",
    "FolderRGBX",
    "FolderRGBXBoxes",
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
