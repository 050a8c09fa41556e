"""What a model with prompts leaves on disk: a mask per prompt, overlays, what belongs to what."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch.utils.data import DataLoader

from rgbx.callbacks.predictions import PredictionWriter
from rgbx.data import PromptFolder
from rgbx.optim.schedules import Constant
from rgbx.prompts import evaluation_prompts
from rgbx.tasks.base import RGBXModule
from rgbx.tasks.frame import Frame
from rgbx.tasks.prompt_files import COLOURS, PROMPT, PromptFiles, flatten, prompt_colours

NETWORK = (64, 64)
SIZES = {"1#Bag#2 x": (40, 60), "day/0001": (96, 48)}
BOX = torch.tensor([8.0, 16.0, 40.0, 48.0])
CLICKS = torch.tensor([[32.0, 32.0], [4.0, 60.0]])


def prompts() -> list[dict]:
    return [
        {"kind": "box", "box": BOX},
        {"kind": "points", "points": CLICKS, "labels": torch.tensor([1, 0])},
        {"kind": "coarse_mask", "mask": torch.zeros(1, 16, 16)},
    ]


class Folder(PromptFolder):
    """Images on disk, and given batches."""

    def __init__(self, root: Path, mode: str, splits: tuple[str, ...] = ("test",)) -> None:
        super().__init__(str(root), size=NETWORK, resize_mode=mode, num_workers=0)
        self.test_splits = splits

    def setup(self, stage=None) -> None: ...

    @property
    def split_sizes(self) -> dict[str, int]:
        return dict.fromkeys(("predict", *self.test_splits), len(SIZES))

    def predict_dataloader(self):
        batch = self._batch(list(SIZES))
        empty = self._batch(["day/0001"])
        empty["name"], empty["prompts"] = ["no prompts"], [[]]
        return DataLoader([batch, empty], batch_size=None)

    def test_dataloader(self):
        batches = [self._batch([name]) for name in SIZES]
        return [DataLoader(batches, batch_size=None) for _ in self.test_splits]

    def _batch(self, names: list[str]) -> dict:
        sizes = [SIZES[name] for name in names]
        truth = [torch.zeros(size, dtype=torch.int64) for size in sizes]
        for mask in truth:
            mask[:, :20] = 1
        return {
            "rgb": torch.zeros(len(names), 3, *NETWORK),
            "name": names,
            "path": [str(self.root / f"{name}.png") for name in names],
            "size": sizes,
            "prompts": [prompts() for _ in names],
            "mask": truth,
            "prompt_mask": torch.ones(len(names), 1, *NETWORK),
        }


class Toy(RGBXModule):
    """Predicted prompt i with the columns from 5 i to 5 i + 20."""

    def __init__(self) -> None:
        super().__init__(torch.optim.SGD, Constant())

    def prediction_files(self, folder):
        def first(image, kind):
            key = f"{image.split}/{image['name']}"
            return evaluation_prompts(image["prompt_mask"][0], kind, 1, key)[0]

        return PromptFiles(folder, first)

    def predict_step(self, batch, batch_idx, dataloader_idx=0):
        found = zip(batch["size"], batch["prompts"], strict=True)
        return [stripes(len(asked), size) for size, asked in found]

    def test_step(self, batch, batch_idx, dataloader_idx=0):
        kinds = ("box", "point_1")
        masks = [stripes(2, mask.shape).to(torch.uint8) for mask in batch["mask"]]
        return [dict(zip(kinds, mask[:, None], strict=True)) for mask in masks]


def stripes(count: int, size) -> torch.Tensor:
    columns = torch.arange(int(size[1]))
    first = 5 * torch.arange(count)[:, None]
    inside = (columns >= first) & (columns < first + 20)
    return inside[:, None].expand(-1, int(size[0]), -1)


@pytest.fixture
def run(tmp_path):
    """``run(stage, mode, splits) -> folder`` with what the writer left."""
    for name, (height, width) in SIZES.items():
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(path)

    def run(stage: str, mode: str = "squash", splits: tuple[str, ...] = ("test",)) -> Path:
        trainer = Trainer(
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            callbacks=[PredictionWriter(tmp_path / stage)],
        )
        getattr(trainer, stage)(Toy(), Folder(tmp_path / "images", mode, splits))
        return tmp_path / stage

    return run


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*.png")}


def test_a_mask_for_every_prompt_in_their_order(run):
    folder = run("predict")
    masks = {f"masks/{name}_{i}.png" for name in SIZES for i in range(3)}
    overlays = {f"overlays/{name}.png" for name in (*SIZES, "no prompts")}
    assert files(folder) == masks | overlays | {"sheet.png"}
    for name, size in SIZES.items():
        for i, expected in enumerate(stripes(3, size).numpy()):
            image = Image.open(folder / f"masks/{name}_{i}.png")
            assert image.mode == "L"
            np.testing.assert_array_equal(np.asarray(image), np.where(expected, 255, 0))


@pytest.mark.parametrize(
    ("mode", "scales"),
    [
        # factor of x and y from 64 x 64 to (h,w)
        ("squash", {"1#Bag#2 x": (60 / 64, 40 / 64), "day/0001": (48 / 64, 96 / 64)}),
        # 40 x 60 fills 43 x 64, rounded; 96 x 48 fills 64 x 32
        ("pad", {"1#Bag#2 x": (60 / 64, 40 / 43), "day/0001": (48 / 32, 96 / 64)}),
    ],
)
def test_the_list_has_prompts_in_the_images_pixels_with_their_masks(run, mode, scales):
    folder = run("predict", mode)
    listed = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))
    assert list(listed) == [*SIZES, "no prompts"] and listed["no prompts"] == []
    for name, (x, y) in scales.items():
        box, points, coarse = listed[name]
        assert box["box"] == pytest.approx([8 * x, 16 * y, 40 * x, 48 * y], abs=0.005)
        assert np.asarray(points["points"]) == pytest.approx(CLICKS.numpy() * (x, y), abs=0.005)
        assert points["labels"] == [1, 0]
        for i, prompt in enumerate((box, points, coarse)):
            assert prompt["mask"] == f"masks/{name}_{i}.png"
            assert (folder / prompt["mask"]).is_file()
        assert set(coarse) == {"mask"}


def test_overlays_show_masks_and_prompts_in_one_colour_each(run):
    folder = run("predict")
    shown = np.asarray(Image.open(folder / "overlays/day/0001.png")).astype(int)
    colours = np.array(prompt_colours(3))
    half = np.rint(90 / 2 + colours / 2)
    # masks are equally large: later ones lie above, so the stripes are 5, 5 and 20 wide
    for column, index in ((2, 0), (7, 1), (22, 2)):
        assert np.abs(shown[5, column] - half[index]).max() <= 1
    assert shown[5, 40].tolist() == [90, 90, 90]
    left, top, right, bottom = 6, 24, 30, 72  # the box in the image's pixels
    for y, x in ((top, 18), (bottom, 18), (48, left), (48, right)):
        assert shown[y, x].tolist() == colours[0].tolist()
    # by prompt_colours the cross is as the ring
    assert shown[90, 3].tolist() == colours[1].tolist()
    plain = np.asarray(Image.open(folder / "overlays/no prompts.png"))
    assert (plain == 90).all()


def test_small_masks_lie_above_large_ones():
    masks = np.zeros((3, 4, 6), bool)
    masks[0, 1, 1] = True
    masks[1] = True
    masks[2, :2, :3] = True
    ids = flatten(masks, (4, 6))
    assert ids[1, 1] == 1 and ids[3, 5] == 2 and ids[0, 0] == 3
    assert flatten(masks[:0], (4, 6)).max() == 0


def test_more_prompts_than_colours():
    colours = prompt_colours(COLOURS + 2)
    assert len(colours) == COLOURS + 2 and colours[COLOURS:] == colours[:2]
    masks = np.ones((COLOURS + 1, 1, 1), bool)
    assert flatten(masks, (1, 1)).tolist() == [[1]]


def test_masks_of_a_test_by_split_and_kind(run):
    folder = run("test", splits=("DIS", "COIFT"))
    kinds = ("box", "point_1")
    masks = {f"masks/{s}/{n}_{k}.png" for s in ("DIS", "COIFT") for n in SIZES for k in kinds}
    truth = {f"truth/{s}/{n}.png" for s in ("DIS", "COIFT") for n in SIZES}
    assert files(folder) == masks | truth | {"sheet.png"}
    assert not (folder / "prompts.json").exists()
    written = np.asarray(Image.open(folder / "masks/COIFT/day/0001_point_1.png"))
    np.testing.assert_array_equal(written, np.where(stripes(2, (96, 48))[1], 255, 0))
    sheet = np.asarray(Image.open(folder / "sheet.png"))
    # image, two kinds, ground truth; all images of both splits
    assert sheet.shape == (4 * (180 + 16 + 6) + 6, 4 * (240 + 6) + 6, 3)
    box, point, truth = (sheet[22 : 22 + 180, i * 246 + 6 : (i + 1) * 246] for i in (1, 2, 3))
    # 40 x 60 shown as 160 x 240, with the tight box of a full mask, and a point
    assert (np.abs(box.astype(int) - PROMPT).max(axis=-1) < 90).sum() > 300
    assert (np.abs(point.astype(int) - PROMPT).max(axis=-1) < 90).sum() > 5
    assert truth[90, 40].tolist() == [255] * 3 and truth[90, 160].tolist() == [0] * 3


def test_one_test_split_needs_no_folder_of_its_own(run):
    folder = run("test")
    assert "masks/1#Bag#2 x_box.png" in files(folder)


@pytest.mark.parametrize("mode", ["squash", "pad"])
@pytest.mark.parametrize("size", [(40, 60), (96, 48), (64, 64), (3, 200)])
def test_the_frame_covers_the_image(mode, size):
    frame = Frame(size, (64, 64), mode)
    height, width = frame.content
    corner = frame.points(np.array([[0.0, 0.0], [width, height]]))
    np.testing.assert_allclose(corner, [[0, 0], [size[1], size[0]]], atol=0.005)
    assert max(height, width) == 64 and min(height, width) >= 1
