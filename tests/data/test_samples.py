import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from rgbx.data import MFNet, RGBXDataModule, collate
from rgbx.errors import DataError, RGBXError


def module(root, **options):
    return MFNet(str(root), **{"size": (32, 48), "num_workers": 0, "batch_size": 3, **options})


def equal(a, b):
    assert a.keys() == b.keys()
    for key, value in a.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, b[key]), key
        else:
            assert value == b[key], key


def test_train_batch_follows_the_contract(mfnet_root):
    data = module(mfnet_root)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["rgb"].shape == batch["x"].shape == (3, 3, 32, 48)
    assert batch["rgb"].dtype == batch["x"].dtype == torch.float32
    assert batch["mask"].shape == (3, 32, 48) and batch["mask"].dtype == torch.int64
    assert set(batch["mask"].unique().tolist()) <= {*range(9), 255}
    assert torch.equal(batch["x"][:, 0], batch["x"][:, 1])
    assert torch.equal(batch["x"][:, 0], batch["x"][:, 2])
    assert batch["size"] == [(64, 96)] * 3
    for name, subset, path in zip(batch["name"], batch["subset"], batch["path"], strict=True):
        assert subset == {"D": "day", "N": "night"}[name[-1]]
        assert path == str(mfnet_root / "images" / f"{name}.png")


def test_val_masks_at_network_size_test_masks_original_predict_none(mfnet_root):
    data = module(mfnet_root, eval_batch_size=2)
    for stage in ("validate", "test", "predict"):
        data.setup(stage)
    assert next(iter(data.val_dataloader()))["mask"].shape == (2, 32, 48)
    test = next(iter(data.test_dataloader()))
    stored = np.asarray(Image.open(mfnet_root / "labels" / f"{test['name'][0]}.png"))
    assert np.array_equal(test["mask"][0].numpy(), stored)
    names = [name for batch in data.predict_dataloader() for name in batch["name"]]
    assert len(names) == 16 and "mask" not in next(iter(data.predict_dataloader()))


def test_normalisation_of_the_fourth_channel(mfnet_root):
    data = module(mfnet_root, size=(64, 96))
    data.setup("test")
    sample = data._sets["test"][0]
    stored = np.asarray(Image.open(sample["path"]))
    expected = (stored[..., 3] / 255 - data.x_mean) / data.x_std
    np.testing.assert_allclose(sample["x"][0].numpy(), expected, atol=1e-4)
    red = (stored[..., 0] / 255 - 0.485) / 0.229
    np.testing.assert_allclose(sample["rgb"][0].numpy(), red, atol=1e-4)


def test_same_seed_same_bits_whatever_the_order_of_reads(mfnet_root):
    data = module(mfnet_root)
    data.setup("fit")
    dataset = data._sets["train"]
    first = {key: dataset[key] for key in [(0, 11), (1, 12), (0, 13)]}
    for key in [(0, 13), (0, 11), (1, 12)]:
        equal(first[key], dataset[key])
    assert not torch.equal(first[0, 11]["rgb"], first[0, 13]["rgb"])
    equal(dataset[2], dataset[2])


def test_workers_do_not_change_the_batches(mfnet_root):
    runs = []
    for workers in (0, 2):
        data = module(mfnet_root, num_workers=workers)
        data.setup("fit")
        runs.append(list(data.train_dataloader()))
    assert len(runs[0]) == 2
    for a, b in zip(*runs, strict=True):
        equal(a, b)


def test_short_last_batch_is_dropped_unless_it_is_the_only_one(mfnet_root):
    for batch_size, sizes in ((3, [3, 3]), (8, [8]), (20, [8])):
        data = module(mfnet_root, batch_size=batch_size)
        data.setup("fit")
        assert [len(batch["name"]) for batch in data.train_dataloader()] == sizes


@pytest.mark.parametrize(("blank", "other"), [("rgb", "x"), ("x", "rgb")])
def test_blank_modality_is_zero_in_every_split(mfnet_root, blank, other):
    data = module(mfnet_root, blank=blank)
    for stage in ("fit", "test", "predict"):
        data.setup(stage)
    loaders = (
        data.train_dataloader,
        data.val_dataloader,
        data.test_dataloader,
        data.predict_dataloader,
    )
    for loader in loaders:
        batch = next(iter(loader()))
        assert not batch[blank].any() and batch[other].any()


def test_collate_lists_masks_of_different_sizes():
    sample = {"rgb": torch.zeros(3, 4, 4), "name": "a", "subset": "", "size": (4, 4), "path": "a"}
    masks = [torch.zeros(5, 6, dtype=torch.int64), torch.zeros(7, 8, dtype=torch.int64)]
    batch = collate([{**sample, "mask": mask} for mask in masks])
    assert [tuple(m.shape) for m in batch["mask"]] == [(5, 6), (7, 8)]
    assert batch["rgb"].shape == (2, 3, 4, 4) and batch["size"] == [(4, 4)] * 2
    assert "x" not in batch


def test_module_and_its_data_sets_pickle(mfnet_root):
    data = module(mfnet_root)
    data.setup("fit")
    dataset = pickle.loads(pickle.dumps(data._sets["train"]))
    equal(dataset[0, 5], data._sets["train"][0, 5])
    assert pickle.loads(pickle.dumps(data)).size == (32, 48)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": (480, 0)}, r"size \[480, 0\] \(give height, width; above 0\)"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"scale": (2.0, 0.5)}, r"scale \[2.0, 0.5\]"),
        ({"jitter": 3.0}, r"jitter 3.0 \(give 0 to 1\)"),
        ({"flip": 1.5}, "flip 1.5"),
        ({"x_std": 0.0}, "x_std 0.0"),
        ({"val_share": 1.0}, "val_share 1.0"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_options_that_cannot_work(options, text):
    with pytest.raises(RGBXError, match=f"MFNet cannot work with {text}"):
        MFNet("nowhere", **options)


def test_statistics_can_be_replaced(mfnet_root):
    data = module(mfnet_root, x_mean=0.1, x_std=0.2)
    assert (data.statistics.x_mean, data.statistics.x_std) == (0.1, 0.2)
    assert (MFNet.x_mean, MFNet.x_std) == (0.257, 0.088)


def test_error_in_a_worker_is_one_sentence(mfnet_root, tmp_path):
    data = module(mfnet_root, num_workers=1)
    data.setup("validate")
    broken = data._sets["val"].records[0]
    path = tmp_path / "cut.png"
    path.write_bytes(broken.rgb.read_bytes()[:300])
    data._sets["val"].records[0] = type(broken)("cut", path, path, broken.mask)
    with pytest.raises(DataError) as caught:
        list(data.val_dataloader())
    assert str(caught.value).startswith(f"{path}: the image cannot be read")
    assert "\n" not in str(caught.value)


class TwoTests(MFNet):
    test_splits = ("test", "val")


def test_several_test_splits_give_a_list_of_loaders(mfnet_root):
    data = TwoTests(str(mfnet_root), size=(32, 48), num_workers=0)
    data.setup("test")
    assert [len(loader) for loader in data.test_dataloader()] == [4, 4]
    assert data.splits == ("train", "val", "test", "val")


def test_base_class_declares_what_is_linked_into_models():
    assert issubclass(MFNet, RGBXDataModule)
    assert MFNet("nowhere").num_classes == 9
    assert len(MFNet.palette) == len(MFNet.class_names) == 9
