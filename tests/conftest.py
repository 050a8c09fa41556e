"""Shared fixtures: generated data in the real data sets' layouts, made once per session."""

import os
import random
import signal
from pathlib import Path

os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # gloo may hang at rendezvous in a container
os.environ.setdefault("WANDB_MODE", "offline")
os.environ["OMP_NUM_THREADS"] = "1"  # processes that tests start: compared bit by bit
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # more threads only wait for each other on tiny models


def pytest_collection_modifyitems(items):
    """Names of tests must not depend on the order of a set: two workers would disagree on it."""
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        for value in parameters.values():
            if isinstance(value, (set, frozenset)) and len(value) > 1 and str(value) in item.name:
                raise pytest.UsageError(f"{item.nodeid} is named by a set: give a list, or ids")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    """Every test, with its fixtures, begins alike whatever ran before it in the process."""
    environment, folder = dict(os.environ), Path.cwd()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    handlers = {number: signal.getsignal(number) for number in numbers}
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    try:
        return (yield)
    finally:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        torch.set_num_threads(1)
        for number, handler in handlers.items():
            signal.signal(number, handler)


SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def put():
    """Write an array as an image file, making the folder; returns the path."""
    import numpy as np
    from PIL import Image

    def write(path: Path, array, **options) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(array)).save(path, **options)
        return path

    return write


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
    from rgbx.data.synthetic.layouts import write_mfnet

    root = tmp_path_factory.mktemp("data") / "MFNet"
    write_mfnet(root, counts={"train": 8, "val": 4, "test": 4}, size=(64, 96), seed=0)
    return root


@pytest.fixture(scope="session")
def pst900_root(tmp_path_factory) -> Path:
    """The same in PST900's layout."""
    from rgbx.data.synthetic.layouts import write_pst900

    root = tmp_path_factory.mktemp("data") / "PST900"
    write_pst900(root, counts={"train": 8, "test": 4}, size=(64, 96), seed=0)
    return root


@pytest.fixture(scope="session")
def flir_root(tmp_path_factory) -> Path:
    """Twelve training and four test scenes of 64 x 96 with boxes, as FLIR-aligned."""
    from rgbx.data.synthetic.layouts import write_flir

    root = tmp_path_factory.mktemp("data") / "align"
    write_flir(root, counts={"train": 12, "test": 4}, size=(64, 96), seed=0)
    return root


@pytest.fixture(scope="session")
def llvip_root(tmp_path_factory) -> Path:
    """The same as LLVIP."""
    from rgbx.data.synthetic.layouts import write_llvip

    root = tmp_path_factory.mktemp("data") / "LLVIP"
    write_llvip(root, counts={"train": 12, "test": 4}, size=(64, 96), seed=0)
    return root


@pytest.fixture(scope="session")
def kaist_root(tmp_path_factory) -> Path:
    """The same as KAIST, twice as many for training."""
    from rgbx.data.synthetic.layouts import write_kaist

    root = tmp_path_factory.mktemp("data") / "KAIST"
    write_kaist(root, counts={"train": 24, "test": 4}, size=(64, 96), seed=0)
    return root


@pytest.fixture(scope="session")
def folder_root(tmp_path_factory) -> Path:
    """The same as a plain rgb/ x/ mask/ tree."""
    from rgbx.data.synthetic.layouts import write_folder

    root = tmp_path_factory.mktemp("data") / "folder"
    write_folder(root, counts={"train": 8, "val": 4, "test": 4}, size=(64, 96), seed=0)
    return root


@pytest.fixture(scope="session")
def vt5000_root(tmp_path_factory) -> Path:
    """Eight training and 4 + 2 + 2 test scenes of 64 x 96: VT5000 (nested), VT1000, VT821."""
    from rgbx.data.synthetic.layouts import write_vt5000

    root = tmp_path_factory.mktemp("data") / "RGBT"
    write_vt5000(root, counts={"train": 8, "test": 4}, size=(64, 96), seed=0)
    return root


@pytest.fixture(scope="session")
def rgbd_root(tmp_path_factory) -> Path:
    """Eight training and 4 + 2 + 2 test scenes of 64 x 96: NJU2K, NLPR, STERE."""
    from rgbx.data.synthetic.layouts import write_rgbd

    root = tmp_path_factory.mktemp("data") / "RGBD"
    write_rgbd(root, counts={"train": 8, "test": 4}, size=(64, 96), seed=0)
    return root


@pytest.fixture(scope="session")
def neu_rsdds_root(tmp_path_factory) -> Path:
    """Eight training images (two families of four siblings) and four test images."""
    from rgbx.data.synthetic.layouts import write_neu_rsdds

    root = tmp_path_factory.mktemp("data") / "NEU-RSDDS-AUG"
    write_neu_rsdds(root, counts={"train": 8, "test": 4}, size=(64, 96), seed=0)
    return root


@pytest.fixture(scope="session")
def scribble_root(tmp_path_factory) -> Path:
    """As `vt5000_root`, with ``scribbles/{gt,mask}`` and ``scribbles_012/`` next to it."""
    from rgbx.data.synthetic.layouts import write_vt5000_scribble

    root = tmp_path_factory.mktemp("data") / "RGBT-S"
    write_vt5000_scribble(root, counts={"train": 8, "test": 4}, size=(64, 96), seed=0)
    return root


@pytest.fixture(scope="session")
def hqseg_root(tmp_path_factory) -> Path:
    """Eight training and 4 x 2 test images of thin structures, 64 to 128 px, as HQSeg-44K."""
    from rgbx.data.synthetic.layouts import write_hqseg

    root = tmp_path_factory.mktemp("data") / "HQSeg-44K"
    write_hqseg(root, counts={"train": 8, "test": 2}, size=(96, 96), seed=0)
    return root


@pytest.fixture(scope="session")
def cod_root(tmp_path_factory) -> Path:
    """Eight training and 4 + 2 + 2 test images of 64 x 96: COD10K, CAMO, CHAMELEON."""
    from rgbx.data.synthetic.layouts import write_cod

    root = tmp_path_factory.mktemp("data") / "COD"
    write_cod(root, counts={"train": 8, "test": 4}, size=(64, 96), seed=0)
    return root


@pytest.fixture(scope="session")
def istd_root(tmp_path_factory) -> Path:
    """Twelve training images (three scenes of four) and four test images, in ISTD's layout."""
    from rgbx.data.synthetic.layouts import write_istd

    root = tmp_path_factory.mktemp("data") / "shadows"
    write_istd(root, counts={"train": 12, "test": 4}, size=(64, 96), seed=0)
    return root


@pytest.fixture(scope="session")
def kvasir_root(tmp_path_factory) -> Path:
    """Fifteen images of about 64 x 96 in Kvasir-SEG's layout: 12 to train, 3 to test."""
    from rgbx.data.synthetic.layouts import write_kvasir

    root = tmp_path_factory.mktemp("data") / "polyps"
    write_kvasir(root, counts={"train": 12, "test": 3}, size=(64, 96), seed=0)
    return root
