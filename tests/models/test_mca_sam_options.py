"""Every option changes what it should; values that cannot work are refused in a sentence."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from rgbx.errors import RGBXError
from rgbx.models import MCASAM
from rgbx.models.mca_sam import module
from tests.models.mca_toy import PLAIN, batch, model, moved


def losses(ours: MCASAM, data: dict | None = None, seed: int = 0) -> dict:
    torch.manual_seed(seed)
    return ours.train().measured_losses(data or batch(4))[0]


def reached(loss: torch.Tensor, ours: MCASAM) -> set[str]:
    """Names of the trained parameters with a gradient of this loss other than 0."""
    ours.zero_grad()
    loss.backward()
    return {n for n, p in ours.named_parameters() if p.grad is not None and p.grad.any()}


def logits(ours: MCASAM) -> torch.Tensor:
    with torch.no_grad():
        return ours.eval()(batch()["rgb"])


def test_hidden_input_reads_the_previous_blocks_output():
    ours = model(adaptor_input="hidden").eval()
    parts = moved(ours.network.generator)
    assert parts.features is None and len(parts.token.down) == len(parts.token.up) == 4
    vit, rgb = ours.network.sam.image_encoder, batch()["rgb"]
    with torch.no_grad():
        tokens = vit.embed(rgb)
        for k, block in enumerate(vit.blocks):
            added = [b.up[k](F.gelu(b.down[k](tokens))) for b in (parts.token, parts.sample)]
            tokens = block(tokens + added[0] + added[1])
        assert torch.allclose(ours.network.encode(rgb), vit.project(tokens), atol=1e-5)
    assert ours.token_contrast.target == "hidden"
    found = losses(ours)
    assert all(any(".down." in n for n in reached(losses(ours)[name], ours)) for name in found)


def test_on_hidden_tokens_the_second_view_runs_through_the_encoder(monkeypatch):
    monkeypatch.setattr(module, "colour_view", lambda rgb, mean, std: rgb)
    ours = model(adaptor_input="hidden")
    seen, compare = [], ours.sample_contrast.forward
    ours.sample_contrast.forward = lambda g, a, b: seen.extend([a, b]) or compare(g, a, b)
    losses(ours)
    for layer in range(4):  # the same image: the same descriptors, also behind three blocks
        assert torch.allclose(seen[0].pooled[layer], seen[1].pooled[layer], atol=1e-6)


def test_shared_branching_puts_both_losses_on_one_branch():
    ours = model(branching="shared")
    assert ours.network.generator.sample is None
    found = losses(ours)
    tunes = {f"network.generator.token.tune.{k}.weight" for k in range(4)}
    assert tunes <= reached(found["sample"], ours)
    apart = model()
    names = reached(losses(apart)["sample"], apart)
    assert not any(".token." in n for n in names)
    assert {n.replace(".token.", ".sample.") for n in tunes} <= names


def test_the_sc_branch_stays_without_its_loss_for_its_capacity():
    ours = model(sample_weight=0.0)
    assert ours.network.generator.sample is not None and ours.sample_contrast is None
    found = losses(ours)
    assert set(found) == {"bce", "iou", "token"}
    assert any(".sample." in n for n in reached(found["bce"], ours))


@pytest.mark.parametrize("target", ["patch", "hidden", "bottleneck"])
def test_token_target_chooses_the_token_before_the_adaptor(target):
    ours = model(token_target=target)
    moved(ours.network.generator)
    seen = []
    compare = ours.token_contrast._compare
    ours.token_contrast._compare = lambda before, after, **rest: (
        seen.append(before.detach()),
        compare(before, after, **rest),
    )[1]
    data = batch(1)
    ours.measured_losses(data)
    vit, parts = ours.network.sam.image_encoder, ours.network.generator
    with torch.no_grad():
        patches = vit.patch_embed(data["rgb"])
        features = parts.features(patches, data["rgb"])
        tokens = vit.embed(data["rgb"])
        for k in range(2):
            tokens = vit.blocks[k](tokens + parts.lift(k, *parts.narrow(k, features)))
    expected = {"patch": patches, "bottleneck": features, "hidden": tokens}[target]
    assert len(seen) == 4
    assert torch.allclose(seen[2], expected.flatten(0, 2), atol=1e-5)


@pytest.mark.parametrize(("num_tokens", "rows"), [(5, 5), (24, 24), ("all", 24)])
def test_num_tokens_are_contrasted(num_tokens, rows):
    ours, seen = model(num_tokens=num_tokens), []
    compare = ours.token_contrast._compare
    ours.token_contrast._compare = lambda before, after, **rest: (
        seen.append((len(before), len(after))),
        compare(before, after, **rest),
    )[1]
    losses(ours)
    assert set(seen) == {(rows, rows)} and len(seen) == 4 * 4


@pytest.mark.parametrize(
    ("contrast_layers", "expected"), [("all", {0, 1, 2, 3}), ("last", {3}), ([2, 0], {0, 2})]
)
def test_contrast_layers_get_the_losses(contrast_layers, expected):
    ours = model(contrast_layers=contrast_layers)
    for name, branch in (("token", "token"), ("sample", "sample")):
        found = reached(losses(ours)[name], ours)
        stem = f"network.generator.{branch}.tune."
        assert {int(n[len(stem)]) for n in found if n.startswith(stem)} == expected


def test_layer_weights_are_those_of_the_mean():
    single = [losses(model(contrast_layers=[k])) for k in (0, 3)]
    both = losses(model(contrast_layers=[0, 3], layer_weights=[1.0, 3.0]))
    for name in ("token", "sample"):
        assert torch.allclose(both[name], (single[0][name] + 3 * single[1][name]) / 4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 1), ({"sample_views": "two"}, 2), ({"sample_weight": 0.0}, 0)],
    ids=str,
)
def test_sample_views_are_made(monkeypatch, options, count):
    views = []
    make = module.colour_view
    monkeypatch.setattr(module, "colour_view", lambda *a: views.append(make(*a)) or views[-1])
    ours, seen = model(**options), []
    if ours.sample_contrast is not None:
        compare = ours.sample_contrast.forward
        ours.sample_contrast.forward = lambda g, a, b: seen.extend([a, b]) or compare(g, a, b)
    data = batch(4)
    losses(ours, data)
    assert len(views) == count
    images = [data["rgb"], *views][-2:] if count else []
    for watch, rgb in zip(seen, images, strict=True):
        parts = ours.network.generator
        with torch.no_grad():
            features = parts.features(ours.network.sam.image_encoder.patch_embed(rgb), rgb)
            expected = parts.sample.narrow(1, features).mean(dim=(1, 2))
        assert torch.allclose(watch.pooled[1], expected, atol=1e-6)


@pytest.mark.parametrize("pool", ["mean", "foreground"])
def test_foreground_pooling_sees_only_the_object(pool):
    ours, rgb = model(sample_pool=pool, handcrafted=False), batch()["rgb"]
    mask = torch.zeros(2, 1, 64, 96)
    mask[:, :, 16:48, 32:64] = 1  # whole patches
    pooled = []
    for image in (rgb, torch.where(mask == 1, rgb, -rgb), torch.where(mask == 1, -rgb, rgb)):
        watch = ours._watch(mask, sample=True)
        ours.network.look(image, watch)
        pooled.append(watch.pooled[2].detach())
    changes = [float((p - pooled[0]).abs().max()) for p in pooled]
    assert changes[2] > 1e-4  # the object
    assert (changes[1] < 1e-7) is (pool == "foreground")  # everything else


def test_the_queue_adds_negatives_of_earlier_steps():
    ours, plain = model(queue=6), model()
    data = batch(2)
    first = losses(ours, data, seed=5)["sample"]
    assert torch.allclose(first, losses(plain, data, seed=5)["sample"])
    assert int(ours.sample_contrast.queue.filled) == 2
    later = losses(ours, data, seed=6)["sample"]
    assert later > losses(plain, data, seed=6)["sample"] + 1e-3
    for seed in range(3):
        losses(ours, data, seed=seed)
    assert int(ours.sample_contrast.queue.filled) == 6


@pytest.mark.parametrize("name", ["token", "sample"])
def test_temperatures_are_those_of_their_loss(name):
    found = [
        losses(model(**{f"{name}_temperature": tau, f"{name}_weight": 1.0})) for tau in (0.1, 1e6)
    ]
    count = {"token": 24, "sample": 4}[name]
    assert float(found[1][name]) == pytest.approx(math.log(count), abs=1e-4)
    assert abs(float(found[0][name]) - float(found[1][name])) > 1e-2
    other = {"token": "sample", "sample": "token"}[name]
    assert torch.equal(found[0][other], found[1][other])


def test_projection_heads_come_before_the_losses_only():
    ours, plain = model(projection=True), model()
    heads = {n for n, _ in ours.named_parameters() if "projection" in n}
    assert len(heads) == 8 and torch.equal(logits(ours), logits(plain))
    found = losses(ours)
    for name in ("token", "sample"):
        own = {n for n in heads if n.startswith(f"{name}_contrast")}
        assert own <= reached(losses(ours)[name], ours)
        assert not torch.allclose(found[name], losses(plain)[name], atol=1e-3)
    assert "projection heads" in ours.parameter_summary()
    narrow = model(projection=True, token_target="bottleneck")
    assert narrow.token_contrast.projection[0].in_features == 64 // 8


def test_augmented_loss_segments_the_last_view(monkeypatch):
    views = []
    make = module.colour_view
    monkeypatch.setattr(module, "colour_view", lambda *a: views.append(make(*a)) or views[-1])
    ours, data = model(augmented_loss=True), batch(2)
    found, plain = losses(ours, data), losses(model(), data)
    assert set(found) == {"bce", "iou", "token", "sample", "bce_view", "iou_view"}
    mask = data["mask"][:, None].float()
    expected = ours.segmentation(ours.network(views[0]), mask)
    assert torch.allclose(found["bce_view"], expected["bce"], atol=1e-6)
    assert torch.allclose(found["iou_view"], expected["iou"], atol=1e-6)
    assert all(torch.allclose(found[name], plain[name], atol=1e-6) for name in plain)
    alone = losses(model(augmented_loss=True, sample_weight=0.0), data)
    assert "sample" not in alone and "bce_view" in alone


def test_handcrafted_and_freq_nums_govern_the_high_frequencies():
    without = model(handcrafted=False)
    assert without.network.generator.features.frequency is None
    parts = moved(model().network.generator)
    rgb = batch()["rgb"] + 0.5 * torch.randn(2, 3, 64, 96)
    patches = torch.zeros(2, 4, 6, 64)
    found = []
    for share in (0.25, 0.5):
        parts.features.share = share
        found.append(parts.features(patches, rgb))
    assert (found[0] - found[1]).abs().max() > 1e-4
    assert model(freq_nums=0.5).network.generator.features.share == 0.5


def test_scale_factor_is_the_reduction():
    for factor in (16, 32, 64):
        generator = model(scale_factor=factor).network.generator
        assert generator.token.up.in_features == 64 // factor


def test_layers_have_the_adaptors():
    ours = model(layers=[3, 1], contrast_layers="last")
    parts = moved(ours.network.generator)
    assert parts.layers == (1, 3) and len(parts.token.tune) == 2
    assert ours.token_contrast.layers == ours.sample_contrast.layers == ((3, 1),)
    vit, rgb = ours.network.sam.image_encoder, batch()["rgb"]
    with torch.no_grad():
        features, tokens = parts.features(vit.patch_embed(rgb), rgb), vit.embed(rgb)
        for index, block in enumerate(vit.blocks):
            if index in (1, 3):
                tokens = tokens + parts.lift(index // 2, *parts.narrow(index // 2, features))
            tokens = block(tokens)
        assert torch.allclose(ours.network.encode(rgb), vit.project(tokens), atol=1e-5)
    assert set(losses(ours)) == {"bce", "iou", "token", "sample"}


def test_symmetric_and_exclude_radius_reach_the_token_loss():
    plain = float(losses(model())["token"].detach())
    assert abs(float(losses(model(symmetric=True))["token"].detach()) - plain) > 1e-4
    assert float(losses(model(exclude_radius=2))["token"].detach()) < plain - 1e-2


def test_quirks_are_a_random_position_and_a_trained_no_mask_vector():
    plain, quirks = model(**PLAIN), model(sam_adapter_quirks=True, **PLAIN)
    assert not torch.allclose(logits(plain), logits(quirks), atol=1e-3)
    names = reached(losses(quirks)["bce"], quirks)
    assert "network.random_prompt.no_mask" in names
    assert not any("no_mask" in n for n in reached(losses(plain)["bce"], plain))
    sam = quirks.network.sam.prompt_encoder
    with torch.no_grad():  # with SAM's own values in their place it is the plain model
        matrix = sam.pe_layer.positional_encoding_gaussian_matrix
        quirks.network.random_prompt.frequencies.copy_(matrix)
        quirks.network.random_prompt.no_mask.copy_(sam.no_mask_embed.weight)
    assert torch.allclose(logits(plain), logits(quirks), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["bce", "iou"]),
        ({"task": "polyp"}, ["bce", "iou"]),
        ({"task": "shadow"}, ["balanced_bce"]),
        ({"task": "shadow", "loss": "bce_iou"}, ["bce", "iou"]),
        ({"task": "polyp", "loss": "balanced_bce"}, ["balanced_bce"]),
    ],
    ids=str,
)
def test_the_task_chooses_the_loss_unless_told(options, names):
    assert sorted(losses(model(**PLAIN, **options))) == names


@pytest.mark.parametrize(
    ("task", "some"), [("camouflage", "S"), ("shadow", "BER"), ("polyp", "mDice")]
)
def test_the_task_chooses_the_scores(task, some):
    ours = model(task=task, eval_size="both", wf_beta2=0.3)
    names = set(ours.protocol())
    assert some in names and f"{some}@input" in names
    assert ("BER" in names, "mDice" in names) == (task == "shadow", task == "polyp")


def test_the_data_modules_statistics_undo_its_normalisation(monkeypatch):
    seen = []
    monkeypatch.setattr(
        module, "colour_view", lambda rgb, mean, std: seen.append((mean, std)) or rgb
    )

    class Data:
        size = (64, 96)

        class statistics:
            rgb_mean, rgb_std = (0.1, 0.2, 0.3), (1.0, 2.0, 3.0)

    ours = model()
    losses(ours)
    assert seen[0][0].tolist() == pytest.approx([0.485, 0.456, 0.406])
    monkeypatch.setattr(MCASAM, "_data", property(lambda self: Data))
    ours.setup("fit")
    losses(ours)
    assert seen[1][0].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert seen[1][1].tolist() == pytest.approx([1, 2, 3])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"task": "polyps"}, "task is 'polyps': choose one of camouflage, shadow, polyp"),
        ({"token_target": "x"}, "choose one of null, patch, hidden, bottleneck"),
        ({"num_tokens": 1}, "num_tokens is 1: give 2 or more, or all"),
        ({"num_tokens": "most"}, "num_tokens is 'most': give 2 or more, or all"),
        ({"token_temperature": 0.0}, "token_temperature is 0.0: give more than 0"),
        ({"sample_weight": -1.0}, "sample_weight is -1.0: give 0 or more"),
        ({"freq_nums": 2.0}, "freq_nums is 2.0: a share"),
        ({"layers": [0, 9]}, r"layers is \[0, 9\]: give encoder blocks from 0 to 3, or all"),
        ({"layers": []}, r"layers is \[\]"),
        ({"scale_factor": 128}, "scale_factor is 128: it divides .* 64, so give 1 to 64"),
        ({"layers": [1, 2], "contrast_layers": [3]}, r"an adaptor \(1, 2\), or all, or last"),
        ({"layer_weights": [1.0]}, "one weight of 0 or more for each of the 4 contrast layers"),
        (
            {"sample_branch": False},
            "set contrast.sample_weight to 0, or adaptor.branching to shared",
        ),
        ({"sample_branch": False, "branching": "shared"}, "no SC branch for sample_branch"),
        ({"branching": "shared", "zero_init_sc": True}, "zero_init_sc needs an SC branch"),
        ({"adaptor_input": "hidden", "token_target": "bottleneck"}, "set adaptor.input to task"),
        ({"queue": 8, "sample_weight": 0.0}, "queue holds negatives .* sample_weight is 0"),
        ({**PLAIN, "projection": True}, "token_weight and sample_weight are 0"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_work_is_refused_in_a_sentence(options, text):
    with pytest.raises(RGBXError, match=text):
        model(**options)


def test_two_copies_draw_the_same(monkeypatch):
    ours = model(num_tokens=6, sample_views="two", queue=3)
    other = copy.deepcopy(ours)
    data = batch(3)
    first, second = losses(ours, data, seed=9), losses(other, data, seed=9)
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not torch.equal(losses(ours, data, seed=10)["token"], first["token"])
