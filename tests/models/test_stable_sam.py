"""StableSAM as a module: what is trained, checkpoints, evaluation, prediction (checks 1 and 10)."""

import copy
import re

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from rgbx.backbones.sam import SAM_PRESETS, build_sam
from rgbx.backbones.weights import Weights
from rgbx.errors import RGBXError, WeightsError
from rgbx.metrics import PromptScores
from rgbx.models import StableSAM
from rgbx.prompts import RTS, PromptMixture, box_iou, evaluation_prompts, tight_box
from rgbx.results import load_published
from tests.grouped import STABLE_SAM, grouped
from tests.models.sam_toy import TOY, all_forms, moved

SIZE = (64, 96)
BOXES = PromptMixture(box=0, points=0, coarse_mask=0)


def scene(index: int, size=SIZE, mixture=None) -> dict:
    """A bright block on noise; validation also has it at twice the size."""
    rng = np.random.default_rng(index)
    height, width = size
    mask = torch.zeros(1, height, width)
    top, left = int(rng.integers(height // 2)), int(rng.integers(width // 2))
    mask[:, top : top + height // 2, left : left + width // 2] = 1
    noise = torch.from_numpy(rng.standard_normal((3, height, width)).astype(np.float32))
    sample = {"rgb": noise + 3 * mask, "name": f"{index:03d}", "path": f"{index}.jpg"}
    if mixture is not None:
        return sample | {"mask": mask, "prompt": mixture.draw(mask[0], rng), "subset": ""}
    large = mask.repeat_interleave(2, 1).repeat_interleave(2, 2)[0].long()
    return sample | {
        "mask": large,
        "prompt_mask": mask,
        "subset": "even" if index % 2 == 0 else "odd",
        "size": tuple(large.shape),
    }


def joined(samples: list[dict]) -> dict:
    stacked = ("rgb", "prompt_mask") + (("mask",) if "prompt" in samples[0] else ())
    return {
        key: torch.stack([s[key] for s in samples]) if key in stacked else [s[key] for s in samples]
        for key in samples[0]
    }


def training(count: int = 8, batch: int = 4, mixture=RTS, size=SIZE) -> DataLoader:
    samples = [scene(i, size, mixture) for i in range(count)]
    return DataLoader([joined(samples[i : i + batch]) for i in range(0, count, batch)], None)


class Data(LightningDataModule):
    """Two test splits and a part of one's own; images to predict."""

    test_splits = ("DIS", "COIFT")
    subsets = ("even", "odd")
    resize_mode = "squash"

    def _loader(self, *indices: int) -> DataLoader:
        return DataLoader([joined([scene(i) for i in indices])], None)

    def train_dataloader(self):
        return training()

    def val_dataloader(self):
        return self._loader(20, 21)

    def test_dataloader(self):
        return [self._loader(30, 31, 32), self._loader(40, 41)]

    def predict_dataloader(self):
        batch = joined([scene(50), scene(51)])
        batch["prompts"] = [all_forms(*SIZE), all_forms(*SIZE)[:2]]
        return DataLoader([batch], None)


def trainer(folder, **options) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    quiet |= {"max_steps": 2, "enable_model_summary": False}
    return Trainer(accelerator="cpu", devices=1, default_root_dir=folder, **(quiet | options))


def model(**options) -> StableSAM:
    seed_everything(0, verbose=False)
    return StableSAM(**grouped(STABLE_SAM, {"encoder": "tiny", "points": 512} | options))


@pytest.fixture
def wide(monkeypatch):
    """The encoder ``toy`` has SAM's real decoder behind it."""
    monkeypatch.setitem(SAM_PRESETS, "toy", TOY)
    return "toy"


def trained_names(module: torch.nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.requires_grad}


# ---------------------------------------------------------------------- what is trained
@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 81_829),
        ({"train": "token"}, 140_064),
        ({"train": "decoder"}, 4_058_340 - 132_612 - 3 * 139_808),
        ({"train_decoder": True}, 81_829 + 4_058_340 - 132_612 - 3 * 139_808),
    ],
    ids=str,
)
def test_trainable_parameters_at_sams_real_widths(options, count):
    """The decoder's figure is the package's, without the parts that the answer does not use."""
    with torch.device("meta"):
        module = StableSAM(encoder="vit_b", **grouped(STABLE_SAM, options))
    found = sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert found == count
    if not options:
        assert {name.split(".")[1] for name in trained_names(module)} == {"plugin"}
        assert sum(p.numel() for p in module.network.sam.mask_decoder.parameters()) == 4_058_340
        assert sum(p.numel() for p in module.network.sam.parameters()) > 93_000_000


def test_the_default_is_the_papers():
    module = model()
    values = dict(module.hparams)
    assert values["train"] == "plugin"
    plugin = values["plugin"]
    assert (plugin["dsp_kind"], plugin["use_drp"]) == ("deform", True)
    assert (plugin["layers"], plugin["max_offset"]) == ([1], 5.0)
    assert values["evaluation"]["prompts"] == 20
    assert StableSAM(encoder="tiny").hparams["points"] == 112 * 112
    optimizer = module._optimizer_factory(module.parameters())
    group = optimizer.param_groups[0]
    assert isinstance(optimizer, torch.optim.Adam)
    assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-3, (0.9, 0.999), 0)


def test_the_optimiser_holds_the_plug_in_alone(tmp_path):
    module = model()
    fitted = trainer(tmp_path)
    fitted.fit(module, training())
    held = {id(p) for group in fitted.optimizers[0].param_groups for p in group["params"]}
    assert held == {id(p) for p in module.plugin.parameters()}


@pytest.mark.slow
def test_overfitting_noisy_boxes_lowers_the_loss_and_leaves_sam_alone(tmp_path, wide):
    """Check 10, on the real decoder."""
    module = model(encoder=wide)
    before = copy.deepcopy(module.network.sam.state_dict())

    def loss() -> float:
        torch.manual_seed(1)
        with torch.no_grad():
            terms = [
                term
                for batch in training(8, 8, BOXES)
                for term in module.losses(
                    module.decode(module.embed(batch["rgb"]), batch["prompt"], SIZE), batch["mask"]
                ).values()
            ]
        return float(sum(terms))

    start = loss()
    trainer(tmp_path, max_steps=100).fit(module, training(8, 4, BOXES))
    assert loss() < 0.9 * start
    after = module.network.sam.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_gradients_arrive_in_the_order_that_identity_allows(wide):
    """Offsets and routing start at zero: what lies behind them waits for its turn."""
    module = model(encoder=wide)
    optimizer = torch.optim.Adam(module.plugin.parameters(), lr=1e-2)
    side = 64  # a grid of 4 x 4 cells: reading a cell at its own place changes no bit
    batch = next(iter(training(size=(side, side))))
    reached = []
    for _ in range(3):
        optimizer.zero_grad()
        logits = module.decode(module.embed(batch["rgb"]), batch["prompt"], (side, side))
        sum(module.losses(logits, batch["mask"]).values()).backward()
        gradients = {n: p.grad for n, p in module.plugin.layers["1"].named_parameters()}
        assert all(g is not None for g in gradients.values())  # DDP waits for no one
        reached.append({n.split(".")[1] for n, g in gradients.items() if g.any()})
        optimizer.step()
    assert reached[0] == {"conv_amp", "off", "scale"}
    assert reached[1] - reached[0] == {"depthwise", "norm", "fc2"}
    assert reached[2] - reached[1] == {"fc1"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "moves", "stays"),
    [
        (
            {"train": "token"},
            r"mask_token|output_hypernetworks_mlps\.0",
            r"mask_tokens|transformer",
        ),
        ({"train": "decoder"}, r"mask_decoder", r"iou_prediction_head|mlps\.[123]|image_encoder"),
        ({"train_decoder": True}, r"plugin|mask_decoder", r"iou_prediction_head|prompt_encoder"),
    ],
    ids=str,
)
def test_baselines_move_what_they_should_even_with_weight_decay(tmp_path, options, moves, stays):
    module = model(**options, optimizer=lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.5))
    before = copy.deepcopy(module.state_dict())
    trainer(tmp_path, max_steps=4).fit(module, training())
    after = module.state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed == trained_names(module)
    assert changed and all(re.search(moves, name) for name in changed)
    assert not any(re.search(stays, name) for name in changed)


def test_pt_sam_starts_as_sam_and_moves_the_first_token_alone(wide):
    plain, tuned = model(encoder=wide), model(encoder=wide, train="token")
    image = scene(0)["rgb"][None]
    with torch.no_grad():
        logits, _ = plain.network.decode(plain.embed(image), all_forms(*SIZE), SIZE, plugin=False)
        torch.testing.assert_close(tuned.decode(tuned.embed(image), all_forms(*SIZE), SIZE), logits)
        tuned.network.mask_token.add_(1)
        other = tuned.decode(tuned.embed(image), all_forms(*SIZE), SIZE)
    assert (other - logits).abs().max() > 0.01
    table = tuned.network.sam.mask_decoder.mask_tokens.weight
    assert not table.requires_grad and tuned.network.mask_token.shape == (1, 256)


def rows_of_the_paper() -> dict[str, dict]:
    published = load_published("stable_sam")
    return {
        f"{table.table}: {row.method}": {k: v for k, v in row.settings.items() if k != "encoder"}
        for table in (*published.comparisons, *published.ablations)
        for row in table.rows
        if row.settings
    }


ROWS = rows_of_the_paper()


def test_there_are_rows_for_every_switch_of_the_tables():
    kinds = {str(sorted(settings.items(), key=str)) for settings in ROWS.values()}
    assert len(kinds) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("settings", ROWS.values(), ids=list(ROWS))
def test_every_published_row_of_ours_trains_by_configuration_alone(tmp_path, settings):
    module = model(**settings)
    fitted = trainer(tmp_path, max_steps=1)
    fitted.fit(module, training(4, 4))
    assert torch.isfinite(fitted.callback_metrics["train/loss"])


@pytest.mark.parametrize(
    "options",
    [
        {"layers": [0, 1], "amp": "gate", "resample_pe": True, "border": "zeros"},
        {"init": "default", "learnable_scale": False, "max_offset": 2.0},
        {"loss": "dense", "use_dsp": False},
        {"layers": [0], "use_drp": False},
    ],
    ids=str,
)
def test_other_switches_train_too(tmp_path, options):
    module = model(**options)
    before = copy.deepcopy(module.plugin.state_dict())
    trainer(tmp_path, max_steps=2).fit(module, training())
    after = module.plugin.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in after)


def test_the_dense_loss_is_that_of_all_pixels():
    module, batch = model(loss="dense", bce_weight=0.5, dice_weight=3.0), next(iter(training()))
    logits = torch.randn(4, 1, 16, 24)
    found = module.losses(logits, batch["mask"])
    large = torch.nn.functional.interpolate(logits, SIZE, mode="bilinear")
    bce = torch.nn.functional.binary_cross_entropy_with_logits(large, batch["mask"])
    torch.testing.assert_close(found["bce"], 0.5 * bce)
    assert list(found) == ["bce", "dice"] and 0 < float(found["dice"]) < 3


def test_half_precision_trains_and_stays_near(tmp_path):
    module = model()
    moved(module.plugin)
    image, forms = scene(3)["rgb"][None], all_forms(*SIZE)
    with torch.no_grad():
        exact = module.decode(module.embed(image), forms, SIZE)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = module.decode(module.embed(image), forms, SIZE)
    assert (rough - exact).abs().mean() < 0.1 * exact.abs().mean()
    fitted = trainer(tmp_path, precision="bf16-mixed")
    fitted.fit(module, training())
    assert fitted.global_step == 2 and torch.isfinite(fitted.callback_metrics["train/loss"])
    assert all(p.dtype == torch.float32 for p in module.parameters())


# ---------------------------------------------------------------------- checkpoints
@pytest.mark.slow
def test_a_checkpoint_of_the_real_plug_in_is_below_a_megabyte_and_comes_back(tmp_path, wide):
    module = model(encoder=wide)
    moved(module.plugin)
    saver = trainer(tmp_path, enable_checkpointing=True, callbacks=[ModelCheckpoint(tmp_path)])
    saver.fit(module, training())
    saver.save_checkpoint(tmp_path / "run.ckpt")
    saver.save_checkpoint(tmp_path / "bare.ckpt", weights_only=True)
    assert (tmp_path / "run.ckpt").stat().st_size < 2**20  # with Adam's two moments
    assert (tmp_path / "bare.ckpt").stat().st_size < 0.36e6
    stored = torch.load(tmp_path / "run.ckpt", weights_only=True)
    assert set(stored["state_dict"]) == trained_names(module)
    loaded = StableSAM.load_from_checkpoint(tmp_path / "run.ckpt", map_location="cpu").eval()
    image = scene(3)["rgb"][None]
    with torch.no_grad():
        ours, theirs = (
            m.decode(m.embed(image), all_forms(*SIZE), SIZE) for m in (module.eval(), loaded)
        )
    assert torch.equal(ours, theirs)
    with pytest.raises(WeightsError, match=r"plugin\.use_drp = True, .* asks for False"):
        model(encoder=wide, use_drp=False).on_load_checkpoint(copy.deepcopy(stored))


def test_a_weight_file_is_loaded_again_by_its_path(tmp_path):
    sam = build_sam("tiny")
    with torch.no_grad():
        sam.mask_decoder.iou_token.weight.add_(1)
    torch.save(sam.export_state(), tmp_path / "sam.pth")
    module = model(weights=Weights(str(tmp_path / "sam.pth")))
    saver = trainer(tmp_path, max_steps=1)
    saver.fit(module, training(4, 4))
    saver.save_checkpoint(tmp_path / "run.ckpt")
    loaded = StableSAM.load_from_checkpoint(tmp_path / "run.ckpt", map_location="cpu")
    token = loaded.network.sam.mask_decoder.iou_token.weight
    assert torch.equal(token, sam.mask_decoder.iou_token.weight)
    with pytest.raises(WeightsError, match="trained on other frozen weights"):
        model().on_load_checkpoint(torch.load(tmp_path / "run.ckpt", weights_only=True))


@pytest.mark.slow
def test_a_resumed_run_draws_the_same_points_and_ends_at_the_same_bits(tmp_path):
    def run(epochs: int, resume: str | None = None) -> StableSAM:
        module = model()
        keep = ModelCheckpoint(tmp_path, filename=str(epochs), save_on_train_epoch_end=True)
        options = {"max_steps": -1, "enable_checkpointing": True, "callbacks": [keep]}
        trainer(tmp_path, max_epochs=epochs, **options).fit(module, training(), ckpt_path=resume)
        return module

    whole = run(3)
    run(1)
    resumed = run(3, str(tmp_path / "1.ckpt"))
    for (name, one), other in zip(
        whole.plugin.named_parameters(), resumed.plugin.parameters(), strict=True
    ):
        assert torch.equal(one, other), name


# ---------------------------------------------------------------------- evaluation
def test_validation_logs_a_few_noisy_boxes(tmp_path):
    module = model(val_prompts=2)
    found = trainer(tmp_path).validate(module, Data(), verbose=False)[0]
    names = {"mIoU", "mBIoU", "mSF", "alpha_1"}
    assert set(found) == {f"val/noisy_box/{name}" for name in names}
    assert found["val/noisy_box/alpha_1"] == pytest.approx(0.5)
    scores = PromptScores(("noisy_box",))
    for index in (20, 21):
        sample = scene(index)
        prompts = evaluation_prompts(
            sample["prompt_mask"][0], "noisy_box", 2, f"val/{sample['name']}"
        )
        with torch.no_grad():
            logits = module.decode(module.embed(sample["rgb"][None]), prompts, SIZE)
        large = torch.nn.functional.interpolate(logits, (128, 192), mode="bilinear")
        scores.update({"noisy_box": large[:, 0] > 0}, sample["mask"] > 0)
    for name, value in scores.compute().items():
        assert found[f"val/{name}"] == pytest.approx(value, abs=1e-6)


KINDS = ("box", "noisy_box", "point_1", "point_3", "coarse_mask")


class Spy(StableSAM):
    """Counts passes and remembers prompts."""

    def embed(self, rgb):
        self.__dict__.setdefault("encoded", []).append(len(rgb))
        return super().embed(rgb)

    def decode_measured(self, embedding, prompts, size):
        self.__dict__.setdefault("asked", []).append(prompts)
        return super().decode_measured(embedding, prompts, size)


def spy(**options) -> Spy:
    seed_everything(0, verbose=False)
    options |= {"eval_kinds": KINDS, "eval_prompts": 3}
    return Spy(encoder="tiny", **grouped(STABLE_SAM, options))


def test_a_test_scores_every_split_kind_and_part_and_their_mean(tmp_path):
    module = spy()
    moved(module.plugin)
    trainer(tmp_path).test(module, Data(), verbose=False)
    assert set(module.results) == {"DIS", "COIFT", "mean"}
    assert set(module.results["DIS"]) == {"all", "even", "odd"}
    everything = {
        f"{kind}/{name}" for kind in KINDS for name in ("mIoU", "mBIoU", "mSF", "alpha_1")
    }
    scores = module.results["DIS"]["all"]
    assert set(scores) == everything - {"box/mSF"}
    assert set(module.results["mean"]) == {"all"}
    for name, value in module.results["mean"]["all"].items():
        both = [module.results[split]["all"][name] for split in ("DIS", "COIFT")]
        assert value == pytest.approx(sum(both) / 2, nan_ok=True)
    assert module.encoded == [3, 2]  # one pass per batch, whatever the number of prompts
    assert [len(prompts) for prompts in module.asked] == [1 + 4 * 3] * 5
    assert scores["noisy_box/alpha_1"] != scores["point_1/alpha_1"]
    sentences = module.protocol()
    assert {"mIoU", "mBIoU", "mSF", "alpha_1", "prompts"} <= set(sentences)
    assert "3 prompts per image and kind" in sentences["prompts"]
    assert sentences["mean"] == "unweighted mean of DIS, COIFT"
    assert "mean" not in model().protocol()


def test_the_numbers_of_a_test_by_hand(tmp_path):
    module = model(eval_kinds=("point_1",), eval_prompts=2)
    trainer(tmp_path).test(module, Data(), verbose=False)
    values = []
    for index in (40, 41):
        sample = scene(index)
        asked = evaluation_prompts(sample["prompt_mask"][0], "point_1", 2, f"COIFT/{index:03d}")
        with torch.no_grad():
            logits = module(sample["rgb"][None], [asked])[0]
            assert logits.shape == (2, 1, *SIZE)
            low = module.decode(module.embed(sample["rgb"][None]), asked, SIZE)
        masks = torch.nn.functional.interpolate(low, (128, 192), mode="bilinear")[:, 0] > 0
        truth = sample["mask"] > 0
        ious = [(m & truth).sum() / (m | truth).sum() for m in masks]
        values.append(float(sum(ious) / 2))
    assert module.results["COIFT"]["all"]["point_1/mIoU"] == pytest.approx(
        np.mean(values), abs=1e-6
    )


def test_two_models_are_asked_the_same(tmp_path):
    first, second = spy(), spy(train="token")
    for module in (first, second):
        trainer(tmp_path).test(module, Data(), verbose=False)
    assert "noisy_box/alpha_1" not in second.results["DIS"]["all"]
    for ours, theirs in zip(first.asked, second.asked, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one["kind"] == other["kind"] and set(one) == set(other)
            for key in set(one) - {"kind"}:
                assert torch.equal(one[key], other[key])


@pytest.mark.slow
def test_options_of_the_evaluation_prompts(tmp_path):
    module = spy(eval_iou=(0.5, 0.6), mask_prompt_scale="logits")
    trainer(tmp_path).test(module, Data(), verbose=False)
    for prompts, index in zip(module.asked, (30, 31, 32, 40, 41), strict=True):
        tight = tight_box(scene(index)["prompt_mask"][0]).double().numpy()
        noisy = [p["box"].double().numpy() for p in prompts if p["kind"] == "noisy_box"]
        overlaps = box_iou(np.stack(noisy), tight)
        assert ((overlaps >= 0.5) & (overlaps < 0.6)).all()
        coarse = torch.stack([p["mask"] for p in prompts if p["kind"] == "coarse_mask"])
        assert set(coarse.unique().tolist()) == {-10.0, 10.0}


def test_a_test_step_returns_the_masks_of_each_kind(tmp_path):
    module = spy()
    module.trainer = trainer(tmp_path)
    module.trainer.datamodule = Data()
    module.on_test_start()
    batch = joined([scene(30), scene(31)])
    with torch.no_grad():
        shown = module.test_step(batch, 0, 0)
        first = module.asked[0][1]  # after the box
        low = module.decode(module.embed(batch["rgb"][:1]), [first], SIZE)
    assert [list(masks) for masks in shown] == [list(KINDS)] * 2
    wanted = torch.nn.functional.interpolate(low, (128, 192), mode="bilinear")[0, 0] > 0
    assert shown[0]["noisy_box"].dtype == torch.uint8
    assert shown[0]["noisy_box"].shape[0] == sum(p["kind"] == "noisy_box" for p in module.asked[0])
    assert torch.equal(shown[0]["noisy_box"][0].bool(), wanted)


@pytest.mark.parametrize("mode", ["squash", "pad"])
def test_prediction_answers_prompts_at_the_images_size(tmp_path, mode):
    module, data = model(), Data()
    data.resize_mode = mode
    batch = next(iter(data.predict_dataloader()))
    batch["size"] = [(100, 240), (31, 17)]
    data.predict_dataloader = lambda: DataLoader([batch], None)
    (masks,) = trainer(tmp_path).predict(module, data)
    assert [m.shape for m in masks] == [(7, 100, 240), (2, 31, 17)]
    assert all(m.dtype == torch.bool for m in masks)
    with torch.no_grad():
        low = module.decode(module.embed(batch["rgb"][:1]), batch["prompts"][0], SIZE)
        if mode == "pad":  # 100 x 240 fills 40 x 96 of the frame
            low = torch.nn.functional.interpolate(low, SIZE, mode="bilinear")[..., :40, :]
    large = torch.nn.functional.interpolate(low, (100, 240), mode="bilinear")
    assert torch.equal(masks[0], large[:, 0] > 0)
    assert 0 < masks[0].float().mean() < 1


# ---------------------------------------------------------------------- attention
def test_attention_before_and_after_the_plug_in():
    module, prompt = model(), all_forms(*SIZE)[0]
    image = scene(0)["rgb"]
    same = module.attention(image, prompt)
    torch.testing.assert_close(same.before, same.after, rtol=0, atol=1e-6)
    assert not same.offsets.any()
    centres = torch.stack(
        torch.meshgrid(torch.arange(4) * 16 + 7.5, torch.arange(6) * 16 + 7.5, indexing="ij")[::-1],
        dim=-1,
    )
    torch.testing.assert_close(same.locations, centres)
    moved(module.plugin)
    other = module.attention(image[None], prompt)
    torch.testing.assert_close(other.before, same.before)
    assert float(other.before.sum()) == pytest.approx(1, abs=1e-5)
    assert float(other.after.sum()) == pytest.approx(1, abs=1e-5)
    assert (other.after - other.before).abs().max() > 1e-4
    inside = (other.offsets.permute(1, 2, 0) * 16 + centres).clamp(
        min=torch.tensor(7.5), max=torch.tensor([87.5, 55.5])
    )
    torch.testing.assert_close(other.locations, inside)
    logits, alpha = module.network.decode(module.embed(image[None]), [prompt], SIZE)
    torch.testing.assert_close(other.alpha, alpha[0])
    torch.testing.assert_close(other.logits_after, logits)
    assert (other.logits_after - other.logits_before).abs().max() > 1e-3
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_attention_weights_are_those_of_sams_own_layer():
    """Values that are the cells' numbers come back as the attention's mean over heads."""
    module, prompt = model(), all_forms(*SIZE)[3]
    image = scene(1)["rgb"][None]
    shown = module.attention(image, prompt).before.flatten()
    layer = module.network.sam.mask_decoder.transformer.layers[1].cross_attn_token_to_image
    kept: dict = {}
    handle = layer.register_forward_pre_hook(
        lambda _, args, kwargs: kept.update(kwargs), with_kwargs=True
    )
    with torch.no_grad():
        module.network.decode(module.embed(image), [prompt], SIZE, plugin=False)
        handle.remove()
        heads, width = layer.num_heads, layer.internal_dim // layer.num_heads
        query = layer.q_proj(kept["q"])[0, 1].reshape(heads, width)
        key = layer.k_proj(kept["k"])[0].reshape(-1, heads, width)
        weights = torch.einsum("hd,nhd->hn", query, key).div(width**0.5).softmax(-1)
    torch.testing.assert_close(shown, weights.mean(0))


def test_a_baseline_has_nothing_to_show():
    with pytest.raises(RGBXError, match="There is no plug-in whose effect could be shown"):
        model(train="token").attention(scene(0)["rgb"], all_forms(*SIZE)[0])


# ---------------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"train": "everything"}, "train is 'everything': choose plugin, decoder or token"),
        ({"train": "decoder", "train_decoder": True}, "train_decoder goes with the plug-in"),
        ({"loss": "dice"}, "loss is 'dice': choose points or dense"),
        ({"points": 0}, "points is 0"),
        ({"decode_batch": 0}, "decode_batch 0: give 1 or more"),
        ({"use_dsp": False, "use_drp": False}, "there is no plug-in to train"),
        ({"eval_kinds": ["boxes"]}, "'boxes' is no kind of prompt"),
        ({"val_kinds": ["point_0"]}, "'point_0' is no kind of prompt"),
        ({"eval_kinds": []}, "Evaluation cannot be set up like this: .*at least one kind"),
        (
            {"eval_prompts": 0},
            "0 prompts per image cannot be scored: give 1 or more as evaluation.prompts",
        ),
        ({"dice_weight": -1.0}, "dice_weight -1.0"),
        ({"boundary": 0.0}, "boundary=0.0 must be above 0"),
        ({"encoder": "vit_x"}, "There is no SAM encoder 'vit_x'"),
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused_by_the_constructor(options, text):
    with pytest.raises(RGBXError, match=text):
        model(**options)


def test_a_image_of_another_size_is_refused():
    with pytest.raises(RGBXError, match="multiples of 16; the next valid size is 64 x 112"):
        model().embed(torch.zeros(1, 3, 64, 100))
