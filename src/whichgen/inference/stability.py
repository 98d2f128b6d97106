"""Check whether slight alterations of an image change its answer.

Platforms resize, crop and recompress images, which can change the answer. The stability check
attributes five altered copies of an image (:data:`COPIES`). An origin implies its family, a family
implies ``synthetic``, and every answer implies ``unknown``; the implied answer is less specific. A
copy confirms the answer for the image if the copy's answer is the same or implies it. If a copy
does not confirm the answer, the answer is replaced by the most specific of the less specific
answers that no copy contradicts (:func:`find_stable_answer`).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from PIL import Image, ImageOps

from whichgen.constants import REAL, SYNTHETIC, UNKNOWN
from whichgen.data.images.decoding import make_thumbnail
from whichgen.inference.attribution import Attribution

#: Maximum width and height of a WebP image in pixels.
_MAX_SIDE = 16383


def compress(image: Image.Image, kind: str, quality: int) -> Image.Image:
    """Compress an RGB image and decode it again.

    An image with a side over 16,383 pixels, which WebP does not support, is scaled down.

    Parameters
    ----------
    image
        The RGB image.
    kind
        Name of the format in Pillow.
    quality
        Compression quality, 0 to 100.
    """
    data = make_thumbnail(image, _MAX_SIDE, kind=kind, quality=quality)
    return Image.open(io.BytesIO(data)).convert("RGB")


def rescale(image: Image.Image) -> Image.Image:
    """Scale an image to 0.75 of its width and height, and back to its original size."""
    size = (max(1, 3 * image.width // 4), max(1, 3 * image.height // 4))
    small_image = image.resize(size, Image.Resampling.BICUBIC)
    return small_image.resize(image.size, Image.Resampling.BICUBIC)


def crop(image: Image.Image) -> Image.Image:
    """Remove 2 pixels from each side, but at most a 16th of the width or height."""
    width, height = image.size
    x, y = min(2, width // 16), min(2, height // 16)
    return image.crop((x, y, width - x, height - y))


#: Functions that create the altered copies for the stability check, by name of the copy. Each
#: function takes and returns an RGB image.
COPIES: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg": partial(compress, kind="JPEG", quality=85),
    "rescale": rescale,
    "crop": crop,
    "webp": partial(compress, kind="WEBP", quality=80),
    "mirror": ImageOps.mirror,
}


def find_stable_answer(answers: Sequence[str], families: Mapping[str, str]) -> str:
    """Return the answer for an image, given the answers for its copies.

    The result is the answer for the image alone if every copy's answer is the same or implies it.
    Otherwise, it is the most specific of the less specific answers that no copy contradicts. Two
    different answers contradict each other if neither implies the other.

    Parameters
    ----------
    answers
        Answer for the image, then the answer for each copy: a known origin, a family,
        ``synthetic``, ``real`` or ``unknown``.
    families
        Maps every known origin except ``real`` to its family.

    Examples
    --------
    >>> families = {"dcgan": "GAN", "stylegan": "GAN", "ddpm": "diffusion"}
    >>> find_stable_answer(["dcgan", "dcgan", "unknown"], families)
    'GAN'
    >>> find_stable_answer(["dcgan", "ddpm"], families)
    'synthetic'
    >>> find_stable_answer(["synthetic", "real"], families)
    'unknown'
    """
    image_levels, *copy_levels = (_list_levels(answer, families) for answer in answers)
    if all(image_levels[0] in levels for levels in copy_levels):
        return image_levels[0]
    remaining_levels = image_levels[1:]  # ends with ``unknown``, which all answers imply
    while any(
        remaining_levels[0] not in levels and levels[0] not in remaining_levels
        for levels in copy_levels
    ):
        del remaining_levels[0]
    return remaining_levels[0]


def check_stability(
    answer: Attribution, copy_answers: Sequence[str], families: Mapping[str, str]
) -> Attribution:
    """Return the answer for an image with the result of the stability check.

    If a copy does not confirm the answer, ``coarse_origin`` becomes less specific
    (:func:`find_stable_answer`), and ``origin`` becomes ``unknown``. In any case, ``stability``,
    ``differing_copies`` and ``original_answer`` are set; all other fields stay unchanged.

    Parameters
    ----------
    answer
        Answer for the image alone.
    copy_answers
        ``coarse_origin`` of each copy, in the order of :data:`COPIES`.
    families
        Maps every known origin except ``real`` to its family.
    """
    original_answer = str(answer.coarse_origin)
    stable_answer = find_stable_answer([original_answer, *copy_answers], families)
    differing_copies = tuple(
        name for name, copy in zip(COPIES, copy_answers, strict=True) if copy != original_answer
    )
    return replace(
        answer,
        origin=answer.origin if stable_answer == original_answer else UNKNOWN,
        coarse_origin=stable_answer,
        stability=len(COPIES) - len(differing_copies),
        differing_copies=differing_copies,
        original_answer=original_answer,
    )


def _list_levels(answer: str, families: Mapping[str, str]) -> list[str]:
    """Return an answer, followed by the less specific answers that it implies."""
    levels = [answer]
    if answer not in (REAL, SYNTHETIC, UNKNOWN):
        levels += [families.get(answer, answer), SYNTHETIC]
    return list(dict.fromkeys([*levels, UNKNOWN]))
