"""CLIP's text tower ("Learning Transferable Visual Models", arXiv 2103.00020) for class names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import torch
import torch.nn.functional as F
from lightning.fabric.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from rgbx.backbones.freeze import freeze
from rgbx.backbones.init import randomise
from rgbx.backbones.weights import Weights, load_strict, read_state
from rgbx.errors import RGBXError

#: class names that mean "none of the classes"
_BACKGROUND = frozenset({"unlabelled", "unlabeled", "background", "void"})
_NOT_TEXT = ("visual.", "logit_scale", "input_resolution", "context_length", "vocab_size")


@dataclass(frozen=True)
class CLIPTextConfig:
    """Hyper-parameters of a text tower.

    Attributes:
        width: token width.
        heads: attention heads.
        layers: number of blocks.
        out_dim: width of the embedding shared with the image side.
        context_length: tokens per text.
        vocab_size: of OpenAI's byte-pair vocabulary, which open_clip ships.
    """

    width: int
    heads: int
    layers: int
    out_dim: int
    context_length: int = 77
    vocab_size: int = 49408


CLIP_TEXT_PRESETS: dict[str, CLIPTextConfig] = {
    "tiny": CLIPTextConfig(width=32, heads=2, layers=2, out_dim=32),
    "ViT-B-32": CLIPTextConfig(width=512, heads=8, layers=12, out_dim=512),
    "ViT-B-16": CLIPTextConfig(width=512, heads=8, layers=12, out_dim=512),
    "ViT-L-14": CLIPTextConfig(width=768, heads=12, layers=12, out_dim=768),
}


class CLIPText(nn.Module):
    """Frozen text tower with OpenAI's tokenizer and QuickGELU.

    Args:
        config: hyper-parameters.
    """

    def __init__(self, config: CLIPTextConfig) -> None:
        # it takes seconds to import, and one paper needs it
        from open_clip.tokenizer import SimpleTokenizer
        from open_clip.transformer import QuickGELU, TextTransformer

        super().__init__()
        self.config = config
        self.tower = TextTransformer(
            context_length=config.context_length,
            vocab_size=config.vocab_size,
            width=config.width,
            heads=config.heads,
            layers=config.layers,
            output_dim=config.out_dim,
            act_layer=QuickGELU,
        )
        self._tokenizer = SimpleTokenizer(context_length=config.context_length)
        freeze(self)

    def load(self, state: Mapping[str, Tensor], source: str) -> None:
        """Load the text half of an OpenAI CLIP state dict; the image half is left out.

        Args:
            state: tensors by OpenAI's names (half precision is converted).
            source: where they come from, for messages.

        Raises:
            WeightsError: a text tensor is missing, unexpected or of another shape.
        """
        text = {name: t for name, t in state.items() if not name.startswith(_NOT_TEXT)}
        load_strict(self.tower, text, source)

    @torch.no_grad()
    def encode(self, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
        """One embedding per class, averaged over prompt templates.

        Every prompt's embedding is normalised to length 1, averaged over the templates, and
        normalised again. Underscores become spaces; "unlabelled", "unlabeled", "background" and
        "void" (any case) all read "background".

        Args:
            class_names: K names.
            templates: sentences with the place holder `{class}`.

        Returns:
            (K, out_dim) float32 rows of length 1, without gradient.

        Raises:
            RGBXError: no class, no template, or a template without `{class}`.
        """
        if not class_names or not templates:
            raise RGBXError("The text encoder needs at least one class name and one template.")
        for template in templates:
            if "{class}" not in template:
                raise RGBXError(f"The template {template!r} lacks the place holder {{class}}.")
        rows = []
        for name in class_names:
            prompts = [template.replace("{class}", readable(name)) for template in templates]
            tokens = self._tokenizer(prompts).to(self.tower.positional_embedding.device)
            rows.append(F.normalize(self.tower(tokens).float(), dim=-1).mean(0))
        return F.normalize(torch.stack(rows), dim=-1)


def readable(name: str) -> str:
    """A class name as it stands in a sentence."""
    words = " ".join(name.replace("_", " ").split())
    return "background" if words.lower() in _BACKGROUND else words


def clip_text_preset(encoder: str) -> CLIPTextConfig:
    """The preset of that name.

    Raises:
        RGBXError: names the presets there are, and the nearest.
    """
    if encoder in CLIP_TEXT_PRESETS:
        return CLIP_TEXT_PRESETS[encoder]
    near = get_close_matches(encoder, CLIP_TEXT_PRESETS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    names = ", ".join(CLIP_TEXT_PRESETS)
    raise RGBXError(f"There is no CLIP text encoder {encoder!r}; choose from {names}.{hint}")


def build_clip_text(encoder: str, weights: Weights | None = None) -> CLIPText:
    """Build a frozen text tower and load its weights.

    Args:
        encoder: a name in `CLIP_TEXT_PRESETS`.
        weights: OpenAI's .pt file of that CLIP, or a plain state dict with the same names; None
            means random values with a warning (skipped on the meta device).

    Raises:
        RGBXError: no preset of that name.
        WeightsError: the file is missing, damaged, or of another model.
    """
    clip = CLIPText(clip_text_preset(encoder))
    if weights is not None:
        fetch = "clip_" + encoder.lower().replace("-", "_")
        clip.load(read_state(weights, fetch), weights.path)
    elif not clip.tower.positional_embedding.is_meta:
        randomise(clip)
        rank_zero_warn(
            f"The CLIP text encoder {encoder} starts from RANDOM weights because its weights are "
            "null; class names carry no meaning then."
        )
    return clip


def encode_classes(
    encoder: str,
    weights: Weights | None,
    class_names: Sequence[str],
    templates: Sequence[str],
) -> Tensor:
    """Embeddings of class names; the encoder itself is released afterwards.

    Args:
        encoder: see `build_clip_text`.
        weights: see `build_clip_text`.
        class_names: K names, see `CLIPText.encode`.
        templates: sentences with `{class}`.

    Returns:
        (K, out_dim) float32 rows of length 1; on the meta device when built there.
    """
    config = clip_text_preset(encoder)
    if torch.get_default_device().type == "meta":
        return torch.empty(len(class_names), config.out_dim)
    return build_clip_text(encoder, weights).encode(class_names, templates)
