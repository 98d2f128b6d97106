"""Options for splitting a folder of images, and their validation."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from whichgen.data.origins.origin_names import fold_name, validate_origin_names
from whichgen.defaults import SPLIT_FRACTIONS
from whichgen.errors import DataError
from whichgen.option_names import name_option


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """Options for splitting a folder of images.

    Parameters
    ----------
    unknown
        Origins to hold out from training.
    unknown_val
        Unknown origins for validation; all other unknown origins are for testing. If empty, a
        random half of the unknown origins (rounded down) is for validation.
    share_unknown
        Whether all unknown origins are used for both validation and testing. If so,
        ``unknown_val`` is ignored.
    fractions
        Fractions of the images of known origins in train, val and test; positive, with sum 1.
    seed
        Random seed for selecting the unknown origins for validation and for dividing the images.
    real
        Names of additional folders of photographs (case-insensitive). The origin of their images is
        ``real`` (:func:`~whichgen.data.layouts.folder_layout.read_layout`).
    """

    unknown: tuple[str, ...] = ()
    unknown_val: tuple[str, ...] = ()
    share_unknown: bool = False
    fractions: tuple[float, float, float] = SPLIT_FRACTIONS
    seed: int = 0
    real: tuple[str, ...] = ()


def check_split_options(folder: Path, origins: Collection[str], options: SplitOptions) -> None:
    """Check the unknown origins, the names of all origins, and the fractions.

    Parameters
    ----------
    folder
        The dataset folder, for error messages.
    origins
        All origins of the dataset.
    options
        The options to check.

    Raises
    ------
    DataError
        The name of an origin is invalid, or two names differ only in case or Unicode form
        (:func:`~whichgen.data.origins.origin_names.validate_origin_names`); ``unknown`` or
        ``unknown_val`` contains a name that is not in ``origins``; ``unknown_val`` contains an
        origin that is not in ``unknown``; or a fraction is not positive, or their sum is not 1.
    """
    validate_origin_names(origins)
    missing = [o for o in (*options.unknown, *options.unknown_val) if o not in origins]
    names_by_key = {fold_name(origin): origin for origin in origins}
    if missing:
        similar_names = [
            names_by_key[fold_name(o)] for o in missing if fold_name(o) in names_by_key
        ]
        raise DataError(
            f"{folder} has no origin {', '.join(missing)}. Choose from {', '.join(origins)}."
            + (
                f" Use the spelling {', '.join(map(ascii, similar_names))}."
                if similar_names
                else ""
            )
        )
    if only_val := [o for o in options.unknown_val if o not in options.unknown]:
        raise DataError(
            f"{name_option('--unknown-val')} contains {', '.join(only_val)}, but "
            f"{name_option('--unknown')} does not. Add these origins to {name_option('--unknown')}."
        )
    # The negated condition also rejects NaN.
    if not (min(options.fractions) > 0 and abs(sum(options.fractions) - 1) <= 1e-9):
        raise DataError(
            f"the fractions {', '.join(map(str, options.fractions))} must be positive and sum to "
            f"1. Correct {name_option('--fractions')}."
        )
