"""Deformable attention cell by cell in double precision, as the formula reads."""

import math

import torch


def explicit(value, levels, locations, weights):
    """The arguments and the result of `rgbx.blocks.deformable_attention`, by loops."""
    batch, _, heads, width = value.shape
    queries, points = locations.shape[1], locations.shape[4]
    out = torch.zeros(batch, queries, heads, width, dtype=torch.float64)
    places = torch.cartesian_prod(*(torch.arange(n) for n in (batch, queries, heads, points)))
    start = 0
    for level, (h, w) in enumerate(levels):
        for b, q, m, k in places.tolist():
            x, y = locations[b, q, m, level, k].tolist()
            x, y = x * w - 0.5, y * h - 0.5
            left, top = math.floor(x), math.floor(y)
            for row in (top, top + 1):
                for column in (left, left + 1):
                    if 0 <= row < h and 0 <= column < w:
                        share = (1 - abs(x - column)) * (1 - abs(y - row))
                        cell = value[b, start + row * w + column, m].double()
                        out[b, q, m] += weights[b, q, m, level, k].double() * share * cell
        start += h * w
    return out.flatten(2)
