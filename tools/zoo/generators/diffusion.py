"""Gaussian diffusion in continuous time: the loss and the sampler of DDPM and latent diffusion.

Data x are drowned in noise ε ~ N(0, 1) along the cosine schedule (Nichol & Dhariwal, 2021)::

    x_t = α_t·x + σ_t·ε        α_t = cos(πt/2), σ_t = sin(πt/2), 0 ≤ t ≤ 1

and the network predicts v = α_t·ε − σ_t·x (Salimans & Ho, 2022), from which x = α_t·x_t − σ_t·v
follows at every t; predicting ε, as the first DDPM does, leaves the colours of a briefly trained
network adrift at t near 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]


def schedule(t: Tensor) -> tuple[Tensor, Tensor]:
    """α_t and σ_t."""
    return (math.pi / 2 * t).cos(), (math.pi / 2 * t).sin()


def v_loss(net: Denoiser, x: Tensor) -> Tensor:
    """Mean squared error of v, for each x (n, c, h, w) at a t of its own."""
    # Stratified: one t from each n-th of 0…1, which takes most of the noise out of the loss.
    t = (torch.arange(len(x), device=x.device) + torch.rand(len(x), device=x.device)) / len(x)
    alpha, sigma = (part[:, None, None, None] for part in schedule(t))
    noise = torch.randn_like(x)
    target = alpha * noise - sigma * x
    return (net(alpha * x + sigma * noise, t) - target).square().mean()


@torch.no_grad()
def ancestral(
    net: Denoiser, start: Tensor, steps: int, limit: float, generator: torch.Generator
) -> Tensor:
    """Draw x by the reverse chain of Ho et al. (2020), from noise ``start`` (n, c, h, w).

    From t to s < t, with α = α_t/α_s and σ² = σ_t² − α²·σ_s²::

        x_s ~ N( α·σ_s²/σ_t² · x_t + α_s·σ²/σ_t² · x̂,  σ²·σ_s²/σ_t² )

    where x̂ is the network's guess of x, clipped to ±``limit``.
    """
    x_t = start
    times = torch.linspace(1, 0, steps + 1)
    for now, then in pairwise(times):
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(now), schedule(then)
        v = net(x_t, now.expand(len(x_t)).to(x_t.device))
        guess = (alpha_t * x_t - sigma_t * v).clamp(-limit, limit)
        alpha = alpha_t / alpha_s
        variance = sigma_t**2 - alpha**2 * sigma_s**2
        mean = alpha * (sigma_s / sigma_t) ** 2 * x_t + alpha_s * variance / sigma_t**2 * guess
        noise = torch.randn(x_t.shape, generator=generator).to(x_t.device)
        x_t = mean + variance.sqrt() * sigma_s / sigma_t * noise
    return x_t
