"""A result of promptable segmentation on the four sets of HQSeg-44K, with plain numbers."""

from rgbx.results import CheckpointRecord, DataRecord, ModelRecord, TestResult, make_result

KINDS = ("box", "noisy_box", "point_1", "point_3", "point_5", "point_10")
SIZES = {"DIS": 470, "COIFT": 280, "HRSOD": 287, "ThinObject": 500}
PLUGIN = {
    "train": "plugin",
    "train_decoder": False,
    "plugin": {"use_dsp": True, "dsp_kind": "deform", "use_drp": True},
}


def scores(offset: float) -> dict[str, float]:
    """mIoU 0.50 + offset + 0.01 per kind, mBIoU 0.1 below, mSF 0.05 above (not for the box)."""
    found = {}
    for i, kind in enumerate(KINDS):
        base = 0.5 + offset + 0.01 * i
        found[f"{kind}/mIoU"] = base
        found[f"{kind}/mBIoU"] = base - 0.1
        if kind != "box":
            found[f"{kind}/mSF"] = base + 0.05
        found[f"{kind}/alpha_1"] = 0.4 + 0.1 * i
    return found


def prompted(
    sizes: dict[str, int] = SIZES, dataset: str = "HQSeg44K", **arguments: object
) -> TestResult:
    """Splits with growing numbers, and their mean."""
    numbers = {split: {"all": scores(0.1 * i)} for i, split in enumerate(sizes)}
    if len(sizes) > 1:
        each = [subsets["all"] for subsets in numbers.values()]
        means = {name: sum(one[name] for one in each) / len(each) for name in each[0]}
        numbers["mean"] = {"all": means}
    return make_result(
        paper="stable_sam",
        model=ModelRecord(
            "rgbx.models.stable_sam.module.StableSAM", {"encoder": "vit_l", **PLUGIN, **arguments}
        ),
        data=DataRecord(
            f"rgbx.data.datasets.hqseg.{dataset}", "HQ", dict(sizes), ("background", "object")
        ),
        checkpoint=CheckpointRecord("best.ckpt", "ab" * 32, epoch=0, step=1385),
        scores=numbers,
        protocol={
            "mIoU": "mean over the prompts, then over the images",
            "mBIoU": "of the boundaries",
            "mSF": "with their union",
            "prompts": "20 per image and kind (1 tight box)",
            "input": "images of 1024 x 1024, squashed",
            "mean": "unweighted mean of the data sets",
            "alpha_1": "weight of the re-sampled features",
        },
        seed=1,
    )
