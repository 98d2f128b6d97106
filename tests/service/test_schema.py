"""Whatever a client sends, the service keeps to its own OpenAPI schema (Schemathesis)."""

from __future__ import annotations

import json
import urllib.request

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance


def test_every_path_keeps_to_the_schema(server: str) -> None:
    schema = schemathesis.openapi.from_url(server + "openapi.json")
    asked = set()

    @settings(
        max_examples=15,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        deadline=None,
    )
    def check(case: schemathesis.Case) -> None:
        asked.add(case.operation.path)
        # A schema can't say which bytes are an image: one that is refused is no failure. Answers
        # about many images say so of each.
        one_image = [positive_data_acceptance] if case.operation.path == "/explain" else []
        case.call_and_validate(timeout=60, excluded_checks=one_image)

    for found in schema.get_all_operations():
        given(case=found.ok().as_strategy())(check)()
    with urllib.request.urlopen(server + "openapi.json") as answer:
        assert asked == set(json.load(answer)["paths"])
