"""Passes whose memory is known, for a process that holds nothing else."""

import torch

from rgbx.profile.costs import measure_passes, resident_memory


def peak_of_passes(megabytes: int) -> tuple[int, int, int]:
    """By how much this process grew at the peak, calls and passes; after having held far more."""
    torch.zeros(60 * 2**20).sum()  # 240 MiB, held before and no longer
    start, calls = resident_memory(), []

    def run():
        calls.append(torch.ones(megabytes * 2**18).sum())

    found = measure_passes(run, torch.device("cpu"), passes=4)
    assert all(second > 0 for second in found.seconds)
    return found.peak - start, len(calls), len(found.seconds)
