"""The two contrastive losses: hand values, what gets a gradient, two processes, memory."""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F

from rgbx.blocks import info_nce
from rgbx.errors import RGBXError
from rgbx.models.mca_sam import Generator, SampleContrast, TokenContrast, contrast
from rgbx.models.mca_sam.views import colour_view
from rgbx.models.mca_sam.watch import Watch, pick, pooling_weights
from tests.models import mca_processes
from tests.models.mca_toy import batch, model, moved
from tests.processes import two_ranks

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def generator(layers=(0, 2), dim=12, width=4) -> Generator:
    torch.manual_seed(0)
    return moved(Generator(dim, width, layers), 0.5).double()


def watched(parts: Generator, images: int, grid=(3, 4), seed=0, **options) -> Watch:
    """A watch that saw random patches, task features and tokens."""
    source = torch.Generator().manual_seed(seed)

    def random(width: int) -> torch.Tensor:
        return torch.randn(images, *grid, width, generator=source).double()

    positions = torch.arange(grid[0] * grid[1]).expand(images, -1)
    watch = Watch(parts.layers, positions=positions, hidden=True, pool=True, **options)
    patches, features = random(12), random(4)
    watch.start(patches, features)
    for k, layer in enumerate(parts.layers):
        watch.see(layer, random(12), *parts.narrow(k, features))
    return watch


# ---------------------------------------------------------------------- token level
@pytest.mark.parametrize("target", ["patch", "hidden", "bottleneck"])
def test_token_loss_is_the_mean_over_images_and_layers(target):
    parts = generator()
    watch = watched(parts, 2)
    found = TokenContrast([(0, 0), (2, 1)], 0.2, "all", target)(parts, watch, columns=4)
    expected = []
    for layer, k in ((0, 0), (2, 1)):
        before = {"patch": watch.patches, "hidden": watch.hidden[layer]}.get(target)
        before = watch.features if before is None else before
        after = F.gelu(parts.token.tune[k](watch.features))
        if target != "bottleneck":
            after = parts.token.up(after)
        cosines = F.cosine_similarity(before[:, :, None], after[:, None], dim=-1) / 0.2
        expected += [F.cross_entropy(c, torch.arange(12)) for c in cosines]
    assert torch.allclose(found.loss, torch.stack(expected).mean(), atol=1e-12)


@pytest.mark.parametrize("target", ["patch", "hidden", "bottleneck"])
def test_no_gradient_reaches_the_token_before_the_adaptor(target):
    parts = generator()
    watch = Watch((0,), torch.arange(6).expand(1, -1), hidden=True)
    patches, features = torch.randn(1, 2, 3, 12).double(), torch.randn(1, 2, 3, 4).double()
    tokens = torch.randn(1, 2, 3, 12).double()
    narrow = parts.narrow(0, features)[0].detach()
    inputs = [t.requires_grad_() for t in (patches, features, tokens, narrow)]
    watch.start(patches, features)
    watch.see(0, tokens, narrow, None)
    TokenContrast([(0, 0)], 0.1, "all", target)(parts, watch, columns=3).loss.backward()
    assert [t.grad is None for t in inputs] == [True, True, True, False]
    assert (parts.token.up.weight.grad is None) is (target == "bottleneck")
    assert parts.features.embedding.weight.grad is None


def test_token_positions_are_drawn_per_image_and_step_without_replacement():
    drawer = TokenContrast([(0, 0)], num_tokens=8)
    torch.manual_seed(0)
    first, second = (drawer.draw(3, 20, torch.device("cpu")) for _ in range(2))
    assert first.shape == (3, 8) and first.min() >= 0 and first.max() < 20
    assert all(len(set(row.tolist())) == 8 for row in first)
    assert not torch.equal(first[0], first[1]) and not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(drawer.draw(3, 20, torch.device("cpu")), first)


def test_more_tokens_than_there_are_is_said_once():
    drawer = TokenContrast([(0, 0)], num_tokens=50)
    with pytest.warns(UserWarning, match=r"num_tokens is 50, but an image .* has 20 tokens"):
        assert drawer.draw(2, 20, torch.device("cpu")).tolist() == [list(range(20))] * 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawer.draw(2, 20, torch.device("cpu"))
        TokenContrast([(0, 0)], num_tokens="all").draw(2, 20, torch.device("cpu"))
        TokenContrast([(0, 0)], num_tokens=20).draw(2, 20, torch.device("cpu"))


def test_neighbours_are_no_negatives_within_the_radius():
    parts = generator()
    watch = watched(parts, 1)
    losses = [
        TokenContrast([(0, 0)], 0.2, "all", exclude_radius=radius)(parts, watch, 4).loss.item()
        for radius in (0, 1, 2, 3)
    ]
    assert losses == sorted(losses, reverse=True) and losses[3] == pytest.approx(0)
    cells = torch.stack(torch.meshgrid(torch.arange(3), torch.arange(4), indexing="ij"), -1)
    cells = cells.reshape(12, 2)
    near = torch.tensor(
        [[i != j and int((a - b).abs().max()) <= 1 for j, b in enumerate(cells)]
         for i, a in enumerate(cells)]
    )  # fmt: skip
    after = parts.token.up(watch.rows[0][0])
    expected = info_nce(watch.patches[0], after, 0.2, dropped=near).loss
    assert losses[1] == pytest.approx(expected.item())


def test_symmetric_and_layer_weights_are_passed_on():
    parts = generator()
    watch = watched(parts, 2)
    layers = [(0, 0), (2, 1)]
    single = [TokenContrast([one], 0.2, "all")(parts, watch, 4).loss for one in layers]
    weighted = TokenContrast(layers, 0.2, "all", layer_weights=[3, 1])(parts, watch, 4).loss
    assert torch.allclose(weighted, (3 * single[0] + single[1]) / 4)
    both = TokenContrast(layers[:1], 0.2, "all", symmetric=True)(parts, watch, 4).loss
    after = parts.token.up(watch.rows[0])
    back = info_nce(after, watch.patches, 0.2).loss.mean()
    assert torch.allclose(both, (single[0] + back) / 2)


def test_only_one_table_of_cosines_lives_at_a_time():
    """Tensors kept for the backward pass do not grow with K squared."""
    parts, kept = generator(layers=(0, 1, 2, 3)), []
    watch = watched(parts, 2, grid=(8, 8))
    layers = [(k, k) for k in range(4)]

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        loss = TokenContrast(layers, 0.1, "all")(parts, watch, 8).loss
    assert max(kept) <= 64 * 12 < 64 * 64
    loss.backward()
    assert parts.token.up.weight.grad.abs().max() > 0


# ---------------------------------------------------------------------- sample level
def test_two_images_by_hand():
    parts = generator()
    first, second = watched(parts, 2, seed=1), watched(parts, 2, seed=2)
    found = SampleContrast([(0, 0), (2, 1)], 12, 0.3)(parts, first, second)
    total = 0.0
    for layer in (0, 2):
        u, v = (parts.sample.up(watch.pooled[layer]) for watch in (first, second))
        for a, b in ((u, v), (v, u)):
            for i in (0, 1):
                own, other = (
                    float(F.cosine_similarity(a[i], b[j], dim=0)) / 0.3 for j in (i, 1 - i)
                )
                total += math.log(math.exp(own) + math.exp(other)) - own
    assert float(found.loss) == pytest.approx(total / 8)


def test_descriptors_are_the_mean_of_the_branchs_output():
    parts = generator()
    watch = watched(parts, 2)
    features = watch.features.reshape(2, 3, 4, 4)
    expected = parts.sample.up(F.gelu(parts.sample.tune[1](features))).mean(dim=(1, 2))
    assert torch.allclose(parts.sample.up(watch.pooled[2]), expected, atol=1e-12)


def test_a_view_finds_itself_more_easily_than_another_image():
    parts = generator()
    one, other = watched(parts, 4, seed=1), watched(parts, 4, seed=2)
    contrasted = SampleContrast([(0, 0)], 12, 0.1)
    equal, mixed = contrasted(parts, one, one), contrasted(parts, one, other)
    assert float(equal.loss) < float(mixed.loss) and float(equal.top1) == 1.0


def test_a_global_batch_of_one_is_zero_and_said_once():
    ours = model(projection=True)
    with pytest.warns(UserWarning, match=r"global batch is one image.*raise data.batch_size"):
        losses, _ = ours.measured_losses(batch(1))
    assert float(losses["sample"].detach()) == 0.0
    sum(losses.values()).backward()
    idle = [n for n, p in ours.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.measured_losses(batch(1))


def test_the_queue_gives_a_batch_of_one_its_negatives():
    parts = generator()
    contrasted = SampleContrast([(0, 0), (2, 1)], 12, 0.3, queue=3).double()
    one, other = watched(parts, 1, seed=1), watched(parts, 1, seed=2)
    assert float(contrasted(parts, one, other).loss) == 0.0
    found = contrasted(parts, one, other).loss  # its own earlier view is a negative now
    expected = 0.0
    for layer in (0, 2):
        u, v = (parts.sample.up(w.pooled[layer])[0] for w in (one, other))
        own = float(F.cosine_similarity(u, v, dim=0)) / 0.3
        expected += math.log(2)  # u: v and the same v again
        expected += math.log(math.exp(own) + math.exp(1 / 0.3)) - own  # v: u, and v itself
    assert float(found) == pytest.approx(expected / 4)
    assert int(contrasted.queue.filled) == 2
    found.backward()
    assert parts.sample.up.weight.grad.abs().max() > 0


def test_pooling_weights_are_shares_of_the_object():
    mask = torch.zeros(3, 1, 32, 48)
    mask[0, 0, :16, :16] = 1
    mask[0, 0, 16:, 16:24] = 1
    mask[2] = 1
    weights = pooling_weights(mask, (2, 3))
    assert torch.allclose(weights[0], torch.tensor([[2, 0, 0], [0, 1, 0]]) / 3)
    assert torch.allclose(weights[1:], torch.full((2, 2, 3), 1 / 6))  # nothing, and everything


def test_pick_takes_each_images_own_tokens():
    grid = torch.arange(2 * 2 * 3).reshape(2, 2, 3, 1)
    assert pick(grid, torch.tensor([[5, 0], [1, 3]]))[..., 0].tolist() == [[5, 0], [7, 9]]


# ---------------------------------------------------------------------- views
def test_views_change_colours_of_each_image_alone_and_keep_the_geometry():
    rgb = batch(1)["rgb"].expand(24, -1, -1, -1)
    torch.manual_seed(0)
    views = colour_view(rgb, MEAN, STD)
    assert views.shape == rgb.shape and not views.requires_grad
    pixels = views * STD.reshape(3, 1, 1) + MEAN.reshape(3, 1, 1)
    assert pixels.min() >= -1e-5 and pixels.max() <= 1 + 1e-5
    assert len({round(float(v.sum()), 2) for v in views}) > 12
    grey = [bool((p - p[:1]).abs().max() < 1e-5) for p in pixels]
    assert 1 <= sum(grey) <= 12  # p = 0.2
    as_it_was = (rgb * STD.reshape(3, 1, 1) + MEAN.reshape(3, 1, 1)).clamp(0, 1)
    kept = [bool((a - b).abs().max() < 1e-5) for a, b in zip(pixels, as_it_was, strict=True)]
    assert sum(kept) <= 8  # 0.2 * 0.8 * 0.5 are left as they are
    torch.manual_seed(0)
    assert torch.equal(colour_view(rgb, MEAN, STD), views)


def test_a_view_of_a_flipped_image_is_the_flipped_view():
    rgb = batch(2)["rgb"]
    for seed in range(4):
        torch.manual_seed(seed)
        view = colour_view(rgb, MEAN, STD)
        torch.manual_seed(seed)
        assert torch.allclose(colour_view(rgb.flip(3), MEAN, STD), view.flip(3), atol=1e-4)


# ---------------------------------------------------------------------- two processes
@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What two processes found, for every set of options."""
    folder = tmp_path_factory.mktemp("ranks")
    two_ranks(mca_processes.both_steps, folder, cwd=folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("options", list(mca_processes.OPTIONS))
def test_two_processes_equal_one_on_the_joined_batch(ranks, options):
    whole = mca_processes.two_steps(options, 0, 1)
    for alone, *parts in zip(whole, *(rank[options] for rank in ranks), strict=True):
        assert float(alone["losses"]["sample"]) > 0.01
        assert torch.equal(*(part["losses"]["sample"] for part in parts))
        for name, loss in alone["losses"].items():
            mean = (parts[0]["losses"][name] + parts[1]["losses"][name]) / 2
            assert torch.allclose(mean, loss, atol=1e-10), name
        for name, grad in alone["grads"].items():
            first, second = (part["grads"][name] for part in parts)
            assert torch.equal(first, second), name
            worst = float((first - grad).abs().max())
            assert worst < 1e-9 * max(1.0, float(grad.abs().max())), (name, worst)


# ---------------------------------------------------------------------- the sum
def test_masks_with_unlabelled_pixels_are_refused():
    data = batch()
    data["mask"][1, 0, 0] = 255
    with pytest.raises(RGBXError, match=r"mask of image 1 holds 255 .*SAMSOD for scribbles"):
        model().measured_losses(data)


def test_soft_masks_and_ids_are_the_same_target():
    data = batch()
    soft = data | {"mask": data["mask"][:, None].float()}
    found = []
    for one in (data, soft):
        torch.manual_seed(0)
        found.append(model(augmented_loss=True).measured_losses(one)[0])
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][k], found[1][k]) for k in found[0])


def test_lambda_multiplies_what_is_summed_and_not_what_is_logged():
    data, found = batch(4), []
    for weight in (0.1, 0.3):
        torch.manual_seed(0)
        ours = model(token_weight=weight, sample_weight=2 * weight)
        torch.manual_seed(1)
        found.append(ours.measured_losses(data))
    for name in ("token", "sample"):
        (small, raw), (large, raw_too) = ((f[0][name], f[1][f"{name}_raw"]) for f in found)
        assert torch.allclose(large, 3 * small) and torch.equal(raw, raw_too)
    assert torch.allclose(found[0][0]["token"], 0.1 * found[0][1]["token_raw"])
    assert set(found[0][1]) == {"token_raw", "token_top1", "sample_raw", "sample_top1"}
    assert not any(value.requires_grad for value in found[0][1].values())


def test_weights_of_zero_run_nothing(monkeypatch):
    monkeypatch.setattr(contrast, "info_nce", None)
    losses, measures = model(token_weight=0.0, sample_weight=0.0).measured_losses(batch())
    assert set(losses) == {"bce", "iou"} and measures == {}
