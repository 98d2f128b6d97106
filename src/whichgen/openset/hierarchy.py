"""What can still be said of an image whose generator is not known: synthetic, and of which family.

A group G of origins has, for each view v of a head, the probability of its members together; views
are pooled as origins are (:mod:`whichgen.heads.fusion`)::

    z_G(x) = Σ_v a_v log Σ_{j ∈ G} p_v,j(x)

It is high only where all views are certain of the group, whatever they think of its members.

An image that is answered ``unknown`` gets the deepest answer that is certain. Real or synthetic has
two answers also for an image like none seen, so it is decided by which of the two is ahead, by so
much that of the other kind's validation images few are. A family may be none of the known ones, so
its z must be as high as that of known images is. An image that is answered a known origin keeps
that answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from whichgen.constants import REAL, SYNTHETIC, UNKNOWN
from whichgen.heads.base import Head
from whichgen.openset.threshold import threshold_at_tpr


@dataclass(frozen=True)
class Hierarchy:
    """Families, and the thresholds of the two levels above single generators.

    Parameters
    ----------
    families
        The family of every known origin but ``real``.
    synthetic, real
        How far, at least, z of ``synthetic`` is ahead of z of ``real``, and the other way round;
        ``None`` unless both are known.
    family
        The least z of a family; ``None`` where no generator is known.
    """

    families: Mapping[str, str]
    synthetic: float | None
    real: float | None
    family: float | None


@dataclass(frozen=True)
class Said:
    """What a head's views say of images.

    ``log_probabilities``, float array (views, n, origins), each at most 0, and how much each view
    weighs, ``shares``, float array (views, n).
    """

    log_probabilities: np.ndarray
    shares: np.ndarray

    def of(self, rows: np.ndarray) -> Said:
        """Of some of the images."""
        return Said(self.log_probabilities[:, rows], self.shares[:, rows])


def said_by(head: Head, features: np.ndarray) -> Said:
    """What a head's views say of features (n, d)."""
    return Said(head.log_probabilities(features), head.shares(features))


def group_logits(said: Said, members: Sequence[int]) -> np.ndarray:
    """z of a group of origins: float64 array (n,)."""
    together = logsumexp(said.log_probabilities[:, :, list(members)], axis=2)
    return np.asarray((said.shares * np.minimum(together, 0)).sum(axis=0))


def fit_hierarchy(
    said: Said,
    labels: np.ndarray,
    origins: Sequence[str],
    families: Mapping[str, str],
    tpr: float,
) -> Hierarchy:
    """Thresholds from known validation images.

    At most the share 1 − ``tpr`` of real ones are far enough ahead to be called synthetic, and of
    synthetic ones to be called real; at least the share ``tpr`` of synthetic ones keep a family.

    Parameters
    ----------
    said
        What a head's views say of them.
    labels
        Their origins: int array (n,).
    """
    by_family = _families(origins, families)
    synthetic = real = family = None
    generated = np.array([origins[label] != REAL for label in labels.tolist()], dtype=bool)
    if REAL in origins and by_family:
        ahead = _ahead(said, origins)
        synthetic = _exceeded_by_few(ahead[~generated], 1 - tpr)
        real = _exceeded_by_few(-ahead[generated], 1 - tpr)
    if by_family and generated.any():
        family = threshold_at_tpr(_best(said.of(generated), by_family)[1], tpr)
    return Hierarchy({o: families[o] for o in origins if o != REAL}, synthetic, real, family)


def most_specific_answers(
    said: Said,
    decided: np.ndarray,
    origins: Sequence[str],
    levels: Hierarchy,
) -> list[str]:
    """The deepest certain answer for each image.

    Parameters
    ----------
    said
        What the head's views say.
    decided
        The index of the origin answered, or -1 for ``unknown``: int array (n,).
    """
    by_family = _families(origins, levels.families)
    family, z = _best(said, by_family) if by_family else ([], np.empty(0))
    both = levels.synthetic is not None and levels.real is not None
    ahead = _ahead(said, origins) if both else np.zeros(len(decided))
    answers = []
    for i, index in enumerate(decided.tolist()):
        if index >= 0:
            answers.append(origins[index])
            continue
        found = UNKNOWN
        if levels.synthetic is not None and ahead[i] >= levels.synthetic:
            found = SYNTHETIC
        elif levels.real is not None and -ahead[i] >= levels.real:
            found = REAL
        may_be = found == SYNTHETIC or not both
        if may_be and levels.family is not None and z[i] >= levels.family:
            found = family[i]
        answers.append(found)
    return answers


def _ahead(said: Said, origins: Sequence[str]) -> np.ndarray:
    """z of ``synthetic`` less z of ``real``: float64 array (n,)."""
    real = list(origins).index(REAL)
    generated = [i for i in range(len(origins)) if i != real]
    z_real = group_logits(said, [real])
    return np.asarray(group_logits(said, generated) - z_real)


def _exceeded_by_few(values: np.ndarray, share: float) -> float | None:
    """The least threshold of 0 or more that at most a share of the values reach."""
    if not len(values):
        return None
    descending = np.sort(values)[::-1]
    allowed = int(share * len(descending) + 1e-9)
    if allowed >= len(descending):
        return 0.0
    return max(0.0, float(np.nextafter(descending[allowed], np.inf)))


def _families(origins: Sequence[str], families: Mapping[str, str]) -> dict[str, list[int]]:
    """The members of each family."""
    found: dict[str, list[int]] = {}
    for i, origin in enumerate(origins):
        if origin != REAL:
            found.setdefault(families[origin], []).append(i)
    return found


def _best(said: Said, groups: Mapping[str, Sequence[int]]) -> tuple[list[str], np.ndarray]:
    """Each image's best group, and its z."""
    z = np.stack([group_logits(said, members) for members in groups.values()])
    names = list(groups)
    return [names[i] for i in z.argmax(axis=0).tolist()], z.max(axis=0)
