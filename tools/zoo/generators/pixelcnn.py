"""PixelCNN (van den Oord, Kalchbrenner & Kavukcuoglu, 2016): an autoregressive model of pixels.

Gated layers (``causal.py``) predict each pixel as a mixture of discretised logistic distributions
(PixelCNN++; Salimans, Karpathy, Chen & Kingma, 2017). With levels ±1/255 apart from their bounds::

    P(x) = Σₖ πₖ · Π_c [ σ((x_c + 1/255 − μ)/s) − σ((x_c − 1/255 − μ)/s) ]

where the means of green and blue are linear in the pixel's earlier colours, and the outermost
levels take the tails.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.zoo.budget import Budget
from tools.zoo.generators.causal import CausalNet
from tools.zoo.generators.pixels import Average, batch, device_of, to_bytes

_WIDE, _DILATIONS, _MIXTURE = 64, (1, 2, 4, 8, 1, 2, 4), 5
_BATCH, _LR = 32, 1e-3


def new() -> CausalNet:
    """An untrained network: ten numbers a component (weight, three each of mean, scale, slope)."""
    return CausalNet(3, 10 * _MIXTURE, 64, _WIDE, _DILATIONS)


def train(module: CausalNet, crops: Tensor, budget: Budget, seed: int) -> None:
    """Adam on the likelihood, the learning rate falling to zero; a running mean is kept."""
    torch.manual_seed(seed)
    optim = torch.optim.AdamW(module.parameters(), _LR, weight_decay=0)
    mean = Average(module)
    for progress in budget.steps("likelihood"):
        optim.param_groups[0]["lr"] = _LR * (1 - progress)
        x = batch(crops, _BATCH, device_of(module))
        loss = -log_likelihood(module(x), x).mean() / np.log(2) / 3
        optim.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optim.step()
        mean.update(module)
        budget.report(bits_a_value=loss)
    module.load_state_dict(mean.module.state_dict())


def log_likelihood(outputs: Tensor, x: Tensor) -> Tensor:
    """log P of pixels x (n, 3, h, w) in −1…1 under outputs (n, 40, h, w): (n, h, w), in nats."""
    logits, mean, log_scale, slope = _components(outputs)
    red, green, _ = x.unsqueeze(1).unbind(2)
    shift = torch.stack(
        [
            torch.zeros_like(slope[:, :, 0]),
            slope[:, :, 0] * red,
            slope[:, :, 1] * red + slope[:, :, 2] * green,
        ],
        dim=2,
    )
    centred = x.unsqueeze(1) - mean - shift
    inverse = (-log_scale).exp()
    above, below = inverse * (centred + 1 / 255), inverse * (centred - 1 / 255)
    inside = (above.sigmoid() - below.sigmoid()).clamp_min(1e-10).log()
    # Far from the mean the difference of two sigmoids is lost in rounding; the density is not.
    middle = inverse * centred
    density = middle - log_scale - 2 * functional.softplus(middle) + float(np.log(2 / 255))
    log_p = torch.where(inside > -11, inside, density)
    bound = x.unsqueeze(1)
    log_p = torch.where(bound < -0.999, functional.logsigmoid(above), log_p)
    log_p = torch.where(bound > 0.999, -functional.softplus(below), log_p)
    return (log_p.sum(2) + logits.log_softmax(1)).logsumexp(1)


def _components(outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights (n, k, …) and means, log scales and colour slopes, each (n, k, 3, …)."""
    n, _, *positions = outputs.shape
    per = outputs.reshape(n, _MIXTURE, 10, *positions)
    return per[:, :, 0], per[:, :, 1:4], per[:, :, 4:7].clamp_min(-6), per[:, :, 7:].tanh()


def sample(module: CausalNet, n: int, seed: int) -> np.ndarray:
    """``n`` images, pixel by pixel: uint8 (n, 64, 64, 3)."""
    device = device_of(module)
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator).clamp(1e-5, 1 - 1e-5).to(device)

    def choose(outputs: Tensor) -> Tensor:
        logits, mean, log_scale, slope = _components(outputs)
        # Gumbel's trick: the argmax of logits + Gumbel noise is a draw from their softmax.
        picked = (logits - (-uniform(n, _MIXTURE).log()).log()).argmax(1)
        mean, log_scale, slope = (
            part[torch.arange(n, device=device), picked] for part in (mean, log_scale, slope)
        )
        value = mean + log_scale.exp() * uniform(n, 3).logit()
        red = value[:, 0].clamp(-1, 1)
        green = (value[:, 1] + slope[:, 0] * red).clamp(-1, 1)
        blue = (value[:, 2] + slope[:, 1] * red + slope[:, 2] * green).clamp(-1, 1)
        # The model has only ever seen the 256 levels.
        return ((torch.stack([red, green, blue], 1) + 1) * 127.5).round() / 127.5 - 1

    return to_bytes(module.draw(n, choose))
