"""Pretrained networks, frozen: SAM, SAM 2, plain ViT, CLIP's text tower; and their weight files.

Import the submodule you need; this package itself imports nothing, so that the command line can
list weights without loading torch.
"""

__all__ = [
    "attention",
    "clip_text",
    "download",
    "file_kind",
    "freeze",
    "init",
    "known",
    "pickles",
    "plain_vit",
    "sam",
    "sam2",
    "sam2_parts",
    "sam_position",
    "torch_file",
    "torchscript",
    "vit",
    "vit_parts",
    "weights",
]
