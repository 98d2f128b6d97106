"""Mixture of experts: one fusion per kind of perturbation, weighted by a gate.

Probes trained jointly on original and perturbed images can be less accurate on original images than
probes trained only on original images. Here each kind k of image (original, JPEG, blur, …) has its
own *expert*: a fusion of one linear probe per feature block, or *view*
(:mod:`whichgen.heads.fusion`), fitted only on images of that kind. The *gate* g, a fusion whose
classes are the kinds, weights the experts' predictions (Jacobs, Jordan, Nowlan & Hinton, 1991)::

    log p_v(j|x) = log Σ_k g_k(x) p_v,k(j|x),    z_j(x) = Σ_v Σ_k g_k(x) a_v,k log p_v(j|x)

where p_v,k(j|x) is the probability of origin j that expert k predicts from view v, and a_v,k is the
weight of view v in expert k. The view weights depend on the kind because, for example, residual
statistics are less informative after JPEG compression. Perturbations are much easier to classify
than generators, so for original images the gate gives nearly all weight to expert 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from whichgen.errors import FitError
from whichgen.heads.fusion import FusionHead, FusionMethod, build_fusion
from whichgen.heads.head import Head, HeadOutput, check_training_features
from whichgen.heads.softmax import log_softmax, logsumexp, softmax

#: C and shrinkage of the gate's probes. They are fixed because perturbations are easy to classify.
GATE_C, GATE_SHRINKAGE = 10.0, 0.1

# Prefix of the gate's tensor names; the prefix of an expert is its number.
_GATE = "gate"


@dataclass(frozen=True)
class ExpertsHead:
    """Mixture of experts; the gate and all experts use the same views.

    Parameters
    ----------
    gate
        Fusion that classifies images by kind.
    experts
        ``experts[k]`` is the expert fitted on images of kind k. Original images have kind 0.
    """

    gate: FusionHead
    experts: tuple[Head, ...]

    def forward(self, features: np.ndarray) -> HeadOutput:
        """Average the experts' predictions, weighted by the gate; the embedding is expert 0's."""
        log_gates = np.asarray(log_softmax(self.gate.forward(features).logits, axis=1))
        outputs = [expert.forward(features) for expert in self.experts]
        view_weights = np.einsum(
            "nk,kvn->vn", np.exp(log_gates), np.stack([output.view_weights for output in outputs])
        )
        log_probabilities = np.stack([output.log_probabilities for output in outputs])
        weighted = log_gates.T[:, None, :, None] + log_probabilities
        mixture = np.minimum(logsumexp(weighted, axis=0), 0)
        logits = np.asarray(np.einsum("vn,vnj->nj", view_weights, mixture))
        return HeadOutput(
            logits=logits,
            probabilities=np.asarray(softmax(logits, axis=1)),
            log_probabilities=mixture,
            view_weights=view_weights,
            compute_embedding=outputs[0].compute_embedding,
        )

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays of the gate, named ``gate.…``, and of expert k, named ``k.…``."""
        parts = {_GATE: self.gate} | {str(i): expert for i, expert in enumerate(self.experts)}
        return {
            f"{part}.{name}": array
            for part, head in parts.items()
            for name, array in head.tensors().items()
        }


@dataclass(frozen=True)
class ExpertsMethod:
    """Method that fits mixtures of experts, with the same C for all experts.

    Parameters
    ----------
    fusion
        Method that fits each expert and, with shrinkage :data:`GATE_SHRINKAGE`, the gate.
    kinds
        Kind of each training image: int64 array (n,), 0 for an original image.
    views_per_vote
        ``views_per_vote[k]`` replaces ``fusion.views_per_vote`` for expert k. If empty, all experts
        use ``fusion.views_per_vote``.
    """

    fusion: FusionMethod = field(default_factory=FusionMethod)
    kinds: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    views_per_vote: tuple[tuple[int, ...], ...] = ()
    name: str = "experts"
    parameter: str = "C"

    def fit(
        self, features: np.ndarray, labels: np.ndarray, n_origins: int, value: float
    ) -> ExpertsHead:
        """Fit every expert with C = ``value``, and the gate with C = :data:`GATE_C`.

        See :meth:`whichgen.heads.head.HeadMethod.fit` for the parameters.

        Raises
        ------
        FitError
            An origin has no image of some kind, a feature is not finite, the numbers of kinds and
            images differ, or a fusion can't be fitted
            (:meth:`whichgen.heads.fusion.FusionMethod.fit`).
        """
        check_training_features(features, labels, n_origins)
        if len(self.kinds) != len(features):
            raise FitError(
                f"expected one kind per training image, got {len(self.kinds)} kinds for "
                f"{len(features)} images. Set the field 'kinds' of the method."
            )
        n_kinds = int(self.kinds.max()) + 1
        experts = []
        by_kind = self.views_per_vote or (self.fusion.views_per_vote,) * n_kinds
        for kind, views_per_vote in enumerate(by_kind):
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
        """Rebuild a mixture from the arrays that :meth:`ExpertsHead.tensors` returns."""

        def restore_fusion(part: str) -> FusionHead:
            names = [name for name in tensors if name.startswith(f"{part}.")]
            arrays = {name.removeprefix(f"{part}."): tensors[name] for name in names}
            return self.fusion.restore(arrays, n_origins, value)

        n_kinds = tensors[f"{_GATE}.bias"].shape[1]
        experts = (restore_fusion(str(kind)) for kind in range(n_kinds))
        return ExpertsHead(restore_fusion(_GATE), tuple(experts))
