"""Coarser predictions for rejected images: ``synthetic``, ``real``, or a family of generators.

A rejected image has a score below the open-set threshold. The head computes the probability p_v,j
of origin j from each view v, which is a feature block (:mod:`whichgen.heads.fusion`). The weights
a_v of the views sum to 1. The logit of a group G of origins is the weighted mean, over views, of
the log-probability of G::

    z_G(x) = Σ_v a_v log Σ_{j ∈ G} p_v,j(x)

z_G is close to 0 only if every view with a high weight predicts the group with a probability close
to 1; the views may disagree about the origin within the group.

The thresholds are chosen on held-out images, on which the head was not fitted. A rejected image is
assigned to the most specific group whose threshold it reaches:

- A family requires a minimum z_G, because the image may belong to an unknown family. Most synthetic
  held-out images reach this minimum in at least one family. If a minimum precision is specified
  (always for models trained with sources), the minimum z_G is instead so high that few predicted
  families are wrong. A family also requires the minimum difference for ``synthetic``, if the
  minimum differences for both ``synthetic`` and ``real`` are defined. An origin that is its own
  family is not predicted as a family.
- ``synthetic`` and ``real`` each require a minimum difference between the logits of these two
  groups. Few held-out images of the wrong group reach this difference.

The image stays ``unknown`` if it reaches no threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from whichgen.constants import REAL, SYNTHETIC, UNKNOWN
from whichgen.heads.head import HeadOutput
from whichgen.heads.softmax import logsumexp
from whichgen.openset.threshold import (
    choose_threshold_at_fpr,
    choose_threshold_at_precision,
    choose_threshold_at_tpr,
)


@dataclass(frozen=True)
class Hierarchy:
    """Generator families, and the thresholds of the coarser predictions.

    Parameters
    ----------
    families
        Maps every known origin except ``real`` to its family, which may be the origin itself.
    synthetic, real
        Minimum of z_synthetic − z_real to predict ``synthetic``, and of z_real − z_synthetic to
        predict ``real``, both ≥ 0. Both are ``None`` if the known origins do not include both
        ``real`` and a generator; ``synthetic`` is ``None`` if no held-out image is real, and
        ``real`` is ``None`` if no held-out image is synthetic.
    family
        Minimum logit z_G to predict a family, ≤ 0; ``None`` if no held-out image is synthetic, or
        if every generator is its own family.
    """

    families: Mapping[str, str]
    synthetic: float | None
    real: float | None
    family: float | None


def compute_group_logits(output: HeadOutput, members: Sequence[int]) -> np.ndarray:
    """Compute the logit z_G of a group G for each image: float64 array (n,), ≤ 0.

    ``output`` is the output of the head for the n images, and ``members`` contains the indices of
    the origins in G, at least one.
    """
    log_sums = logsumexp(output.log_probabilities[:, :, list(members)], axis=2)
    return np.asarray((output.view_weights * np.minimum(log_sums, 0)).sum(axis=0))


def fit_hierarchy(
    output: HeadOutput,
    labels: np.ndarray,
    origins: Sequence[str],
    families: Mapping[str, str],
    tpr: float,
    *,
    fpr: float | None = None,
    precision: float | None = None,
    true_families: np.ndarray | None = None,
) -> Hierarchy:
    """Choose the thresholds of the coarser predictions on held-out images.

    At most a fraction ``fpr`` of the real images reach the threshold for ``synthetic``, and at most
    a fraction 1 − ``tpr`` of the synthetic images reach the threshold for ``real``. The threshold
    for a family depends on ``tpr`` or ``precision``.

    Parameters
    ----------
    output
        Output of the head for the n held-out images.
    labels
        Origin index of each image, or -1 for an unknown generator: integer array (n,).
    origins
        Names of the known origins.
    families
        Maps every known origin except ``real`` to its family.
    tpr
        Minimum fraction of the synthetic images that stay below the threshold for ``real``, in
        (0, 1]. If ``precision`` is not used, also the minimum fraction of the synthetic images that
        reach the threshold for a family.
    fpr
        Maximum fraction of the real images that reach the threshold for ``synthetic``, in [0, 1);
        1 − ``tpr`` if ``None``.
    precision
        Minimum fraction of the predicted families that are correct, in (0, 1], among the images
        that reach the threshold for ``synthetic``. If no threshold for a family has this precision,
        the highest logit of these images is used. If ``precision`` is ``None``, or if no image
        reaches the threshold for ``synthetic``, the threshold for a family is chosen by ``tpr``.
    true_families
        Family of each image, empty for real images: str array (n,). By default, the families of the
        known origins are used, and no family is correct for an image of an unknown generator.

    Raises
    ------
    FitError
        ``tpr`` is not in (0, 1]. This is checked only if a threshold for a family is chosen.
    """
    synthetic = real = family = None
    generators = [origin for origin in origins if origin != REAL]
    true_origins = np.append(origins, "")[labels]
    is_synthetic = true_origins != REAL
    margins = np.full(len(labels), np.inf)
    if generators and len(generators) < len(origins):
        margins = _compute_margins(output, origins)
        synthetic = _choose_threshold(margins[~is_synthetic], 1 - tpr if fpr is None else fpr)
        real = _choose_threshold(-margins[is_synthetic], 1 - tpr)
    members = _list_members(origins, families)
    if is_synthetic.any() and members:
        predicted_families, z = _predict_families(output, members)
        family = choose_threshold_at_tpr(z[is_synthetic], tpr)
        can_be_synthetic = margins >= (synthetic or 0)
        if precision is not None and can_be_synthetic.any():
            if true_families is None:
                true_families = np.array([families.get(o, "") for o in true_origins.tolist()])
            correct = predicted_families == true_families
            family = choose_threshold_at_precision(
                z[can_be_synthetic], correct[can_be_synthetic], precision
            )
    return Hierarchy({o: families[o] for o in generators}, synthetic, real, family)


def select_answers(
    output: HeadOutput, decisions: np.ndarray, origins: Sequence[str], hierarchy: Hierarchy
) -> list[str]:
    """Return the predicted origin of each image or, for a rejected image, a coarser prediction.

    The coarser prediction is the most specific group whose threshold the image reaches: a family,
    ``synthetic`` or ``real``. The latter two are predicted only if neither of their thresholds is
    ``None``. If the image reaches no threshold, the prediction is ``unknown``.

    Parameters
    ----------
    output
        Output of the head for the n images.
    decisions
        Index of the predicted origin, or -1 for a rejected image
        (:func:`whichgen.openset.threshold.decide`): int64 array (n,).
    origins
        Names of the known origins.
    hierarchy
        The families, and the thresholds of the coarser predictions.

    Returns
    -------
    list of str
        One prediction per image.
    """
    answers = np.full(len(decisions), UNKNOWN)
    can_be_synthetic = np.ones(len(decisions), dtype=bool)
    if hierarchy.synthetic is not None and hierarchy.real is not None:
        margins = _compute_margins(output, origins)
        can_be_synthetic = margins >= hierarchy.synthetic
        conditions = [can_be_synthetic, -margins >= hierarchy.real]
        answers = np.select(conditions, [SYNTHETIC, REAL], UNKNOWN)
    members = _list_members(origins, hierarchy.families)
    if hierarchy.family is not None and members:
        families, z = _predict_families(output, members)
        answers = np.where(can_be_synthetic & (z >= hierarchy.family), families, answers)
    return list(np.where(decisions < 0, answers, np.array(origins)[decisions]).tolist())


def _compute_margins(output: HeadOutput, origins: Sequence[str]) -> np.ndarray:
    """Compute z_synthetic − z_real for each image: float64 array (n,)."""
    real = list(origins).index(REAL)
    generators = [i for i in range(len(origins)) if i != real]
    return np.asarray(
        compute_group_logits(output, generators) - compute_group_logits(output, [real])
    )


def _choose_threshold(values: np.ndarray, fraction: float) -> float | None:
    """Return the lowest threshold of at least 0 that a limited fraction of values reach.

    The limit is ``fraction``, in [0, 1). ``values`` is a float array (m,); if it is empty, return
    ``None``.
    """
    return max(0.0, choose_threshold_at_fpr(values, fraction)) if len(values) else None


def _list_members(origins: Sequence[str], families: Mapping[str, str]) -> dict[str, list[int]]:
    """Map each family to the indices of its origins, except origins that are their own family."""
    members: dict[str, list[int]] = {}
    for i, origin in enumerate(origins):
        if origin != REAL and families[origin] != origin:
            members.setdefault(families[origin], []).append(i)
    return members


def _predict_families(
    output: HeadOutput, members: Mapping[str, Sequence[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each image, the family with the highest logit and this logit.

    The families are a str array (n,), the logits a float64 array (n,).
    """
    z = np.stack([compute_group_logits(output, indices) for indices in members.values()])
    return np.array(list(members))[z.argmax(axis=0)], z.max(axis=0)
