"""Notes on images for which predictions are less reliable."""

from __future__ import annotations

from whichgen.data.images.reliability_traits import ImageTraits, TrainingSizes

#: Minimum shorter side in pixels. Smaller images contain too little information about the
#: generator, whatever the size of the training images.
MIN_SIDE = 32

#: Minimum standard deviation of the gray values (0 to 255) of an image with visible content.
MIN_CONTRAST = 1.0

#: Maximum factor by which an image can be smaller or larger than the training images without a
#: note.
MAX_SIZE_RATIO = 2.0


def describe_unusual_traits(traits: ImageTraits, sizes: TrainingSizes | None) -> tuple[str, ...]:
    """Return a note for each property of an image that makes predictions less reliable.

    These properties are an unusual size, almost no contrast, and repaired damage.

    Parameters
    ----------
    traits
        Properties of the image.
    sizes
        Sizes of the training images; ``None`` if they are not known. Only :data:`MIN_SIDE` then
        limits the size.

    Returns
    -------
    tuple of str
        One or two sentences per note; empty if the image has none of these properties.
    """
    notes = []
    shorter_side, longer_side = sorted((traits.width, traits.height))
    size = f"{traits.width} × {traits.height} pixels"
    training_range = ""
    if sizes:
        shortest = "" if sizes.shortest == sizes.longest else f"{sizes.shortest} to "
        training_range = f"{shortest}{sizes.longest} pixels"
    if shorter_side < MIN_SIDE:
        notes.append(
            f"Too small: {size} are not enough to distinguish generators. Do not rely on the answer"
        )
    elif sizes and shorter_side * MAX_SIZE_RATIO < sizes.shortest:
        notes.append(
            f"Small: {size}; most training images have sides of {training_range}. The "
            "answer is less reliable"
        )
    elif sizes and longer_side > MAX_SIZE_RATIO * sizes.longest:
        notes.append(
            f"Large: {size}; most training images have sides of {training_range}. The "
            "answer is less reliable"
        )
    if traits.contrast < MIN_CONTRAST:
        notes.append("Almost one color: no visible content. Do not rely on the answer")
    if traits.repair_note:
        notes.append(f"Damaged: {traits.repair_note}")
    return tuple(f"{note}." for note in notes)
