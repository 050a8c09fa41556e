"""``rgbx eval-coco``: boxes, the way to the network's frame and back, and the command itself."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from rgbx.cli.config.promptable import data_inputs
from rgbx.errors import DataError, RGBXError
from rgbx.metrics.coco_files import SGINW, CocoInstances
from rgbx.optim.schedules import Constant
from rgbx.prompts import KINDS, Prompt
from rgbx.results import read_result
from rgbx.tasks.coco import evaluate
from rgbx.tasks.promptable import PromptableModule
from tests.cli.conftest import CONFIGS

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
        super().__init__(torch.optim.SGD, Constant(), KINDS, 1, None, ("box",), 1, "hq", 0.02, 0.0)
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
        *("noisy_box_0.5-0.6/AP", "noisy_box_0.5-0.6/AP50"),
        *("noisy_box_0.6-0.7/AP", "noisy_box_0.6-0.7/AP50"),
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


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        ([], ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ([{"data": {"rgb_mean": 0.5}}], ((0.5, 0.5, 0.5), (0.229, 0.224, 0.225))),
        (
            [
                {"data": {"init_args": {"rgb_mean": [0.1, 0.2, 0.3], "rgb_std": 1.0}}},
                {"data": {"init_args": {"rgb_mean": None, "rgb_std": [0.5, 0.5, 0.6]}}},
                {},
            ],
            ((0.1, 0.2, 0.3), (0.5, 0.5, 0.6)),
        ),
    ],
    ids=["none", "one number", "the last that says so"],
)
def test_colours_of_the_configurations(configs, expected):
    assert data_inputs(configs) == (None, expected)


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


# ------------------------------------------------------------------ the command
def options(folder: Path, *extra: object) -> list[object]:
    return [
        *("eval-coco", "--config", CONFIGS / "demo/stable_sam.yaml", "--size", "64"),
        *("--device", "cpu", "--output", folder / "out", *extra),
    ]


def test_command_writes_numbers_and_prints_the_table(rgbx, tmp_path, capsys):
    file = squares(tmp_path / "data", "instances_val2017.json")
    given = ("--annotations", file, "--images", file.parent)
    assert rgbx(*options(tmp_path, *given, "--score", "pred_iou", "--model.encoder", "tiny")) == 0
    result = read_result(tmp_path / "out/test.json")
    assert (result.data.dataset, result.data.split_sizes) == ("COCO", {"val2017": 3})
    assert list(result.numbers["val2017"]["all"]) == [
        f"noisy_box_{limits}/{score}"
        for limits in ("0.5-0.6", "0.6-0.7")
        for score in ("AP", "AP50")
    ]
    assert result.paper == "stable_sam"
    assert (result.checkpoint.file, result.model.hyper_parameters["encoder"]) == ("none", "tiny")
    assert "each of 6 instances" in result.protocol["prompts"]
    out = " ".join(capsys.readouterr().out.split())
    assert "noisy box 0.5-0.6 noisy box 0.6-0.7 Method Source AP AP50 AP AP50" in out
    assert "Stable-SAM-L published 44.8 76.4 50.5 81.1" in out
    assert "NOT COMPARABLE: this run was scored on 3 images, the published rows on 5000." in out
    assert "no --ckpt_path: the model is as its configuration makes it" in out


def test_checkpoint_is_loaded(rgbx, tmp_path, capsys):
    from rgbx.models import StableSAM

    model = StableSAM(encoder="tiny")
    with torch.no_grad():
        model.plugin.layers["1"].drp.fc2.bias.copy_(torch.tensor([3.0, -3.0]))
    stored = {"state_dict": model.state_dict(), "epoch": 2, "global_step": 9}
    stored |= {"pytorch-lightning_version": "2.6.6"}
    stored |= {"hyper_parameters": {"encoder": "tiny"}}
    model.on_save_checkpoint(stored)
    torch.save(stored, tmp_path / "own.ckpt")
    file = squares(tmp_path / "data")
    given = ("--annotations", file, "--images", file.parent, "--ckpt_path", tmp_path / "own.ckpt")
    plain = ("--model.train_decoder", "false", "--iou", "0.5", "0.7")
    assert rgbx(*options(tmp_path, *given, *plain)) == 0
    result = read_result(tmp_path / "out/test.json")
    assert (result.checkpoint.epoch, result.checkpoint.step) == (2, 9)
    assert list(result.numbers["instances"]["all"]) == [
        *("noisy_box_0.5-0.7/AP", "noisy_box_0.5-0.7/AP50")
    ]
    assert "published" not in capsys.readouterr().out  # one's own file is no benchmark


def test_sginw_is_the_mean_of_25_sets(rgbx, tmp_path, capsys):
    for name in SGINW:
        file = squares(tmp_path / "SGinW" / name / "valid", "_annotations_min1cat.coco.json")
        if name != "Cows":  # one image each is enough
            content = json.loads(file.read_text())
            content["annotations"] = content["annotations"][:1]
            file.write_text(json.dumps(content))
    assert rgbx(*options(tmp_path, "--sginw", tmp_path / "SGinW", "--iou", 0.5, 0.6)) == 0
    numbers = read_result(tmp_path / "out/test.json").numbers
    assert list(numbers) == [*SGINW, "mean"]
    for name in ("noisy_box_0.5-0.6/AP", "noisy_box_0.5-0.6/AP50"):
        each = [numbers[split]["all"][name] for split in SGINW]
        assert numbers["mean"]["all"][name] == pytest.approx(sum(each) / 25)
    out = capsys.readouterr().out
    assert "SGinW, mean of 25 data sets (%)" in out
    assert "Stable-SAM-L published" in out and "43.3 75.6" in out


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ((), "Give --annotations FILE with --images DIR, or --sginw ROOT instead."),
        (("--annotations", "a.json"), "with --images DIR"),
        (("--annotations", "a", "--images", "b", "--sginw", "c"), "or --sginw ROOT instead"),
        (("--sginw", "c", "--iou", "0.7", "0.6"), "--iou 0.7 0.6 is no range of overlaps"),
        (("--sginw", "c", "--size", "100"), "--size 100 is no multiple of 16"),
        (("--sginw", "c", "--ckpt_path", "no.ckpt"), "There is no checkpoint no.ckpt."),
        (("--sginw", "c"), "c holds 0 of SGinW's 25 data sets; Airplane-Parts/valid/_annot"),
        (("--annotations", "a.json", "--images", "b"), "Cannot read the annotations a.json"),
        (("--config", "no.yaml", "--sginw", "c"), "There is no configuration file no.yaml."),
    ],
)
def test_what_cannot_be_is_one_sentence(rgbx, tmp_path, capsys, extra, text):
    assert rgbx(*options(tmp_path, *extra)) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("rgbx: error: ") and text in error and "\n" not in error


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (("--config", CONFIGS / "demo/tasseg_mfnet.yaml"), "TASeg takes no prompts; give a model"),
        (("--model.encodr", "tiny"), "encodr"),
        (("--device", "cuda:99"), "--device cuda:99 cannot be used: "),
        (("--model.encoder", "vit_x"), "There is no SAM encoder 'vit_x'"),
    ],
)
def test_models_that_cannot_be(rgbx, tmp_path, capsys, extra, text):
    file = squares(tmp_path / "data")
    given = ("--annotations", file, "--images", file.parent)
    assert rgbx(*options(tmp_path, *given, *extra)) == 1
    assert text in capsys.readouterr().err


def test_help_answers_without_torch():
    code = (
        "import sys; from rgbx.cli import main\n"
        "try: main(['eval-coco', '--help'])\n"
        "except SystemExit as e: assert not e.code, e.code\n"
        "heavy = {'torch', 'lightning', 'numpy', 'cv2', 'pycocotools'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--iou LOW HIGH" in done.stdout
