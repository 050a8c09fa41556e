"""Shared fixtures: generated data in MFNet's and PST900's layouts, made once per session."""

import os
from pathlib import Path

os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # gloo may hang at rendezvous in a container
os.environ.setdefault("WANDB_MODE", "offline")
os.environ["OMP_NUM_THREADS"] = "1"  # processes that tests start: compared bit by bit
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import pytest
import torch

torch.set_num_threads(1)  # more threads only wait for each other on tiny models

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def samples() -> Path:
    """Real image pairs; cases that need them are skipped where they are not on disk."""
    folder = SHARED / "samples"
    if not folder.is_dir():
        pytest.skip(f"no real samples at {folder}")
    return folder


@pytest.fixture(scope="session")
def mfnet_root(tmp_path_factory) -> Path:
    """Eight training, four validation, four test scenes of 64 x 96 in MFNet's layout."""
    from rgbx.data.synthetic import write_mfnet

    root = tmp_path_factory.mktemp("data") / "MFNet"
    write_mfnet(root, counts={"train": 8, "val": 4, "test": 4}, size=(64, 96), seed=0)
    return root


@pytest.fixture(scope="session")
def pst900_root(tmp_path_factory) -> Path:
    """The same in PST900's layout."""
    from rgbx.data.synthetic import write_pst900

    root = tmp_path_factory.mktemp("data") / "PST900"
    write_pst900(root, counts={"train": 8, "test": 4}, size=(64, 96), seed=0)
    return root


@pytest.fixture(scope="session")
def folder_root(tmp_path_factory) -> Path:
    """The same as a plain rgb/ x/ mask/ tree."""
    from rgbx.data.synthetic import write_folder

    root = tmp_path_factory.mktemp("data") / "folder"
    write_folder(root, counts={"train": 8, "val": 4, "test": 4}, size=(64, 96), seed=0)
    return root
