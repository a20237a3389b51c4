"""Batch normalisation for an ensemble: every member has its own statistics, as if it were trained alone."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy 2015, arXiv 1502.03167) of `(E, n, features, *pixels)`.

    `y = weight (x - mean) / sqrt(var + eps) + bias`, mean and biased variance over the data points (and
    pixels) of one member. Running statistics follow `torch.nn.BatchNorm1d`: momentum 0.1, unbiased variance;
    used in eval mode. Where `pool` is set it turns mean, variance and count of this part of a batch into those of
    the whole: a training that is divided among processes sets it.
    """

    running_mean: Tensor
    running_variance: Tensor
    pool: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor, int]] | None = None

    def __init__(self, features: int, members: int, *, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(members, features))
        self.bias = nn.Parameter(torch.zeros(members, features))
        self.register_buffer("running_mean", torch.zeros(members, features))
        self.register_buffer("running_variance", torch.ones(members, features))

    def forward(self, x: Float[Tensor, "E n features *pixels"]) -> Float[Tensor, "E n features *pixels"]:
        axes = [1, *range(3, x.ndim)]
        shape = (x.shape[0], 1, x.shape[2]) + (1,) * (x.ndim - 3)
        x = x.to(self.weight.dtype)  # statistics of layers that compute in 16 bits are taken in 32
        mean, variance = self.statistics(x, axes)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return torch.addcmul((self.bias - mean * scale).view(shape), x, scale.view(shape))

    def statistics(self, x: Tensor, axes: list[int]) -> tuple[Tensor, Tensor]:
        """Mean and biased variance `(E, features)`: of this batch when training, else the running ones."""
        if not self.training:
            return self.running_mean, self.running_variance
        count = x.numel() // (x.shape[0] * x.shape[2])
        variance, mean = torch.var_mean(x, axes, correction=0)
        if self.pool is not None:
            mean, variance, count = self.pool(mean, variance, count)
        if count < 2:
            raise ValueError("batch normalisation needs at least 2 values a feature, found 1; use a larger batch")
        self.track(mean.detach(), variance.detach() * (count / (count - 1)))
        return mean, variance

    @torch.no_grad()
    def track(self, mean: Tensor, variance: Tensor) -> None:
        self.running_mean.lerp_(mean, self.momentum)
        self.running_variance.lerp_(variance, self.momentum)

    def extra_repr(self) -> str:
        return f"members={self.weight.shape[0]}, features={self.weight.shape[1]}"
