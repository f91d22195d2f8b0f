"""Who may ask for what: the token, and the key that opens one case's page in a browser."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from ricenet.service.answers import ModelAnswer
from ricenet.service.case import Case
from ricenet.service.cases import Cases
from ricenet.service.submission import Fields

PAGE_COOKIE = "ricenet_page"

_bearer = HTTPBearer(auto_error=False, description="The token that RICENET_SERVE_TOKEN holds.")
_cookie = APIKeyCookie(
    name=PAGE_COOKIE,
    auto_error=False,
    description="Set by the request for an occlusion map, for that page alone: a browser cannot send a token "
    "with a link.",
)

Given = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
CaseId = Annotated[str, Path(description="As the answer to the case says.")]


@dataclass(frozen=True)
class Service:
    """What all routes need. fields: of a case for the model that is loaded."""

    cases: Cases
    token: str
    model: ModelAnswer
    fields: Fields


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service


OfService = Annotated[Service, Depends(service_of)]


def require_token(service: OfService, given: Given) -> None:
    """Let nobody pass without the token. Raises HTTPException: 401."""
    if not _knows_token(service, given):
        raise _unauthorised()


def require_token_or_key(
    case_id: CaseId, service: OfService, given: Given, key: Annotated[str | None, Depends(_cookie)]
) -> None:
    """Let somebody pass with the token, or with the key of this case's page. Raises HTTPException: 401.

    The key comes by a cookie, so it counts where nothing is changed, and nowhere else.
    """
    case = service.cases.find(case_id)
    opens = case is not None and key is not None and _same(key, case.page_key)
    if not opens and not _knows_token(service, given):
        raise _unauthorised()


def found_case(request: Request, case_id: CaseId, service: OfService) -> Case:
    """The case of a path. Raises HTTPException: 404."""
    case = service.cases.find(case_id)
    if case is None:
        raise HTTPException(404, "no such case; it may have expired")
    request.state.case_id = case.id
    return case


Found = Annotated[Case, Depends(found_case)]


def _knows_token(service: Service, given: HTTPAuthorizationCredentials | None) -> bool:
    return given is not None and _same(given.credentials, service.token)


def _same(one: str, other: str) -> bool:
    """Compared in a time that tells nothing of where they differ."""
    return secrets.compare_digest(one.encode(), other.encode())


def _unauthorised() -> HTTPException:
    return HTTPException(401, "the token is missing or wrong", {"WWW-Authenticate": "Bearer"})
