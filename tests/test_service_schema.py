"""The OpenAPI document against the service: whatever may be sent, the answers are those that it describes.

Requests are made from the document itself; prediction is replaced, so that hundreds take seconds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection
from served_cases import SECRET, Client, app_of, live, parts, until, write_ensemble

from ricenet.service.answers import PREDICTION
from ricenet.service.case_work import CaseRequest
from ricenet.service.cases import Cases
from ricenet.service.child import Outcome
from ricenet.service.settings import ServiceSettings


class StubWorker:
    """Answers at once, whatever the case."""

    loaded, pid = True, None

    def predict(self, request: CaseRequest, seconds: float, heard: Callable[..., None]) -> Outcome:
        heard("a step", 0.0)
        return Outcome(answer=PREDICTION)

    def explain(
        self, folder: Path, answer: Mapping[str, Any], seconds: float, heard: Callable[..., None]
    ) -> Outcome:
        (folder / "explanation.html").write_text("<!DOCTYPE html><title>a map</title>")
        return Outcome(answer={})

    def interrupt(self) -> None:
        """There is no process."""

    kill = interrupt


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any, str]]:
    """Of a live service, its application, and the id of a case whose map is made."""
    folder = tmp_path_factory.mktemp("service")
    cases = Cases(folder / "cases", StubWorker(), ServiceSettings(waiting=1000))  # type: ignore[arg-type]
    cases.start()
    app = app_of(cases, write_ensemble(folder / "ensemble"))
    with live(app) as found:
        client = Client(found)
        sent = parts(dict.fromkeys(("post_op", "event", "dose"), b"x"))
        case = client.post("/cases", files=sent).json()["id"]
        until(client, case, ("done",))
        client.post(f"/cases/{case}/explanation")
        yield found, app, case
    cases.stop()


@pytest.fixture(scope="module")
def document(address: tuple[str, Any, str]) -> Any:
    config = SchemathesisConfig.from_dict({"seed": 7})
    return schemathesis.openapi.from_dict(address[1].openapi(), config=config)


OPERATIONS = [
    ("GET", "/"),
    ("GET", "/health"),
    ("GET", "/model"),
    ("GET", "/openapi.json"),
    ("POST", "/cases"),
    ("GET", "/cases/{case_id}"),
    ("POST", "/cases/{case_id}/explanation"),
    ("GET", "/cases/{case_id}/explanation"),
]
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]


def each_example(document: Any, method: str, path: str, mode: GenerationMode, do: Any) -> None:
    """Do something with the same requests of an operation each time. mode: whether they are as described."""
    operation = document[path][method]
    if mode is GenerationMode.NEGATIVE and not (operation.path_parameters or operation.body):
        pytest.skip("nothing in this request could be wrong")

    @given(operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=20,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    def run(case: schemathesis.Case) -> None:
        do(case)

    run()


@pytest.mark.parametrize("mode", MODES, ids=("described", "not_described"))
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_answer_is_one_that_the_document_describes(
    document: Any, address: tuple[str, Any, str], method: str, path: str, mode: GenerationMode
) -> None:
    # in turn a case of any name, and one that is there
    known = itertools.cycle([None, address[2]])
    # any other bytes count there as a violation of a file's format
    files = [negative_data_rejection] if path == "/cases" else []

    def answered(case: schemathesis.Case) -> None:
        if "{case_id}" in path and mode is GenerationMode.POSITIVE and (there := next(known)):
            case.path_parameters = {"case_id": there}
        headers = {"Authorization": f"Bearer {SECRET}"}
        case.call_and_validate(base_url=address[0], headers=headers, excluded_checks=files)

    each_example(document, method, path, mode, answered)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_stranger_meets_no_fault_either(
    document: Any, address: tuple[str, Any, str], method: str, path: str
) -> None:
    def unknown(case: schemathesis.Case) -> None:
        answer = case.call(base_url=address[0])
        case.validate_response(answer, checks=[not_a_server_error])
        assert answer.status_code == (200 if path in ("/", "/health") else 401)

    each_example(document, method, path, GenerationMode.POSITIVE, unknown)


def test_the_operations_are_all_that_there_are(document: Any) -> None:
    found = {(one.ok().method.upper(), one.ok().path) for one in document.get_all_operations()}
    assert found == set(OPERATIONS)


def test_the_document_says_which_fields_a_case_has_and_what_needs_the_token(
    address: tuple[str, Any, str],
) -> None:
    found = Client(address[0]).get("/openapi.json").json()
    body = found["paths"]["/cases"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert body["required"] == ["post_op", "event", "dose"]
    fields = ["variable.age_years", "variable.rt_modality", "dose_of", "fractions", "prescription"]
    assert list(body["properties"]) == ["post_op", "event", "dose", *fields]
    secured = {
        (path, method): operation.get("security", [])
        for path, operations in found["paths"].items()
        for method, operation in operations.items()
    }
    assert [key for key, needed in secured.items() if not needed] == [("/", "get")]
    assert [key for key, needed in secured.items() if {} in needed] == [("/health", "get")]
    statuses = set(found["paths"]["/cases"]["post"]["responses"])
    assert statuses == {"202", "400", "401", "408", "413", "415", "422", "429", "500", "503", "507"}
    assert requests.get(address[0] + "/docs", timeout=10).status_code == 404
