"""Gaussian diffusion in continuous time: the loss and the sampler of DDPM and latent diffusion.

Noise ε ~ N(0, 1) is added to data x with the cosine schedule (Nichol & Dhariwal, 2021)::

    x_t = α_t·x + σ_t·ε        α_t = cos(πt/2), σ_t = sin(πt/2), 0 ≤ t ≤ 1

The network predicts v = α_t·ε − σ_t·x (Salimans & Ho, 2022). Then x = α_t·x_t − σ_t·v at every t.
If a network that is trained for a short time predicts ε, as in the first DDPM, the colors of its
images are wrong, because ε does not determine x for t near 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]


def compute_schedule(t: Tensor) -> tuple[Tensor, Tensor]:
    """Return α_t and σ_t."""
    return (math.pi / 2 * t).cos(), (math.pi / 2 * t).sin()


def compute_v_loss(net: Denoiser, x: Tensor) -> Tensor:
    """Return the mean squared error of v for x (n, c, h, w), with a random t for each sample."""
    # One t is drawn from each of n equal parts of [0, 1], which reduces the variance of the loss.
    t = (torch.arange(len(x), device=x.device) + torch.rand(len(x), device=x.device)) / len(x)
    alpha, sigma = (part[:, None, None, None] for part in compute_schedule(t))
    noise = torch.randn_like(x)
    target = alpha * noise - sigma * x
    return (net(alpha * x + sigma * noise, t) - target).square().mean()


@torch.no_grad()
def sample_reverse_chain(
    net: Denoiser, start: Tensor, steps: int, limit: float, generator: torch.Generator
) -> Tensor:
    """Draw x with the reverse chain of Ho et al. (2020), from noise ``start`` (n, c, h, w).

    From t to s < t, with α = α_t/α_s and σ² = σ_t² − α²·σ_s²::

        x_s ~ N( α·σ_s²/σ_t² · x_t + α_s·σ²/σ_t² · x̂,  σ²·σ_s²/σ_t² )

    where x̂ is the network's prediction of x, clipped to [-limit, limit].
    """
    x_t = start
    times = torch.linspace(1, 0, steps + 1)
    for time, next_time in pairwise(times):
        alpha_t, sigma_t = compute_schedule(time)
        alpha_s, sigma_s = compute_schedule(next_time)
        v = net(x_t, time.expand(len(x_t)).to(x_t.device))
        prediction = (alpha_t * x_t - sigma_t * v).clamp(-limit, limit)
        alpha = alpha_t / alpha_s
        variance = sigma_t**2 - alpha**2 * sigma_s**2
        mean = alpha * (sigma_s / sigma_t) ** 2 * x_t + alpha_s * variance / sigma_t**2 * prediction
        noise = torch.randn(x_t.shape, generator=generator).to(x_t.device)
        x_t = mean + variance.sqrt() * sigma_s / sigma_t * noise
    return x_t
