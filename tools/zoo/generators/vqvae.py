"""VQ-VAE with an autoregressive prior (van den Oord, Vinyals & Kavukcuoglu, 2017).

An encoder's output is replaced by the nearest of 256 code vectors, 16×16 of them an image; the
gradient passes straight through. The codes follow their vectors by running means, and the encoder
is held to its code by a commitment term β·‖z − sg(e)‖². Then a gated causal network
(``causal.py``) learns to draw maps of codes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.zoo.budget import Budget
from tools.zoo.generators import autoencoder
from tools.zoo.generators.causal import CausalNet
from tools.zoo.generators.pixels import Average, batch, device_of, to_bytes

_CODES, _SIZE, _BETA, _DECAY = 512, 8, 0.25, 0.98
_EMBEDDING, _WIDE, _DILATIONS = 32, 128, (1, 1, 2, 1, 1, 2)
_BATCH, _LR = 64, 1e-3
# The autoencoder's part of the time.
_SHARE = 0.4


class VqVae(nn.Module):
    """Autoencoder, codebook (float32 (256, 8)) with its counts (256,), and prior of code maps."""

    codebook: Tensor
    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.encoder = autoencoder.Encoder(_SIZE)
        self.decoder = autoencoder.Decoder(_SIZE)
        self.prior = Prior()
        self.register_buffer("codebook", torch.randn(_CODES, _SIZE))
        self.register_buffer("counts", torch.zeros(_CODES))

    def nearest(self, z: Tensor) -> Tensor:
        """Indices (n, 16, 16) of the codes nearest to z (n, 8, 16, 16)."""
        distance = torch.cdist(z.permute(0, 2, 3, 1).flatten(0, 2), self.codebook)
        return distance.argmin(1).view(len(z), autoencoder.SIDE, autoencoder.SIDE)

    def vectors(self, codes: Tensor) -> Tensor:
        """Code vectors (n, 8, 16, 16) of indices (n, 16, 16)."""
        return self.codebook[codes].permute(0, 3, 1, 2)

    @torch.no_grad()
    def follow(self, z: Tensor, codes: Tensor) -> None:
        """Move the codes towards the vectors they stand for; those without any start anew."""
        flat = z.permute(0, 2, 3, 1).flatten(0, 2)
        chosen = functional.one_hot(codes.flatten(), _CODES).float()
        now = chosen.sum(0)
        kept = self.counts * _DECAY
        self.counts.copy_(kept + (1 - _DECAY) * now)
        moved = self.codebook * kept[:, None] + (1 - _DECAY) * (chosen.T @ flat)
        self.codebook.copy_(moved / self.counts.clamp_min(1e-6)[:, None])
        idle = self.counts < 0.05
        self.codebook[idle] = flat[torch.randint(len(flat), (int(idle.sum()),))]
        self.counts[idle] = 1.0


class Prior(nn.Module):
    """Maps of code indices (n, 16, 16) → logits of each code, given the earlier ones."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(_CODES, _EMBEDDING)
        self.net = CausalNet(_EMBEDDING, _CODES, autoencoder.SIDE, _WIDE, _DILATIONS)

    def forward(self, codes: Tensor) -> Tensor:
        logits: Tensor = self.net(self.embedding(codes).permute(0, 3, 1, 2))
        return logits


def new() -> VqVae:
    """An untrained autoencoder and prior."""
    return VqVae()


def train(module: VqVae, crops: Tensor, budget: Budget, seed: int) -> None:
    """The autoencoder, then, with it fixed, the prior; its running mean is kept."""
    torch.manual_seed(seed)
    device = device_of(module)
    parts = [*module.encoder.parameters(), *module.decoder.parameters()]
    optim = torch.optim.AdamW(parts, _LR, weight_decay=0)
    for progress in budget.steps("autoencoder", _SHARE):
        optim.param_groups[0]["lr"] = _LR * (1 - progress)
        image = batch(crops, _BATCH, device)
        z = module.encoder(image)
        codes = module.nearest(z.detach())
        quantised = module.vectors(codes)
        restored = module.decoder(z + (quantised - z).detach())
        loss = autoencoder.reconstruction_loss(restored, image)
        commitment = (z - quantised).square().mean()
        optim.zero_grad()
        (loss + _BETA * commitment).backward()
        nn.utils.clip_grad_norm_(parts, 1.0)
        optim.step()
        module.follow(z.detach(), codes)
        budget.report(reconstruction=loss, commitment=commitment)

    optim = torch.optim.AdamW(module.prior.parameters(), _LR, weight_decay=0)
    mean = Average(module.prior)
    for progress in budget.steps("prior", 1 - _SHARE):
        optim.param_groups[0]["lr"] = _LR * (1 - progress)
        with torch.no_grad():
            codes = module.nearest(module.encoder(batch(crops, 2 * _BATCH, device)))
        loss = functional.cross_entropy(module.prior(codes), codes)
        optim.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.prior.parameters(), 1.0)
        optim.step()
        mean.update(module.prior)
        budget.report(nats_a_code=loss)
    module.prior.load_state_dict(mean.module.state_dict())


@torch.no_grad()
def sample(module: VqVae, n: int, seed: int) -> np.ndarray:
    """``n`` decoded maps of codes drawn from the prior: uint8 (n, 64, 64, 3)."""
    generator = torch.Generator().manual_seed(seed)
    drawn: list[Tensor] = []

    def choose(logits: Tensor) -> Tensor:
        code = torch.multinomial(logits.softmax(1).cpu(), 1, generator=generator)[:, 0]
        drawn.append(code.to(logits.device))
        embedded: Tensor = module.prior.embedding(drawn[-1])
        return embedded

    module.prior.net.draw(n, choose)
    codes = torch.stack(drawn, dim=1).view(n, autoencoder.SIDE, autoencoder.SIDE)
    return to_bytes(module.decoder(module.vectors(codes)))
