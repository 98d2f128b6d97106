"""Experts: a fusion for each kind of perturbation, and a gate that tells which kind an image met.

Trained on images and perturbed copies of them alike, one probe a view must do for all, and pays for
it on images that are as they were made. Here each kind k (as they are, JPEG, blur …) has a fusion
of its own, fitted on its copies alone, and a gate g, a fusion whose classes are the kinds, weighs
what they say (a mixture of experts: Jacobs, Jordan, Nowlan & Hinton, 1991)::

    log p_v(j|x) = log Σ_k g_k(x) p_v,k(j|x),    z_j(x) = Σ_v Σ_k g_k(x) a_v,k log p_v(j|x)

over views v, which weigh a_v,k with expert k: after JPEG the traces know less. What a perturbation
leaves in them tells it apart far better than it tells generators apart, so that an untouched image
is answered nearly as if there were no other experts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

from whichgen.errors import FitError
from whichgen.heads.base import check_training
from whichgen.heads.fusion import FusionHead, FusionMethod, without_embedding

#: C and shrinkage of the gate's probes: kinds are easily told apart.
GATE_C, GATE_SHRINKAGE = 10.0, 0.1

# Before the numbers of the experts, in the names of arrays.
_GATE = "gate"


@dataclass(frozen=True)
class ExpertsHead:
    """The gate and its experts; the first one is of images as they are.

    All read the same views. The gate's origins are the experts' numbers.
    """

    gate: FusionHead
    experts: tuple[FusionHead, ...]

    def weights(self, features: np.ndarray) -> np.ndarray:
        """log g, how much each expert is asked: float64 array (n, experts)."""
        return np.asarray(log_softmax(self.gate.logits(features), axis=1))

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """What each view says: float64 array (views, n, origins), each at most 0."""
        return self._mixed(features, self.weights(features))

    def shares(self, features: np.ndarray) -> np.ndarray:
        """How much each view weighs: float64 array (views, n), whose columns sum to 1."""
        return self._shares(features, self.weights(features))

    def logits(self, features: np.ndarray) -> np.ndarray:
        """z, the weighted mean of log-probabilities: float64 array (n, origins), at most 0."""
        weights = self.weights(features)
        shares, said = self._shares(features, weights), self._mixed(features, weights)
        return np.asarray(np.einsum("vn,vnj->nj", shares, said))

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Softmax of z: float64 array (n, origins)."""
        return np.asarray(softmax(self.logits(features), axis=1))

    def embed(self, features: np.ndarray) -> np.ndarray:
        """As the expert of images as they are: float32 array (n, k)."""
        return self.experts[0].embed(features)

    def _shares(self, features: np.ndarray, weights: np.ndarray) -> np.ndarray:
        of_experts = np.stack([expert.shares(features) for expert in self.experts])
        return np.asarray(np.einsum("nk,kvn->vn", np.exp(weights), of_experts))

    def _mixed(self, features: np.ndarray, weights: np.ndarray) -> np.ndarray:
        said = np.stack([expert.log_probabilities(features) for expert in self.experts])
        return np.asarray(np.minimum(logsumexp(weights.T[:, None, :, None] + said, axis=0), 0))

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of each :class:`FusionHead`, named after it."""
        parts = {_GATE: self.gate} | {str(i): expert for i, expert in enumerate(self.experts)}
        return {
            f"{part}.{name}": array
            for part, head in parts.items()
            for name, array in head.tensors().items()
        }


@dataclass(frozen=True)
class ExpertsMethod:
    """The family of experts that are fusions.

    Parameters
    ----------
    fusion
        The family of every expert.
    kinds
        The kind of each training image, 0 for one as it is: int64 array (n,).
    votes
        The votes of each kind's expert (:class:`whichgen.heads.fusion.Fusion`); empty: those of
        ``fusion``.
    """

    fusion: FusionMethod = field(default_factory=FusionMethod)
    kinds: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    votes: tuple[tuple[int, ...], ...] = ()
    name: str = "experts"
    parameter: str = "C"

    def grid(self, n_train: int) -> tuple[float, ...]:
        """All values of C, ascending."""
        return self.fusion.grid(n_train)

    def sweep(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        n_origins: int,
        queries: Sequence[np.ndarray],
    ) -> Iterator[tuple[float, list[np.ndarray]]]:
        """See :meth:`whichgen.heads.base.HeadMethod.sweep`."""
        for value in self.grid(len(features)):
            head = self.fit(features, labels, n_origins, value)
            yield value, [head.predict_proba(query) for query in queries]

    def fit(
        self, features: np.ndarray, labels: np.ndarray, n_origins: int, value: float
    ) -> ExpertsHead:
        """The gate, and every expert at one C.

        Raises
        ------
        FitError
            As of :meth:`whichgen.heads.fusion.Fusion.fit`, for any kind; or there is not a kind for
            each image.
        """
        check_training(features, labels, n_origins)
        if len(self.kinds) != len(features):
            raise FitError(f"{len(self.kinds)} kinds for {len(features)} training images.")
        n_kinds = int(self.kinds.max()) + 1
        votes = self.votes or (self.fusion.votes,) * n_kinds
        gate = replace(self.fusion, shrinkage=GATE_SHRINKAGE)
        untouched, *perturbed = (self.kinds == kind for kind in range(n_kinds))
        plain = replace(self.fusion, votes=votes[0])
        experts = [plain.fit(features[untouched], labels[untouched], n_origins, value)]
        experts += [
            without_embedding(
                self.fusion.probes(features[rows], labels[rows], n_origins, value), of_kind
            )
            for rows, of_kind in zip(perturbed, votes[1:], strict=True)
        ]
        told_apart = gate.probes(features, self.kinds, n_kinds, GATE_C)
        return ExpertsHead(without_embedding(told_apart, gate.votes), tuple(experts))

    def restore(
        self, tensors: Mapping[str, np.ndarray], n_origins: int, value: float
    ) -> ExpertsHead:
        """The head of these arrays."""
        parts: dict[str, dict[str, np.ndarray]] = {}
        for name, array in tensors.items():
            part, _, rest = name.partition(".")
            if part == _GATE or part.isdecimal():
                parts.setdefault(part, {})[rest] = array
        gate = parts.pop(_GATE)
        experts = tuple(
            self.fusion.restore(parts[str(i)], n_origins, value) for i in range(len(parts))
        )
        return ExpertsHead(self.fusion.restore(gate, len(experts), GATE_C), experts)
