"""Every shipped configuration is found, parsed and run."""

import os
from pathlib import Path

import pytest
import torch
import yaml

from tests.cli.conftest import CONFIGS, tiny

pytestmark = pytest.mark.slow

EXPERIMENTS = sorted(
    str(p.relative_to(CONFIGS))
    for p in CONFIGS.rglob("*.yaml")
    if "sweeps" not in p.parts
    and "class_path" in (yaml.safe_load(p.read_text()).get("model") or {})
)


@pytest.fixture
def root_for(request):
    """The generated data in the layout of a configuration's data set."""

    def root(config: str) -> Path:
        name = yaml.safe_load((CONFIGS / config).read_text())["data"]["class_path"]
        fixture = {
            "MFNet": "mfnet_root",
            "PST900": "pst900_root",
            "FolderRGBX": "folder_root",
            "VT5000": "scribble_root" if "scribble" in config else "vt5000_root",
            "RGBDSaliency": "rgbd_root",
            "NEURSDDS": "neu_rsdds_root",
            "HQSeg44K": "hqseg_root",
            "COD": "cod_root",
            "ISTD": "istd_root",
            "KvasirSEG": "kvasir_root",
            "FLIR": "flir_root",
            "LLVIP": "llvip_root",
            "KAIST": "kaist_root",
        }
        return request.getfixturevalue(fixture[name])

    return root


def test_the_experiments_of_the_readme_are_shipped():
    assert {"tasseg_mfnet.yaml", "tasseg_pst900.yaml", "demo/tasseg_mfnet.yaml"} <= set(EXPERIMENTS)
    saliency = ("vt5000", "tiny_vt5000", "neu_rsdds", "rgbd", "scribble")
    assert {f"samsod_{name}.yaml" for name in saliency} <= set(EXPERIMENTS)
    assert "demo/samsod_vt5000.yaml" in EXPERIMENTS
    promptable = ("", "_12ep", "_vit_b", "_lowshot")
    assert {f"stable_sam_hqseg44k{name}.yaml" for name in promptable} <= set(EXPERIMENTS)
    assert "demo/stable_sam.yaml" in EXPERIMENTS
    assert {f"unirgb_ir_{name}.yaml" for name in ("mfnet", "pst900", "vt5000")} <= set(EXPERIMENTS)
    boxes = ("flir", "llvip", "kaist")
    assert {f"unirgb_ir_{name}.yaml" for name in boxes} <= set(EXPERIMENTS)
    assert {f"demo/unirgb_ir_{n}.yaml" for n in ("mfnet", "vt5000", "flir")} <= set(EXPERIMENTS)
    tasks = ("cod10k", "istd", "kvasir", "kvasir_vit_b")
    both = {f"{paper}_{task}.yaml" for paper in ("mca_sam", "sam_adapter") for task in tasks}
    assert both | {"demo/mca_sam_cod.yaml"} <= set(EXPERIMENTS)


@pytest.mark.parametrize("config", EXPERIMENTS)
def test_every_experiment_runs(config, root_for, rgbx, capfd):
    argv = tiny(config, root_for(config), "--trainer.fast_dev_run", "true")
    assert rgbx("fit", *argv) == 0
    out = "".join(capfd.readouterr())
    assert "trainable" in out and "frozen" in out


def test_the_ddp_overlay_changes_only_the_trainer(rgbx, mfnet_root):
    overlay = yaml.safe_load((CONFIGS / "ddp.yaml").read_text())
    assert set(overlay) == {"trainer"}
    argv = tiny("tasseg_mfnet.yaml", mfnet_root, "--config", str(CONFIGS / "ddp.yaml"))
    argv += ["--trainer.accelerator", "cpu", "--trainer.devices", "1"]
    argv += ["--trainer.sync_batchnorm", "false", "--trainer.fast_dev_run", "true"]
    try:
        assert rgbx("fit", *argv) == 0
        assert torch.distributed.get_backend() == "gloo"
    finally:
        torch.distributed.destroy_process_group()
        for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE"):
            os.environ.pop(name, None)


def full(paper: str) -> list[str]:
    return [c for c in EXPERIMENTS if c.startswith(paper)]


@pytest.mark.parametrize("config", full("tasseg"))
def test_tasegs_settings_are_in_the_files(config):
    values = yaml.safe_load((CONFIGS / config).read_text())
    model, optimizer = values["model"]["init_args"], values["model"]["init_args"]["optimizer"]
    assert model["encoder"] == ("vit_b" if "vit_b" in config else "vit_h")
    assert (model["lora"]["rank"], model["fusion"], model["text"]) == (16, "dffm", True)
    assert optimizer["init_args"] == {"lr": 5e-4, "weight_decay": 0.01}
    assert values["trainer"]["precision"] == "bf16-mixed"


@pytest.mark.parametrize("config", full("samsod"))
def test_samsods_settings_are_in_the_files(config):
    values = yaml.safe_load((CONFIGS / config).read_text())
    model, data = values["model"]["init_args"], values["data"]["init_args"]
    tiny_one = "tiny" in config
    assert model["encoder"] == ("hiera_t" if tiny_one else "hiera_l")
    assert data["batch_size"] == (8 if tiny_one else 4)
    assert (model["adapter"], model["modalities"], model["surgery"]) == (
        "decoupled",
        "both",
        "PCGrad",
    )
    assert model["unimodal_supervision"] is True and model["adapter_options"]["width"] == 32
    assert model["optimizer"] == {"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-3}}
    assert model["schedule"] == {"class_path": "Constant"}
    assert data["size"] == [512, 512] and data["enhance"] is True
    assert data["soft_masks"] is ("scribble" not in config)
    assert values["trainer"]["max_epochs"] == 45


@pytest.mark.parametrize("kind", ["samsod", "samsod_tiny"])
def test_the_parity_files_differ_from_the_usual_ones_in_what_they_name(kind):
    paper, usual = (
        yaml.safe_load((CONFIGS / f"{folder}{kind}_vt5000.yaml").read_text())
        for folder in ("paper/", "")
    )
    assert paper["trainer"].pop("precision") == "32-true"
    assert usual["trainer"].pop("precision") == "bf16-mixed"
    best = paper["trainer"].pop("callbacks")[0]["init_args"]
    assert (best["monitor"], best["mode"]) == ("val/MAE", "min")
    usual["trainer"].pop("callbacks")
    for values in (paper, usual):
        values["trainer"].pop("logger")
    assert paper["trainer"] == usual["trainer"]
    named = {"alpha_foreground": 0.45, "alpha_background": 0.35, "beta": 0.1, "scale": 0.5}
    model = usual["model"]["init_args"]
    named = {"adapter_options": model["adapter_options"] | named}
    assert paper["model"]["init_args"] == model | named
    data, other = paper["data"]["init_args"], usual["data"]["init_args"]
    assert other.pop("val_share") == 0.1 and other.pop("choose_on") is None
    read = {"choose_on": "VT821", "drop_last": False, "resize": "pil", "x_channels": 3}
    assert data == other | read


@pytest.mark.parametrize("config", full("stable_sam"))
def test_stable_sams_settings_are_in_the_files(config):
    values = yaml.safe_load((CONFIGS / config).read_text())
    model, data = values["model"]["init_args"], values["data"]["init_args"]
    trainer, long = values["trainer"], "12ep" in config or "lowshot" in config
    assert model["encoder"] == ("vit_b" if "vit_b" in config else "vit_l")
    assert model["train"] == "plugin" and not model["train_decoder"]
    plugin = model["plugin"]
    assert (plugin["dsp_kind"], plugin["layers"]) == ("deform", [1])
    assert plugin["use_dsp"] and plugin["use_drp"]
    assert (model["loss"], model["points"]) == ("points", 112 * 112)
    assert model["evaluation"]["prompts"] == 20
    assert model["optimizer"] == {"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-3}}
    step = {"class_path": "Step", "init_args": {"milestones": [10], "gamma": 0.1}}
    assert model["schedule"] == (step if long else {"class_path": "Constant"})
    assert trainer["max_epochs"] == (12 if long else 1)
    assert trainer["devices"] * trainer["accumulate_grad_batches"] * data["batch_size"] == 32
    assert data["size"] == [1024, 1024] and data["occlusion"] == 0.5
    mixture = data["mixture"]
    assert [mixture[kind] for kind in ("box", "noisy_box", "points", "coarse_mask")] == [1] * 4
    assert (mixture["counts"], mixture["min_iou"]) == ([1, 3, 5, 10], 0.5)
    assert data.get("low_shot") == (220 if "lowshot" in config else None)


# as the authors state them, on the scale of 0 to 255
UNIRGB_IR_STATISTICS = {
    "MFNet": {
        "rgb_mean": [56.49899560, 65.97552241, 58.65733690],
        "rgb_std": [58.10148818, 59.04825892, 60.30034803],
        "x_mean": 100.82957526,
        "x_std": 47.12476753,
    },
    "PST900": {},
    "VT5000": {
        "rgb_mean": [135.73938737, 157.85305160, 140.73351561],
        "rgb_std": [62.22105260, 60.33881856, 61.50345982],
        "x_mean": [192.20718706, 92.03320704, 87.13236662],
        "x_std": [61.55407186, 68.75750769, 53.08267292],
    },
}


BOXES = [f"unirgb_ir_{name}.yaml" for name in ("flir", "llvip", "kaist")]


@pytest.mark.parametrize("config", BOXES)
def test_the_detectors_settings_are_in_the_files(config):
    from rgbx.models.unirgb_ir.detector import CascadeConfig, RPNConfig

    values = yaml.safe_load((CONFIGS / config).read_text())
    model, data, trainer = (values[k] for k in ("model", "data", "trainer"))
    model, data = model["init_args"], data["init_args"]
    assert (model["encoder"], model["img_size"], data["size"]) == ("vit_b", 1024, [1024, 1024])
    assert (model["head"], model["init_heads"], model["norm"]) == ("cascade", "random", "bn")
    by_name = model["optimizer"]["init_args"]
    assert (by_name["layer_decay"], by_name["num_blocks"]) == (0.7, 12)
    assert by_name["optimizer"]["init_args"] == {"lr": 1.25e-5, "weight_decay": 0.1}
    assert data["batch_size"] * trainer["accumulate_grad_batches"] == 8
    assert (data["flip"], data["scale"], data["jitter"]) == (0.5, [0.1, 2.0], 0.0)
    if "flir" in config:  # every decision is written down, and is the default
        rpn = model["rpn"] | {"ratios": tuple(model["rpn"]["ratios"])}
        assert RPNConfig(**rpn) == RPNConfig()
        tuples = {"ious", "weights"}
        cascade = {k: tuple(v) if k in tuples else v for k, v in model["cascade"].items()}
        cascade["stds"] = tuple(map(tuple, cascade["stds"]))
        assert CascadeConfig(**cascade) == CascadeConfig()
        assert data["resize_mode"] == "squash" and trainer["max_epochs"] == 100


@pytest.mark.parametrize("config", [c for c in full("unirgb_ir") if c not in BOXES])
def test_unirgb_irs_settings_are_in_the_files(config):
    values = yaml.safe_load((CONFIGS / config).read_text())
    model, data = values["model"]["init_args"], values["data"]["init_args"]
    trainer, saliency = values["trainer"], "vt5000" in config
    side = 416 if saliency else 768
    assert (model["encoder"], model["img_size"], data["size"]) == ("vit_b", side, [side, side])
    assert (model["norm"], model["num_stages"], model["drop_path"]) == ("bn", 4, 0.3)
    assert (model["train_rel_pos"], model["main_modality"]) == (True, "rgb")
    assert model["aux_weight"] == 0.4
    own = dict.fromkeys(("bce_weight", "iou_weight", "ssim_weight"), 1.0)
    own = own if saliency else {"class_weights": "enet"}
    assert {name: model[name] for name in own} == own
    assert model["optimizer"] == {
        "class_path": "torch.optim.SGD",
        "init_args": {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4},
    }
    schedule = {"power": 0.9, "warmup_epochs": 0.0, "final": 0.01}
    assert model["schedule"] == {"class_path": "Poly", "init_args": schedule}
    assert trainer["max_steps"] == (20_000 if saliency else 80_000) and "max_epochs" not in trainer
    batch = trainer["devices"] * trainer.get("accumulate_grad_batches", 1) * data["batch_size"]
    assert batch == (64 if saliency else 4)
    assert trainer["precision"] == "32-true"
    assert (data["flip"], data["scale"], data["jitter"]) == (0.5, [1.0, 1.0], 0.0)
    assert data.get("x_channels", 1) == (3 if saliency else 1)
    assert data.get("enhance", False) is False and data.get("choose_on_test", False) is False
    stated = UNIRGB_IR_STATISTICS[values["data"]["class_path"]]
    assert {"rgb_mean", "rgb_std", "x_mean", "x_std"} & set(data) == set(stated)
    for name, numbers in stated.items():
        scaled = torch.tensor(numbers) / 255
        torch.testing.assert_close(torch.tensor(data[name]), scaled, rtol=0, atol=6e-7)
    best = trainer["callbacks"][0]["init_args"]
    assert (best["monitor"], best["mode"]) == (
        ("val/MAE", "min") if saliency else ("val/miou", "max")
    )
    assert best["every_n_epochs"] == trainer["check_val_every_n_epoch"]


@pytest.mark.parametrize("config", full("mca_sam") + full("sam_adapter"))
def test_mca_sams_settings_are_in_the_files(config):
    values = yaml.safe_load((CONFIGS / config).read_text())
    model, data = values["model"]["init_args"], values["data"]["init_args"]
    task = next(t for t in ("cod10k", "istd", "kvasir") if t in config)
    assert model["encoder"] == ("vit_b" if "vit_b" in config else "vit_h")
    assert model["task"] == {"cod10k": "camouflage", "istd": "shadow", "kvasir": "polyp"}[task]
    adaptor, contrast = model["adaptor"], model["contrast"]
    assert model["loss"] is None and adaptor["layers"] == "all" and adaptor["input"] == "task"
    numbers = (adaptor["scale_factor"], adaptor["handcrafted"], adaptor["freq_nums"])
    assert numbers == (32, True, 0.25)
    parts = [adaptor["sample_branch"], contrast["token_weight"], contrast["sample_weight"]]
    if config.startswith("sam_adapter"):
        assert parts == [False, 0, 0]
    else:
        assert parts == [True, 0.1, 0.1] and adaptor["branching"] == "parallel"
        assert (contrast["token_temperature"], contrast["sample_temperature"]) == (0.1, 0.1)
        assert (contrast["num_tokens"], contrast["layers"], contrast["queue"]) == (1024, "all", 0)
    adamw = {"lr": 2e-4, "weight_decay": 0.01}
    assert model["optimizer"] == {"class_path": "torch.optim.AdamW", "init_args": adamw}
    cosine = model["schedule"]
    assert cosine["class_path"] == "Cosine" and cosine["init_args"]["warmup_epochs"] == 0
    assert cosine["init_args"]["final"] * adamw["lr"] == pytest.approx(1e-7)
    assert data["size"] == [1024, 1024] and data["choose_on_test"] is False
    trainer = values["trainer"]
    assert trainer["devices"] * data["batch_size"] == 8  # 4 GPUs with 2 images each
    assert trainer["max_epochs"] == {"cod10k": 20, "istd": 90, "kvasir": 120}[task]


def test_mca_sam_and_sam_adapter_differ_in_the_contrast_alone():
    for task in ("cod10k", "istd", "kvasir", "kvasir_vit_b"):
        two = [
            yaml.safe_load((CONFIGS / f"{paper}_{task}.yaml").read_text())
            for paper in ("mca_sam", "sam_adapter")
        ]
        assert two[0]["data"] == two[1]["data"]
        arguments = [values["model"]["init_args"] for values in two]
        for own in arguments:
            own |= own.pop("adaptor") | own.pop("contrast")
        common = arguments[0].keys() & arguments[1].keys() - {"layers"}
        differ = {k for k in common if arguments[0][k] != arguments[1][k]}
        assert differ == {"sample_branch", "token_weight", "sample_weight"}
