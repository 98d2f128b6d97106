"""Mixture of experts: one fusion per kind of perturbation, weighted by a gate.

Probes trained jointly on original and perturbed images must serve both, at the expense of original
images. Here each kind k (original, JPEG, blur …) has its own fusion, fitted only on images of that
kind. A gate g, a fusion whose classes are the kinds, weights their predictions (Jacobs, Jordan,
Nowlan & Hinton, 1991)::

    log p_v(j|x) = log Σ_k g_k(x) p_v,k(j|x),    z_j(x) = Σ_v Σ_k g_k(x) a_v,k log p_v(j|x)

where expert k gives view v the weight a_v,k: residual statistics are less informative after JPEG
compression, for example. Perturbations are much easier to tell apart than generators, so original
images are answered almost as if the other experts did not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

from whichgen.errors import FitError
from whichgen.heads.base import Head, HeadOutput, check_training_features
from whichgen.heads.fusion import FusionHead, FusionMethod, build_fusion

#: C and shrinkage of the gate's probes: perturbations are easy to tell apart.
GATE_C, GATE_SHRINKAGE = 10.0, 0.1

# Prefix of the gate's tensor names; those of the experts are their numbers.
_GATE = "gate"


@dataclass(frozen=True)
class ExpertsHead:
    """A gate and its experts, which read the same views; expert 0 is for original images.

    The origins of the gate are the numbers of the experts.
    """

    gate: FusionHead
    experts: tuple[Head, ...]

    def forward(self, features: np.ndarray) -> HeadOutput:
        """Mix the experts' predictions; the embedding is that of expert 0."""
        log_gates = np.asarray(log_softmax(self.gate.forward(features).logits, axis=1))
        outputs = [expert.forward(features) for expert in self.experts]
        view_weights = np.einsum(
            "nk,kvn->vn", np.exp(log_gates), np.stack([output.view_weights for output in outputs])
        )
        log_probabilities = np.stack([output.log_probabilities for output in outputs])
        mixed = np.minimum(logsumexp(log_gates.T[:, None, :, None] + log_probabilities, axis=0), 0)
        logits = np.asarray(np.einsum("vn,vnj->nj", view_weights, mixed))
        return HeadOutput(
            logits=logits,
            probabilities=np.asarray(softmax(logits, axis=1)),
            log_probabilities=mixed,
            view_weights=view_weights,
            compute_embedding=outputs[0].compute_embedding,
        )

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays of the gate and of each expert, with their name as prefix."""
        parts = {_GATE: self.gate} | {str(i): expert for i, expert in enumerate(self.experts)}
        return {
            f"{part}.{name}": array
            for part, head in parts.items()
            for name, array in head.tensors().items()
        }


@dataclass(frozen=True)
class ExpertsMethod:
    """Mixtures of fusions; all views of all experts share C.

    Parameters
    ----------
    fusion
        Method of every expert.
    kinds
        Kind of perturbation of each training image, 0 for originals: int64 array (n,).
    views_per_vote
        Votes of each kind's expert (:class:`whichgen.heads.fusion.FusionMethod`); empty: those of
        ``fusion``.
    """

    fusion: FusionMethod = field(default_factory=FusionMethod)
    kinds: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    views_per_vote: tuple[tuple[int, ...], ...] = ()
    name: str = "experts"
    parameter: str = "C"

    def fit(
        self, features: np.ndarray, labels: np.ndarray, n_origins: int, value: float
    ) -> ExpertsHead:
        """Fit the gate, and every expert for one C.

        Raises
        ------
        FitError
            See :meth:`whichgen.heads.fusion.FusionMethod.fit`, for any kind; or the number of kinds
            differs from the number of images.
        """
        check_training_features(features, labels, n_origins)
        if len(self.kinds) != len(features):
            raise FitError(f"{len(self.kinds)} kinds for {len(features)} training images.")
        n_kinds = int(self.kinds.max()) + 1
        experts = []
        votes = self.views_per_vote or (self.fusion.views_per_vote,) * n_kinds
        for kind, views_per_vote in enumerate(votes):
            rows = self.kinds == kind
            views = self.fusion.fit_views(features[rows], labels[rows], n_origins, value)
            # Only expert 0 provides the embedding.
            experts.append(build_fusion(views, views_per_vote, None if kind else features[rows]))
        gate = replace(self.fusion, shrinkage=GATE_SHRINKAGE)
        views = gate.fit_views(features, self.kinds, n_kinds, GATE_C)
        return ExpertsHead(build_fusion(views, gate.views_per_vote), tuple(experts))

    def restore(
        self, tensors: Mapping[str, np.ndarray], n_origins: int, value: float
    ) -> ExpertsHead:
        """Rebuild a mixture from :meth:`ExpertsHead.tensors`."""

        def restore_fusion(part: str) -> FusionHead:
            names = [name for name in tensors if name.startswith(f"{part}.")]
            arrays = {name.removeprefix(f"{part}."): tensors[name] for name in names}
            return self.fusion.restore(arrays, n_origins, value)

        n_kinds = tensors[f"{_GATE}.bias"].shape[1]
        experts = (restore_fusion(str(kind)) for kind in range(n_kinds))
        return ExpertsHead(restore_fusion(_GATE), tuple(experts))
