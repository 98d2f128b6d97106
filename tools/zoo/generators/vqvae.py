"""VQ-VAE with an autoregressive prior (van den Oord, Vinyals & Kavukcuoglu, 2017).

The output of the encoder at each of 16×16 positions is replaced by the nearest of 512 code vectors.
The gradient of the decoder is used as the gradient of the encoder (straight-through estimator).
Each code vector is a running mean of the outputs that it replaces, and a commitment term
β·‖z − sg(e)‖² keeps the outputs of the encoder close to their code vectors. Then a gated causal
network (``causal.py``) learns the distribution of the maps of codes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.zoo.budget import Budget
from tools.zoo.generators import autoencoder
from tools.zoo.generators.causal import CausalNet
from tools.zoo.generators.pixels import Average, draw_batch, get_device, to_bytes

_CODES, _SIZE, _BETA, _DECAY = 512, 8, 0.25, 0.98
_EMBEDDING, _HIDDEN, _DILATIONS = 32, 128, (1, 1, 2, 1, 1, 2)
_BATCH, _LR = 64, 1e-3
#: Fraction of the training time for the autoencoder.
_SHARE = 0.4


class VqVae(nn.Module):
    """Autoencoder, codebook (float32 (512, 8)), use counts of the codes (512,), and prior."""

    codebook: Tensor
    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.encoder = autoencoder.Encoder(_SIZE)
        self.decoder = autoencoder.Decoder(_SIZE)
        self.prior = Prior()
        self.register_buffer("codebook", torch.randn(_CODES, _SIZE))
        self.register_buffer("counts", torch.zeros(_CODES))

    def find_codes(self, z: Tensor) -> Tensor:
        """Return the indices (n, 16, 16) of the code vectors nearest to z (n, 8, 16, 16)."""
        distance = torch.cdist(z.permute(0, 2, 3, 1).flatten(0, 2), self.codebook)
        return distance.argmin(1).view(len(z), autoencoder.SIDE, autoencoder.SIDE)

    def look_up(self, codes: Tensor) -> Tensor:
        """Return the code vectors (n, 8, 16, 16) of indices (n, 16, 16)."""
        return self.codebook[codes].permute(0, 3, 1, 2)

    @torch.no_grad()
    def update_codebook(self, z: Tensor, codes: Tensor) -> None:
        """Update the running means of the code vectors; replace unused codes by random outputs."""
        flat = z.permute(0, 2, 3, 1).flatten(0, 2)
        one_hot = functional.one_hot(codes.flatten(), _CODES).float()
        previous_counts = self.counts * _DECAY
        self.counts.copy_(previous_counts + (1 - _DECAY) * one_hot.sum(0))
        sums = self.codebook * previous_counts[:, None] + (1 - _DECAY) * (one_hot.T @ flat)
        self.codebook.copy_(sums / self.counts.clamp_min(1e-6)[:, None])
        idle = self.counts < 0.05
        self.codebook[idle] = flat[torch.randint(len(flat), (int(idle.sum()),))]
        self.counts[idle] = 1.0


class Prior(nn.Module):
    """Network from code indices (n, 16, 16) to logits of the codes (n, 512, 16, 16).

    The logits at a position depend on the codes at earlier positions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(_CODES, _EMBEDDING)
        self.net = CausalNet(_EMBEDDING, _CODES, autoencoder.SIDE, _HIDDEN, _DILATIONS)

    def forward(self, codes: Tensor) -> Tensor:
        logits: Tensor = self.net(self.embedding(codes).permute(0, 3, 1, 2))
        return logits


def create() -> VqVae:
    """Return an untrained autoencoder and prior."""
    return VqVae()


def train(module: VqVae, crops: Tensor, budget: Budget, seed: int) -> None:
    """Train the autoencoder, then the prior; average the weights of the prior."""
    torch.manual_seed(seed)
    device = get_device(module)
    parts = [*module.encoder.parameters(), *module.decoder.parameters()]
    optim = torch.optim.AdamW(parts, _LR, weight_decay=0)
    for progress in budget.steps("autoencoder", _SHARE):
        optim.param_groups[0]["lr"] = _LR * (1 - progress)
        image = draw_batch(crops, _BATCH, device)
        z = module.encoder(image)
        codes = module.find_codes(z.detach())
        quantized = module.look_up(codes)
        restored = module.decoder(z + (quantized - z).detach())
        loss = autoencoder.compute_reconstruction_loss(restored, image)
        commitment = (z - quantized).square().mean()
        optim.zero_grad()
        (loss + _BETA * commitment).backward()
        nn.utils.clip_grad_norm_(parts, 1.0)
        optim.step()
        module.update_codebook(z.detach(), codes)
        budget.report(reconstruction=loss, commitment=commitment)

    optim = torch.optim.AdamW(module.prior.parameters(), _LR, weight_decay=0)
    mean = Average(module.prior)
    for progress in budget.steps("prior", 1 - _SHARE):
        optim.param_groups[0]["lr"] = _LR * (1 - progress)
        with torch.no_grad():
            codes = module.find_codes(module.encoder(draw_batch(crops, 2 * _BATCH, device)))
        loss = functional.cross_entropy(module.prior(codes), codes)
        optim.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.prior.parameters(), 1.0)
        optim.step()
        mean.update(module.prior)
        budget.report(nats_per_code=loss)
    module.prior.load_state_dict(mean.module.state_dict())


@torch.no_grad()
def sample(module: VqVae, n: int, seed: int) -> np.ndarray:
    """Draw ``n`` maps of codes from the prior; return the decoded images: uint8 (n, 64, 64, 3)."""
    generator = torch.Generator().manual_seed(seed)
    codes_by_position: list[Tensor] = []

    def choose(logits: Tensor) -> Tensor:
        code = torch.multinomial(logits.softmax(1).cpu(), 1, generator=generator)[:, 0]
        codes_by_position.append(code.to(logits.device))
        embedded: Tensor = module.prior.embedding(codes_by_position[-1])
        return embedded

    module.prior.net.draw(n, choose)
    codes = torch.stack(codes_by_position, dim=1).view(n, autoencoder.SIDE, autoencoder.SIDE)
    return to_bytes(module.decoder(module.look_up(codes)))
