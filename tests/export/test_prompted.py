"""Stable-SAM as three files: encoder, decoder of boxes and points, decoder of coarse masks."""

import pytest
import torch

from rgbx.models import StableSAM
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
from tests.models.sam_toy import box, coarse, points

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*starts? from (a )?RANDOM")]

CLICKS = [  # prompts, and the rows of points and labels that stand for them
    (
        [box(8.0, 4.0, 60.0, 50.0), points((30.0, 20.0)), points((70.0, 40.0), labels=(0,))],
        [[[8.0, 4.0], [60.0, 50.0]], [[30.0, 20.0], [0, 0]], [[70.0, 40.0], [0, 0]]],
        [[2, 3], [1, -1], [0, -1]],
    ),
    (
        [points((30.0, 20.0), (5.0, 60.0), (90.0, 1.0), labels=(1, 0, 1))],
        [[[30.0, 20.0], [5.0, 60.0], [90.0, 1.0], [0, 0]]],
        [[1, 0, 1, -1]],
    ),
]


@pytest.fixture(scope="module")
def model():
    with halved():
        return moved(StableSAM(encoder="tiny"))


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    return write(model, tmp_path_factory.mktemp("StableSAM"))


@pytest.fixture(scope="module")
def rgb():
    return torch.randn(3, 3, *SIZE, generator=torch.Generator().manual_seed(5))


def test_one_file_for_each_step(files):
    names = {path.split(".")[0] for path in files}
    assert names == {"encoder", "decoder", "decoder_masks"}
    assert len(files) == 6
    for path in files.values():
        said = stored(path)
        assert (said["task"], said["part"]) == ("prompts", path.stem)
        says_nothing_of_us(path)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_encoder_and_decoder_answer_as_the_model(model, files, rgb, suffix):
    embeddings = predict(files[f"encoder{suffix}"], rgb=rgb)
    for prompts, places, labels in CLICKS:
        with torch.no_grad():
            expected = model(rgb, [prompts] * 3)
        for i in range(3):
            found = predict(
                files[f"decoder{suffix}"],
                embedding=embeddings[i : i + 1],
                points=torch.tensor(places),
                labels=torch.tensor(labels),
            )
            assert found.shape == (len(prompts), 1, *SIZE)
            torch.testing.assert_close(found, expected[i], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
@pytest.mark.parametrize("count", [1, 3])
def test_coarse_masks(model, files, rgb, suffix, count):
    prompts = [coarse(16, 24, seed) for seed in range(count)]
    with torch.no_grad():
        (expected,) = model(rgb[:1], [prompts])
    found = predict(
        files[f"decoder_masks{suffix}"],
        embedding=predict(files[f"encoder{suffix}"], rgb=rgb[:1]),
        masks=torch.stack([prompt["mask"] for prompt in prompts]),
    )
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


def test_the_plugin_is_inside(model, files, rgb):
    prompts, places, labels = CLICKS[0]
    embedding = predict(files["encoder.onnx"], rgb=rgb[:1])
    given = {"points": torch.tensor(places), "labels": torch.tensor(labels)}
    found = predict(files["decoder.onnx"], embedding=embedding, **given)
    with torch.no_grad():
        (with_plugin,) = model(rgb[:1], [prompts])
        without, _ = model.network.decode(embedding, prompts, SIZE, plugin=False)
    without = torch.nn.functional.interpolate(without, SIZE, mode="bilinear")
    assert (found - without).abs().max() > 100 * (found - with_plugin).abs().max()


def test_names_and_free_lengths(files):
    embedding = [1, 64, 4, 6]
    assert shapes(files["encoder.onnx"]) == {
        "rgb": ["batch", 3, 64, 96],
        "embedding": ["batch", 64, 4, 6],
    }
    assert shapes(files["decoder.onnx"]) == {
        "embedding": embedding,
        "points": ["prompts", "tokens", 2],
        "labels": ["prompts", "tokens"],
        "logits": ["prompts", 1, 64, 96],
    }
    assert shapes(files["decoder_masks.onnx"]) == {
        "embedding": embedding,
        "masks": ["prompts", 1, 16, 24],
        "logits": ["prompts", 1, 64, 96],
    }


def test_the_model_keeps_its_encoder(model, rgb):
    with torch.no_grad():
        assert model.embed(rgb).shape == (3, 64, 4, 6)
