"""Schemathesis asks every operation with what the OpenAPI document allows and with what it does not: no 500, nothing undeclared."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any
from unittest import SkipTest

import hypothesis
import pytest
import schemathesis
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from search_api.http.settings import Limits
from tests.search import kit
from tests.service.conftest import listening

EXAMPLES = 12


@pytest.fixture(scope="module")
def api(made, tmp_path_factory) -> Iterator[Any]:
    """The document of a served copy of the store."""
    folder = tmp_path_factory.mktemp("conforming")
    shutil.copytree(made.store, folder / "store")
    own = kit.Made(made.recordings, str(folder / "store"))
    with listening(own, folder / "state", limits=Limits(rate_per_min=0, upload_rate_per_min=0)) as live:
        yield schemathesis.openapi.from_url(f"{live.url}/openapi.json")


def test_every_operation_keeps_to_its_document(api) -> None:
    operations = [found.ok() for found in api.get_all_operations()]
    assert len(operations) > 50
    faults = []
    for operation in operations:
        for mode in GenerationMode:
            if fault := asked(operation, mode):
                faults.append(f"{operation.label}, {mode.value} cases: {fault}")
    assert not faults, "\n\n".join(faults)


def asked(operation: Any, mode: GenerationMode) -> str | None:
    """Ask an operation with generated cases; return what was wrong with an answer.

    That what fits the document may still be refused (422) is left out: a schema cannot say that one value must lie below another, or
    that bytes are a sound.
    """

    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    def ask(case: Any) -> None:
        case.call_and_validate(timeout=30, excluded_checks=[positive_data_acceptance])

    try:
        ask()
    except (hypothesis.errors.Unsatisfiable, SkipTest):  # nothing to get wrong: the operation takes no values
        return None
    except FailureGroup as group:
        return "; ".join(str(fault) for fault in group.exceptions)[:1500]
    return None


def test_every_operation_is_documented(served) -> None:
    document = served.get("/openapi.json")
    lines = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(lines) > 50
    for path, method, operation in lines:
        where = f"{method.upper()} {path}"
        assert operation.get("summary") and operation.get("description"), f"{where} says nothing of itself"
        assert operation.get("tags"), f"{where} is in no group"
        if path.startswith("/v1"):
            assert {"400", "401", "403", "422", "429", "500", "503"} <= set(operation["responses"]), where
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), f"{where}: {parameter['name']} is not described"
        for status, told in operation["responses"].items():
            if int(status) >= 400 and path != "/readyz":  # which tells what it waits for
                content = told["content"]["application/json"]["schema"]
                assert content == {"$ref": "#/components/schemas/ErrorAnswer"}, f"{where} {status}"
            elif status == "200" and "application/json" in told.get("content", {}):
                assert told["content"]["application/json"]["schema"], f"{where}: the answer has no model"
