r"""Lay real images out as the public data sets are, to train on them as shipped.

    python tools/real_pairs.py SAMPLES OUT

SAMPLES is a folder with ``msrs_person/{rgb,thermal,gt}`` (two-class masks of persons) and
``pst900/{rgb,thermal,labels}``, ``tno_saliency/{rgb,thermal,gt}``, and ``rgbd_des`` and
``rgbd_ssd`` with ``{rgb,depth,gt}``. OUT gets ``MFNet`` (4-channel PNG, persons as id 2),
``PST900``, ``VT`` (VT5000) and ``RGBD`` (NJU2K). The same pairs stand in the train, val and test
lists (for VT and RGBD: with ``--data.choose_on_test true``): this shows that the code fits real
images, not that it generalises.

From ``hq_am2k``, ``camouflage_person``, ``rgbd_ssd`` and ``kvasir_seg`` (``rgb`` and ``gt``), OUT
also gets ``HQSeg``: a mixture of fine, camouflaged, salient and medical masks, of which every
fourth pair is held out as DIS-VD; there, training and test differ.

From ``camouflage_person``, from ``istd`` and ``shadow_misc``, and from ``kvasir_seg``, OUT gets
``COD`` (``TrainDataset`` and ``TestDataset/COD10K``), ``ISTD`` (``ISTD_Dataset``; masks as they
come, also RGBA and JPEG) and ``Kvasir`` (``Kvasir-SEG``). Every third pair is held out for test in
the first two; the last is one folder, which `rgbx.data.KvasirSEG` divides.

From ``rgbir_detection/llvip``, OUT gets ``LLVIP``: six pairs with boxes to train on and three held
out, and ``LLVIP_seen``, which tests on the six. Both scores of a tiny detector, in minutes:

    rgbx fit --config configs/demo/unirgb_ir_flir.yaml --data LLVIP --data.root OUT/LLVIP \
        --data.size "[256, 320]" --data.batch_size 3 --data.choose_on test --data.num_workers 0 \
        --data.x_mean 0.15 --data.x_std 0.16 --data.scale "[0.9, 1.1]" --trainer.max_epochs 120
    rgbx test --config demo/runs/unirgb_ir_flir/version_0/config.yaml --data.root OUT/LLVIP_seen \
        --ckpt_path demo/runs/unirgb_ir_flir/version_0/checkpoints/last.ckpt
"""

import argparse
import shutil
from collections.abc import Mapping, Sequence
from glob import escape
from pathlib import Path

import numpy as np
from PIL import Image

PERSON = 2
MIXTURE = ("hq_am2k", "camouflage_person", "rgbd_ssd", "kvasir_seg")


def write_mfnet(samples: Path, root: Path) -> int:
    """MFNet's layout A from the msrs_person pairs; returns how many."""
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True, exist_ok=True)
    stems = sorted(p.stem for p in (samples / "gt").iterdir())
    for stem in stems:
        rgb, thermal, gt = (
            np.asarray(Image.open(next((samples / part).glob(f"{stem}.*"))).convert(mode))
            for part, mode in (("rgb", "RGB"), ("thermal", "L"), ("gt", "L"))
        )
        Image.fromarray(np.dstack([rgb, thermal])).save(root / "images" / f"{stem}.png")
        ids = np.where(gt > 128, PERSON, 0).astype(np.uint8)
        Image.fromarray(ids).save(root / "labels" / f"{stem}.png")
    for split in ("train", "val", "test"):
        (root / f"{split}.txt").write_text("\n".join(stems) + "\n")
    return len(stems)


def write_pst900(samples: Path, root: Path, copies: int = 4) -> int:
    """PST900's layout from its pair, under several names so that a validation cut is possible."""
    for split in ("train", "test"):
        for part in ("rgb", "thermal", "labels"):
            (root / split / part).mkdir(parents=True, exist_ok=True)
            photo: Image.Image = Image.open(next((samples / part).iterdir()))
            if part == "thermal":
                photo = photo.convert("L")
            for copy in range(copies if split == "train" else 1):
                photo.save(root / split / part / f"bag{copy}_frame.png")
    return copies


def write_saliency(
    samples: Sequence[Path], parts: Mapping[str, str], folders: Sequence[Path]
) -> int:
    """Copy pairs, as they are, into every folder; `parts` maps our folder names to theirs."""
    pairs = 0
    for folder in folders:
        for ours, theirs in parts.items():
            (folder / ours).mkdir(parents=True, exist_ok=True)
            files = [path for sample in samples for path in (sample / theirs).iterdir()]
            for path in files:
                shutil.copy(path, folder / ours / path.name)
            pairs = len(files)
    return pairs


def write_hqseg(samples: Path, root: Path) -> tuple[int, int]:
    """HQSeg-44K's layout (DIS5K) from four kinds of masks; returns the numbers of train and test.

    Images become ``.jpg`` and masks ``.png``; every fourth pair is held out.
    """
    counts = {"DIS-TR": 0, "DIS-VD": 0}
    masks = [path for kind in MIXTURE for path in sorted((samples / kind / "gt").iterdir())]
    for i, mask in enumerate(masks):
        folder, kind = "DIS-VD" if i % 4 == 3 else "DIS-TR", mask.parents[1]
        photo = next((kind / "rgb").glob(f"{escape(mask.stem)}.*"))
        for part, source, suffix in (("im", photo, ".jpg"), ("gt", mask, ".png")):
            target = root / "DIS5K" / folder / part / f"{kind.name}#{mask.stem}{suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            _save_as(source, target)
        counts[folder] += 1
    return counts["DIS-TR"], counts["DIS-VD"]


def write_cod(samples: Path, root: Path) -> tuple[int, int]:
    """COD's packs from the camouflage_person pairs; returns the numbers of train and test."""
    train, test = _every_third(sorted((samples / "rgb").iterdir()))
    test_folder = root / "TestDataset" / "COD10K"
    for photos, folder in ((train, root / "TrainDataset"), (test, test_folder)):
        _copy_pairs(photos, {"rgb": folder / "Imgs", "gt": folder / "GT"})
    return len(train), len(test)


def write_istd(samples: Sequence[Path], root: Path) -> tuple[int, int]:
    """ISTD's layout from several folders of shadows; returns the numbers of train and test."""
    photos = [path for folder in samples for path in sorted((folder / "rgb").iterdir())]
    train, test = _every_third(photos)
    for split, chosen in (("train", train), ("test", test)):
        base = root / "ISTD_Dataset" / split
        folders = {"rgb": base / f"{split}_A", "gt": base / f"{split}_B"}
        _copy_pairs(chosen, {**folders, "shadow_free": base / f"{split}_C"})
    return len(train), len(test)


def write_kvasir(samples: Path, root: Path) -> int:
    """Kvasir-SEG's own layout, undivided; returns how many."""
    photos = sorted((samples / "rgb").iterdir())
    folder = root / "Kvasir-SEG"
    _copy_pairs(photos, {"rgb": folder / "images", "gt": folder / "masks"})
    return len(photos)


def _every_third(photos: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    test = list(photos[1::3])
    return [path for path in photos if path not in test], test


def _copy_pairs(sources: Sequence[Path], folders: Mapping[str, Path]) -> None:
    """Copy images and whatever has their stem in the folders next to theirs, as they are."""
    for part, target in folders.items():
        target.mkdir(parents=True, exist_ok=True)
        for source in sources:
            sibling = source.parents[1] / part
            for path in sibling.glob(f"{escape(source.stem)}.*"):
                shutil.copy(path, target / path.name)


def _save_as(source: Path, target: Path) -> None:
    """Copy an image; encode it anew if the target is of another kind."""
    if source.suffix == target.suffix:
        shutil.copy(source, target)
    else:
        image: Image.Image = Image.open(source)
        mode = "RGB" if target.suffix == ".jpg" else "L"
        image.convert(mode).save(target, quality=95)


def write_llvip(samples: Path, root: Path) -> tuple[int, int]:
    """LLVIP's layout from the pairs with boxes; returns how many are trained on and held out."""
    stems = sorted(path.stem for path in (samples / "Annotations").glob("*.xml"))
    parts = {"LLVIP/train": stems[:6], "LLVIP/test": stems[6:], "LLVIP_seen/test": stems[:6]}
    for place, chosen in parts.items():
        name, part = place.split("/")
        for stem in chosen:
            for modality in ("visible", "infrared"):
                target = root / name / modality / part / f"{stem}.jpg"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(samples / modality / "train" / target.name, target)
            target = root / name / "Annotations" / f"{stem}.xml"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(samples / "Annotations" / target.name, target)
    return len(parts["LLVIP/train"]), len(parts["LLVIP/test"])


def main() -> None:
    """Write all layouts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("samples", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    pairs = write_mfnet(arguments.samples / "msrs_person", arguments.out / "MFNet")
    frames = write_pst900(arguments.samples / "pst900", arguments.out / "PST900")
    vt, rgbd = arguments.out / "VT" / "VT5000", arguments.out / "RGBD"
    thermal = write_saliency(
        [arguments.samples / "tno_saliency"],
        {"RGB": "rgb", "T": "thermal", "GT": "gt"},
        [vt / "Train", vt / "Test"],
    )
    depth = write_saliency(
        [arguments.samples / "rgbd_des", arguments.samples / "rgbd_ssd"],
        {"RGB": "rgb", "depth": "depth", "GT": "gt"},
        [rgbd / "train", rgbd / "test" / "NJU2K"],
    )
    hidden = write_cod(arguments.samples / "camouflage_person", arguments.out / "COD")
    dark = write_istd(
        [arguments.samples / "istd", arguments.samples / "shadow_misc"], arguments.out / "ISTD"
    )
    polyps = write_kvasir(arguments.samples / "kvasir_seg", arguments.out / "Kvasir")
    train, test = write_hqseg(arguments.samples, arguments.out / "HQSeg")
    boxes = write_llvip(arguments.samples / "rgbir_detection" / "llvip", arguments.out)
    for name, found in (("COD", hidden), ("ISTD", dark), ("LLVIP", boxes)):
        print(f"{arguments.out}: {name} with {found[0]} pairs to train on and {found[1]} held out")
    print(f"{arguments.out}: Kvasir-SEG with {polyps} pairs, divided by the data module")
    print(f"{arguments.out}: HQSeg-44K with {train} pairs to train on and {test} held out")
    print(f"{arguments.out}: VT5000 with {thermal} pairs, NJU2K with {depth} pairs")
    print(f"{arguments.out}: MFNet with {pairs} pairs, PST900 with {frames} copies of one pair")


if __name__ == "__main__":
    main()
