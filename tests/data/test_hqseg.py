import numpy as np
import pytest
import torch
from PIL import Image

from rgbx.data import HQSeg44K, collate
from rgbx.data.decoding.files import SampleError
from rgbx.errors import DataError, RGBXError
from rgbx.prompts import PromptMixture, evaluation_prompts

pytestmark = pytest.mark.filterwarnings("ignore:.*are usual:UserWarning")


def module(root, **options):
    return HQSeg44K(str(root), **{"size": (64, 64), "num_workers": 0, "batch_size": 3, **options})


def train_set(root, **options):
    data = module(root, **options)
    data.setup("fit")
    return data._sets["train"]


def equal(a, b):
    assert a.keys() == b.keys()
    for key, value in a.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, b[key]), key
        elif key == "prompt":
            equal(value, b[key])
        else:
            assert value == b[key], key


def test_train_batch_follows_the_contract(hqseg_root):
    data = module(hqseg_root)
    data.setup("fit")
    kinds = set()
    for batch in data.train_dataloader():
        assert batch["rgb"].shape == (3, 3, 64, 64) and batch["rgb"].dtype == torch.float32
        assert batch["mask"].shape == (3, 1, 64, 64) and batch["mask"].dtype == torch.float32
        assert batch["mask"].min() == 0 and batch["mask"].max() <= 1
        assert ((batch["mask"] > 0) & (batch["mask"] < 1)).any()  # grey borders
        assert "x" not in batch and len(batch["prompt"]) == 3
        kinds |= {prompt["kind"] for prompt in batch["prompt"]}
    assert len(data.train_dataloader()) == 2 and len(kinds) > 1


def test_prompts_belong_to_the_mask_after_jitter_and_occlusion(hqseg_root):
    dataset = train_set(
        hqseg_root, mixture=PromptMixture(noisy_box=0, coarse_mask=0), occlusion=1.0
    )
    for seed in range(60):
        sample = dataset[seed % 8, seed]
        inside = sample["mask"][0] > 128 / 255
        prompt = sample["prompt"]
        if prompt["kind"] == "box":
            rows, columns = torch.nonzero(inside, as_tuple=True)
            assert prompt["box"].tolist() == [
                columns.min(),
                rows.min(),
                columns.max(),
                rows.max(),
            ]
        else:
            assert all(inside[int(y), int(x)] for x, y in prompt["points"])


@pytest.mark.slow
def test_occlusion_changes_half_of_the_samples_that_allow_it(hqseg_root):
    never, half, always = (train_set(hqseg_root, occlusion=p, size=(128, 128)) for p in (0, 0.5, 1))
    keys = [(i % 8, i) for i in range(64)]
    plain = [never[key]["rgb"] for key in keys]
    changed = [
        sum(not torch.equal(a, data[key]["rgb"]) for a, key in zip(plain, keys, strict=True))
        for data in (half, always)
    ]
    assert changed[1] > 20  # the rest would show too little of the target
    assert changed[0] == pytest.approx(changed[1] / 2, abs=9)


def test_a_sample_is_a_pure_function_of_its_key(hqseg_root):
    dataset = train_set(hqseg_root, occlusion=1.0)
    keys = [(0, 11), (1, 12), (0, 13)]
    first = {key: dataset[key] for key in keys}
    torch.manual_seed(5)
    np.random.default_rng().random()
    for key in reversed(keys):
        equal(first[key], dataset[key])
    assert not torch.equal(first[0, 11]["rgb"], first[0, 13]["rgb"])
    equal(dataset[2], dataset[2])


def test_workers_do_not_change_the_batches(hqseg_root):
    runs = []
    for workers in (0, 2):
        data = module(hqseg_root, num_workers=workers, occlusion=1.0)
        data.setup("fit")
        runs.append(list(data.train_dataloader()))
    for a, b in zip(*runs, strict=True):
        assert torch.equal(a["rgb"], b["rgb"]) and torch.equal(a["mask"], b["mask"])
        for p, q in zip(a["prompt"], b["prompt"], strict=True):
            equal(p, q)


def test_four_test_sets_at_original_size_with_prompt_masks(hqseg_root):
    data = module(hqseg_root)
    assert data.test_splits == ("DIS", "COIFT", "HRSOD", "ThinObject")
    assert data.splits == ("train", *data.test_splits)
    data.setup("test")
    names = []
    for loader in data.test_dataloader():
        assert len(loader) == 2
        for batch in loader:
            (size,), (path,) = batch["size"], batch["path"]
            with Image.open(path) as image:
                assert size == (image.height, image.width)
            assert batch["mask"].shape == (1, *size) and batch["mask"].dtype == torch.int64
            assert set(batch["mask"].unique().tolist()) == {0, 1}
            assert batch["prompt_mask"].shape == (1, 1, 64, 64)
            assert batch["prompt_mask"].dtype == torch.float32
            shares = batch["mask"].float().mean(), batch["prompt_mask"].mean()
            assert shares[0] == pytest.approx(float(shares[1]), abs=0.02)
            assert len(evaluation_prompts(batch["prompt_mask"][0, 0], "point_3", 4, path)) == 4
            names.append(batch["name"][0])
    assert any("#" in name and " " in name for name in names)


def test_scores_count_what_exceeds_128_and_first_channels(hqseg_root, tmp_path, put):
    values = np.array([[0, 127, 128, 129, 255]] * 5, np.uint8)
    other = np.full_like(values, 255)
    put(tmp_path / "DIS5K/DIS-VD/im/a.jpg", np.zeros((5, 5, 3), np.uint8))
    put(tmp_path / "DIS5K/DIS-VD/gt/a.png", np.stack([values, other, other], axis=2))
    data = module(tmp_path)
    data.setup("test")
    sample = data._sets["DIS"][0]
    assert sample["mask"][0].tolist() == [0, 0, 0, 1, 1]
    assert data.read_mask(tmp_path / "DIS5K/DIS-VD/gt/a.png")[0].tolist() == [0, 0, 0, 1, 1]


def test_no_validation_set_unless_one_is_cut(hqseg_root):
    data = module(hqseg_root)
    data.setup("fit")
    assert data.val_dataloader() == []
    assert data.choice == "nothing: the last epoch"
    with pytest.raises(DataError, match=r"has no validation set; give data.val_share to cut one"):
        data.setup("validate")
    cut = module(hqseg_root, val_share=0.25)
    cut.setup("fit")
    assert cut.split_sizes == {"train": 6, "val": 2}
    assert cut.choice == "a seeded 25 % of train (seed 0)"
    assert cut.splits == ("train", "val", *data.test_splits)
    paths = {s: {str(r.rgb) for r in cut.find_records(s)} for s in ("train", "val")}
    assert not paths["train"] & paths["val"]
    (batch, *_) = cut.val_dataloader()
    assert batch["prompt_mask"].shape == (1, 1, 64, 64)
    assert batch["mask"].shape[1:] == batch["size"][0]


def test_low_shot_subsets_are_fixed_and_nested(hqseg_root):
    def names(**options):
        return [r.name for r in module(hqseg_root, **options).find_records("train")]

    assert len(names(low_shot=4)) == 4
    assert names(low_shot=4) == names(low_shot=4, seed=9)
    assert set(names(low_shot=2)) < set(names(low_shot=4)) < set(names())
    assert module(hqseg_root, low_shot=220).expected["train"] == 220
    with pytest.raises(DataError, match="has 8 training images, so low_shot cannot be 220"):
        names(low_shot=220)
    with pytest.raises(RGBXError, match="low_shot 0 leaves nothing"):
        module(hqseg_root, low_shot=0)


def test_pad_keeps_proportions(hqseg_root):
    data = module(hqseg_root, resize_mode="pad")
    data.setup("test")
    for sample in (data._sets[split][i] for split in data.test_splits for i in range(2)):
        height, width = sample["size"]
        scale = 64 / max(height, width)
        content = round(height * scale), round(width * scale)
        assert sample["prompt_mask"][0, content[0] :].sum() == 0
        assert sample["prompt_mask"][0, :, content[1] :].sum() == 0
        assert (sample["rgb"][:, content[0] :] == 0).all()
        assert (sample["rgb"][:, : content[0], : content[1]] != 0).float().mean() > 0.9
        inner = sample["prompt_mask"][0, : content[0], : content[1]].mean()
        assert float(inner) == pytest.approx(float(sample["mask"].float().mean()), abs=0.03)


def test_objects_that_fade_away_are_kept_visible(tmp_path, put):
    mask = np.zeros((1000, 1000), np.uint8)
    mask[500, 300] = 255  # one pixel
    put(tmp_path / "DIS5K/DIS-VD/im/a.jpg", np.zeros((1000, 1000, 3), np.uint8))
    put(tmp_path / "DIS5K/DIS-VD/gt/a.png", mask)
    data = module(tmp_path)
    data.setup("test")
    sample = data._sets["DIS"][0]
    assert sample["mask"].sum() == 1
    y, x = divmod(int(sample["prompt_mask"].argmax()), 64)
    assert sample["prompt_mask"].max() == 1 and (x, y) == (300 * 64 // 1000, 500 * 64 // 1000)


def flat(put, root, masks, size=(40, 50)):
    """ECSSD with these masks (None for none), images of noise."""
    rng = np.random.default_rng(0)
    for i, mask in enumerate(masks):
        put(root / f"cascade_psp/ecssd/{i}.jpg", rng.integers(0, 256, (*size, 3), np.uint8))
        if mask is not None:
            put(root / f"cascade_psp/ecssd/{i}.png", mask)
    return root


def square(size=(40, 50)):
    mask = np.zeros(size, np.uint8)
    mask[10:30, 15:40] = 255
    return mask


def test_images_without_a_mask_are_left_out_with_a_count(tmp_path, put):
    flat(put, tmp_path, [square(), None, square(), None])
    with pytest.warns(UserWarning, match=r"2 samples of train left out \(2 missing\)"):
        records = module(tmp_path).find_records("train")
    assert [r.name for r in records] == ["0", "2"]


def test_other_faults_still_stop(tmp_path, put):
    flat(put, tmp_path, [square(), None, square((50, 40))])
    with pytest.raises(
        DataError, match=r"1 samples of train cannot be used.*\n.*2.png: height and"
    ):
        module(tmp_path).find_records("train")
    with pytest.warns(UserWarning, match=r"left out \(1 missing, 1 swapped\)"):
        assert len(module(tmp_path, on_bad="skip").find_records("train")) == 1


def test_empty_masks_are_replaced_in_training(tmp_path, put):
    empty = np.zeros((40, 50), np.uint8)
    data = module(flat(put, tmp_path, [empty, square(), empty, square()]))
    data.setup("fit")
    drawn = [data._sets["train"][0, seed] for seed in range(20)]
    assert {sample["name"] for sample in drawn} == {"1", "3"}
    assert all((sample["mask"] > 0.6).any() for sample in drawn)
    with pytest.warns(UserWarning, match=r"2 samples of train left out \(2 black\)"):
        assert len(module(tmp_path, on_bad="skip").find_records("train")) == 2


def test_only_empty_masks(tmp_path, put):
    data = module(flat(put, tmp_path, [np.zeros((40, 50), np.uint8)] * 2))
    data.setup("fit")
    with pytest.raises(
        SampleError, match=r"0.png: the mask is empty, and so were those of 19 other"
    ):
        data._sets["train"][0, 1]


def test_full_one_pixel_and_tiny_images_train(tmp_path, put):
    full, single = np.full((40, 50), 255, np.uint8), np.zeros((40, 50), np.uint8)
    single[20, 30] = 255
    data = module(flat(put, tmp_path, [full, single]), occlusion=1.0)
    data.setup("fit")
    for seed in range(40):
        sample = data._sets["train"][seed % 2, seed]
        assert (sample["mask"] > 128 / 255).any()
        assert sample["rgb"].shape == (3, 64, 64) and sample["size"] == (40, 50)
    batch = collate([data._sets["train"][0, 1], data._sets["train"][1, 2]])
    assert batch["mask"].shape == (2, 1, 64, 64)


def test_an_empty_test_mask_is_named(tmp_path, put):
    put(tmp_path / "DIS5K/DIS-VD/im/a.jpg", np.zeros((30, 30, 3), np.uint8))
    put(tmp_path / "DIS5K/DIS-VD/gt/a.png", np.zeros((30, 30), np.uint8))
    data = module(tmp_path)
    data.setup("test")
    with pytest.raises(
        SampleError, match=r"a.png: the mask is empty, so there is nothing to prompt"
    ):
        data._sets["DIS"][0]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sets": ["DUTS"]}, r"sets \['DUTS'\] are not those of HQSeg-44K; give some of DIS5K-TR"),
        ({"sets": []}, "are not those of HQSeg-44K"),
        ({"occlusion": 1.5}, "occlusion 1.5 is no probability"),
        ({"resize_mode": "crop"}, "give squash or pad"),
        ({"size": (100, 0)}, "above 0"),
    ],
)
def test_options_that_cannot_work(hqseg_root, options, text):
    with pytest.raises(RGBXError, match=text):
        module(hqseg_root, **options)
