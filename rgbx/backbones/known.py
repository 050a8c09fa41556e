"""Public weight files: where they are, how large, and their hash where it could be verified."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownWeights:
    """One public file.

    Attributes:
        name: what `rgbx weights fetch` calls it.
        url: where it is published.
        file: its name on disk.
        size: bytes, None where unknown.
        sha256: hexadecimal, None where unknown.
        fits: the presets or methods that take it.
    """

    name: str
    url: str
    file: str
    size: int | None
    sha256: str | None
    fits: str


_META = "https://dl.fbaipublicfiles.com"
_OPENAI = "https://openaipublic.azureedge.net/clip/models"


def _sam(size: str, tag: str, length: int, digest: str) -> KnownWeights:
    file = f"sam_vit_{size}_{tag}.pth"
    url = f"{_META}/segment_anything/{file}"
    return KnownWeights(f"sam_vit_{size}", url, file, length, digest, f"SAM vit_{size}")


def _sam2(release: str, size: str, letter: str, length: int, digest: str) -> KnownWeights:
    date = {"sam2": "072824", "sam2.1": "092824"}[release]
    file = f"{release}_hiera_{size}.pt"
    name, fits = f"{release}_hiera_{letter}", f"{release.upper()} hiera_{letter}"
    url = f"{_META}/segment_anything_2/{date}/{file}"
    return KnownWeights(name, url, file, length, digest, fits)


def _clip(name: str, length: int, digest: str) -> KnownWeights:
    file, key = f"{name}.pt", "clip_" + name.lower().replace("-", "_")
    return KnownWeights(key, f"{_OPENAI}/{digest}/{file}", file, length, digest, f"CLIP {name}")


_ENTRIES = (
    _sam(
        "b", "01ec64", 375042383, "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912"
    ),
    _sam(
        "l",
        "0b3195",
        1249524607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    _sam(
        "h",
        "4b8939",
        2564550879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
    _sam2(
        "sam2",
        "tiny",
        "t",
        155906050,
        "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
    ),
    _sam2(
        "sam2",
        "small",
        "s",
        184309650,
        "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3",
    ),
    _sam2(
        "sam2",
        "base_plus",
        "b+",
        323493298,
        "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071",
    ),
    _sam2(
        "sam2",
        "large",
        "l",
        897952466,
        "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
    ),
    _sam2(
        "sam2.1",
        "tiny",
        "t",
        156008466,
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
    ),
    _sam2(
        "sam2.1",
        "small",
        "s",
        184416285,
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
    ),
    _sam2(
        "sam2.1",
        "base_plus",
        "b+",
        323606802,
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
    ),
    _sam2(
        "sam2.1",
        "large",
        "l",
        898083611,
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
    ),
    _clip(
        "ViT-L-14", 932768134, "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"
    ),
    _clip(
        "ViT-B-16", 350837078, "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"
    ),
    _clip(
        "ViT-B-32", 353976522, "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
    ),
    KnownWeights(
        "mae_vit_b",
        f"{_META}/mae/pretrain/mae_pretrain_vit_base.pth",
        "mae_pretrain_vit_base.pth",
        343249461,
        "aec5f0b68e5f3193a00b07bc65a37440db549c15b36b8bea242606cc40c4bc5d",
        "plain ViT-B/16 (MAE)",
    ),
    KnownWeights(
        "vitdet_vit_b_coco",
        f"{_META}/detectron2/ViTDet/COCO/mask_rcnn_vitdet_b/f325346929/model_final_61ccd1.pkl",
        "model_final_61ccd1.pkl",
        None,
        None,
        "plain ViT-B/16 (ViTDet on COCO)",
    ),
    KnownWeights(
        "vitdet_vit_b_coco_cascade",
        f"{_META}/detectron2/ViTDet/COCO/cascade_mask_rcnn_vitdet_b/f325358525/"
        "model_final_435fa9.pkl",
        "model_final_435fa9.pkl",
        None,
        None,
        "UniRGB-IR vit_b (ViTDet on COCO)",
    ),
)

#: name -> public file. Sizes and hashes come from independent public manifests that agree with
#: each other; CLIP's hashes are part of the publisher's own URLs.
KNOWN: dict[str, KnownWeights] = {entry.name: entry for entry in _ENTRIES}


def known_file(file: str) -> KnownWeights | None:
    """The public file that is stored under this name, if there is one."""
    return next((entry for entry in KNOWN.values() if entry.file == file), None)
