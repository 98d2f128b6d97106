"""Estimate the quality of JPEG files, and detect earlier JPEG compression of other files.

JPEG rounds the DCT coefficients of 8 × 8 blocks to multiples of quantization steps. Therefore, the
decompressed pixels have discontinuities on a grid of 8 pixels, and the DCT coefficients are close
to multiples of a step q (Fan & de Queiroz, *Identification of bitmap compression history: JPEG
detection and quantizer estimation*, IEEE Transactions on Image Processing 12, 2003). The grid is
where large discontinuities are most frequent. For a frequency with coefficients cᵢ, the statistic
is the maximum over q of the mean of cos(2π cᵢ / q). This mean is near 1 for multiples of q and near
0 otherwise. Coefficients of at most 0.6 q are ignored. The score is the mean of the statistic over
some low frequencies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import dctn

from whichgen.data.images.decoding import DecodedFile

#: Score above which an image counts as a former JPEG file.
THRESHOLD = 0.25

#: Side of the central crop that is analyzed, and minimum side of an image, in pixels.
_CROP, _MIN_SIDE = 512, 64

#: Candidates for the quantization step q, and the examined DCT frequencies (vertical, horizontal).
_STEPS = np.arange(2, 17)
_FREQUENCIES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2))

#: Minimum number of coefficients above 0.6 q for a mean. JPEG rounds those below 0.5 q to 0.
_MIN_COEFFICIENTS = 40

#: Minimum difference between the fractions of former JPEG files in two origins for a warning.
_SHARE_DIFFERENCE = 0.4

#: Sum of the luma quantization table of the JPEG standard (ITU-T T.81, table K.1).
_STANDARD_SUM = 3688


@dataclass(frozen=True)
class JpegHistory:
    """JPEG compression of an image.

    Parameters
    ----------
    quality
        Quality of a JPEG file, from 1 to 100, on the scale of libjpeg; 0 for other formats.
    is_former
        Whether the file is not a JPEG file, but its pixels have traces of JPEG compression.
    """

    quality: int
    is_former: bool


def find_jpeg_history(file: DecodedFile) -> JpegHistory:
    """Return the quality of a decoded JPEG file, or whether another file is a former JPEG file."""
    if tables := getattr(file.stored_image, "quantization", None):
        return JpegHistory(estimate_quality(sum(tables[min(tables)])), is_former=False)
    luma = np.asarray(file.pixels.convert("L"), dtype=np.float64)
    return JpegHistory(0, compute_jpeg_score(luma) > THRESHOLD)


def compare_histories(histories: Mapping[str, Sequence[JpegHistory]]) -> list[str]:
    """Return a warning if former JPEG files are more frequent in some origins than in others.

    Fractions of former JPEG files are fractions of the files that are not JPEG files.

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
    shares = {}
    for origin, group in histories.items():
        if flags := [h.is_former for h in group if not h.quality]:
            shares[origin] = sum(flags) / len(flags)
    if not shares or max(shares.values()) - min(shares.values()) < _SHARE_DIFFERENCE:
        return []
    limit = min(shares.values()) + _SHARE_DIFFERENCE
    high = {o: f"{o} {100 * share:.0f} %" for o, share in shares.items() if share >= limit}
    low = ", ".join(o for o in shares if o not in high)
    return [
        "SHORTCUT: files that are not JPEG files have traces of JPEG compression: "
        f"{', '.join(high.values())}, unlike {low}. A classifier can learn this instead of the "
        "origin. Encode the original files of all origins in the same way; converting to another "
        "format does not remove the traces."
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

    Only the central 512 × 512 pixels are analyzed. The score is 0 if a side of the image has fewer
    than 64 pixels. See the module docstring for the formula.

    Parameters
    ----------
    luma
        Luma from 0 to 255: floating-point array (h, w).
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
    """Return the column, from 0 to 7, at which the 8-pixel blocks of an image (h, w) begin."""
    step = np.abs(np.diff(luma, axis=1))
    # Column k of the excess belongs to the step between columns k + 1 and k + 2 of the image.
    excess = step[:, 1:-1] - (step[:, :-2] + step[:, 2:]) / 2
    # Use only the sign, so that edges of objects do not dominate.
    profile = np.sign(excess).mean(axis=0)
    phases = [profile[phase::8].mean() for phase in range(8)]
    return (int(np.argmax(phases)) + 2) % 8
