"""Estimate the quality of JPEG files, and detect earlier JPEG compression of other files.

Files in another format whose pixels have traces of JPEG compression are called former JPEG files.
JPEG rounds the DCT coefficients of 8 × 8 blocks to multiples of quantization steps. Therefore, the
decompressed pixels have discontinuities on a grid of 8 pixels, and the DCT coefficients are close
to multiples of a step q (Fan & de Queiroz, *Identification of bitmap compression history: JPEG
detection and quantizer estimation*, IEEE Transactions on Image Processing 12, 2003). The
grid begins at the offset, from 0 to 7 pixels, at which the difference between adjacent pixels most
often exceeds the mean of the two differences beside it. For a frequency with coefficients cᵢ, the
statistic is the maximum over q from 2 to 16 of the mean of cos(2π cᵢ / q). This mean is near 1 for
multiples of q and near 0 for other coefficients. Coefficients with |cᵢ| ≤ 0.6 q are ignored. The
score is the mean of the statistic over eight low frequencies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import dctn

from whichgen.data.images.decoding import DecodedFile

#: Score above which a file in another format counts as a former JPEG file.
THRESHOLD = 0.25

#: Side of the central crop that is analyzed, and minimum side of an image, in pixels.
_CROP, _MIN_SIDE = 512, 64

#: Candidates for the quantization step q, and the examined DCT frequencies (vertical, horizontal).
_STEPS = np.arange(2, 17)
_FREQUENCIES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2))

#: Minimum number of coefficients above 0.6 q that are averaged. Smaller coefficients are ignored,
#: because JPEG rounds coefficients below 0.5 q to 0.
_MIN_COEFFICIENTS = 40

#: Minimum difference between the fractions of former JPEG files in two origins for a warning.
_FRACTION_DIFFERENCE = 0.4

#: Sum of the luma quantization table of the JPEG standard (ITU-T T.81, table K.1).
_STANDARD_SUM = 3688


@dataclass(frozen=True)
class JpegHistory:
    """JPEG compression of an image.

    Parameters
    ----------
    quality
        Estimated quality of a JPEG file, from 1 to 100, on the scale of libjpeg; 0 for other
        formats.
    is_former_jpeg
        Whether the file is not a JPEG file, but its pixels have traces of JPEG compression.
    """

    quality: int
    is_former_jpeg: bool


def find_jpeg_history(file: DecodedFile) -> JpegHistory:
    """Estimate the quality of a JPEG file, or find traces of JPEG compression in another file."""
    if tables := getattr(file.stored_image, "quantization", None):
        return JpegHistory(estimate_quality(sum(tables[min(tables)])), is_former_jpeg=False)
    luma = np.asarray(file.pixels.convert("L"), dtype=np.float64)
    return JpegHistory(0, compute_jpeg_score(luma) > THRESHOLD)


def compare_histories(histories: Mapping[str, Sequence[JpegHistory]]) -> list[str]:
    """Return a warning if former JPEG files are more frequent in some origins than in others.

    The fraction of an origin is the number of its former JPEG files divided by the number of its
    files that are not JPEG files. Origins with only JPEG files are ignored.

    Parameters
    ----------
    histories
        Maps each origin to the histories of its images.

    Returns
    -------
    list of str
        One warning if the fractions of two origins differ by at least 40 percentage points;
        otherwise empty.
    """
    fractions = {}
    for origin, group in histories.items():
        if flags := [h.is_former_jpeg for h in group if not h.quality]:
            fractions[origin] = sum(flags) / len(flags)
    values = fractions.values()
    if not values or max(values) - min(values) < _FRACTION_DIFFERENCE:
        return []
    percentages = ", ".join(f"{origin} {100 * value:.0f} %" for origin, value in fractions.items())
    return [
        "SHORTCUT: the fraction of files with traces of JPEG compression, among files "
        f"that are not JPEG files, differs between origins: {percentages}. A classifier can learn "
        "this instead of the origin. Encode the original files of all origins in the same way; "
        "converting to another format does not remove the traces."
    ]


def estimate_quality(table_sum: int) -> int:
    """Estimate the libjpeg quality, from 1 to 100, from the sum of a luma quantization table."""
    if table_sum <= 64:  # all 64 steps are 1
        return 100
    scale = 100 * table_sum / _STANDARD_SUM
    quality = (200 - scale) / 2 if scale <= 100 else 5000 / scale
    return max(1, min(100, round(quality)))


def compute_jpeg_score(luma: np.ndarray) -> float:
    """Compute the score for traces of JPEG compression: near 0 without traces, at most 1.

    The module docstring defines the score. Only the central 512 × 512 pixels are analyzed. The
    score is 0 if a side of the image has fewer than 64 pixels.

    Parameters
    ----------
    luma
        Luma from 0 to 255: floating-point array (height, width).
    """
    if min(luma.shape) < _MIN_SIDE:
        return 0.0
    top, left = ((side - min(side, _CROP)) // 2 for side in luma.shape)
    luma = luma[top : top + _CROP, left : left + _CROP]
    rows, columns = _find_grid(luma.T), _find_grid(luma)
    h, w = (luma.shape[0] - rows) // 8 * 8, (luma.shape[1] - columns) // 8 * 8
    blocks = luma[rows : rows + h, columns : columns + w].reshape(h // 8, 8, w // 8, 8)
    coefficients = dctn(blocks - 128, axes=(1, 3), norm="ortho")
    scores = []
    for u, v in _FREQUENCIES:
        c = np.abs(coefficients[:, u, :, v]).ravel()
        fits = [
            np.cos(2 * np.pi / q * large_coefficients).mean()
            for q in _STEPS
            if len(large_coefficients := c[c > 0.6 * q]) >= _MIN_COEFFICIENTS
        ]
        scores.append(max(fits, default=0.0))
    return float(np.mean(scores))


def _find_grid(luma: np.ndarray) -> int:
    """Return the column, from 0 to 7, at which the first 8-pixel block of an image begins."""
    differences = np.abs(np.diff(luma, axis=1))
    # Column k of the excess belongs to the difference between columns k + 1 and k + 2 of the image.
    excess = differences[:, 1:-1] - (differences[:, :-2] + differences[:, 2:]) / 2
    # Use only the sign, so that edges of objects do not dominate.
    profile = np.sign(excess).mean(axis=0)
    phases = [profile[phase::8].mean() for phase in range(8)]
    return (int(np.argmax(phases)) + 2) % 8
