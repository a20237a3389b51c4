"""Images looked at where columns and rows say, with bilinear interpolation.

The value at (y, x) is `sum_ij hat(y - i) hat(x - j) image[i, j]` with `hat(t) = max(1 - |t|, 0)`, places beyond the
frame moved to its outermost pixels. Where all pixels of a row of the result share their y and all of a column their x,
these are two products with matrices: cheaper than gathering pixel by pixel (`grid_sample`) as long as images are
small, since a CPU multiplies some fifty times as fast as it gathers."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample

SMALL = 40  # pixels a side: up to here products are faster


def resampled(
    images: Float[Tensor, "m C H W"], x: Float[Tensor, "m W"], y: Float[Tensor, "m H"]
) -> Float[Tensor, "m C H W"]:
    """What is at columns `x` and rows `y`, counted in pixels from the middle of the first one."""
    if images.device.type == "cpu" and max(images.shape[2:]) <= SMALL:
        return by_products(images, x, y)
    return by_pixels(images, x, y)


def by_products(
    images: Float[Tensor, "m C H W"], x: Float[Tensor, "m W"], y: Float[Tensor, "m H"]
) -> Float[Tensor, "m C H W"]:
    m, channels, height, width = images.shape
    across, down = _hats(x[:, None, :], width, 1), _hats(y[:, :, None], height, 2)  # their signs cancel
    rows = torch.bmm(images.flatten(1, 2), across).view(images.shape)
    out = images.new_empty(channels, m, height, width)
    for channel, seen in zip(rows.unbind(1), out, strict=True):
        torch.bmm(down, channel, out=seen)
    return out.transpose(0, 1)


def by_pixels(
    images: Float[Tensor, "m C H W"], x: Float[Tensor, "m W"], y: Float[Tensor, "m H"]
) -> Float[Tensor, "m C H W"]:
    height, width = images.shape[2:]
    right, down = (2 * x + 1) / width - 1, (2 * y + 1) / height - 1
    right, down = torch.complex(right, torch.zeros_like(right)), torch.complex(torch.zeros_like(down), down)
    grid = torch.view_as_real(right[:, None, :] + down[:, :, None])  # pairs (x, y) in one pass
    return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _hats(at: Float[Tensor, m * places], size: int, axis: int) -> Float[Tensor, "m P P"]:
    """Less the weight, `min(|t| - 1, 0)`, of each of so many pixels, along that axis, at each place along the other."""
    pixels = torch.arange(size, dtype=at.dtype).view([size if here == axis else 1 for here in range(3)])
    return (at.clamp(0, size - 1) - pixels).abs_().sub_(1.0).clamp_(max=0.0)
