"""Answers above single generators: ``synthetic``, ``real``, or a family of generators.

For a group G of origins, each view v of a head gives the total probability of its members; views
are pooled as for single origins (:mod:`whichgen.heads.fusion`)::

    z_G(x) = Σ_v a_v log Σ_{j ∈ G} p_v,j(x)

It is high only if all views are certain of the group, even if they disagree about its members.

An image answered ``unknown`` gets the most specific answer that is still certain. *Real or
synthetic* has only these two answers, even for an unfamiliar image, so it is decided by the margin
between the two, which few validation images of the opposite kind may exceed. A family can be none
of the known ones, so its z must reach the level of known images. An image attributed to a known
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

    At most the fraction 1 − ``tpr`` of real images exceed the margin for ``synthetic``, and of
    synthetic images the margin for ``real``; at least the fraction ``tpr`` of synthetic images
    reach the threshold for a family.

    Parameters
    ----------
    output
        What the head computed for the n validation images.
    labels
        Their origin indices: int array (n,).
    """
    groups = _group_by_family(origins, families)
    synthetic = real = family = None
    is_synthetic = np.array([origins[label] != REAL for label in labels.tolist()], dtype=bool)
    if REAL in origins and groups:
        margins = _synthetic_margins(output, origins)
        synthetic = _threshold_few_exceed(margins[~is_synthetic], 1 - tpr)
        real = _threshold_few_exceed(-margins[is_synthetic], 1 - tpr)
    if groups and is_synthetic.any():
        family = threshold_at_tpr(_best_group(output, groups)[1][is_synthetic], tpr)
    return Hierarchy({o: families[o] for o in origins if o != REAL}, synthetic, real, family)


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
    groups = _group_by_family(origins, hierarchy.families)
    names, z = _best_group(output, groups) if groups else ([], np.empty(0))
    both = hierarchy.synthetic is not None and hierarchy.real is not None
    margins = _synthetic_margins(output, origins) if both else np.zeros(len(decisions))
    answers = []
    for i, index in enumerate(decisions.tolist()):
        if index >= 0:
            answers.append(origins[index])
            continue
        answer = UNKNOWN
        if hierarchy.synthetic is not None and margins[i] >= hierarchy.synthetic:
            answer = SYNTHETIC
        elif hierarchy.real is not None and -margins[i] >= hierarchy.real:
            answer = REAL
        synthetic = answer == SYNTHETIC or not both
        if synthetic and hierarchy.family is not None and z[i] >= hierarchy.family:
            answer = names[i]
        answers.append(answer)
    return answers


def _synthetic_margins(output: HeadOutput, origins: Sequence[str]) -> np.ndarray:
    """Compute z of ``synthetic`` minus z of ``real``: float64 array (n,)."""
    real = list(origins).index(REAL)
    generated = [i for i in range(len(origins)) if i != real]
    z_real = group_logits(output, [real])
    return np.asarray(group_logits(output, generated) - z_real)


def _threshold_few_exceed(values: np.ndarray, fraction: float) -> float | None:
    """Return the smallest threshold ≥ 0 that at most this fraction of the values reach."""
    if not len(values):
        return None
    descending = np.sort(values)[::-1]
    allowed = int(fraction * len(descending) + 1e-9)
    if allowed >= len(descending):
        return 0.0
    return max(0.0, float(np.nextafter(descending[allowed], np.inf)))


def _group_by_family(origins: Sequence[str], families: Mapping[str, str]) -> dict[str, list[int]]:
    """Return the indices of the members of each family."""
    groups: dict[str, list[int]] = {}
    for i, origin in enumerate(origins):
        if origin != REAL:
            groups.setdefault(families[origin], []).append(i)
    return groups


def _best_group(
    output: HeadOutput, groups: Mapping[str, Sequence[int]]
) -> tuple[list[str], np.ndarray]:
    """Return the group with the highest z for each image, and its z."""
    z = np.stack([group_logits(output, members) for members in groups.values()])
    names = list(groups)
    return [names[i] for i in z.argmax(axis=0).tolist()], z.max(axis=0)
