"""Mixture of experts: one fusion for unchanged images and one per kind of perturbation.

Probes trained jointly on unchanged and perturbed images can be less accurate on unchanged images
than probes trained only on unchanged images. Therefore, each kind k of image (unchanged, JPEG,
blur, …) has its own *expert*: a fusion (:mod:`whichgen.heads.fusion`) that is fitted only on images
of that kind. The *gate* g, a fusion whose classes are the kinds, weights the experts' predictions
(Jacobs, Jordan, Nowlan & Hinton, 1991)::

    log p_v(j|x) = log Σ_k g_k(x) p_v,k(j|x),    z_j(x) = Σ_v Σ_k g_k(x) a_v,k log p_v(j|x)

where p_v,k(j|x) is the probability of origin j that expert k predicts from *view* (feature block)
v, and a_v,k is the weight of view v in expert k. The view weights can depend on the kind because,
for example, residual statistics are less informative after JPEG compression. Perturbations are much
easier to classify than generators, so for unchanged images the gate gives nearly all weight to
expert 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from whichgen.errors import FitError
from whichgen.heads.fusion import FusionHead, FusionMethod, build_fusion
from whichgen.heads.head import Head, HeadOutput, check_training_features
from whichgen.heads.softmax import log_softmax, logsumexp, softmax

#: C of the gate's probes, which is not tuned because perturbations are easy to classify.
GATE_C = 10.0

#: Shrinkage of the gate's probes, not tuned either.
GATE_SHRINKAGE = 0.1

# Prefix of the names of the gate's arrays; the prefix of expert k is the number k.
_GATE = "gate"


@dataclass(frozen=True)
class ExpertsHead:
    """Mixture of experts; the gate and all experts use the same views.

    Parameters
    ----------
    gate
        Fusion that classifies images by kind.
    experts
        ``experts[k]`` is the expert fitted on images of kind k; kind 0 denotes unchanged images.
    """

    gate: FusionHead
    experts: tuple[Head, ...]

    def forward(self, features: np.ndarray) -> HeadOutput:
        """Average the experts' predictions for features, float array (n, d), weighted by the gate.

        The embedding is that of expert 0.

        Raises
        ------
        FitError
            The number of features differs from that of the views.
        """
        log_gates = np.asarray(log_softmax(self.gate.forward(features).logits, axis=1))
        outputs = [expert.forward(features) for expert in self.experts]
        view_weights = np.einsum(
            "nk,kvn->vn", np.exp(log_gates), np.stack([output.view_weights for output in outputs])
        )
        log_probabilities = np.stack([output.log_probabilities for output in outputs])
        log_terms = log_gates.T[:, None, :, None] + log_probabilities
        mixture = np.minimum(logsumexp(log_terms, axis=0), 0)
        logits = np.asarray(np.einsum("vn,vnj->nj", view_weights, mixture))
        return HeadOutput(
            logits=logits,
            probabilities=np.asarray(softmax(logits, axis=1)),
            log_probabilities=mixture,
            view_weights=view_weights,
            compute_embedding=outputs[0].compute_embedding,
        )

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays of the gate and the experts by name.

        The prefix ``gate.``, or ``k.`` for expert k, is added to the names of
        :meth:`whichgen.heads.fusion.FusionHead.tensors`.
        """
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
        Kind of each training image: int64 array (n,), 0 for an unchanged image. Each number from 0
        to the largest must occur. Only :meth:`fit` uses the kinds.
    views_per_vote
        ``views_per_vote[k]`` replaces ``fusion.views_per_vote`` for expert k; one entry for each
        kind. If empty, all experts use ``fusion.views_per_vote``.
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
            The numbers of kinds and images differ, an origin has no image of some kind, the
            training data is otherwise invalid
            (:func:`whichgen.heads.head.check_training_features`), or an option of the fusion is
            invalid (:meth:`whichgen.heads.fusion.FusionMethod.fit`).
        ConvergenceError
            A probe did not converge.
        """
        check_training_features(features, labels, n_origins)
        if len(self.kinds) != len(features):
            raise FitError(
                f"expected one kind per training image, got {len(self.kinds)} kinds for "
                f"{len(features)} images. Set the field 'kinds' of the method."
            )
        n_kinds = int(self.kinds.max()) + 1
        experts = []
        votes_by_kind = self.views_per_vote or (self.fusion.views_per_vote,) * n_kinds
        for kind, views_per_vote in enumerate(votes_by_kind):
            rows = self.kinds == kind
            views = self.fusion.fit_probes(features[rows], labels[rows], n_origins, value)
            # Only expert 0 provides the embedding.
            experts.append(build_fusion(views, views_per_vote, None if kind else features[rows]))
        gate = replace(self.fusion, shrinkage=GATE_SHRINKAGE)
        views = gate.fit_probes(features, self.kinds, n_kinds, GATE_C)
        return ExpertsHead(build_fusion(views, gate.views_per_vote), tuple(experts))

    def restore(
        self, tensors: Mapping[str, np.ndarray], n_origins: int, value: float
    ) -> ExpertsHead:
        """Rebuild a mixture from the arrays that :meth:`ExpertsHead.tensors` returns.

        See :meth:`whichgen.heads.head.HeadMethod.restore` for the parameters and errors;
        ``n_origins`` and ``value`` are not used.
        """

        def restore_fusion(part: str) -> FusionHead:
            names = [name for name in tensors if name.startswith(f"{part}.")]
            arrays = {name.removeprefix(f"{part}."): tensors[name] for name in names}
            return self.fusion.restore(arrays, n_origins, value)

        n_kinds = tensors[f"{_GATE}.bias"].shape[1]
        experts = (restore_fusion(str(kind)) for kind in range(n_kinds))
        return ExpertsHead(restore_fusion(_GATE), tuple(experts))
