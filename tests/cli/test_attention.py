"""What the plug-in changes: the numbers behind the image, and the image."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from PIL import Image

from rgbx.data import HQSeg44K, PromptFolder
from rgbx.errors import RGBXError
from rgbx.models import StableSAM
from rgbx.models.stable_sam.attention import AttentionMap
from rgbx.models.stable_sam.attention_figure import CELL, attention_panel
from rgbx.tasks.batch_image import BatchImage, images_of, splits_of
from tests.grouped import STABLE_SAM, grouped

NETWORK = (64, 64)
GAP, HEAD = 6, 16  # of a panel
BOX = {"kind": "box", "box": torch.tensor([8.0, 8.0, 40.0, 40.0])}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return StableSAM(encoder="tiny", plugin={"init": "default"}).eval()


def image_of(tmp_path, size=(300, 600), mode="squash") -> BatchImage:
    path = tmp_path / "1#a b.png"
    Image.fromarray(np.full((*size, 3), 128, np.uint8)).save(path)
    data = PromptFolder(str(tmp_path), size=NETWORK, resize_mode=mode)
    batch = {"rgb": torch.zeros(1, 3, *NETWORK), "name": ["1#a b"], "path": [str(path)]}
    return BatchImage(data, batch, 0, "predict", "1#a b")


def explanation(**changes) -> AttentionMap:
    """Attention left without and right with the plug-in, on a grid of 8 x 8 that looks right."""
    before = np.zeros((8, 8))
    before[:, :2] = 1 / 16
    y, x = np.mgrid[:8, :8]
    parts = {
        "before": before,
        "after": before[:, ::-1].copy(),
        "locations": np.stack(((x + 1.5) * 8 - 0.5, (y + 0.5) * 8 - 0.5), axis=-1),
        "alpha": np.array([0.25, 0.75]),
        "offsets": np.zeros((2, 8, 8)),
        "logits_before": np.where(np.arange(16) < 8, 1.0, -1.0) * np.ones((16, 1)),
        "logits_after": np.where(np.arange(16) < 8, -1.0, 1.0) * np.ones((16, 1)),
    }
    found = {name: torch.as_tensor(value) for name, value in {**parts, **changes}.items()}
    found |= {f"logits_{w}": found[f"logits_{w}"][None, None] for w in ("before", "after")}
    return AttentionMap(**found)


def cells(panel: Image.Image, height: int) -> list[np.ndarray]:
    """The six images of a panel, whose first is that of the prompt."""
    width = (panel.width - GAP) // 3 - GAP
    pixels = np.asarray(panel).astype(int)
    return [
        pixels[top : top + height, left : left + width]
        for top in (GAP + HEAD, 2 * GAP + 2 * HEAD + height)
        for left in (GAP, 2 * GAP + width, 3 * GAP + 2 * width)
    ]


def test_six_panels_above_without_and_below_with_the_plug_in(tmp_path):
    drawn = attention_panel(image_of(tmp_path), BOX, explanation(), "title")
    height, width = 240, CELL[1]  # 300 x 600 in a cell of 400 x 480
    assert drawn.size == (3 * (width + GAP) + GAP, 2 * (height + HEAD + GAP) + GAP)
    prompt, before, mask_before, places, after, mask_after = cells(drawn, height)
    # the box of 8 to 40 of 64, at 240 x 480
    assert prompt[100, 60].tolist() == prompt[30, 200].tolist() == [255, 220, 0]
    assert prompt[100, 200].tolist() == [128, 128, 128]
    # red where the attention is, grey elsewhere, mirrored
    assert before[120, 50, 0] > 200 and before[120, 50, 1] < 30
    assert before[120, 400].tolist() == after[120, 50].tolist() == [64, 64, 64]
    assert after[120, 430].tolist() == before[120, 50].tolist()
    left, right = mask_before[120, 100].tolist(), mask_before[120, 400].tolist()
    assert left != right == [128, 128, 128]
    assert mask_after[120, 400].tolist() == left and mask_after[120, 100].tolist() == right
    # cells are 60 pixels wide; their centres, at 30 - 4, are joined to dots one cell to the right
    assert places[13, 446].tolist() == places[13, 416].tolist() == [255, 30, 20]
    assert places[13, 356].tolist() == places[13, 56].tolist() == [60, 90, 230]
    assert (places[:, :24] == 64).all() and (places[22:34] == 64).all()


def test_padding_is_cut_off(tmp_path):
    # 300 x 600 fills the upper 32 of 64 rows: attention below them is not shown
    after = np.zeros((8, 8))
    after[4:] = 1 / 32
    image = image_of(tmp_path, mode="pad")
    shown = explanation(after=after, logits_after=np.where(np.arange(16) < 8, 1.0, -1.0)[:, None])
    drawn = cells(attention_panel(image, BOX, shown, ""), 240)
    assert (drawn[4][:200] == 64).all()
    mask = drawn[5]
    assert (mask[:200] != 128).any(axis=-1).all(), "the upper half of the input is the image"
    # 8 to 40 of 64 pixels are 60 to 300 of 480, both ways
    assert drawn[0][60, 100].tolist() == [255, 220, 0]


def test_no_attention_at_all(tmp_path):
    nothing = np.zeros((8, 8))
    shown = explanation(before=nothing, after=nothing)
    drawn = cells(attention_panel(image_of(tmp_path), BOX, shown, ""), 240)
    assert (drawn[1] == 64).all() and (drawn[4] == 64).all()


def test_large_grids_are_thinned_out(tmp_path):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    weights = rng.random((64, 64))
    shown = explanation(
        before=weights, after=weights, locations=np.stack((x + 0.0, y + 0.0), axis=-1)
    )
    place = cells(attention_panel(image_of(tmp_path, (400, 400)), BOX, shown, ""), 400)[3]
    drawn = (place != 64).any(axis=-1)
    # at most 16 x 16 dots of radius 4; of all 64 x 64, little of the image would be left
    assert 0.02 < drawn.mean() < 0.16


def test_both_answers_and_both_maps_of_the_model(model):
    torch.manual_seed(1)
    rgb = torch.randn(1, 3, 64, 96)
    found = model.attention(rgb, BOX)
    with torch.no_grad():
        wanted = model.decode(model.embed(rgb), [BOX], (64, 96))[0, 0].numpy()
    np.testing.assert_allclose(found.logits_after[0, 0], wanted, atol=1e-6)
    assert (found.logits_after - found.logits_before).abs().max() > 1e-4
    assert found.before.shape == found.after.shape == (4, 6)
    assert found.before.sum() == pytest.approx(1, abs=1e-5)
    assert found.after.sum() == pytest.approx(1, abs=1e-5)
    assert found.locations.shape == (4, 6, 2)
    assert found.locations.min() >= 0 and (found.locations <= torch.tensor([96, 64])).all()
    assert sum(found.alpha) == pytest.approx(1, abs=1e-5)


def test_an_untrained_plug_in_changes_nothing():
    torch.manual_seed(0)
    found = StableSAM(encoder="tiny").eval().attention(torch.randn(1, 3, 64, 64), BOX)
    np.testing.assert_allclose(found.before, found.after, atol=1e-6)
    y, x = np.mgrid[:4, :4]
    expected = np.stack((16 * x + 7.5, 16 * y + 7.5), axis=-1)
    np.testing.assert_allclose(found.locations, expected, atol=1e-5)
    assert found.alpha.tolist() == [0.5, 0.5]


def test_a_baseline_has_nothing_to_show():
    with pytest.raises(RGBXError, match="no plug-in whose effect could be shown"):
        StableSAM(encoder="tiny", train="token").attention(torch.zeros(1, 3, 64, 64), BOX)


class Recording(StableSAM):
    """Keeps the prompts that it was asked."""

    def __init__(self, **options) -> None:
        super().__init__(**grouped(STABLE_SAM, options))
        self.asked: list = []

    def decode_measured(self, embedding, prompts, size):
        self.asked.append(prompts)
        return super().decode_measured(embedding, prompts, size)


class Comparing(Callback):
    """Draws the first prompts again, and compares."""

    compared = 0

    def on_test_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        images = images_of(trainer, batch, splits_of(trainer), dataloader_idx)
        for image, asked in zip(images, pl_module.asked, strict=True):
            firsts = {prompt["kind"]: prompt for prompt in reversed(asked)}
            assert list(outputs[0]) == list(reversed(firsts))
            for kind, wanted in firsts.items():
                found = pl_module.first_prompt(image, kind)
                assert set(found) == set(wanted)
                for key in set(wanted) - {"kind"}:
                    torch.testing.assert_close(found[key], wanted[key], rtol=0, atol=0)
                self.compared += 1
        pl_module.asked.clear()


@pytest.mark.slow
@pytest.mark.parametrize("overlap", [None, [0.5, 0.6]])
def test_prompts_drawn_again_are_those_of_the_test(hqseg_root, overlap):
    kinds = ["box", "noisy_box", "point_3", "coarse_mask"]
    model = Recording(
        **{"encoder": "tiny", "eval_kinds": kinds, "eval_prompts": 2, "eval_iou": overlap},
        mask_prompt_scale="logits",
    )
    data = HQSeg44K(str(hqseg_root), size=NETWORK, num_workers=0, eval_batch_size=2)
    comparing = Comparing()
    trainer = Trainer(
        **{"accelerator": "cpu", "logger": False, "enable_checkpointing": False},
        **{"enable_progress_bar": False, "callbacks": [comparing]},
    )
    trainer.test(model, data, verbose=False)
    assert comparing.compared == 8 * len(kinds)
