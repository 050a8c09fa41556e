"""``--visualize_attention``: what the plug-in changes, as an image per image."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from rgbx.callbacks.attention_figure import Explanation, attention_panel
from rgbx.callbacks.image import BatchImage, images_of, splits_of
from rgbx.callbacks.prompted import first_prompt
from rgbx.disk import write_image
from rgbx.models import StableSAM
from rgbx.prompts import Prompt

__all__ = ["AttentionWriter", "explain"]

IMAGES = 16
FOLDER = "attention"


class AttentionWriter(Callback):
    """Draws ``attention/NAME.png`` for the first images and the first prompt of each.

    In a test, the prompt is the first noisy box of the evaluation, or of its first kind where there
    are no noisy boxes; several splits share the number of images, and have a folder each.

    Args:
        folder: gets the folder ``attention``.
        images: how many at most.
    """

    def __init__(self, folder: Path, images: int = IMAGES) -> None:
        self.folder = Path(folder) / FOLDER
        self._images = images
        self._drawn: dict[str, int] = {}

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the first prompt of each image."""
        for image in images_of(trainer, batch, ("predict",)):
            if image["prompts"]:
                self._draw(pl_module, image, image["prompts"][0], self._images)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw a noisy box for each image."""
        splits = splits_of(trainer)
        kind = "noisy_box" if "noisy_box" in outputs[0] else next(iter(outputs[0]))
        for image in images_of(trainer, batch, splits, dataloader_idx):
            prompt = first_prompt(pl_module, image, kind)
            self._draw(pl_module, image, prompt, -(-self._images // len(splits)))

    def _draw(self, model: LightningModule, image: BatchImage, prompt: Prompt, quota: int) -> None:
        drawn = self._drawn.get(image.split, 0)
        if drawn >= quota:
            return
        self._drawn[image.split] = drawn + 1
        assert isinstance(model, StableSAM)
        found = explain(model, image["rgb"][None], prompt)
        panel = attention_panel(image, prompt, found, f"{image.place} ({prompt['kind']})")
        target = self.folder / f"{image.place}.png"
        write_image(panel, target)


@torch.no_grad()
def explain(model: StableSAM, rgb: Tensor, prompt: Prompt) -> Explanation:
    """Ask the same with and without the plug-in.

    Args:
        model: with a plug-in.
        rgb: (1,3,H,W), normalised.
        prompt: in pixels of that.

    Raises:
        RGBXError: the model has no plug-in.
    """
    found = model.attention(rgb, prompt)
    return Explanation(
        before=found.before.numpy(),
        after=found.after.numpy(),
        locations=found.locations.numpy(),
        alpha=(float(found.alpha[0]), float(found.alpha[1])),
        logits_before=found.logits_before[0, 0].float().cpu().numpy(),
        logits_after=found.logits_after[0, 0].float().cpu().numpy(),
    )
