"""Which generators there are, how long each trains, and where their weights are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tools.zoo import photos
from tools.zoo.budget import Budget
from tools.zoo.generators import (
    dcgan,
    ddpm,
    flow_matching,
    latent_diffusion,
    pixelcnn,
    vae,
    vqvae,
    wgan_gp,
)


@dataclass(frozen=True)
class Family:
    """One generator: its file in ``tools/zoo/generators`` and its minutes on a CPU core."""

    name: str
    code: ModuleType
    minutes: float

    @property
    def weights(self) -> Path:
        """The checkpoint, safetensors."""
        return photos.BUILD / f"{self.name}.safetensors"

    @property
    def log(self) -> Path:
        """What the training took and came to, JSON."""
        return photos.BUILD / f"{self.name}.json"

    def load(self) -> nn.Module:
        """The trained module, on the device there is."""
        module: nn.Module = self.code.new()
        module.load_state_dict(load_file(self.weights))
        return module.to(device())

    def train(self, seconds: float, seed: int, resume: bool, say: Callable[[str], None]) -> None:
        """Train and keep the weights; with ``resume``, start from those of an earlier training."""
        earlier = json.loads(self.log.read_text("utf-8")) if resume else []
        torch.manual_seed(seed + len(earlier))
        module = self.load() if resume else self.code.new().to(device())
        crops = torch.from_numpy(photos.training_crops(photos.listed()))
        budget = Budget(seconds, say)
        self.code.train(module, crops.permute(0, 3, 1, 2), budget, seed + len(earlier))
        save_file({k: v.contiguous() for k, v in module.state_dict().items()}, self.weights)
        stages: list[dict[str, Any]] = [*earlier, budget.log]
        self.log.write_text(json.dumps(stages, indent=1) + "\n", encoding="utf-8")

    def sample(self, module: nn.Module, n: int, seed: int) -> np.ndarray:
        """``n`` images: uint8 (n, 64, 64, 3)."""
        images: np.ndarray = self.code.sample(module.eval(), n, seed)
        return images


FAMILIES = {
    family.name: family
    for family in (
        Family("dcgan", dcgan, 5),
        Family("wgan-gp", wgan_gp, 7),
        Family("vae", vae, 3),
        Family("vqvae", vqvae, 5),
        Family("ddpm", ddpm, 12),
        Family("flow-matching", flow_matching, 12),
        Family("latent-diffusion", latent_diffusion, 5),
        Family("pixelcnn", pixelcnn, 6),
    )
}


def device() -> torch.device:
    """The GPU when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
