"""Match generated images to real ones in color, contrast and detail.

A generator that draws grayer or smoother images than the photographs could be recognized by mean
color or by file size alone. To rule out this shortcut, every origin of the pack gets images with
nearly the same statistics: an optimal assignment pairs each real crop with one generated image.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment


def compute_statistics(images: np.ndarray) -> np.ndarray:
    """Return the color, contrast and detail of images.

    Parameters
    ----------
    images
        uint8 array (n, height, width, 3).

    Returns
    -------
    numpy.ndarray
        float64 array (n, 7): mean and standard deviation of each channel, in [0, 255], and 40 times
        the logarithm of the image's size in bytes as a JPEG of quality 90.
    """
    pixels = images.reshape(len(images), -1, 3).astype(np.float32)
    detail = 40 * np.log([_jpeg_bytes(image) for image in images])
    return np.column_stack([pixels.mean(axis=1), pixels.std(axis=1), detail]).astype(np.float64)


def assign(targets: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Assign a different image to each target so that the total distance is minimal.

    Parameters
    ----------
    targets
        Statistics to match: float64 array (n, 7).
    images
        uint8 array (m, height, width, 3) with m ≥ n.

    Returns
    -------
    tuple of numpy.ndarray
        Indices of the chosen images, int64 (n,), and their distances to the targets, float64 (n,).
    """
    values = compute_statistics(images)
    # Compute the Euclidean distances without an array (n, m, 7).
    squares = (targets**2).sum(1)[:, None] + (values**2).sum(1)[None] - 2 * targets @ values.T
    distance = np.sqrt(np.maximum(squares, 0))
    rows, columns = linear_sum_assignment(distance)
    return columns, distance[rows, columns]


def _jpeg_bytes(image: np.ndarray) -> int:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="JPEG", quality=90)
    return stream.tell()
