"""SAMSOD as a module: losses and groups, every ablation row, checkpoints, what stays frozen."""

import copy
import math

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch.utils.data import DataLoader

from rgbx.data.transforms.normalise import Statistics
from rgbx.errors import RGBXError, WeightsError
from rgbx.losses.scribbles import edge_aware_smoothness, local_saliency_coherence, luminance
from rgbx.models import SAMSOD
from rgbx.models.samsod.unlabelled import UnlabelledTerms
from rgbx.optim import GroupedGradients, Sum
from rgbx.results import load_published
from rgbx.tasks.base import resize
from rgbx.tasks.saliency import saliency_loss
from tests.grouped import SAMSOD as GROUPS
from tests.grouped import grouped

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Pairs(torch.utils.data.Dataset):
    """Images in which the brighter camera's blob is salient."""

    def __init__(self, count=8, size=(64, 96)):
        self.count, self.size = count, size

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        height, width = self.size
        mask = torch.zeros(1, height, width)
        top, left = (int(torch.randint(0, n // 2, (), generator=generator)) for n in self.size)
        mask[:, top : top + height // 3, left : left + width // 3] = 1
        noise = torch.randn(2, 3, height, width, generator=generator)
        return {
            "rgb": noise[0] + 2 * mask * (index % 2),
            "x": (0.1 * noise[1] + mask * (1 - index % 2)).clamp(0, 1),
            "mask": mask,
            "name": str(index),
        }


def batch(count=2, **options):
    return next(iter(DataLoader(Pairs(count, **options), count)))


def model(**options) -> SAMSOD:
    seed_everything(0)
    return SAMSOD(encoder="tiny", **grouped(GROUPS, options))


def moved(module: SAMSOD) -> SAMSOD:
    """With adapters that do something."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "adapters" in name and "up.weight" in name:
                parameter.normal_(0, 0.2, generator=generator)
    return module


def fit(module, folder, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        default_root_dir=folder,
        **(quiet | {"max_steps": 2} | options),
    )
    trainer.fit(module, DataLoader(Pairs(), 4))
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["fusion", "rgb", "x"]),
        ({"unimodal_supervision": False}, ["fusion"]),
        ({"modalities": "rgb"}, ["rgb"]),
        ({"modalities": "x"}, ["x"]),
        ({"gate": "paper"}, ["fusion", "rgb", "x"]),
    ],
)
def test_predictions_are_those_that_are_trained(options, names):
    module, panels = model(**options).eval(), batch()
    with torch.no_grad():
        out = module(panels["rgb"], panels["x"])
        total = module.logits(panels["rgb"], panels["x"])
    assert list(out) == names
    assert all(z.shape == (2, 1, 64, 96) for z in out.values())
    torch.testing.assert_close(total, sum(out.values()))


def test_one_stream_needs_one_camera():
    panels = batch()
    with torch.no_grad():
        model(modalities="rgb").eval()(panels["rgb"])
        with pytest.raises(RGBXError, match="SAMSOD needs the second modality"):
            model().eval()(panels["rgb"])
    del panels["x"]
    with pytest.raises(RGBXError, match="SAMSOD needs a second modality, but 0 came without"):
        model().training_losses(panels)


def test_the_groups_are_the_papers():
    assert model().groups == {
        "rgb": ("rgb_adapters", ("rgb", "fusion")),
        "x": ("x_adapters", ("x", "fusion")),
        "decoder": (r"decoder\.", ("fusion", "rgb", "x")),
    }
    assert model(modalities="x").groups == {
        "x": ("x_adapters", ("x",)),
        "decoder": (r"decoder\.", ("x",)),
    }


@pytest.mark.slow
def test_surgery_sees_every_loss_gradient_and_their_sum_is_the_summed_loss():
    """Cut, walks and separate decodes against one ordinary backward pass, in float64."""
    panels = {k: v.double() if isinstance(v, torch.Tensor) else v for k, v in batch().items()}
    split = moved(model()).double().train()
    whole = moved(model(surgery=None)).double().train()
    losses = split.training_losses(panels)
    gradients = GroupedGradients(split.named_parameters(), split.groups)
    gradients.add(losses, cut=split._cut)
    assert gradients._walks == [("fusion",), ("rgb", "x")]
    gradients.reduce()
    gradients.merge({name: Sum()(gram) for name, gram in gradients.gramians().items()})
    sum(whole.training_losses(panels).values()).backward()
    wanted = dict(whole.named_parameters())
    largest = 0.0
    for name, parameter in split.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, wanted[name].grad, rtol=0, atol=1e-12)
            largest = max(largest, float(parameter.grad.abs().max()))
    assert largest > 1e-2
    # one row, by an ordinary backward pass through everything
    alone = moved(model(surgery=None)).double().train()
    params = [p for n, p in alone.named_parameters() if "rgb_adapters" in n]
    row = torch.autograd.grad(alone.training_losses(panels)["fusion"], params)
    rows = gradients.groups[0].rows(gradients.flat)
    torch.testing.assert_close(rows[1], torch.cat([g.flatten() for g in row]), rtol=0, atol=1e-12)


def test_losses_are_the_structure_loss_of_every_prediction_at_mask_size():
    module, panels = moved(model(surgery=None)).train(), batch()
    losses = module.training_losses(panels)
    logits = module.network(panels["rgb"], panels["x"])
    assert list(losses) == ["fusion", "rgb", "x"]
    for name, loss in losses.items():
        wanted = saliency_loss(resize(logits[name], (64, 96)), panels["mask"])
        torch.testing.assert_close(loss, wanted)


def test_scribbles_train_on_labelled_pixels_alone():
    logits = torch.randn(2, 1, 32, 32)
    mask = torch.full((2, 32, 32), 255)
    mask[0, 3, 4:9], mask[1, 20, :5] = 1, 0
    loss = saliency_loss(logits, mask)
    values = torch.stack(
        [
            torch.nn.functional.softplus(-logits[0, 0, 3, 4:9]).mean(),
            torch.nn.functional.softplus(logits[1, 0, 20, :5]).mean(),
        ]
    )
    torch.testing.assert_close(loss, values.mean())
    assert saliency_loss(logits, torch.full((2, 32, 32), 255)) == 0
    hard = (torch.rand(2, 32, 32) > 0.5).long()
    torch.testing.assert_close(
        saliency_loss(logits, hard), saliency_loss(logits, hard[:, None].float())
    )


def test_alpha_beta_and_scale_reach_every_adapter():
    options = {"alpha_foreground": 0.25, "alpha_background": 0.5, "beta": 0.2, "scale": 1.0}
    module = model(**options)
    for adapter in (*module.network.rgb_adapters, *module.network.x_adapters):
        assert (adapter.alphas, adapter.beta, adapter.scale) == ((0.25, 0.5), 0.2, 1.0)
    assert module.hparams["adapter_options"] | options == module.hparams["adapter_options"]
    vanilla = model(adapter="vanilla", scale=2.0)
    assert all(adapter.scale == 2.0 for adapter in vanilla.network.rgb_adapters)
    with pytest.raises(RGBXError, match=r"alpha_background = 0\.95"):
        model(alpha_background=0.95)


@pytest.mark.slow
@pytest.mark.parametrize("surgery", ["PCGrad", None])
def test_training_moves_adapters_and_decoder_and_nothing_else(tmp_path, surgery):
    module = model(surgery=surgery)
    before = copy.deepcopy(module.state_dict())
    fit(module, tmp_path, max_steps=3)
    after = module.state_dict()
    trained = {n for n, p in module.named_parameters() if p.requires_grad}
    gates = {n for n in after if "k_gate" in n}  # buffers: no gradient passes floor()
    same = {n for n in after if torch.equal(before[n], after[n])}
    assert all(torch.equal(before[n], after[n]) for n in set(after) - trained)
    # k-biases of attention have a gradient of zero; all else moves
    assert {n for n in trained & same if "k_proj.bias" not in n} == set()
    assert gates and not gates & trained


def test_terms_without_labels_are_added_to_every_prediction():
    """The coherence at a quarter of the sides, the smoothness at the whole size."""
    panels = batch()
    panels["mask"] = torch.full((2, 64, 96), 255)
    panels["mask"][:, 10:14, 20:40] = 1
    plain = moved(model(surgery=None)).train().training_losses(panels)
    weights = {"lsc_weight": 0.5, "smoothness_weight": 0.25}
    module = moved(model(surgery=None, **weights)).train()
    losses = module.training_losses(panels)
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    grey = luminance(panels["rgb"] * std + mean).clamp(0, 1)
    small = {"size": (16, 24), "mode": "bilinear", "align_corners": True}
    colours = torch.nn.functional.interpolate(panels["rgb"], **small)
    for name, logits in module.network(panels["rgb"], panels["x"]).items():
        saliency = resize(logits, (64, 96)).sigmoid()
        coherence = local_saliency_coherence(
            torch.nn.functional.interpolate(saliency, **small), colours
        )
        wanted = plain[name] + 0.5 * coherence + 0.25 * edge_aware_smoothness(saliency, grey)
        torch.testing.assert_close(losses[name], wanted, rtol=1e-5, atol=1e-6)
        assert losses[name] > plain[name] + 0.01
    assert model(lsc_weight=0.0, smoothness_weight=0.0).unlabelled.wanted is False
    for weight in (-1.0, math.nan, math.inf):
        with pytest.raises(RGBXError, match=f"lsc_weight = {weight}"):
            model(lsc_weight=weight)


def test_other_statistics_of_the_data_change_nothing_of_these_terms():
    terms, unit = UnlabelledTerms(1.0, 1.0), torch.rand(2, 3, 32, 32)
    found = []
    for mean, std in ((IMAGENET_MEAN, IMAGENET_STD), ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))):
        rgb = (unit - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
        found.append(terms.images(rgb, Statistics(mean, std, 0.0, 1.0)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[0][1], luminance(unit))


@pytest.mark.slow
@pytest.mark.parametrize("surgery", ["PCGrad", None])
def test_training_with_these_terms_takes_steps(tmp_path, surgery):
    module = model(lsc_weight=1.0, smoothness_weight=0.3, surgery=surgery)
    trainer = fit(module, tmp_path, max_steps=2)
    assert trainer.global_step == 2 and torch.isfinite(trainer.callback_metrics["train/fusion"])


def rows_of_the_paper():
    """Method -> model arguments, of the ablation tables that are printed next to results."""
    return {
        row.method: {k: v for k, v in row.settings.items() if k != "encoder"}
        for table in load_published("samsod").ablations
        for row in table.rows
    }


ROWS = rows_of_the_paper()


def test_the_ablations_are_all_there():
    kinds = {tuple(sorted(settings.items(), key=str)) for settings in ROWS.values()}
    assert len(kinds) == 7, "Table III has seven rows, and Table II some of them"


@pytest.mark.slow
@pytest.mark.parametrize("settings", ROWS.values(), ids=list(ROWS))
def test_every_row_of_tables_ii_and_iii_trains_by_configuration_alone(tmp_path, settings):
    module = model(**settings)
    trainer = fit(module, tmp_path, max_steps=1)
    assert trainer.global_step == 1
    assert torch.isfinite(trainer.callback_metrics["train/loss"])


def test_evaluation_does_not_depend_on_the_batch():
    module, panels = moved(model()).eval(), batch(3)
    with torch.no_grad():
        together = module.logits(panels["rgb"], panels["x"])
        one_by_one = [
            module.logits(panels["rgb"][i : i + 1], panels["x"][i : i + 1]) for i in range(3)
        ]
    torch.testing.assert_close(together, torch.cat(one_by_one), rtol=0, atol=2e-5)


@pytest.mark.slow
def test_checkpoints_are_small_load_strictly_and_remember_the_surgery(tmp_path):
    module = model(surgery={"class_path": "PCGrad", "init_args": {}}, accumulate=2, clip=1.0)
    trainer = fit(module, tmp_path, max_epochs=2, max_steps=-1)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    stored = torch.load(tmp_path / "run.ckpt", weights_only=True)
    trained = {n for n, p in module.named_parameters() if p.requires_grad}
    extra = set(stored["state_dict"]) - trained
    assert trained <= set(stored["state_dict"])
    assert all("k_gate" in name for name in extra)
    assert stored["surgery"]["history"]["columns"][0] == "step"
    assert len(stored["surgery"]["history"]["rows"]) == trainer.global_step == 2
    loaded = SAMSOD.load_from_checkpoint(tmp_path / "run.ckpt", map_location="cpu").eval()
    assert (loaded.accumulate, loaded.clip) == (2, 1.0)
    assert loaded.surgery == {"class_path": "PCGrad", "init_args": {}}
    panels = batch()
    with torch.no_grad():
        ours, theirs = (m.eval()(panels["rgb"], panels["x"]) for m in (module, loaded))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    other = SAMSOD(encoder="tiny", adapter="vanilla")
    with pytest.raises(
        WeightsError, match="adapter = 'decoupled', the configuration asks for 'vanilla'"
    ):
        other.on_load_checkpoint(copy.deepcopy(stored))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"surgery": "PCGard"}, "There is no surgery 'PCGard'"),
        ({"accumulate": 0}, "accumulate is 0"),
        ({"clip": 0.0}, "clip is 0.0: give a norm above 0"),
        ({"encoder": "hiera_x"}, "hiera_x"),
        ({"modalities": "thermal"}, "modalities"),
        ({"adapter": "lora"}, "adapter"),
    ],
)
def test_options_that_cannot_work_are_refused_by_the_constructor(options, text):
    with pytest.raises(RGBXError, match=text):
        SAMSOD(**({"encoder": "tiny"} | options))
