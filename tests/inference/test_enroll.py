"""Enrollment: accuracy on the new origin and on the old ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from whichgen.errors import DataError, FitError
from whichgen.heads.linear import LinearHead
from whichgen.heads.method_registry import HEAD_METHODS, make_head_method
from whichgen.inference.enroll import MARGIN, EnrollmentResult, enroll
from whichgen.models.model_card import create_model_card
from whichgen.models.origin_model import Exemplars, OriginModel
from whichgen.models.saved_model import load_model, save_model
from whichgen.openset.score_registry import SCORES, fit_score
from whichgen.openset.threshold import choose_threshold_at_tpr

CENTRES = np.random.default_rng(3).normal(0, 2.5, (4, 8))


def draw(origin: int, n: int, seed: int) -> np.ndarray:
    """Draw features of images of one origin."""
    rng = np.random.default_rng((origin, seed))
    return rng.normal(CENTRES[origin], size=(n, 8)).astype(np.float32)


def three(draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw features and labels of images of the three known origins."""
    return np.concatenate([draw(k, draws, seed) for k in range(3)]), np.repeat(range(3), draws)


def fitted(models: dict[str, OriginModel], family: str, score: str = "max_logit") -> OriginModel:
    """Create a model of three origins and eight features, with exemplars."""
    x, y = three(40, 0)
    val, val_labels = three(50, 1)
    head = make_head_method(family).fit(x, y, 3, 5.0)
    fitted_score = fit_score(score, head.forward(x), y, 3)
    return replace(
        models["linear"],
        head_method=family,
        head=head,
        hyperparameter=5.0,
        score_method=score,
        score=fitted_score,
        threshold=choose_threshold_at_tpr(fitted_score(head.forward(val)), 0.95),
        temperature=1.5,
        exemplars=Exemplars(
            np.concatenate([x, val]).astype(np.float16),
            np.concatenate([y, val_labels]),
            np.repeat([False, True], [len(x), len(val)]),
        ),
    )


# Experts need perturbed copies; they are tested in tests/heads/test_experts.py.
@pytest.mark.parametrize("family", [name for name in HEAD_METHODS if name != "experts"])
@pytest.mark.parametrize("count", [1, 10])
def test_new_origin_is_recognized_and_old_accuracy_is_kept(
    models: dict[str, OriginModel], family: str, count: int
) -> None:
    model = fitted(models, family)
    result = enroll(model, "flow", draw(3, count, 0))
    new = result.model
    assert new.origins == (*model.origins, "flow")
    test, labels = three(200, 2)
    before = (model.predict(test)[0].argmax(axis=1) == labels).mean()
    after = (new.predict(test)[0].argmax(axis=1) == labels).mean()
    assert after >= before - 0.01
    recall = (new.predict(draw(3, 200, 1))[0].argmax(axis=1) == 3).mean()
    # For k-NN, one vote of five never wins; ten images are enough for all heads.
    assert recall > (0.5 if count == 10 else -1 if family == "knn" else 0.02)
    assert (
        result.recognition_rate is None
        if count == 1
        else result.recognition_rate == pytest.approx(recall, abs=0.3)
    )


def test_thresholds_chosen_on_held_out_sources_are_kept(models: dict[str, OriginModel]) -> None:
    metadata = {"training_sources": {"counts": {"real": 3}, "digests": ["0" * 16] * 3}}
    model = fitted(models, "linear")
    model = replace(model, tpr=0.1, run_metadata={**model.run_metadata, **metadata})
    new = enroll(model, "flow", draw(3, 8, 0)).model
    assert new.threshold == model.threshold
    assert new.hierarchy.families.keys() == {*model.hierarchy.families, "flow"}
    families = new.hierarchy.families
    assert new.hierarchy == replace(model.hierarchy, families=families)
    assert new.training_sources is None  # the source of the enrolled images is not known
    assert model.training_sources is not None
    sentence = "held-out known images"
    assert sentence in create_model_card(model) and sentence not in create_model_card(new)


def test_enrolled_version_joins_the_family_of_the_other_versions(
    models: dict[str, OriginModel],
) -> None:
    model = fitted(models, "linear")
    first = enroll(model, "flux_1", draw(3, 8, 0)).model
    assert first.hierarchy.families["flux_1"] == "flux_1"
    second = enroll(first, "flux1-schnell", draw(3, 8, 1) - 2).model
    families = second.hierarchy.families
    assert families == {**model.hierarchy.families, "flux_1": "FLUX.1", "flux1-schnell": "FLUX.1"}


def test_bias_is_lowered_just_enough_plus_the_margin(
    models: dict[str, OriginModel],
) -> None:
    model = fitted(models, "linear")
    # The new origin is close to an old one and gets some of its images unless the bias is lowered.
    beside = draw(0, 10, 5) + 0.3
    result = enroll(model, "twin", beside)
    held_out, labels = model.exemplars.select(held_out=True)
    right = model.head.forward(held_out).logits.argmax(axis=1) == labels
    head = result.model.head
    assert isinstance(head, LinearHead)
    assert result.accuracy_before_after[0] == result.accuracy_before_after[1] == right.mean()

    def lost(offset: float) -> int:
        raised = replace(head, bias=head.bias + np.array([0, 0, 0, offset]))
        return int((raised.forward(held_out[right]).logits.argmax(axis=1) != labels[right]).sum())

    assert lost(MARGIN) == 0
    assert lost(MARGIN + 0.26) > 0


@pytest.mark.parametrize("score", SCORES)
def test_score_and_threshold_are_refitted_and_saved(
    models: dict[str, OriginModel], tmp_path: Path, score: str
) -> None:
    model = fitted(models, "linear", score)
    new = enroll(model, "flow", draw(3, 8, 0), digests=["ab"]).model
    held_out, labels = model.exemplars.select(held_out=True)
    probabilities, scores = new.predict(held_out)
    assert (scores >= new.threshold).mean() == pytest.approx(0.95, abs=0.01)
    assert np.array_equal(new.calibration.probabilities, probabilities)
    assert np.array_equal(new.calibration.labels, labels)
    assert np.array_equal(new.calibration.scores, scores)
    kept, kept_labels = new.exemplars.select(held_out=False)
    assert (kept_labels == 3).sum() == 8
    np.testing.assert_allclose(kept[kept_labels == 3], draw(3, 8, 0), rtol=1e-3)
    loaded = load_model(save_model(new, tmp_path / "m"))
    assert np.array_equal(loaded.predict(held_out)[1], scores)
    (record,) = loaded.run_metadata["enrolled"]
    assert (record["origin"], record["images"], record["digests"]) == ("flow", 8, ["ab"])
    assert loaded.metrics == {}


def test_second_origin_can_be_enrolled(models: dict[str, OriginModel]) -> None:
    model = fitted(models, "fusion")
    once = enroll(model, "flow", draw(3, 8, 0)).model
    twice = enroll(once, "far", draw(3, 8, 0) + 9).model
    assert twice.origins[-2:] == ("flow", "far")
    assert [r["origin"] for r in twice.run_metadata["enrolled"]] == ["flow", "far"]
    predicted = twice.predict(np.concatenate([draw(3, 50, 1), draw(3, 50, 1) + 9]))[0].argmax(
        axis=1
    )
    assert (predicted[:50] == 3).mean() > 0.4
    assert (predicted[50:] == 4).mean() > 0.9


def test_answers_of_the_old_model_are_counted(models: dict[str, OriginModel]) -> None:
    model = replace(fitted(models, "linear"), threshold=-np.inf)
    result: EnrollmentResult = enroll(model, "twin", draw(1, 20, 7))
    assert next(iter(result.previous_answers)) == model.origins[1]
    assert sum(result.previous_answers.values()) == result.n_images == 20
    rejecting = enroll(replace(model, threshold=np.inf), "twin", draw(1, 20, 7))
    assert rejecting.previous_answers == {"unknown": 20}


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("gan", 3, "gan is already an origin"),
        ("unknown", 3, "'unknown' is not a valid origin name"),
        (" ", 3, "' ' is not a valid origin name"),
        ("GAN", 3, "the origins 'gan' and 'GAN' differ only in upper and lower case"),
        ("flow", 0, "no images of flow. Add at least one"),
    ],
)
def test_invalid_arguments_are_reported(
    models: dict[str, OriginModel], name: str, count: int, message: str
) -> None:
    with pytest.raises((DataError, FitError), match=message):
        enroll(fitted(models, "linear"), name, draw(3, count, 0))
