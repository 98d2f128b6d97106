"""The generators with their training times and files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from tools.zoo import matching, photos
from tools.zoo.budget import Budget
from tools.zoo.generators import (
    dcgan,
    ddpm,
    flow_matching,
    latent_diffusion,
    vae,
    vqvae,
    wgan_gp,
)

#: Number of images that are drawn from each generator, and number that are drawn at a time.
_DRAWS, _BATCH = 6000, 1000


@dataclass(frozen=True)
class Generator:
    """A generator with its module in ``tools/zoo/generators`` and its training time in minutes."""

    name: str
    code: ModuleType
    minutes: float

    @property
    def weights(self) -> Path:
        """Path of the checkpoint (safetensors)."""
        return photos.BUILD / f"{self.name}.safetensors"

    @property
    def log(self) -> Path:
        """Path of the training log (JSON): steps, seconds and losses of each stage."""
        return photos.BUILD / f"{self.name}.json"

    @property
    def candidates(self) -> Path:
        """Path of the candidate images for the pack: uint8 array (n, 64, 64, 3)."""
        return photos.BUILD / f"{self.name}.npy"

    def train(self, seconds: float, seed: int, echo: Callable[[str], None]) -> None:
        """Train the generator from scratch, and save the weights and the log."""
        torch.manual_seed(seed)
        module = self.code.create().to(_device())
        crops = torch.from_numpy(photos.load_training_crops()).permute(0, 3, 1, 2).to(_device())
        budget = Budget(seconds, echo)
        self.code.train(module, crops, budget, seed)
        save_file({k: v.contiguous() for k, v in module.state_dict().items()}, self.weights)
        self.log.write_text(json.dumps(budget.log, indent=1) + "\n", encoding="utf-8")

    def draw(self, seed: int) -> np.ndarray:
        """Draw images from the trained generator: uint8 (n, 64, 64, 3)."""
        module = self.code.create()
        module.load_state_dict(load_file(self.weights))
        module = module.to(_device()).eval()
        batches = range(seed, seed + _DRAWS // _BATCH)
        return np.concatenate([self.code.sample(module, _BATCH, number) for number in batches])

    def save_candidates(self, seed: int) -> None:
        """Draw images, and save images that match a real crop in color, contrast and detail."""
        images = self.draw(seed)
        chosen, _ = matching.assign(
            matching.compute_statistics(photos.load_candidate_crops()), images
        )
        np.save(self.candidates, images[chosen])


GENERATORS = {
    generator.name: generator
    for generator in (
        Generator("dcgan", dcgan, 2),
        Generator("wgan-gp", wgan_gp, 4),
        Generator("vae", vae, 2),
        Generator("vqvae", vqvae, 4),
        Generator("ddpm", ddpm, 5),
        Generator("flow-matching", flow_matching, 5),
        Generator("latent-diffusion", latent_diffusion, 5),
    )
}


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
