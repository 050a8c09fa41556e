"""Noisy boxes around COCO instances, and the way to the network's frame and back."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from rgbx.errors import DataError, RGBXError
from rgbx.metrics.coco_files import CocoInstances
from rgbx.optim.schedules import Constant
from rgbx.prompts import KINDS, Prompt
from rgbx.tasks.coco import evaluate
from rgbx.tasks.prompt_evaluation import PromptEvalConfig
from rgbx.tasks.promptable import PromptableModule

RANGES = [(0.5, 0.6), (0.6, 0.7)]
SIZES = [(80, 120), (100, 60), (64, 64)]
SIDE = 30


def squares(folder: Path, file: str = "instances.json", **changes: object) -> Path:
    """Three images of unlike proportions, each with a white and a bright square."""
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for i, (height, width) in enumerate(SIZES):
        image = np.full((height, width, 3), 30, dtype=np.uint8)
        for k, (x, y) in enumerate([(0, 0), (width - SIDE - 3, height - SIDE - 2)]):
            image[y : y + SIDE, x : x + SIDE] = 255 - 40 * k
            corners = [x, y, x + SIDE, y, x + SIDE, y + SIDE, x, y + SIDE]
            annotation = {"segmentation": [corners], "bbox": [x, y, SIDE, SIDE]}
            common = {"id": len(annotations) + 1, "image_id": i, "category_id": 1 + k}
            annotations.append(annotation | common | {"iscrowd": 0, "area": SIDE**2})
        Image.fromarray(image).save(folder / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "height": height, "width": width})
    categories = [{"id": 1, "name": "white"}, {"id": 2, "name": "bright"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / file).write_text(json.dumps(content | changes))
    return folder / file


class Toy(PromptableModule):
    """Predicts what is bright in the surroundings of a box, or with the box itself.

    Its embedding is the image, its logits have the size of the frame.
    """

    def __init__(self, sees: bool) -> None:
        evaluation = PromptEvalConfig(list(KINDS), 1, val_kinds=["box"], val_prompts=1)
        super().__init__(torch.optim.SGD, Constant(), evaluation)
        self.sees = sees
        self.frames: list[tuple[Tensor, list[Prompt]]] = []
        self.offset = nn.Parameter(torch.zeros(()))

    def embed(self, rgb: Tensor) -> Tensor:
        self.frames.append((rgb, []))
        return rgb

    def decode(self, embedding, prompts, size):
        self.frames[-1][1].extend(prompts)
        ys, xs = torch.arange(size[0])[:, None], torch.arange(size[1])[None]
        found = []
        for prompt in prompts:
            x0, y0, x1, y1 = prompt["box"].tolist()
            grow = 0.5 * (x1 - x0) if self.sees else -0.5  # pixel centres inside the box
            near = (xs > x0 - grow - 1) & (xs < x1 + grow) & (ys > y0 - grow - 1) & (ys < y1 + grow)
            found.append(near & (embedding[0, 0] > 1) if self.sees else near)
        return torch.where(torch.stack(found)[:, None], 5.0, -5.0)

    def losses(self, logits, mask):
        return {"loss": self.offset}


@pytest.fixture
def instances(tmp_path) -> CocoInstances:
    return CocoInstances(squares(tmp_path), tmp_path)


@pytest.mark.parametrize(("size", "least"), [(256, 0.97), (160, 0.94), (128, 0.92), (48, 0.8)])
def test_a_model_that_sees_objects_scores_near_1_whatever_the_boxes(instances, size, least):
    """What is missing is the blur of resizing: a pixel's shift of a 30 pixel square costs 0.2."""
    scores = evaluate(Toy(sees=True), instances, "toy", RANGES, size)
    assert (scores.instances, scores.empty, scores.outside) == (6, 0, 0)
    assert list(scores.numbers) == [
        "noisy_box_0.5-0.6/AP",
        "noisy_box_0.5-0.6/AP50",
        "noisy_box_0.6-0.7/AP",
        "noisy_box_0.6-0.7/AP50",
    ]
    for name, value in scores.numbers.items():
        assert value >= (1 - 1e-9 if "AP50" in name else least), name


def test_predicting_the_box_has_the_overlap_of_its_range(instances):
    """An IoU near 0.53 reaches one of the ten thresholds, one near 0.63 three (or the next)."""
    numbers = evaluate(
        Toy(sees=False), instances, "toy", [(0.52, 0.54), (0.62, 0.64)], 1024
    ).numbers
    assert numbers["noisy_box_0.52-0.54/AP50"] == pytest.approx(1.0)
    assert 0.1 - 1e-9 <= numbers["noisy_box_0.52-0.54/AP"] < 0.15
    assert numbers["noisy_box_0.62-0.64/AP50"] == pytest.approx(1.0)
    assert 0.3 - 1e-9 <= numbers["noisy_box_0.62-0.64/AP"] < 0.35


def test_one_encoder_pass_per_image_with_proportions_kept(instances):
    model = Toy(sees=True)
    evaluate(model, instances, "toy", RANGES, 128)
    assert [len(prompts) for _, prompts in model.frames] == [4, 4, 4]  # 2 objects x 2 ranges
    for (height, width), (rgb, prompts) in zip(SIZES, model.frames, strict=True):
        assert rgb.shape == (1, 3, 128, 128)
        scale = 128 / max(height, width)
        content = round(height * scale), round(width * scale)
        outside = torch.ones(128, 128, dtype=torch.bool)
        outside[: content[0], : content[1]] = False
        assert (rgb[0, :, outside] == 0).all()
        assert (rgb[0, :, ~outside] != 0).all()
        white = torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
        assert torch.allclose(rgb[0, :, 4, 4], white, atol=1e-5)
        for prompt in prompts:
            limits = torch.tensor([content[1], content[0]]).repeat(2)
            assert ((prompt["box"] >= 0) & (prompt["box"] <= limits)).all()


def test_images_are_normalised_as_the_model_was_trained(instances):
    model = Toy(sees=True)
    evaluate(model, instances, "toy", RANGES[:1], 128, "one", ((0.5, 0.25, 0.0), (0.5, 0.25, 1.0)))
    corner = model.frames[0][0][0, :, 0, 0]  # white
    assert torch.allclose(corner, torch.tensor([1.0, 3.0, 1.0]))


def test_boxes_depend_on_data_set_annotation_and_range_alone(tmp_path, instances):
    def boxes(found: CocoInstances, name: str = "toy") -> list[list[float]]:
        model = Toy(sees=True)
        evaluate(model, found, name, RANGES, 128)
        return [prompt["box"].tolist() for _, prompts in model.frames for prompt in prompts]

    first = boxes(instances)
    assert first == boxes(instances)
    assert len({tuple(box) for box in first}) == 12
    assert first != boxes(instances, "other")
    content = json.loads((tmp_path / "instances.json").read_text())
    content["annotations"].reverse()
    (tmp_path / "reversed.json").write_text(json.dumps(content))
    other = boxes(CocoInstances(tmp_path / "reversed.json", tmp_path))
    assert sorted(other) == sorted(first)


def test_images_of_another_size_than_annotated_are_refused(tmp_path, instances):
    Image.new("RGB", (10, 20)).save(tmp_path / "0.png")
    with pytest.raises(DataError, match=r"0\.png is 20 x 10, but its annotations say 80 x 120"):
        evaluate(Toy(sees=True), instances, "toy", RANGES, 64)


def test_a_model_without_sams_quality_head_is_refused_by_pred_iou(instances):
    with pytest.raises(RGBXError, match=r"Toy has no mask decoder of SAM .* use --score one"):
        evaluate(Toy(sees=True), instances, "toy", RANGES, 64, "pred_iou")
