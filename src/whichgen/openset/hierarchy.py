"""Answers above single generators: ``synthetic``, ``real``, or a family of generators.

For a group G of origins, each view v of a head gives the total probability of its members; views
are pooled as for single origins (:mod:`whichgen.heads.fusion`)::

    z_G(x) = Σ_v a_v log Σ_{j ∈ G} p_v,j(x)

It is high only if all views are certain of the group, even if they disagree about its members.

An image answered ``unknown`` gets the most specific answer that is still certain. Every image is
either real or synthetic, so this level is decided by the margin between the two: few validation
images of the opposite kind may exceed it. An image's family may be none of the known ones, so the
family's z must reach the level of known images. An image attributed to a known
origin keeps that answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from whichgen.constants import REAL, SYNTHETIC, UNKNOWN
from whichgen.heads.base import HeadOutput
from whichgen.openset.threshold import threshold_at_tpr


@dataclass(frozen=True)
class Hierarchy:
    """Families of generators, and thresholds for the answers above single generators.

    Parameters
    ----------
    families
        Family of every known origin except ``real``.
    synthetic, real
        Minimum margin of z of ``synthetic`` over z of ``real``, and vice versa; ``None`` unless
        ``real`` and generators are known.
    family
        Minimum z of a family; ``None`` if no generator is known.
    """

    families: Mapping[str, str]
    synthetic: float | None
    real: float | None
    family: float | None


def group_logits(output: HeadOutput, members: Sequence[int]) -> np.ndarray:
    """Compute z of a group of origins, given by their indices: float64 array (n,)."""
    log_sums = logsumexp(output.log_probabilities[:, :, list(members)], axis=2)
    return np.asarray((output.view_weights * np.minimum(log_sums, 0)).sum(axis=0))


def fit_hierarchy(
    output: HeadOutput,
    labels: np.ndarray,
    origins: Sequence[str],
    families: Mapping[str, str],
    tpr: float,
) -> Hierarchy:
    """Set the thresholds on known validation images.

    The margin for ``synthetic`` is exceeded by at most the fraction 1 − ``tpr`` of real images, and
    the margin for ``real`` by at most that fraction of synthetic images. At least the fraction
    ``tpr`` of synthetic images reach the threshold for their family.

    Parameters
    ----------
    output
        What the head computed for the n validation images.
    labels
        Their origin indices: int array (n,).
    """
    synthetic = real = family = None
    generators = [origin for origin in origins if origin != REAL]
    is_synthetic = np.array(origins)[labels] != REAL
    if generators and len(generators) < len(origins):
        margins = _synthetic_margins(output, origins)
        synthetic = _threshold_few_exceed(margins[~is_synthetic], 1 - tpr)
        real = _threshold_few_exceed(-margins[is_synthetic], 1 - tpr)
    if is_synthetic.any():
        family = threshold_at_tpr(_best_family(output, origins, families)[1][is_synthetic], tpr)
    return Hierarchy({o: families[o] for o in generators}, synthetic, real, family)


def most_specific_answers(
    output: HeadOutput, decisions: np.ndarray, origins: Sequence[str], hierarchy: Hierarchy
) -> list[str]:
    """Return the most specific certain answer for each image.

    Parameters
    ----------
    output
        What the head computed for the n images.
    decisions
        Index of the predicted origin, or -1 for ``unknown``
        (:func:`whichgen.openset.threshold.decide`): int array (n,).
    """
    answers = np.full(len(decisions), UNKNOWN)
    can_be_synthetic = np.ones(len(decisions), dtype=bool)
    if hierarchy.synthetic is not None and hierarchy.real is not None:
        margins = _synthetic_margins(output, origins)
        can_be_synthetic = margins >= hierarchy.synthetic
        certain = [can_be_synthetic, -margins >= hierarchy.real]
        answers = np.select(certain, [SYNTHETIC, REAL], UNKNOWN)
    if hierarchy.family is not None:
        families, z = _best_family(output, origins, hierarchy.families)
        answers = np.where(can_be_synthetic & (z >= hierarchy.family), families, answers)
    return list(np.where(decisions < 0, answers, np.array(origins)[decisions]).tolist())


def _synthetic_margins(output: HeadOutput, origins: Sequence[str]) -> np.ndarray:
    """Compute z of ``synthetic`` minus z of ``real``: float64 array (n,)."""
    real = list(origins).index(REAL)
    generators = [i for i in range(len(origins)) if i != real]
    return np.asarray(group_logits(output, generators) - group_logits(output, [real]))


def _threshold_few_exceed(values: np.ndarray, fraction: float) -> float | None:
    """Return the smallest threshold ≥ 0 that at most this fraction of the values reach."""
    if not len(values):
        return None
    descending = np.sort(values)[::-1]
    allowed = min(int(fraction * len(descending) + 1e-9), len(descending) - 1)
    return max(0.0, float(np.nextafter(descending[allowed], np.inf)))


def _best_family(
    output: HeadOutput, origins: Sequence[str], families: Mapping[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the family with the highest z for each image, str array (n,), and its z."""
    members: dict[str, list[int]] = {}
    for i, origin in enumerate(origins):
        if origin != REAL:
            members.setdefault(families[origin], []).append(i)
    z = np.stack([group_logits(output, indices) for indices in members.values()])
    return np.array(list(members))[z.argmax(axis=0)], z.max(axis=0)
