"""Weight files in and out: released models, ViTDet's pickle, MAE, and what is none of these."""

import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rgbx.backbones.plain_vit import to_official
from rgbx.backbones.weights import Weights
from rgbx.cli.weights import main
from rgbx.errors import RGBXError, WeightsError
from rgbx.models.unirgb_ir import (
    MLAHead,
    MLANeck,
    UniRGBIRBackbone,
    build_backbone,
    export_released,
    load_released,
)
from rgbx.models.unirgb_ir.build import PRESETS
from rgbx.models.unirgb_ir.convert import convert_released
from tests.models.unirgb_ir_vectors import fill, filled, tiny_backbone, wave

State = dict[str, Tensor]
RGB, IR = wave((1, 3, 64, 96), 0.1), wave((1, 1, 64, 96), 0.2)


def preset(**options: object) -> UniRGBIRBackbone:
    """The tiny preset, filled, with running statistics of its own."""
    backbone = fill(UniRGBIRBackbone(**(PRESETS["tiny"] | options)))
    with torch.no_grad():
        for name, buffer in backbone.named_buffers():
            if "running" in name:
                buffer.copy_(wave(tuple(buffer.shape), 0.4, 0.3) + ("_var" in name))
    return backbone


def detector(backbone: UniRGBIRBackbone) -> State:
    """A whole released model around the backbone."""
    inside = {f"backbone.{name}": tensor for name, tensor in export_released(backbone).items()}
    rest = ("neck.fpn1.0.weight", "rpn_head.rpn_conv.bias", "roi_head.bbox_head.0.fc.weight")
    return inside | {name: torch.ones(2) for name in rest}


def save(state: State, folder: Path, name: str = "released.pth") -> Path:
    torch.save({"meta": {"epoch": 3}, "state_dict": state}, folder / name)
    return folder / name


def same(a: nn.Module, b: nn.Module) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


class TestNames:
    """Section 1.7."""

    def test_all_of_them(self) -> None:
        names = set(export_released(tiny_backbone()))
        block = ["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"]
        block += [f"attn.{n}" for n in ("rel_pos_h", "rel_pos_w", "qkv.weight", "qkv.bias")]
        block += [f"attn.proj.{n}" for n in ("weight", "bias")]
        block += [f"mlp.{fc}.{n}" for fc in ("fc1", "fc2") for n in ("weight", "bias")]
        expected = {f"blocks.{i}.{name}" for i in range(8) for name in block}
        expected |= {"pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"}
        expected |= {"adapter_level_embed"}
        norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
        for stem in ("stem_vis", "stem_ir"):
            expected |= {f"adapter_spm.{stem}.{i}.weight" for i in (0, 3, 6)}
            expected |= {f"adapter_spm.{stem}.{i}.{name}" for i in (1, 4, 7) for name in norm}
        fusion = [f"convs_{m}.{g}" for m in ("rgb", "ir") for g in range(4)] + ["fc"]
        both = ("weight", "bias")
        expected |= {f"adapter_spm.mix_fusion.{part}.{name}" for part in fusion for name in both}
        for conv in ("conv2", "conv3", "conv4"):
            expected |= {f"adapter_spm.{conv}.1.{name}" for name in norm}
            expected.add(f"adapter_spm.{conv}.0.weight")
        expected |= {f"adapter_spm.out_{s}.{name}" for s in (8, 16, 32) for name in both}
        parts = ["query_norm", "feat_norm"]
        parts += [
            f"attn.{part}"
            for part in ("sampling_offsets", "attention_weights", "value_proj", "output_proj")
        ]
        for stage in range(4):
            expected |= {f"adapter_stages.{stage}.{p}.{name}" for p in parts for name in both}
            expected.add(f"adapter_stages.{stage}.gamma")
        expected |= {f"adapter_grus.{i}.update_gate.{name}" for i in range(3) for name in both}
        assert names == expected

    def test_a_fused_projection_is_query_key_value(self) -> None:
        backbone = fill(tiny_backbone())
        fused, attention = filled(backbone)["blocks.3.attn.qkv.weight"], backbone.vit.blocks[3].attn
        for part, layer in zip(
            fused.chunk(3), (attention.q, attention.k, attention.v), strict=True
        ):
            assert torch.equal(part, layer.weight)
        fc1 = filled(backbone)["blocks.3.mlp.fc1.weight"]
        assert torch.equal(fc1, backbone.vit.blocks[3].mlp.lin1.weight)

    @pytest.mark.parametrize("prefix", ["", "backbone.", "module.", "module.backbone."])
    def test_round_trip(self, prefix: str) -> None:
        backbone, empty = preset(), UniRGBIRBackbone(**PRESETS["tiny"])
        state = {prefix + name: tensor for name, tensor in export_released(backbone).items()}
        assert load_released(empty, state) == 0
        assert same(backbone, empty)

    def test_other_parts_of_a_model_are_counted(self) -> None:
        backbone, empty = preset(), UniRGBIRBackbone(**PRESETS["tiny"])
        assert load_released(empty, detector(backbone)) == 3
        assert same(backbone, empty)

    def test_neck_and_head(self) -> None:
        parts = {"neck.": MLANeck(24, 8), "decode_head.": MLAHead(8, 4, num_classes=3)}
        backbone = tiny_backbone()
        whole = {f"backbone.{n}": t for n, t in export_released(backbone).items()}
        whole |= {p + n: t for p, part in parts.items() for n, t in filled(part).items()}
        for prefix, part in parts.items():
            inside = len(filled(part))
            assert load_released(part, whole) == len(whole) - inside
            expected = filled(part)
            assert all(torch.equal(p, expected[name]) for name, p in part.named_parameters())
            assert load_released(part, export_released(part)) == 0, prefix


class TestStatistics:
    """BatchNorm's running statistics: all, or none of them."""

    def test_parameters_alone_reset_them(self) -> None:
        backbone = preset()
        load_released(backbone, filled(backbone))
        for name, buffer in backbone.named_buffers():
            assert torch.equal(buffer, torch.full_like(buffer, float("_var" in name))), name

    def test_counters_may_be_absent(self) -> None:
        backbone, empty = preset(), UniRGBIRBackbone(**PRESETS["tiny"])
        state = export_released(backbone)
        load_released(empty, {n: t for n, t in state.items() if "num_batches" not in n})
        assert same(backbone, empty)

    def test_some_of_them_are_not_enough(self) -> None:
        backbone = preset()
        state = export_released(backbone)
        del state["adapter_spm.conv3.1.running_var"]
        with pytest.raises(WeightsError, match=r"1 missing: adapter_spm\.conv3\.1\.running_var$"):
            load_released(backbone, state)


def test_every_fault_is_listed_and_nothing_is_loaded() -> None:
    backbone = preset()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    state = {name: tensor + 1 for name, tensor in export_released(backbone).items()}
    del state["adapter_grus.1.update_gate.bias"]
    del state["blocks.2.attn.qkv.bias"]
    state["adapter_spm.fc.weight"] = torch.zeros(1)
    state["blocks.1.attn.rel_pos_h"] = torch.zeros(127, 32)
    with pytest.raises(WeightsError) as caught:
        load_released(backbone, state, "mine.pth")
    text = str(caught.value)
    assert text.startswith("mine.pth does not fit UniRGBIRBackbone. 2 missing: ")
    for part in (
        "blocks.2.attn.qkv.bias",
        "adapter_grus.1.update_gate.bias",
        "1 unexpected: adapter_spm.fc.weight",
        "1 of another shape: blocks.1.attn.rel_pos_h (127, 32) instead of (15, 32)",
    ):
        assert part in text
    assert all(torch.equal(tensor, before[n]) for n, tensor in backbone.state_dict().items())


class TestBuild:
    """`build_backbone`: the three kinds of files, and none."""

    def test_random_is_announced_and_portable(self) -> None:
        with pytest.warns(
            UserWarning, match="tiny starts from RANDOM weights of the ViT"
        ) as caught:
            first = build_backbone("tiny")
        assert len(caught) == 1
        torch.manual_seed(9)
        second = build_backbone("tiny", img_size=256)
        for name, tensor in first.vit.state_dict().items():
            assert "rel_pos" in name or torch.equal(tensor, second.vit.state_dict()[name])
        assert not any(p.any() for n, p in first.named_parameters() if "rel_pos" in n)
        ring = first.adapter_stages[0].attn.sampling_offsets.bias.view(4, 3, 4, 2)
        assert torch.allclose(ring[1, 0], torch.tensor([[0.0, k] for k in (1, 2, 3, 4)]), atol=1e-6)
        total = sum(p.numel() for p in first.parameters())
        assert 200_000 < total < 700_000

    def test_meta_device_says_nothing(self, recwarn: pytest.WarningsRecorder) -> None:
        with torch.device("meta"):
            backbone = build_backbone("vit_b", img_size=768, num_stages=3)
        assert not [w for w in recwarn if "RANDOM" in str(w.message)]
        assert len(backbone.vit.blocks[2].attn.rel_pos_h) == 95
        assert len(backbone.adapter_grus) == 2

    def test_vitdet_pickle(self, tmp_path: Path) -> None:
        source = preset().vit
        model = {
            f"backbone.net.{n}": t.numpy() for n, t in to_official(source.state_dict()).items()
        }
        model["backbone.simfp_4.0.weight"] = model["proposal_generator.anchor"] = RGB.numpy()
        path = tmp_path / "model_final.pkl"
        path.write_bytes(pickle.dumps({"model": model, "__author__": "someone"}))
        backbone = build_backbone("tiny", Weights(str(path)), img_size=64)
        self.check_plain(backbone, source)
        assert not any(stage.gamma.any() for stage in backbone.adapter_stages)
        plain = backbone.eval().vit(RGB)
        assert torch.equal(backbone(RGB, IR)[3], plain)

    def test_mae(self, tmp_path: Path) -> None:
        source = preset().vit
        state = {n: t for n, t in to_official(source.state_dict()).items() if "rel_pos" not in n}
        state |= {n: torch.zeros(1, 1, 64) for n in ("cls_token", "norm.weight", "norm.bias")}
        torch.save({"model": state}, tmp_path / "mae.pth")
        self.check_plain(build_backbone("tiny", Weights(str(tmp_path / "mae.pth"))), source)

    def check_plain(self, backbone: UniRGBIRBackbone, source: nn.Module) -> None:
        expected = source.state_dict()
        for name, tensor in backbone.vit.state_dict().items():
            assert torch.equal(tensor, 0 * tensor if "rel_pos" in name else expected[name]), name

    def test_released_with_adapters(self, tmp_path: Path) -> None:
        source = preset()
        path = save(detector(source), tmp_path)
        assert same(build_backbone("tiny", Weights(str(path))), source)

    def test_tables_of_another_size_are_resized_as_the_attention_would(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        source = preset()
        path = save(export_released(source), tmp_path)
        with caplog.at_level("INFO"):
            backbone = build_backbone("tiny", Weights(str(path)), img_size=64)
        said = "relative position tables of 15 rows (img_size 128) resized to 7 (img_size 64)."
        assert [r.message for r in caplog.records if said in r.message] == [f"{path}: {said}"]
        for old, new in zip(source.vit.blocks, backbone.vit.blocks, strict=True):
            table = old.attn.rel_pos_w.detach()
            if not old.window:
                table = F.interpolate(table.T[None], size=7, mode="linear")[0].T
            assert torch.equal(new.attn.rel_pos_w, table)
        rgb, ir = wave((1, 3, 64, 64), 0.3), wave((1, 1, 64, 64), 0.5)
        with torch.no_grad():
            maps = zip(source.eval()(rgb, ir), backbone.eval()(rgb, ir), strict=True)
            assert all(torch.allclose(a, b, atol=1e-4) for a, b in maps)

    def test_other_files_are_named(self, tmp_path: Path) -> None:
        state = {f"image_encoder.{n}.weight": torch.zeros(1) for n in range(4)}
        path = save(state | {"mask_decoder.a": torch.zeros(1)}, tmp_path)
        with pytest.raises(WeightsError) as caught:
            build_backbone("tiny", Weights(str(path)))
        assert str(caught.value) == (
            f"{path} holds 5 tensors (image_encoder.*, mask_decoder.*), but UniRGB-IR takes a "
            "ViTDet detector of Detectron2 (backbone.net.*), MAE's ViT-B (patch_embed.*, blocks.*) "
            "or a UniRGB-IR backbone (with adapter_*)."
        )

    @pytest.mark.slow
    def test_a_pickle_of_another_detector(self, tmp_path: Path) -> None:
        path = tmp_path / "R-50.pkl"
        path.write_bytes(pickle.dumps({"stem.conv1.weight": RGB.numpy(), "res2.0": IR.numpy()}))
        with pytest.raises(WeightsError, match=r"R-50\.pkl holds 2 tensors \(stem\.\*, res2\.\*\)"):
            build_backbone("vit_b", Weights(str(path)))

    def test_another_size(self, tmp_path: Path) -> None:
        path = save(export_released(fill(tiny_backbone())), tmp_path)
        with pytest.raises(WeightsError, match=r"width 24 with 8 blocks, but .* 64 and 4"):
            build_backbone("tiny", Weights(str(path)))

    def test_missing_file_and_unknown_encoder(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="weights fetch vitdet_vit_b_coco_cascade"):
            build_backbone("vit_b", Weights(str(tmp_path / "absent.pkl")))
        with pytest.raises(
            RGBXError, match="no UniRGB-IR encoder 'vit_l'; choose from tiny, vit_b"
        ):
            build_backbone("vit_l")


class TestConvert:
    """`rgbx weights convert unirgb_ir`."""

    def test_backbone_of_a_detector(self, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
        source, out = preset(), tmp_path / "backbone.pth"
        released = save(detector(source), tmp_path)
        assert main(["convert", "unirgb_ir", str(released), str(out)]) == 0
        text = " ".join(capsys.readouterr().out.split())
        assert "ViT of width 64 with 4 blocks" in text
        assert f"{len(export_released(source))} tensors" in text
        assert "img_size 128 (another one resizes them). Left out: 3 (neck and heads)" in text
        assert text.endswith(f"weights: path: {out}")
        written = torch.load(out, weights_only=True)
        assert written.keys() == export_released(source).keys()
        assert same(build_backbone("tiny", Weights(str(out))), source)

    def test_the_sheets_backbone_and_parameters_only(self, tmp_path: Path) -> None:
        source, out = fill(tiny_backbone()), tmp_path / "out.pth"
        done = convert_released(save(filled(source), tmp_path), out)
        assert (done.dim, done.depth, done.img_size, done.left_out) == (24, 8, 64, 0)
        again = tiny_backbone()
        assert load_released(again, torch.load(out, weights_only=True)) == 0
        assert same(again, source)

    def test_vit_b(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Shapes alone, of a detector at 1024 pixels."""
        with torch.device("meta"):
            state = detector(UniRGBIRBackbone(img_size=1024))
        monkeypatch.setattr("rgbx.models.unirgb_ir.convert.read_state", lambda _: state)
        written = {}
        monkeypatch.setattr(
            "rgbx.models.unirgb_ir.convert.AtomicCheckpointIO.save_checkpoint",
            lambda _, content, path: written.update(content),
        )
        done = convert_released(Path("x.pth"), tmp_path / "out.pth")
        assert (done.dim, done.depth, done.img_size) == (768, 12, 1024)
        parameters = [t for n, t in written.items() if "running" not in n and "batches" not in n]
        assert sum(t.numel() for t in parameters) == 85_796_352 + 92_672 + 8_904_400

    def test_refusals(self, tmp_path: Path) -> None:
        out = tmp_path / "out.pth"
        mae = to_official(preset().vit.state_dict())
        with pytest.raises(WeightsError, match=r"no released UniRGB-IR .* no adapter_level_embed"):
            convert_released(save(mae, tmp_path), out)
        state = detector(preset())
        del state["backbone.adapter_grus.2.update_gate.bias"]
        with pytest.raises(WeightsError, match=r"1 missing: adapter_grus\.2\.update_gate\.bias"):
            convert_released(save(state, tmp_path), out)
        assert not out.exists()
        out.touch()
        with pytest.raises(WeightsError, match=r"out\.pth exists already"):
            convert_released(save(state, tmp_path), out)
