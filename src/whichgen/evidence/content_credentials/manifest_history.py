"""List the C2PA manifests of an image, of its earlier versions and of its parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from whichgen.evidence.content_credentials.hash_coverage import classify_exclusions
from whichgen.evidence.content_credentials.manifest_client import ManifestStore
from whichgen.evidence.content_credentials.manifest_statements import creates_content
from whichgen.evidence.content_credentials.manifest_status import (
    ManifestStatus,
    assess_manifest,
    limit_status,
)
from whichgen.evidence.untrusted_text import as_dict, as_list

#: Maximum number of manifests read per image.
_MAX_MANIFESTS = 10

#: Whether a manifest describes the whole image or a part of it.
Role = Literal["whole", "part"]


@dataclass(frozen=True)
class Manifest:
    """Manifest of an image, of an earlier version of the image, or of a part.

    Parameters
    ----------
    content
        The manifest as a JSON object from the C2PA library; empty for a missing active manifest.
    status
        Integrity of the manifest and trust in its signer, limited by the status of the outer
        manifests.
    role
        Whether the manifest describes the whole image or a part.
    outer_contents
        Contents of the manifests that directly or indirectly contain this manifest as an
        ingredient, beginning with the active manifest; empty for the active manifest.
    """

    content: dict[str, Any]
    status: ManifestStatus
    role: Role
    outer_contents: tuple[dict[str, Any], ...] = ()


def list_manifests(store: ManifestStore, data: bytes, *, has_trust_list: bool) -> list[Manifest]:
    """List the active manifest and the manifests of the earlier versions and parts of the image.

    Parameters
    ----------
    store
        Manifest store of the image file.
    data
        Content of the image file.
    has_trust_list
        Whether signers were checked against a trust list.

    Returns
    -------
    list of Manifest
        At most ten manifests, each before its ingredients; the active manifest is first. Inputs of
        a generator and ingredients without a manifest are omitted.
    """
    manifests = dict(as_dict(store.store.get("manifests")))
    results = as_dict(store.store.get("validation_results"))
    deltas = [as_dict(delta) for delta in as_list(results.get("ingredientDeltas"))]
    label = str(store.store.get("active_manifest"))
    active = Manifest(
        as_dict(manifests.pop(label, None)),
        _assess_active(store, data, has_trust_list=has_trust_list),
        "whole",
    )
    history, queue = [active], [(label, active)]
    while queue:
        label, outer = queue.pop(0)
        for ingredient, role in _iterate_history(outer.content):
            inner_label = str(ingredient.get("active_manifest"))
            content = manifests.pop(inner_label, None)  # pop, because labels may form a cycle
            if not isinstance(content, dict) or len(history) >= _MAX_MANIFESTS:
                continue
            uri = f"{label}/c2pa.assertions/{ingredient.get('label')}"
            ingredient_deltas = [
                delta for delta in deltas if str(delta.get("ingredientAssertionURI")).endswith(uri)
            ]
            signed_results = as_dict(ingredient.get("validation_results")).get("activeManifest")
            checks = [
                *(delta.get("validationDeltas") for delta in ingredient_deltas),
                signed_results,
            ]
            status = assess_manifest(
                [code for check in checks for code in _list_result_codes(check, "success")],
                [code for check in checks for code in _list_result_codes(check, "failure")]
                + _list_status_codes(ingredient.get("validation_status")),
                is_active=False,
                has_trust_list=has_trust_list,
            )
            manifest = Manifest(
                content,
                limit_status(status, outer.status),
                role if outer.role == "whole" else "part",
                (*outer.outer_contents, outer.content),
            )
            history.append(manifest)
            queue.append((inner_label, manifest))
    return history


def _iterate_history(manifest: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Role]]:
    """Yield the ingredients that are earlier versions or parts of the image, with their roles.

    Inputs of a generator are skipped. If the only ingredient of a manifest is a component, and no
    action of the manifest creates or places content, this component counts as an earlier version of
    the whole image, because some generators sign their images again in this way.
    """
    ingredients = [as_dict(ingredient) for ingredient in as_list(manifest.get("ingredients"))]
    is_resigned = len(ingredients) == 1 and not creates_content(manifest)
    for ingredient in ingredients:
        relationship = ingredient.get("relationship")
        if relationship == "parentOf" or (is_resigned and relationship == "componentOf"):
            yield ingredient, "whole"
        elif relationship == "componentOf":
            yield ingredient, "part"


def _assess_active(store: ManifestStore, data: bytes, *, has_trust_list: bool) -> ManifestStatus:
    results = as_dict(as_dict(store.store.get("validation_results")).get("activeManifest"))
    successes, failures = (
        _list_result_codes(results, "success"),
        _list_result_codes(results, "failure"),
    )
    excluded_kind = classify_exclusions(data, store.exclusions) if store.exclusions else "manifest"
    if excluded_kind == "picture":
        failures.append("content hash excludes picture data")
    elif excluded_kind != "unknown" and "assertion.dataHash.match" in successes:
        # The hash matches, and only the manifest or metadata is excluded from it.
        failures = [code for code in failures if code != "assertion.dataHash.mismatch"]
    if store.store.get("validation_state") == "Invalid" and not results:
        failures.append("no reason stated")
    return assess_manifest(
        successes,
        failures,
        is_active=True,
        has_trust_list=has_trust_list,
        is_metadata_excluded=excluded_kind == "metadata",
    )


def _list_result_codes(results: Any, outcome: Literal["success", "failure"]) -> list[str]:
    return _list_status_codes(as_dict(results).get(outcome))


def _list_status_codes(statuses: Any) -> list[str]:
    codes = (as_dict(status).get("code") for status in as_list(statuses))
    return [str(code) for code in codes if isinstance(code, str)]
