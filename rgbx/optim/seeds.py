"""One seed from several numbers, the same on every machine and Python version."""

__all__ = ["mix_seeds"]

_MASK = 0xFFFFFFFFFFFFFFFF


def mix_seeds(*numbers: int) -> int:
    """One 63-bit seed from several integers, mixed as in splitmix64; neighbours differ widely."""
    state = 0
    for number in numbers:
        state = (state ^ (number & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state & 0x7FFFFFFFFFFFFFFF
