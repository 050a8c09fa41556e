"""UniRGB-IR as two modules: counts, shapes, losses, what trains, what checkpoints hold."""

import copy
import math

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything

from rgbx.data import MFNet
from rgbx.errors import RGBXError
from rgbx.losses import binary_cross_entropy, iou, ssim, weighted_cross_entropy
from rgbx.models import SAMSOD, TASeg, UniRGBIRSaliency, UniRGBIRSemantic
from rgbx.models.unirgb_ir.class_weights import enet_weights
from rgbx.models.unirgb_ir.network import at_input_size
from rgbx.tasks.base import resize

pytestmark = pytest.mark.filterwarnings("ignore:UniRGB-IR tiny starts")
OFFICIAL = (  # class weights in the authors' MFNet configuration
    1.51059098,
    15.81630837,
    30.08046375,
    41.70549916,
    38.33253736,
    39.78383054,
    46.98874852,
    46.46856094,
    44.23738209,
)
FREQUENCIES = (0.91865, 0.04527, 0.01380, 0.00427, 0.00643, 0.00545, 0.00151, 0.00175, 0.00286)


def semantic(**options) -> UniRGBIRSemantic:
    seed_everything(0, verbose=False)
    return UniRGBIRSemantic(**({"encoder": "tiny", "class_weights": None} | options))


def saliency(**options) -> UniRGBIRSaliency:
    seed_everything(0, verbose=False)
    return UniRGBIRSaliency(**({"encoder": "tiny"} | options))


def batch(size=(64, 96), count=2, channels=3, masks="ids"):
    generator = torch.Generator().manual_seed(1)
    rgb = torch.randn(count, 3, *size, generator=generator)
    x = torch.randn(count, channels, *size, generator=generator)
    mask = torch.randint(0, 9, (count, *size), generator=generator)
    if masks == "soft":
        mask = torch.rand(count, 1, *size, generator=generator)
    return {"rgb": rgb, "x": x, "mask": mask, "name": [str(i) for i in range(count)]}


def opened(model, value=0.5):
    """With an injection that does something: gammas start at zero."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(value)
    return model


# ---------------------------------------------------------------------- counts and shapes
@pytest.mark.parametrize(
    ("build", "total", "trained"),
    [
        (lambda: UniRGBIRSemantic(img_size=768), 99_718_397, 13_922_045),
        (lambda: UniRGBIRSaliency(img_size=416), 99_683_541, 13_887_189),
        (lambda: UniRGBIRSemantic(img_size=768, train_rel_pos=False), 99_718_397, 13_845_757),
        (lambda: UniRGBIRSemantic(img_size=768, aux_weight=0), 99_709_145, 13_912_793),
    ],
)
def test_parameters_of_the_papers_models(build, total, trained):
    with torch.device("meta"):
        model = build()
    numbers = [(p.numel(), p.requires_grad) for p in model.parameters()]
    assert sum(n for n, _ in numbers) == total
    assert sum(n for n, trains in numbers if trains) == trained


def test_what_trains_is_the_adapter_the_tables_neck_and_heads():
    with torch.device("meta"):
        model = UniRGBIRSemantic()
    for name, parameter in model.named_parameters():
        part = name.removeprefix("network.").partition(".")[0]
        wanted = part in ("neck", "head", "auxiliary_heads")
        assert parameter.requires_grad == (wanted or "adapter" in name or "rel_pos" in name), name


@pytest.fixture(scope="module")
def papers():
    """The models of the paper by number of classes, without numbers."""
    with torch.device("meta"):
        return {9: UniRGBIRSemantic().eval(), 1: UniRGBIRSaliency().eval()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "classes", "padded"),
    [
        ((512, 512), 9, (512, 512)),
        ((480, 640), 9, (480, 640)),
        ((416, 416), 1, (416, 416)),
        ((768, 768), 9, (768, 768)),
        ((400, 720), 9, (400, 720)),
        ((721, 1275), 1, (736, 1280)),
    ],
)
def test_shapes_of_the_papers_models(papers, size, classes, padded):
    network, seen = papers[classes].network, {}
    for name in ("backbone", "neck"):
        part = network.get_submodule(name)
        part.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
    with torch.device("meta"), torch.no_grad():
        rgb, ir = torch.empty(1, 3, *size), torch.empty(1, 1, *size)
        main, *auxiliary = network.all_logits(rgb, ir)
    coarse = tuple(side // 16 for side in padded)
    assert [tuple(m.shape) for m in seen["backbone"]] == [(1, 768, *coarse)] * 4
    assert [tuple(m.shape) for m in seen["neck"]] == [(1, 256, *coarse)] * 4
    assert tuple(main.shape) == (1, classes, padded[0] // 4, padded[1] // 4)
    assert [tuple(z.shape) for z in auxiliary] == [(1, classes, *coarse)] * 4
    assert at_input_size(main, size).shape == (1, classes, *size)


def test_other_papers_keep_their_sizes():
    assert (TASeg.size_multiple, SAMSOD.size_multiple) == (16, 32)
    assert UniRGBIRSemantic.size_multiple == UniRGBIRSaliency.size_multiple == 1


# ---------------------------------------------------------------------- predictions
@pytest.mark.parametrize("size", [(64, 96), (70, 93), (16, 33)])
def test_predictions_of_any_size_are_those_of_a_padded_image(size):
    model = opened(saliency().eval())
    images = batch(size)
    padded = [-(-side // 16) * 16 for side in size]
    grown = {
        k: torch.nn.functional.pad(images[k], (0, padded[1] - size[1], 0, padded[0] - size[0]))
        for k in ("rgb", "x")
    }
    with torch.no_grad():
        ours = model(images["rgb"], images["x"])
        whole = resize(model.network(grown["rgb"], grown["x"]), padded)
    assert ours.shape == (2, 1, *size)
    torch.testing.assert_close(ours, whole[..., : size[0], : size[1]])


def test_one_channel_is_three_equal_ones():
    model, images = opened(semantic().eval()), batch(channels=1)
    rgb, x = images["rgb"], images["x"]
    with torch.no_grad():
        one, three = model(rgb, x), model(rgb, x.repeat(1, 3, 1, 1))
        coloured = model(rgb, torch.cat([x, -x, x], 1))
    torch.testing.assert_close(one, three)
    assert (one - coloured).abs().max() > 1e-4


@pytest.mark.slow
def test_the_main_modality_is_what_the_vit_sees():
    images = batch()
    rgb, x = images["rgb"], images["x"]
    for name, seen in (("rgb", 0), ("ir", 1)):
        model = semantic(main_modality=name).eval()
        with torch.no_grad():
            whole = model(rgb, x)
            changed = [model(0 * rgb, x), model(rgb, 0 * x)]
        # gammas are zero: the other modality does not reach the output, bit for bit
        assert torch.equal(whole, changed[1 - seen])
        assert not torch.equal(whole, changed[seen])
    swapped = opened(semantic(main_modality="ir").eval())
    with torch.no_grad():
        assert not torch.equal(swapped(rgb, x), swapped(0 * rgb, x))


def test_a_image_of_one_camera_is_refused():
    with pytest.raises(RGBXError, match="UniRGBIRSaliency needs the second modality"):
        saliency()(torch.zeros(1, 3, 32, 32))
    with pytest.raises(RGBXError, match="UniRGBIRSemantic needs a second modality, but 0 came"):
        semantic().training_losses({k: v for k, v in batch().items() if k != "x"})


# ---------------------------------------------------------------------- losses
def test_semantic_losses_are_those_of_five_heads_at_input_size():
    weights = [float(w) for w in OFFICIAL]
    model, images = opened(semantic(class_weights=weights, drop_path=0.0)), batch((70, 93))
    losses = model.train().training_losses(images)
    model.eval()  # BatchNorm differs: taken from the batch again
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train()
    logits = model.network.all_logits(images["rgb"], images["x"])
    assert [z.shape[-2:] for z in logits] == [(20, 24)] + [(5, 6)] * 4
    each = [
        weighted_cross_entropy(
            resize(z, (80, 96))[..., :70, :93], images["mask"], torch.tensor(weights)
        )
        for z in logits
    ]
    assert set(losses) == {"ce", "aux"}
    torch.testing.assert_close(losses["ce"], each[0])
    torch.testing.assert_close(losses["aux"], 0.4 * sum(each[1:]))


@pytest.mark.parametrize("count", [1, 2])
def test_saliency_losses_are_three_with_weights_also_for_a_batch_of_one(count):
    model = saliency(bce_weight=2.0, ssim_weight=0.5, aux_weight=0.1, drop_path=0.0, norm="gn")
    images = batch(count=count, masks="soft")
    losses = opened(model).training_losses(images)
    logits = [resize(z, (64, 96)) for z in model.network.all_logits(*model.inputs(images))]
    mask = images["mask"]
    torch.testing.assert_close(losses["bce"], 2 * binary_cross_entropy(logits[0], mask))
    torch.testing.assert_close(losses["iou"], iou(logits[0], mask))
    torch.testing.assert_close(losses["ssim"], 0.5 * ssim(logits[0], mask))
    rest = [2 * binary_cross_entropy(z, mask) + iou(z, mask) for z in logits[1:]]
    rest += [0.5 * ssim(z, mask) for z in logits[1:]]
    torch.testing.assert_close(losses["aux"], 0.1 * sum(rest))
    assert len(logits) == 5 and len(losses) == 4


def test_hard_masks_are_the_soft_ones_and_scribbles_are_refused():
    model, logits = saliency(iou_weight=0.0), torch.randn(2, 1, 32, 32)
    mask = (torch.rand(2, 32, 32) > 0.5).long()
    hard, soft = model.losses(logits, mask), model.losses(logits, mask[:, None].float())
    assert set(hard) == {"bce", "ssim"}
    assert all(torch.equal(hard[name], soft[name]) for name in hard)
    mask[0, 0, 0] = 255
    with pytest.raises(RGBXError, match=r"needs full masks: .*; leave out data.scribbles"):
        model.losses(logits, mask)


def test_auxiliary_heads_run_in_training_only_and_only_with_a_weight():
    model, images, calls = semantic(), batch(), []
    for head in model.network.auxiliary_heads:
        head.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        model.eval()(images["rgb"], images["x"])
        assert not calls
        model.train().training_losses(images)
    assert len(calls) == 4
    without = semantic(aux_weight=0.0)
    assert set(without.training_losses(images)) == {"ce"}
    assert not any("auxiliary" in name for name, _ in without.named_parameters())


# ---------------------------------------------------------------------- class weights
def test_enet_weights_are_the_authors_constants():
    ours = enet_weights(FREQUENCIES)
    torch.testing.assert_close(ours, torch.tensor(OFFICIAL), rtol=3e-4, atol=0)
    assert enet_weights([0.0, 1.0]).tolist() == pytest.approx(
        [1 / math.log(1.02), 1 / math.log(2.02)]
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"class_weights": [1.0, 2.0]}, "class_weights has 2 numbers, but there are 9 classes"),
        ({"class_weights": [1.0] * 8 + [-1.0]}, r"class_weights has -1\.0: weights are finite"),
        ({"class_weights": [1.0] * 8 + [math.nan]}, "class_weights has nan"),
        ({"aux_weight": -0.1}, "aux_weight is -0.1: give 0"),
        ({"num_stages": 7}, "num_stages is 7"),
        ({"encoder": "vit_x"}, "no UniRGB-IR encoder 'vit_x'"),
        ({"num_classes": 3}, "num_classes is 3, but 9 class names"),
    ],
)
def test_options_that_cannot_work_are_refused_by_the_constructor(options, text):
    with pytest.raises(RGBXError, match=text):
        semantic(**options)


@pytest.mark.parametrize("weights", [(0.0, 0.0, 0.0), (1.0, -1.0, 1.0)])
def test_saliency_weights_that_cannot_work(weights):
    names = ("bce_weight", "iou_weight", "ssim_weight")
    with pytest.raises(RGBXError, match="give numbers of 0 or more, one of them above 0"):
        saliency(**dict(zip(names, weights, strict=True)))


def test_unknown_class_weights_are_no_ones():
    with pytest.raises(RGBXError, match="class_weights is enet, but no training set"):
        semantic(class_weights="enet").training_losses(batch())


# ---------------------------------------------------------------------- training
def trainer(folder, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    quiet |= {"enable_model_summary": False, "max_steps": 3, "limit_val_batches": 0}
    return Trainer(accelerator="cpu", devices=1, default_root_dir=folder, **(quiet | options))


def data(root, **options):
    defaults = {"size": (64, 96), "batch_size": 2, "num_workers": 0}
    return MFNet(str(root), **(defaults | options))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, mfnet_root):
    """Before and after three steps, and the checkpoint."""
    folder = tmp_path_factory.mktemp("unirgb_ir")
    model = semantic(class_weights="enet")
    before = copy.deepcopy(model.state_dict())
    run = trainer(folder)
    run.fit(model, data(mfnet_root))
    run.save_checkpoint(folder / "run.ckpt")
    return before, model, folder / "run.ckpt"


def test_training_moves_every_trained_tensor_and_no_frozen_one(trained):
    before, model, _ = trained
    after = model.state_dict()
    parameters = {n for n, p in model.named_parameters() if p.requires_grad}
    moved = {n for n in after if not torch.equal(before[n], after[n])}
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert frozen and not frozen & moved
    assert not parameters - moved
    assert sum("gamma" in name for name in moved) == 4
    assert any("running_mean" in name for name in moved) and "class_weights" in moved


def test_only_gammas_and_tables_of_the_backbone_move_in_the_first_step():
    model = semantic().train()
    sum(model.training_losses(batch()).values()).backward()
    found = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    backbone = {n for n in found if ".backbone." in n}
    assert backbone and all("gamma" in n or "rel_pos" in n for n in backbone)
    assert sum("gamma" in n for n in backbone) == 4
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained - {n for n in trained if ".backbone." in n} <= found
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_checkpoints_hold_what_was_trained_statistics_and_class_weights(trained):
    _, model, path = trained
    stored = torch.load(path, weights_only=True)
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    rest = set(stored["state_dict"]) - trainable
    assert trainable <= set(stored["state_dict"])
    endings = ("running_mean", "running_var", "num_batches_tracked")
    statistics = {n for n in rest if n.endswith(endings)}
    # 6 + 3 convolutions of the pool, 8 of the neck, 8 of the head
    assert len(statistics) == 3 * (9 + 8 + 8)
    assert rest - statistics == {"class_weights"}
    loaded = UniRGBIRSemantic.load_from_checkpoint(path, map_location="cpu").eval()
    images = batch()
    with torch.no_grad():
        ours = model.eval()(images["rgb"], images["x"])
        assert torch.equal(loaded(images["rgb"], images["x"]), ours)
    assert loaded.training_losses(images)["ce"] > 0  # the weights are known


def test_class_weights_are_counted_once_and_survive_a_resume(trained, tmp_path, mfnet_root, capsys):
    _, model, path = trained
    module = data(mfnet_root)
    wanted = enet_weights(module.class_frequencies("train"))
    assert torch.equal(model.class_weights, wanted) and wanted.max() > 2 * wanted.min()
    asked = []
    module.class_frequencies = asked.append
    resumed = semantic(class_weights="enet")
    capsys.readouterr()
    trainer(tmp_path, max_steps=4).fit(resumed, module, ckpt_path=path)
    assert torch.equal(resumed.class_weights, wanted) and not asked
    assert "class weights (ENet" not in capsys.readouterr().out
    fresh = semantic(class_weights="enet")
    trainer(tmp_path, max_steps=1).fit(fresh, data(mfnet_root))
    assert capsys.readouterr().out.count("class weights (ENet, training set): unlabelled 1.") == 1


@pytest.mark.parametrize("weights", [None, [float(k) for k in range(1, 10)]])
def test_weights_of_the_configuration_win_over_the_checkpoint(
    trained, tmp_path, mfnet_root, weights
):
    model = semantic(class_weights=weights)
    trainer(tmp_path, max_steps=4).fit(model, data(mfnet_root), ckpt_path=trained[2])
    assert model.class_weights.tolist() == (weights or [1.0] * 9)


def test_enet_after_a_run_without_counts_when_it_resumes(tmp_path, mfnet_root):
    run = trainer(tmp_path, max_steps=1)
    run.fit(semantic(), data(mfnet_root))
    run.save_checkpoint(tmp_path / "plain.ckpt")
    model, module = semantic(class_weights="enet"), data(mfnet_root)
    trainer(tmp_path, max_steps=2).fit(model, module, ckpt_path=tmp_path / "plain.ckpt")
    assert torch.equal(model.class_weights, enet_weights(module.class_frequencies("train")))


def test_enet_without_a_data_module_is_refused(tmp_path):
    loader = torch.utils.data.DataLoader([0])
    with pytest.raises(RGBXError, match="asks a data module for the class frequencies"):
        trainer(tmp_path).fit(semantic(class_weights="enet"), loader)


# ---------------------------------------------------------------------- batches of one
@pytest.mark.parametrize(
    ("norm", "count", "warned"), [("bn", 1, True), ("bn", 2, False), ("gn", 1, False)]
)
def test_a_batch_of_one_with_batch_norm_is_announced(
    tmp_path, mfnet_root, recwarn, norm, count, warned
):
    model = semantic(norm=norm)
    trainer(tmp_path, max_steps=1).fit(model, data(mfnet_root, batch_size=count))
    texts = [str(w.message) for w in recwarn if "BatchNorm then learns" in str(w.message)]
    assert len(texts) == warned
    for text in texts:
        for key in ("model.norm to gn", "data.batch_size", "trainer.sync_batchnorm to true"):
            assert key in text


def test_batch_norm_of_one_value_per_channel_says_what_to_set():
    images = batch((32, 32), count=1)  # a single cell in the coarsest level of the pool
    with pytest.raises(RGBXError, match=r"one value per channel.*set model.norm to gn"):
        semantic().train().training_losses(images)
    losses = semantic(norm="gn").train().training_losses(images)
    assert all(torch.isfinite(loss) for loss in losses.values())


@pytest.mark.slow
def test_group_norm_learns_from_batches_of_one():
    model = saliency(norm="gn", drop_path=0.0).train()
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())
    images = batch(count=1, masks="soft")
    images["mask"] = (images["x"][:, :1] * 0 + 1).triu()[..., :96]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=4e-3)
    values = []
    for _ in range(8):
        loss = sum(model.training_losses(images).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.8 * values[0], values
