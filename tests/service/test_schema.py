"""Responses to arbitrary requests conform to the OpenAPI schema (Schemathesis)."""

from __future__ import annotations

import json
import urllib.request

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance


def test_every_path_conforms_to_the_schema(server: str) -> None:
    schema = schemathesis.openapi.from_url(server + "openapi.json")
    paths = set()

    @settings(
        max_examples=15,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        deadline=None,
    )
    def check(case: schemathesis.Case) -> None:
        paths.add(case.operation.path)
        # A schema can't define image files. /explain rejects other bytes; /attribute
        # reports an error for each image.
        one_image = [positive_data_acceptance] if case.operation.path == "/explain" else []
        case.call_and_validate(timeout=60, excluded_checks=one_image)

    for operation in schema.get_all_operations():
        given(case=operation.ok().as_strategy())(check)()
    with urllib.request.urlopen(server + "openapi.json") as response:
        assert paths == set(json.load(response)["paths"])
