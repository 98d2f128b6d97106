"""The autoencoder of VQ-VAE and latent diffusion; a latent has a quarter of the image's side."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from tools.zoo.generators.residual import ResidualBlock

#: Width and height of a latent.
SIDE = 16


class Encoder(nn.Module):
    """Image (n, 3, 64, 64) → latent (n, ``channels``, 16, 16)."""

    def __init__(self, channels: int, fine: int = 24, coarse: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, fine, 3, padding=1),
            ResidualBlock(fine, fine),
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * fine, coarse, 1),
            ResidualBlock(coarse, coarse),
            nn.GroupNorm(8, coarse),
            nn.SiLU(),
            nn.Conv2d(coarse, channels, 1),
        )

    def forward(self, image: Tensor) -> Tensor:
        latent: Tensor = self.layers(image)
        return latent


class Decoder(nn.Module):
    """Latent (n, ``channels``, 16, 16) → image (n, 3, 64, 64)."""

    def __init__(self, channels: int, fine: int = 24, coarse: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, coarse, 3, padding=1),
            ResidualBlock(coarse, coarse),
            nn.Conv2d(coarse, 4 * fine, 1),
            nn.PixelShuffle(2),
            ResidualBlock(fine, fine),
            nn.GroupNorm(8, fine),
            nn.SiLU(),
            nn.Conv2d(fine, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )

    def forward(self, latent: Tensor) -> Tensor:
        image: Tensor = self.layers(latent)
        return image


def compute_reconstruction_loss(restored: Tensor, image: Tensor) -> Tensor:
    """Return the mean absolute error of the pixels and of the differences of adjacent pixels.

    With the mean squared error of the pixels alone, all images would be blurred. The error of the
    differences favors sharp edges.
    """
    error = restored - image
    return (
        error.abs().mean()
        + functional.l1_loss(restored.diff(dim=2), image.diff(dim=2))
        + functional.l1_loss(restored.diff(dim=3), image.diff(dim=3))
    )
