"""Counted operations against closed formulas and the papers' numbers; memory and time."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch
from torch import nn

from rgbx.backbones.sam import build_sam
from rgbx.models import SAMSOD, UniRGBIRSaliency
from rgbx.models.unirgb_ir.build import build_backbone
from rgbx.profile.costs import count_operations, measure_passes
from tests.profile.passes import peak_of_passes

CPU = torch.device("cpu")


def on_meta(build, *sizes, **options):
    """Count one pass of a network over images (3, H, W), nothing computed."""
    with torch.device("meta"):
        network = build(**options).eval()
        images = [torch.empty(1, 3, *size) for size in sizes]
        return network, count_operations(lambda: network(*images))


def vit_b_macs(side: int) -> dict[str, int]:
    """SAM's ViT-B by hand: 12 blocks of width 768, 12 heads of 64, four blocks global."""
    h = side // 16
    tokens, dim, window = h * h, 768, 14
    windows = (-(-h // window)) ** 2
    padded = windows * window**2
    linear = 8 * (4 * padded + 8 * tokens) * dim**2 + 4 * 12 * tokens * dim**2
    attended = 8 * 2 * padded * window**2 * dim + 4 * 2 * tokens**2 * dim
    relative = 8 * padded * 2 * window * dim + 4 * tokens * 2 * h * dim
    convolved = tokens * dim * 3 * 16**2 + tokens * 256 * (dim + 9 * 256)
    return {"linear": linear, "products": attended + relative, "convolutions": convolved}


@pytest.mark.slow
@pytest.mark.parametrize("side", [1024, 448])
def test_sams_vit_b_is_counted_by_its_formula(side):
    _, found = on_meta(lambda: build_sam("vit_b").image_encoder, (side, side))
    expected = vit_b_macs(side)
    assert {kind: getattr(found, kind) // 2 for kind in expected} == expected
    assert found.macs == sum(expected.values()) and found.flops == 2 * found.macs
    assert found.sampling == 0
    if side == 1024:
        assert round(found.macs / 1e9) == 486


@pytest.mark.slow
@pytest.mark.parametrize("size", [(128, 128), (96, 160)])
def test_own_gradient_functions_hide_nothing(size):
    """The same count where attention is computed in chunks as where it is only written down."""
    _, expected = on_meta(lambda: build_sam("tiny").image_encoder, size)
    encoder = build_sam("tiny").image_encoder
    assert count_operations(lambda: encoder(torch.zeros(1, 3, *size))) == expected
    _, expected = on_meta(lambda: build_backbone("tiny"), size, size)
    backbone = build_backbone("tiny").eval()
    images = torch.zeros(1, 3, *size)
    assert count_operations(lambda: backbone(images, images)) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "gflops"), [((512, 512), 267), ((480, 640), 303), ((768, 768), 603)]
)
def test_unirgb_irs_backbone_is_counted_as_in_its_sheet(size, gflops):
    """Measured on the authors' code: matrix products and convolutions, 2 x MAC, without reads."""
    build = lambda: build_backbone("vit_b", img_size=size[0] // 16 * 16)  # noqa: E731
    _, found = on_meta(build, size, size)
    assert round((found.flops - found.sampling) / 1e9) == gflops
    queries = size[0] * size[1] // 256
    # 4 stages, 12 heads, 3 levels x 4 points, 4 cells of 32 channels
    assert found.sampling == 2 * 4 * queries * 12 * 12 * 4 * 32


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "millions", "gflops"), [("hiera_l", "224.1", 418.0), ("hiera_t", "32.7", 60.4)]
)
def test_samsod_costs_what_its_table_1_says(encoder, millions, gflops):
    """Its FLOPs are MAC without the products inside attention, and some small layers more."""
    model, found = on_meta(lambda: SAMSOD(encoder=encoder), (512, 512), (512, 512))
    total = sum(model.parameters_by_part().values()) / 1e6
    assert abs(total - float(millions)) < 0.06
    layers = (found.convolutions + found.linear) / 2e9
    assert layers == pytest.approx(gflops, rel=0.035) and layers < gflops
    assert found.macs / 1e9 > 1.05 * gflops


@pytest.mark.parametrize("model", [SAMSOD, UniRGBIRSaliency])
def test_parts_sum_up_to_all_parameters(model):
    with torch.device("meta"):
        network = model(encoder="tiny")
    parts = network.parameters_by_part()
    assert sum(parts.values()) == sum(p.numel() for p in network.parameters())
    frozen = sum(p.numel() for p in network.parameters() if not p.requires_grad)
    assert parts["frozen"] == frozen > 0
    assert "other" not in parts and all(parts.values())


def test_what_belongs_to_no_part_is_other():
    with torch.device("meta"):
        network = SAMSOD(encoder="tiny")
        network.extra = nn.Linear(3, 4)
    assert network.parameters_by_part()["other"] == 16


def test_autocast_passes_on_the_meta_device_while_counting_only():
    real = torch.autocast
    layer = nn.Linear(8, 4, device="meta")

    def run():
        with torch.autocast("meta", enabled=False), torch.autocast("cpu", enabled=False):
            return layer(torch.empty(2, 8, device="meta"))

    assert count_operations(run).macs == 64
    assert torch.autocast is real
    with pytest.raises(RuntimeError):
        run()


def test_grouped_and_transposed_convolutions_and_grid_sampling():
    with torch.device("meta"):
        grouped = nn.Conv2d(8, 16, 3, padding=1, groups=4)
        back = nn.ConvTranspose2d(16, 4, 2, stride=2)
        grid = torch.empty(1, 5, 7, 2)

        def run():
            maps = back(grouped(torch.empty(1, 8, 10, 12)))
            return nn.functional.grid_sample(maps, grid, align_corners=False)

        found = count_operations(run)
    assert found.convolutions == 2 * (10 * 12 * 16 * 2 * 9 + 10 * 12 * 16 * 4 * 4)
    assert found.sampling == 2 * 4 * 5 * 7 * 4
    assert found.linear == found.products == 0


@pytest.mark.slow
def test_passes_are_timed_and_their_peak_is_their_own():
    # a worker of the suite holds freed pages of earlier tests, so that nothing would have to grow
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        growth, calls, passes = pool.submit(peak_of_passes, 64).result()
    assert (calls, passes) == (5, 4)
    assert 60 * 2**20 < growth < 160 * 2**20


def test_quick_passes_are_repeated_more_often():
    assert len(measure_passes(lambda: None, CPU).seconds) == 50
