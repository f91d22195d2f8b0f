"""What the OpenAPI document says beyond the routes themselves: every error that can be met."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ricenet import __version__
from ricenet.service.answers import ErrorAnswer, FaultAnswer, RefusalAnswer

Responses = dict[int | str, dict[str, Any]]

DESCRIPTION = (
    "One case at a time is predicted by the model that was loaded when the service started. "
    "Research use only: not a medical device, not for clinical use."
)


def _error(description: str, **further: Any) -> dict[str, Any]:
    return {"model": ErrorAnswer, "description": description, **further}


ALWAYS: Responses = {
    400: {
        "description": "Addressed by a name of a host that is not allowed, or a damaged request",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}},
            "text/plain": {"schema": {"type": "string"}},
        },
    },
    500: {"model": FaultAnswer, "description": "A fault of the program"},
    503: {
        "description": "More connections at once than the service takes",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    },
}
NO_TOKEN: Responses = {
    401: _error(
        "No token, or not the right one",
        headers={"WWW-Authenticate": {"description": "Bearer", "schema": {"type": "string"}}},
    )
}
NO_CASE: Responses = {404: _error("No such case; it may have expired")}
NOT_DONE: Responses = {409: _error("The case is not predicted")}
NO_MAP: Responses = {409: _error("The occlusion map is not made")}
FULL: Responses = {
    429: _error(
        "As many cases wait as may",
        headers={"Retry-After": {"description": "Seconds", "schema": {"type": "integer", "minimum": 1}}},
    )
}
SENT: Responses = {
    408: _error("Sent too slowly"),
    413: _error("Larger than the service takes"),
    415: _error("Not multipart/form-data"),
    507: _error("The disk of the service is full"),
    422: {"model": RefusalAnswer, "description": "All that is wrong with the request's fields"},
}


def document_of(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, without the answers that FastAPI adds and these routes never give."""
    if app.openapi_schema is None:
        made = get_openapi(title="RICE-NET", version=__version__, description=DESCRIPTION, routes=app.routes)
        for operations in made["paths"].values():
            for operation in operations.values():
                _correct(operation["responses"])
        for name in ("HTTPValidationError", "ValidationError"):
            made["components"]["schemas"].pop(name, None)
        app.openapi_schema = made
    return app.openapi_schema


def _correct(answers: dict[str, Any]) -> None:
    """Drop the validation that no route does; errors are JSON, also where the answer is a page."""
    if "HTTPValidationError" in str(answers.get("422")):
        del answers["422"]
    for status, answer in answers.items():
        content = answer.get("content", {})
        if int(status) >= 400 and "text/html" in content:
            content["application/json"] = content.pop("text/html")
