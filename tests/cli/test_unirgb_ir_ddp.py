"""UniRGB-IR on two processes: no idle parameters, and the same result as one process."""

import pytest

from rgbx.models import UniRGBIRSemantic
from tests.cli.test_ddp import fit

pytestmark = pytest.mark.slow

COMMON = ["--trainer.max_steps", "-1", "--trainer.max_epochs", "2"]
COMMON += ["--trainer.check_val_every_n_epoch", "1"]


def test_two_processes_equal_one_on_the_same_global_batch(mfnet_root, tmp_path):
    """With GroupNorm, which knows no batch, and without draws that each rank makes on its own."""
    config = "unirgb_ir_mfnet.yaml"
    common = [*COMMON, "--trainer.precision", "64-true", "--model.norm", "gn"]
    common += ["--model.drop_path", "0"]
    one = fit(tmp_path / "one", mfnet_root, *common, "--data.batch_size", "4", config=config)
    common += ["--data.batch_size", "2"]
    two = fit(tmp_path / "two", mfnet_root, *common, config=config, processes=2)
    assert one["global_step"] == two["global_step"] == 4
    assert one["state_dict"].keys() == two["state_dict"].keys()
    worst = max((one["state_dict"][k] - v).abs().max() for k, v in two["state_dict"].items())
    print(f"largest difference {worst:.2e}")
    assert worst < 1e-6
    with pytest.warns(UserWarning, match="RANDOM"):
        start = UniRGBIRSemantic(encoder="tiny", norm="gn").state_dict()
    gammas = [name for name in one["state_dict"] if name.endswith(".gamma")]
    assert len(gammas) == 4
    assert all((one["state_dict"][name] - start[name]).abs().max() > 1e-6 for name in gammas)


def test_batch_norm_and_drop_path_on_two_processes(vt5000_root, tmp_path):
    extra = [*COMMON, "--trainer.accumulate_grad_batches", "1"]
    config = "unirgb_ir_vt5000.yaml"
    two = fit(tmp_path / "two", vt5000_root, *extra, config=config, processes=2)
    assert two["global_step"] > 0
    name = "network.backbone.adapter_spm.stem_vis.1.running_mean"
    assert two["state_dict"][name].abs().max() > 0
