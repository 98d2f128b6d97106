"""Training images in a folder ``synthetic`` are a background class: detected, but never named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from whichgen.openset.threshold import decide


def test_no_image_is_attributed_to_the_background_class(world: Callable[..., Any]) -> None:
    origins = ("real", "gan", "synthetic", "flow")
    w = world(counts=dict.fromkeys(origins, 20), unknown=("flow",))
    result = w.fit()
    model, known = result.model, result.known
    assert set(model.origins) == {"real", "gan", "synthetic"}
    predicted = np.array(model.origins)[known.predicted]
    assert (predicted == "synthetic").sum() >= 2
    # A threshold of 0 accepts all other images.
    decisions = decide(known.probabilities, known.scores, 0.0, model.origins)
    assert ((decisions == -1) == (predicted == "synthetic")).all()
    answers = np.array(result.answers[: len(known)])
    assert not np.isin(answers[predicted == "synthetic"], ["gan"]).any()
    assert "synthetic" in answers
