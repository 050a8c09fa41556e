"""All files or none: wrong results, folders that cannot be written to, files that were there."""

import subprocess
import sys

import onnx
import pytest
import torch

from rgbx.errors import RGBXError
from rgbx.export import export, job, onnx_file
from rgbx.optim.schedules import Constant
from rgbx.tasks import RGBXModule
from rgbx.tasks.export_part import Port
from tests.export.small import FACTS, SIZE, Toy, predict, stored

pytestmark = pytest.mark.slow


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Toy()


def everything(folder):
    return sorted(path.name for path in folder.rglob("*"))


@pytest.mark.parametrize(("kind", "name"), [("onnx", "m.onnx"), ("torch", "m.pt2")])
def test_a_model_without_a_second_modality(model, tmp_path, kind, name):
    model.first.eval()  # modes that differ by part come back as they were
    modes = [module.training for module in model.modules()]
    (found,) = export(model, SIZE, kind, tmp_path / "new" / name, FACTS)
    assert found.path == tmp_path / "new" / name
    assert everything(tmp_path) == sorted([name, "new"])
    assert [module.training for module in model.modules()] == modes
    assert 0 <= found.difference.largest < 1e-5
    assert str(found.part.inputs[0]) == "rgb (batch, 3, 64, 96)"
    rgb = torch.randn(4, 3, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(predict(found.path, rgb=rgb), model.logits(rgb, None))
    assert stored(found.path)["files"] == [name]


def test_pt2_runs_where_rgbx_is_not_installed(model, tmp_path):
    (found,) = export(model, SIZE, "torch", tmp_path / "m.pt2", FACTS)
    rgb = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        torch.save([rgb, model.logits(rgb, None)], tmp_path / "pair.pt")
    code = (
        "import sys; sys.modules['rgbx'] = None\n"
        "import torch\n"
        f"rgb, expected = torch.load({str(tmp_path / 'pair.pt')!r})\n"
        f"found = torch.export.load({str(found.path)!r}).module()(rgb)\n"
        "assert (found - expected).abs().max() < 1e-6\n"
        "print('same', [name for name in sys.modules if name.startswith('rgbx.')])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert run.stdout.strip() == "same []"


class Heights(RGBXModule):
    """A task of its own: one number per pixel."""

    needs_x = True

    def __init__(self):
        super().__init__(torch.optim.SGD, Constant())
        self.layer = torch.nn.Conv2d(6, 1, 3, padding=1)

    def forward(self, rgb, x):
        return self.layer(torch.cat([rgb, x], dim=1))


def test_a_task_of_ones_own_says_what_it_returns(tmp_path, monkeypatch):
    model = Heights()
    assert model.raw_output(model.dummy_inputs(SIZE, 2)).shape == (2, 1, *SIZE)
    with pytest.raises(RGBXError, match="Heights needs a second modality"):
        model.raw_output({"rgb": torch.zeros(1, 3, *SIZE)})
    with pytest.raises(RGBXError, match="Heights cannot be exported"):
        export(model, SIZE, "torch", tmp_path / "m.pt2", FACTS)
    port = Port("metres", ("batch", 1, *SIZE), "above the ground")
    monkeypatch.setattr(Heights, "output_port", lambda self, size: port)
    (found,) = export(model, SIZE, "torch", tmp_path / "m.pt2", FACTS)
    said = stored(found.path)
    assert (said["task"], list(said["inputs"])) == ("custom", ["rgb", "x"])
    assert said["outputs"] == {"metres": port.describe()}


def test_opset(model, tmp_path):
    (found,) = export(model, SIZE, "onnx", tmp_path / "m.onnx", FACTS, opset=20)
    versions = {entry.domain: entry.version for entry in onnx.load(found.path).opset_import}
    assert versions[""] == 20


@pytest.mark.parametrize(("opset", "what"), [(11, "old"), (17, "old"), (24, "new")])
def test_opsets_that_there_are_not(model, tmp_path, opset, what):
    with pytest.raises(RGBXError, match=f"opset {opset} is too {what}: give --opset 18 to 23"):
        export(model, SIZE, "onnx", tmp_path / "m.onnx", FACTS, opset)
    assert everything(tmp_path) == []


def test_a_wrong_result_leaves_no_file_and_the_earlier_one(model, tmp_path, monkeypatch):
    read = job.read_torch
    monkeypatch.setattr(job, "read_torch", lambda path: lambda rgb: read(path)(rgb) + 3e-4)
    with pytest.raises(
        RGBXError, match=r"differs from the model by 0\.0003 with batch 1, more than "
    ):
        export(model, SIZE, "torch", tmp_path / "m.pt2", FACTS)
    assert everything(tmp_path) == []
    (tmp_path / "m.pt2").write_text("earlier")
    with pytest.raises(RGBXError, match="nothing was written"):
        export(model, SIZE, "torch", tmp_path / "m.pt2", FACTS)
    assert everything(tmp_path) == ["m.pt2"]
    assert (tmp_path / "m.pt2").read_text() == "earlier"


def test_numbers_that_are_none_and_shapes_that_differ(model, tmp_path, monkeypatch):
    monkeypatch.setattr(job, "read_torch", lambda path: lambda rgb: rgb[:, :1] * float("nan"))
    with pytest.raises(RGBXError, match="differs from the model by nan"):
        export(model, SIZE, "torch", tmp_path / "m.pt2", FACTS)
    monkeypatch.setattr(job, "read_torch", lambda path: lambda rgb: rgb)
    with pytest.raises(RGBXError, match=r"returns \(1, 3, 64, 96\) with batch 1, but it should"):
        export(model, SIZE, "torch", tmp_path / "m.pt2", FACTS)
    assert everything(tmp_path) == []


def test_a_disk_that_is_full(model, tmp_path, monkeypatch):
    def half(program, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job, "write_torch", half)
    with pytest.raises(RGBXError, match=r"Could not write m\.pt2: .*No space left on device"):
        export(model, SIZE, "torch", tmp_path / "m.pt2", FACTS)
    assert everything(tmp_path) == []


def test_a_folder_that_cannot_be_written_to(model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RGBXError, match=r"file cannot be written to"):
        export(model, SIZE, "torch", tmp_path / "file" / "m.pt2", FACTS)


def test_weights_of_an_earlier_large_file_are_removed(model, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "_ONE_FILE", 0)
    (found,) = export(model, SIZE, "onnx", tmp_path / "m.onnx", FACTS)
    assert everything(tmp_path) == ["m.onnx", "m.onnx.data"]
    rgb = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(predict(found.path, rgb=rgb), model.logits(rgb, None))
    monkeypatch.undo()
    export(model, SIZE, "onnx", tmp_path / "m.onnx", FACTS)
    assert everything(tmp_path) == ["m.onnx"]


def test_what_no_graph_can_express(model, tmp_path, monkeypatch):
    monkeypatch.setattr(Toy, "logits", lambda self, rgb, x: self.last(self.first(rgb)) * len(rgb))
    with pytest.raises(RGBXError, match="PyTorch cannot make a graph of this model's forward pass"):
        export(model, SIZE, "torch", tmp_path / "m.pt2", FACTS)
    monkeypatch.setattr(Toy, "logits", lambda self, rgb, x: torch.fft.fft2(rgb).real[:, :1])
    found = export(model, SIZE, "torch", tmp_path / "m.pt2", FACTS)
    assert found[0].difference.share < 1e-6
    monkeypatch.setattr(
        Toy, "logits", lambda self, rgb, x: torch.special.i1(self.last(self.first(rgb)))
    )
    with pytest.raises(RGBXError, match="ONNX cannot express this model: "):
        export(model, SIZE, "onnx", tmp_path / "m.onnx", FACTS)
    assert everything(tmp_path) == ["m.pt2"]
