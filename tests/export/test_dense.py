"""Every dense model in both formats: the same numbers for any batch, named and described."""

import copy
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
import torch
from peft.tuners.lora import LoraLayer

from rgbx.blocks.deformable_core import deformable_attention, sampled_attention
from rgbx.models import MCASAM, SAMSOD, TASeg, UniRGBIRSaliency, UniRGBIRSemantic
from rgbx.tasks import RGBXModule
from tests.export.small import (
    SIZE,
    halved,
    moved,
    predict,
    says_nothing_of_us,
    shapes,
    stored,
    write,
)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*starts? from (a )?RANDOM")]


def taseg():
    model = TASeg(encoder="tiny")
    model.encode_text()
    return model


BUILD = {
    "TASeg": taseg,
    "SAMSOD": lambda: SAMSOD(encoder="tiny"),
    "UniRGBIRSemantic": lambda: UniRGBIRSemantic(encoder="tiny", num_stages=2),
    "UniRGBIRSaliency": lambda: UniRGBIRSaliency(encoder="tiny", num_stages=1, norm="gn"),
    "MCASAM": lambda: MCASAM(encoder="tiny"),
}


@dataclass
class Made:
    model: RGBXModule
    before: dict[str, torch.Tensor]
    files: dict[str, Path]

    def images(self, batch):
        generator = torch.Generator().manual_seed(batch)
        names = ("rgb", "x") if self.model.needs_x else ("rgb",)
        return {name: torch.randn(batch, 3, *SIZE, generator=generator) for name in names}

    @torch.no_grad()
    def expected(self, rgb, x=None):
        if hasattr(self.model, "class_names"):
            return self.model(rgb, x)
        return self.model.logits(rgb, x)


@pytest.fixture(scope="module", params=BUILD)
def made(request, tmp_path_factory):
    with halved(1 if request.param == "UniRGBIRSaliency" else 2):
        model = moved(BUILD[request.param]())
    before = copy.deepcopy(model.state_dict())
    return Made(model, before, write(model, tmp_path_factory.mktemp(request.param)))


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_the_file_computes_what_the_model_does(made, name):
    for batch in (1, 5):
        images = made.images(batch)
        expected, found = made.expected(**images), predict(made.files[name], **images)
        assert found.shape == expected.shape == (batch, expected.shape[1], *SIZE)
        assert expected.std() > 1e-3
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


def test_an_image_does_not_depend_on_its_neighbours(made):
    images = made.images(3)
    one = {name: image[1:2] for name, image in images.items()}
    path = made.files["model.onnx"]
    torch.testing.assert_close(
        predict(path, **images)[1:2], predict(path, **one), atol=2e-5, rtol=1e-5
    )


def test_names_shapes_and_the_free_batch(made):
    expected = {name: ["batch", 3, *SIZE] for name in made.images(1)}
    classes = getattr(made.model, "num_classes", 1)
    found = shapes(made.files["model.onnx"])
    assert found == expected | {"logits": ["batch", classes, *SIZE]}


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_what_a_file_says_of_itself(made, name):
    said = stored(made.files[name])
    task = "semantic" if hasattr(made.model, "class_names") else "saliency"
    assert (said["model"], said["task"]) == (type(made.model).__name__, task)
    assert said["size"] == [64, 96]
    assert said["rgb_mean"] == [0.4, 0.5, 0.6]
    assert said["class_names"] == ["background", "salient"]
    assert list(said["inputs"]) == list(made.images(1))
    assert said["inputs"]["rgb"]["shape"] == ["batch", 3, 64, 96]
    says_nothing_of_us(made.files[name])


def test_the_model_itself_is_as_before(made):
    after = made.model.state_dict()
    assert after.keys() == made.before.keys()
    assert all(torch.equal(after[name], value) for name, value in made.before.items())
    adapted = any(isinstance(module, LoraLayer) for module in made.model.modules())
    assert adapted == isinstance(made.model, TASeg)


def test_onnx_is_valid(made):
    onnx.checker.check_model(str(made.files["model.onnx"]), full_check=True)


def test_the_deformable_core_of_graphs_is_the_core():
    generator = torch.Generator().manual_seed(0)
    levels = ((4, 6), (2, 3), (1, 2))
    value = torch.randn(2, 32, 3, 4, dtype=torch.float64, generator=generator)
    places = 1.6 * torch.rand(2, 5, 3, 3, 2, 2, dtype=torch.float64, generator=generator) - 0.3
    weights = torch.rand(2, 5, 3, 3, 2, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(
        sampled_attention(value, levels, places, weights),
        deformable_attention(value, levels, places, weights),
        atol=1e-12,
        rtol=0,
    )
