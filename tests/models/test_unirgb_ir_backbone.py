"""The backbone against the sheet's vectors and counts, and its structural facts."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from rgbx.blocks.deformable import reference_points
from rgbx.checkpoints.trained import frozen_keys
from rgbx.errors import RGBXError
from rgbx.models.unirgb_ir import UniRGBIRBackbone
from rgbx.models.unirgb_ir.feature_pool import FeaturePool, MixFusion
from rgbx.models.unirgb_ir.injector import Injector, UpdateGate
from tests.models.unirgb_ir_vectors import check, fill, seed, tiny_backbone, wave

RGB, IR = wave((1, 3, 64, 96), 0.1), wave((1, 1, 64, 96), 0.2)


@pytest.fixture
def no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def count(module: nn.Module, part: str = "", trained: bool = False) -> int:
    return sum(
        p.numel()
        for name, p in module.named_parameters()
        if part in name and (p.requires_grad or not trained)
    )


@pytest.mark.usefixtures("no_grad")
class TestVectors:
    """Section 8; TV1 and TV2 belong to the deformable attention, the neck and head to theirs."""

    def test_seeds(self) -> None:
        names = ("pos_embed", "patch_embed.proj.weight", "blocks.0.attn.rel_pos_h", "gamma")
        assert [round(seed(name), 2) for name in names] == [9.42, 3.15, 2.18, 5.15]

    def test_tv3_mix_fusion(self) -> None:
        shape = (2, 8, 10, 12)
        found = fill(MixFusion(8))(wave(shape, 0.1), wave(shape, 0.2))
        assert found.shape == shape
        first, last = [-0.334224, -0.153093, 0.048861, 0.146907], [-0.437562, 0.331589]
        check(found, -296.576303, 0.381151, first, last)

    def test_tv4_feature_pool(self) -> None:
        levels = fill(FeaturePool(8, 24))(RGB, wave((1, 3, 64, 96), 0.2))
        assert [level.shape for level in levels] == [(1, 24, 8, 12), (1, 24, 4, 6), (1, 24, 2, 3)]
        rows = [
            (-50.834846, 0.186957, [-0.319121, -0.251646, 0.050321, 0.047484]),
            (11.033573, 0.509976, [0.307289, 0.504273, -0.783925, 1.600662]),
            (41.006769, 5.927819, [7.411454, -11.010721, 13.233599, -12.610712]),
        ]
        lasts = ([-0.034377, 0.100633], [-0.013217, -0.185261], [-1.074357, 0.481391])
        for level, row, last in zip(levels, rows, lasts, strict=True):
            check(level.flatten(2).transpose(1, 2), *row, last)

    def test_tv5_gate(self) -> None:
        found = fill(UpdateGate(6))(wave((2, 7, 6), 0.1), wave((2, 7, 6), 0.4))
        first, last = [0.243139, 0.801484, 0.986807, 0.715356], [0.877697, 0.962700]
        check(found, 2.201263, 0.629739, first, last)

    def test_tv6_injector_with_gate(self) -> None:
        injector, gate = fill(Injector(24, heads=6)), fill(UpdateGate(24))
        tokens, previous = wave((2, 24, 24), 0.5), wave((2, 24, 24), 0.6)
        levels, pool = [(8, 12), (4, 6), (2, 3)], wave((2, 126, 24), 0.9)
        new = injector(tokens, reference_points(4, 6), pool, levels)
        first, last = [0.745622, 1.395483, 1.348905, 0.693564], [1.407935, 1.357578]
        check(tokens + gate(new, previous), -8.352739, 0.950979, first, last)

    def test_tv7_tiny_backbone(self) -> None:
        backbone = fill(tiny_backbone())
        maps = backbone(RGB, IR)
        assert [m.shape for m in maps] == [(1, 24, 4, 6)] * 4
        first, last = [-6.415732, 14.715061, 15.304362, -5.724050], [13.160180, -6.927059]
        check(maps[0], -47.5572, 10.650480, first, last)

    def test_tv8_without_injection(self) -> None:
        backbone = fill(tiny_backbone())
        for stage in backbone.adapter_stages:
            stage.gamma.zero_()
        found = backbone(RGB, IR)[3]
        first, last = [-1.863982, 19.227070, 19.803127, -1.216526], [10.980290, -9.084182]
        check(found, -92.6317, 11.581225, first, last)
        assert torch.equal(found, backbone.vit(RGB))

    def test_three_channels_of_ir_are_taken_as_they_are(self) -> None:
        backbone = fill(tiny_backbone())
        one, three = backbone(RGB, IR), backbone(RGB, IR.repeat(1, 3, 1, 1))
        assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))
        coloured = torch.cat([IR, IR.flip(3), IR.flip(2)], dim=1)
        assert (backbone(RGB, coloured)[0] - one[0]).abs().max() > 1e-3


class TestCounts:
    """Section 2, exactly."""

    @pytest.mark.parametrize(
        ("size", "tables"),
        [(1024, 92672), (768, 76288), (640, 68096), (512, 59904), (416, 53760), (384, 51712)],
    )
    def test_vit_b(self, size: int, tables: int) -> None:
        with torch.device("meta"):
            backbone = UniRGBIRBackbone(img_size=size)
        assert count(backbone, "rel_pos") == tables
        assert count(backbone, "adapter") == 8_904_400
        assert count(backbone) == 85_796_352 + tables + 8_904_400
        assert count(backbone, trained=True) == tables + 8_904_400
        if size == 512:
            assert (count(backbone), count(backbone, trained=True)) == (94_760_656, 8_964_304)

    def test_parts(self) -> None:
        with torch.device("meta"):
            backbone = UniRGBIRBackbone()
        vit, pool = backbone.vit, backbone.adapter_spm
        assert count(vit.patch_embed) == 590_592
        assert vit.pos_embed.numel() == 151_296
        assert count(vit.blocks) - count(vit.blocks, "rel_pos") == 85_054_464
        assert [count(pool, part) for part in ("stem_vis", "stem_ir", "mix_fusion")] == [
            75_840,
            75_840,
            47_504,
        ]
        assert [count(pool, f"conv{n}.") for n in (2, 3, 4)] == [73_984, 295_424, 590_336]
        assert [count(pool, f"out_{n}.") for n in (8, 16, 32)] == [99_072, 197_376, 197_376]
        assert backbone.adapter_level_embed.numel() == 2_304
        assert [count(stage) for stage in backbone.adapter_stages] == [927_024] * 4
        assert [count(gate) for gate in backbone.adapter_grus] == [1_180_416] * 3

    def test_tiny(self) -> None:
        backbone = tiny_backbone()
        assert (count(backbone), count(backbone, trained=True)) == (125_790, 49_422)

    @pytest.mark.parametrize("tables", [True, False])
    def test_trained_names(self, tables: bool) -> None:
        backbone = tiny_backbone(train_rel_pos=tables)
        trained = {name for name, p in backbone.named_parameters() if p.requires_grad}
        kinds = ("adapter", "rel_pos") if tables else ("adapter",)
        assert trained == {
            name for name, _ in backbone.named_parameters() if any(kind in name for kind in kinds)
        }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((512, 512), (32, 32)),
        ((480, 640), (30, 40)),
        ((416, 416), (26, 26)),
        ((768, 768), (48, 48)),
        ((720, 1280), (45, 80)),
        ((400, 720), (25, 45)),
        ((401, 333), (26, 21)),
    ],
)
def test_shapes_of_vit_b(size: tuple[int, int], grid: tuple[int, int]) -> None:
    """Section 1.6, and sizes that the original refuses; on the meta device."""
    with torch.device("meta"):
        backbone = UniRGBIRBackbone(img_size=512).eval()
        maps = backbone(torch.empty(2, 3, *size), torch.empty(2, 1, *size))
    assert [m.shape for m in maps] == [(2, 768, *grid)] * 4


@pytest.mark.parametrize(
    ("size", "levels"),
    [
        ((64, 96), [(8, 12), (4, 6), (2, 3)]),
        ((80, 48), [(10, 6), (5, 3), (3, 2)]),
        ((50, 33), [(8, 6), (4, 3), (2, 2)]),
    ],
)
@pytest.mark.usefixtures("no_grad")
def test_levels_have_the_maps_own_sizes(size, levels) -> None:
    backbone, seen = fill(tiny_backbone()), []
    stage = backbone.adapter_stages[2]
    stage.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    maps = backbone(wave((1, 3, *size), 0.1), wave((1, 1, *size), 0.2))
    tokens, reference, pool, sizes = seen[0]
    assert sizes == levels
    assert pool.shape == (1, sum(h * w for h, w in levels), 24)
    assert len(reference) == tokens.shape[1] == maps[0].shape[2] * maps[0].shape[3]
    assert all(torch.isfinite(m).all() for m in maps)


@pytest.mark.usefixtures("no_grad")
def test_other_sizes_are_filled_up_with_zeros() -> None:
    backbone = fill(tiny_backbone())
    rgb, ir = torch.randn(2, 3, 50, 75), torch.randn(2, 1, 50, 75)
    padded = [torch.zeros(2, c, 64, 80) for c in (3, 1)]
    for image, frame in zip((rgb, ir), padded, strict=True):
        frame[:, :, :50, :75] = image
    for a, b in zip(backbone(rgb, ir), backbone(*padded), strict=True):
        assert torch.equal(a, b)


@pytest.mark.usefixtures("no_grad")
def test_the_second_camera_counts_as_soon_as_gamma_moves() -> None:
    torch.manual_seed(0)
    backbone = tiny_backbone().eval()
    backbone.vit.load_state_dict(fill(tiny_backbone()).vit.state_dict())
    others = [IR, 0 * IR, torch.randn(1, 3, 64, 96)]
    plain = backbone.vit(RGB)
    assert all(torch.equal(backbone(RGB, ir)[3], plain) for ir in others)
    for stage in backbone.adapter_stages:
        stage.gamma.fill_(0.1)
    found = [backbone(RGB, ir)[3] for ir in others]
    assert min(float((found[0] - other).abs().max()) for other in found[1:]) > 1e-3


@pytest.mark.usefixtures("no_grad")
def test_main_modality_swaps_the_vits_input_alone() -> None:
    seen: list[tuple[Tensor, ...]] = []
    maps = []
    for modality in ("rgb", "ir"):
        backbone = fill(tiny_backbone(main_modality=modality))
        backbone.adapter_spm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
        backbone.vit.patch_embed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
        maps.append(backbone(RGB, IR))
    rgb, ir = RGB, IR.expand(-1, 3, -1, -1)
    expected = [(rgb,), (rgb, ir), (ir,), (rgb, ir)]
    assert all(map(torch.equal, sum(seen, ()), sum(expected, ())))
    assert (maps[0][0] - maps[1][0]).abs().max() > 0.1
    for stage in backbone.adapter_stages:
        stage.gamma.zero_()
    assert torch.equal(backbone(RGB, IR)[3], backbone.vit(ir))


def test_initial_values() -> None:
    torch.manual_seed(0)
    backbone = UniRGBIRBackbone(depth=2, num_stages=2, global_blocks=(1,), img_size=64)
    for stage in backbone.adapter_stages:
        ring = stage.attn.sampling_offsets.bias.view(12, 3, 4, 2)
        expected = torch.tensor([[1, 0.57735], [2, 1.1547], [3, 1.73205], [4, 2.3094]])
        assert torch.allclose(ring[1], expected.expand(3, 4, 2), atol=1e-5)
        assert not stage.attn.sampling_offsets.weight.any()
        assert not stage.attn.attention_weights.weight.any()
        assert not stage.attn.attention_weights.bias.any()
        assert not stage.gamma.any()
    pool = backbone.adapter_spm
    for conv in (m for m in pool.modules() if isinstance(m, nn.Conv2d)):
        fan_out = conv.kernel_size[0] ** 2 * conv.out_channels
        assert float(conv.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
        assert conv.bias is None or not conv.bias.any()
    assert float(backbone.adapter_level_embed.detach().std()) == pytest.approx(1, rel=0.1)
    gate = backbone.adapter_grus[0].update_gate
    assert 0.0254 < float(gate.weight.detach().abs().max()) <= 1536**-0.5
    assert not any(p.any() for n, p in backbone.named_parameters() if "rel_pos" in n)


@pytest.mark.usefixtures("no_grad")
def test_autocast_stays_close() -> None:
    backbone = fill(tiny_backbone())
    exact = backbone(RGB, IR)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = backbone(RGB, IR)
    for a, b in zip(rough, exact, strict=True):
        assert (a.float() - b).abs().max() < 0.05 * b.abs().max()


class TestTraining:
    """What moves, what stays, and when."""

    def steps(self, backbone: UniRGBIRBackbone, number: int) -> list[set[str]]:
        """Names with a gradient that is not all zero, for every step."""
        trained = {n: p for n, p in backbone.named_parameters() if p.requires_grad}
        optimizer = torch.optim.SGD(trained.values(), lr=0.01)
        generator = torch.Generator().manual_seed(0)
        moved = []
        for _ in range(number):
            rgb = torch.randn(4, 3, 64, 96, generator=generator)
            ir = torch.randn(4, 1, 64, 96, generator=generator)
            slope = torch.randn(4, 24, 4, 6, generator=generator)
            optimizer.zero_grad()
            sum((m * slope).sum() for m in backbone.train()(rgb, ir)).backward()
            assert all(p.grad is not None for p in trained.values())
            moved.append({n for n, p in trained.items() if p.grad.any()})
            optimizer.step()
        return moved

    def started(self, **options: object) -> UniRGBIRBackbone:
        """Untrained adapters on a filled ViT whose tables are zero, as after loading."""
        torch.manual_seed(0)
        backbone, source = tiny_backbone(**options), fill(tiny_backbone()).vit.state_dict()
        tables = {n: 0 * t if "rel_pos" in n else t for n, t in source.items()}
        backbone.vit.load_state_dict(tables)
        return backbone

    def test_gradients_reach_gamma_first_and_everything_by_the_third_step(self) -> None:
        backbone = self.started(drop_path=0.0)
        moved = self.steps(backbone, 3)
        trained = {n for n, p in backbone.named_parameters() if p.requires_grad}
        assert moved[0] == {n for n in trained if n.endswith(".gamma") or "rel_pos" in n}
        assert moved[2] == trained

    @pytest.mark.parametrize("tables", [True, False])
    def test_the_frozen_part_stays_bit_for_bit(self, tables: bool) -> None:
        backbone = self.started(train_rel_pos=tables)
        before = {name: t.clone() for name, t in backbone.state_dict().items()}
        self.steps(backbone, 1)
        after = backbone.state_dict()
        frozen = frozen_keys(backbone)
        assert len(frozen) == (131 if tables else 147)
        assert all(torch.equal(after[name], before[name]) for name in frozen)
        changed = {name for name in after if not torch.equal(after[name], before[name])}
        assert {name for name in changed if "vit." in name} == {
            name for name in after if "rel_pos" in name and tables
        }
        assert {f"adapter_stages.{i}.gamma" for i in range(4)} <= changed

    @pytest.mark.parametrize("tables", [True, False])
    def test_checkpoints_hold_tables_and_statistics(self, tables: bool) -> None:
        backbone = tiny_backbone(train_rel_pos=tables)
        kept = set(backbone.state_dict()) - frozen_keys(backbone)
        assert kept == {
            name
            for name in backbone.state_dict()
            if name.startswith("adapter_") or ("rel_pos" in name and tables)
        }
        assert "adapter_spm.stem_ir.4.running_var" in kept

    def test_stochastic_depth_though_the_vit_is_frozen(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backbone, rates = fill(tiny_backbone(drop_path=0.35)), []
        run = backbone.vit.run_block
        monkeypatch.setattr(
            backbone.vit, "run_block", lambda b, x, drop: (rates.append(drop), run(b, x, drop))[1]
        )
        evaluated = [backbone(RGB, IR)[3] for _ in range(2)]
        assert rates == [0.0] * 16
        assert torch.equal(*evaluated)
        rates.clear()
        backbone.train()
        assert not any(part.training for part in backbone.vit.modules())
        torch.manual_seed(0)
        trained = [backbone(RGB, IR)[3] for _ in range(8)]
        assert rates[:8] == pytest.approx([0.05 * index for index in range(8)])
        assert any(not torch.equal(trained[0], other) for other in trained[1:])

    def test_checkpointed_blocks_give_the_same_gradients(self) -> None:
        gradients = []
        for checkpoint in (False, True):
            backbone = fill(tiny_backbone(checkpoint_blocks=checkpoint)).train()
            torch.manual_seed(5)
            backbone(RGB, IR)[3].square().mean().backward()
            gradients.append({n: p.grad for n, p in backbone.named_parameters() if p.requires_grad})
        assert all(torch.equal(gradients[1][name], grad) for name, grad in gradients[0].items())

    def test_groups_instead_of_batches(self) -> None:
        backbone = fill(tiny_backbone(norm="gn", drop_path=0.0)).train()
        assert not [n for n, _ in backbone.named_buffers() if "running" in n]
        maps = backbone(RGB, IR)
        assert maps[0].shape == (1, 24, 4, 6)
        alone = backbone(torch.cat([RGB, 1 - RGB]), torch.cat([IR, IR]))
        assert torch.allclose(alone[0][:1], maps[0], atol=1e-5)
        with pytest.raises(RGBXError, match=r"norm.*gn"):
            tiny_backbone().train()(torch.randn(1, 3, 32, 32), torch.randn(1, 1, 32, 32))


@pytest.mark.parametrize(("stages", "runs"), [(1, [8]), (3, [2, 3, 3]), (8, [1] * 8)])
def test_any_number_of_stages(stages: int, runs: list[int]) -> None:
    backbone = tiny_backbone(num_stages=stages)
    assert [len(blocks) for blocks in backbone.stages] == runs
    assert [i for blocks in backbone.stages for i in blocks] == list(range(8))
    assert len(backbone.adapter_grus) == stages - 1
    assert len(backbone(RGB, IR)) == stages


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("num_stages", 9, "num_stages is 9 but the ViT has 8 blocks: give 1 to 8."),
        ("num_stages", 0, "num_stages is 0 but the ViT has 8 blocks"),
        ("main_modality", "depth", "the ViT sees rgb or ir"),
        ("norm", "ln", "choose bn or gn"),
        ("img_size", 100, "img_size is 100 but must be a multiple of 16."),
        ("drop_path", 1.0, "drop_path is 1 but must be at least 0 and below 1."),
        ("conv_dim", 6, "conv_dim is 6 but must be a multiple of 4."),
    ],
)
def test_bad_options(option: str, value: float, message: str) -> None:
    with pytest.raises(RGBXError, match=message):
        tiny_backbone(**{option: value})
