"""The API of a real run against its own OpenAPI document: no fault, no status that is not documented.

``HOUSEVIS_API_CASES=5000`` asks so many cases of it in place of a few hundred.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from housevis.pipeline.serving import shelve
from housevis.views.server import create_app
from housevis.views.server_guard import Limits

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
conformance = pytest.importorskip("schemathesis.specs.openapi.checks")

ROUTES = [
    ("/api/runs", "GET"),
    ("/api/houses", "GET"),
    ("/api/search", "GET"),
    ("/api/houses/{house_id}", "GET"),
    ("/api/houses/{house_id}/what-if", "POST"),
    ("/api/estimate", "POST"),
    ("/tiles/{layer}/{z}/{x}/{y}.png", "GET"),
    ("/health", "GET"),
    ("/metrics", "GET"),
]
PLAIN = {"/api/runs", "/health", "/metrics"}
"""Routes without parameters, of which there is one case."""

WANTED = int(os.environ.get("HOUSEVIS_API_CASES", "240"))
CASES = math.ceil(WANTED / len([path for path, _ in ROUTES if path not in PLAIN]))
HOUSES = ["h000-001-11", "h000-001-00", "nobody", "h000/../x", "'; drop table houses; --"]
BOXES = ["-24.02,59.99,-23.99,60.01", "-180,-85,180,85", "-24.012,60.008,-24.011,60.009", "1,1,0,0"]


@pytest.fixture(scope="module")
def asked() -> Counter[str]:
    """Cases asked by route."""
    return Counter()


@pytest.fixture(scope="module")
def address(town, serving) -> Iterator[str]:
    """A server of the small town, with more patience for many questions than for people's."""
    app = create_app([shelve(town.runs, "small-town")], limits=Limits(1e9, 1e9))
    with serving(app) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def api_schema(address: str) -> Any:
    found = schemathesis.openapi.from_url(f"{address}/api/openapi.json")
    for hook in (map_path_parameters, map_query, map_body):
        found.hook(hook)
    return found


def drawn(value: Any) -> int:
    """A number that the generated value decides, so that a seed gives the same cases again."""
    return zlib.crc32(json.dumps(value, default=str, sort_keys=True).encode("utf-8", "replace"))


def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    """Half of the houses and tiles that are asked for are there, or nearly."""
    number = drawn(path_parameters)
    if path_parameters and number % 2:
        if "house_id" in path_parameters:
            path_parameters["house_id"] = HOUSES[number // 2 % len(HOUSES)]
        if "layer" in path_parameters:
            path_parameters |= {"layer": "value", "z": 16, "x": 28396 + number // 2 % 4, "y": 19011}
    return path_parameters


def map_query(context: Any, query: Any) -> Any:
    """Half of the areas are areas, and most questions name no run."""
    number = drawn(query)
    if query and number % 2:
        query.pop("run", None)
        if "bbox" in query:
            query["bbox"] = BOXES[number // 2 % len(BOXES)]
    return query


def map_body(context: Any, body: Any) -> Any:
    """Half of the bodies name attributes that there are."""
    number = drawn(body)
    if isinstance(body, dict) and number % 2 and "attributes" in body:
        names = ["bedrooms", "bathrooms", "area_m2"][: 1 + number // 2 % 3]
        values = [None, 3, 1e11, 2.5, 120]
        body["attributes"] = {name: values[(number + place) % 5] for place, name in enumerate(names)}
        if "latitude" in body:
            body |= {"latitude": 60.0086, "longitude": -24.0114}
    return body


def test_every_route_is_asked(api_schema: Any) -> None:
    found = {(each.ok().path, each.ok().method.upper()) for each in api_schema.get_all_operations()}
    assert found == set(ROUTES)


@pytest.mark.parametrize(("path", "method"), ROUTES)
def test_no_answer_is_a_fault_or_undocumented(
    api_schema: Any, asked: Counter[str], path: str, method: str
) -> None:
    operation = api_schema[path][method]
    mode = schemathesis.GenerationMode

    def ask(case: Any) -> None:
        asked[path] += 1
        case.call_and_validate(
            checks=[
                schemathesis.checks.not_a_server_error,
                conformance.status_code_conformance,
                conformance.content_type_conformance,
                conformance.response_schema_conformance,
            ]
        )

    strategies = [operation.as_strategy(generation_mode=each) for each in (mode.POSITIVE, mode.NEGATIVE)]
    limits = settings(
        max_examples=CASES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    limits(given(st.one_of(strategies))(ask))()


def test_so_many_cases_were_asked(asked: Counter[str]) -> None:
    if len(asked) < len(ROUTES):
        pytest.skip("not every route was asked in this run of the tests")
    print(f"cases asked: {asked.total():,}, by route {dict(asked)}")
    assert asked.total() >= WANTED
