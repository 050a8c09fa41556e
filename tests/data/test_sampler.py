import pytest
import torch

from rgbx.data.sampler import SeededSampler, sample_seed

NAMES = list(range(23))


def batches(sampler, size, drop=True):
    items = list(sampler)
    count = len(items) // size if drop else -(-len(items) // size)
    return [items[i * size : (i + 1) * size] for i in range(count)]


@pytest.mark.parametrize(("world", "batch"), [(2, 4), (4, 2), (8, 1)])
def test_processes_see_the_global_batches_of_one(world, batch):
    one = SeededSampler(NAMES, seed=5, drop_last=True, num_replicas=1, rank=0)
    many = [
        SeededSampler(NAMES, seed=5, drop_last=True, num_replicas=world, rank=r)
        for r in range(world)
    ]
    for sampler in (one, *many):
        sampler.set_epoch(3)
    parts = [batches(s, batch) for s in many]
    joined = [sorted(item for part in step for item in part) for step in zip(*parts, strict=True)]
    assert joined == [sorted(b) for b in batches(one, world * batch)]


def test_order_depends_on_seed_and_epoch_only():
    torch.manual_seed(0)
    a = SeededSampler(NAMES, seed=1)
    first = list(a)
    torch.manual_seed(1)
    assert list(SeededSampler(NAMES, seed=1)) == first
    assert sorted(index for index, _ in first) == NAMES
    a.set_epoch(1)
    assert list(a) != first
    assert list(SeededSampler(NAMES, seed=2)) != first


def test_no_global_generator_is_read():
    state = torch.get_rng_state()
    list(SeededSampler(NAMES, seed=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_sample_seed_is_a_function_of_seed_epoch_index():
    sampler = SeededSampler(NAMES, seed=9)
    sampler.set_epoch(4)
    assert all(seed == sample_seed(9, 4, index) for index, seed in sampler)
    assert sample_seed(9, 4, 0) != sample_seed(9, 0, 4) != sample_seed(4, 9, 0)
    seeds = {sample_seed(0, e, i) for e in range(50) for i in range(50)}
    assert len(seeds) == 2500 and all(0 <= s < 2**32 for s in seeds)


def test_ranks_have_equal_lengths_with_and_without_dropping():
    for drop, total in ((True, 20), (False, 25)):
        parts = [
            list(SeededSampler(NAMES, 0, drop_last=drop, num_replicas=5, rank=r)) for r in range(5)
        ]
        assert {len(p) for p in parts} == {total // 5}
        seen = {index for p in parts for index, _ in p}
        assert seen == set(NAMES) if not drop else len(seen) == 20


def test_resume_leaves_out_what_was_seen_in_that_epoch_only():
    sampler = SeededSampler(NAMES, seed=2)
    sampler.set_epoch(3)
    whole = list(sampler)
    sampler.start(epoch=3, seen=8)
    assert [list(sampler), list(sampler)] == [whole[8:]] * 2  # however often somebody asks
    assert len(sampler) == 23
    sampler.set_epoch(4)
    assert len(list(sampler)) == 23


def test_the_epoch_is_right_before_lightning_sets_it():
    sampler = SeededSampler(NAMES, seed=2)
    sampler.start(epoch=3, seen=0)
    reference = SeededSampler(NAMES, seed=2)
    reference.set_epoch(3)
    assert list(sampler) == list(reference)


@pytest.mark.parametrize("drop", [True, False])
def test_other_numbers_of_ranks_go_on_with_the_samples_that_were_not_seen(drop):
    one = SeededSampler(NAMES, seed=5, drop_last=drop, num_replicas=1, rank=0)
    rest = list(one)[9:]
    ranks = [SeededSampler(NAMES, 5, drop_last=drop, num_replicas=4, rank=r) for r in range(4)]
    for sampler in ranks:
        sampler.start(epoch=0, seen=9)
    parts = [list(sampler) for sampler in ranks]
    assert {len(part) for part in parts} == {2 if drop else 4}  # of 11 and 15 samples
    joined = [item for step in zip(*parts, strict=True) for item in step]
    assert joined[: len(rest)] == rest[: len(joined)]
