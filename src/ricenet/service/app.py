"""The API and the page, as a FastAPI application."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ricenet.runtime.full_disk import is_full
from ricenet.service.access import (
    PAGE_COOKIE,
    Found,
    Given,
    OfService,
    Service,
    require_token,
    require_token_or_key,
)
from ricenet.service.answers import Accepted, CaseAnswer, HealthAnswer, ModelAnswer
from ricenet.service.cases import QueueFull
from ricenet.service.child import NO_ROOM
from ricenet.service.document import ALWAYS, FULL, NO_CASE, NO_MAP, NO_TOKEN, NOT_DONE, SENT, document_of
from ricenet.service.guard import Guard
from ricenet.service.page import explanation_policy, page_policy, page_text
from ricenet.service.submission import read_form, stored_case


def build_app(service: Service) -> FastAPI:
    """The application. service: its cases are running."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False, responses=ALWAYS)
    app.state.service = service
    app.openapi = lambda: document_of(app)  # type: ignore[method-assign]
    hosts = list(service.cases.settings.hosts)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    # what is added last is outermost
    app.add_middleware(Guard)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(QueueFull, _full)
    app.get("/", response_class=HTMLResponse)(page)
    # the token is not needed, which FastAPI cannot say
    optional: dict[str, Any] = {"security": [{}]}
    app.get("/health", responses=NO_TOKEN, response_model_exclude_none=True, openapi_extra=optional)(health)
    guarded = [Depends(require_token)]
    app.get("/model", dependencies=guarded, responses=NO_TOKEN)(model)
    app.get("/openapi.json", dependencies=guarded, responses=NO_TOKEN)(document)
    app.post(
        "/cases",
        status_code=202,
        response_model=Accepted,
        dependencies=guarded,
        responses=NO_TOKEN | FULL | SENT,
        openapi_extra={"requestBody": service.fields.schema()},
    )(new_case)
    app.get("/cases/{case_id}", dependencies=guarded, responses=NO_TOKEN | NO_CASE)(case_state)
    app.post(
        "/cases/{case_id}/explanation",
        status_code=202,
        dependencies=guarded,
        responses=NO_TOKEN | NO_CASE | FULL | NOT_DONE,
    )(explain)
    app.get(
        "/cases/{case_id}/explanation",
        response_class=HTMLResponse,
        dependencies=[Depends(require_token_or_key)],
        responses=NO_TOKEN | NO_CASE | NO_MAP,
    )(explanation)
    return app


def page() -> HTMLResponse:
    """The page; it asks for the token."""
    return HTMLResponse(page_text(), headers={"Content-Security-Policy": page_policy()})


def health(service: OfService, given: Given) -> HealthAnswer:
    """Whether the service answers; with the token, what it does."""
    if given is None:
        return HealthAnswer()
    require_token(service, given)
    cases = service.cases
    return HealthAnswer(model_loaded=cases.worker.loaded, waiting=cases.waiting, computing=cases.computing)


def model(service: OfService) -> ModelAnswer:
    """The model that is loaded, what a case consists of, and limits."""
    return service.model


def document(request: Request) -> dict[str, Any]:
    """This document."""
    found: dict[str, Any] = request.app.openapi()
    return found


async def new_case(request: Request, response: Response, service: OfService) -> Any:
    """Predict a case: a file a volume, compressed NIfTI or all of them DICOM folders as ZIP archives.

    The dose is in Gy, in the space of its session's MRI; or an archive with RTDOSE, RTPLAN and planning CT.
    """
    cases, settings = service.cases, service.cases.settings
    with cases.new_case() as case:
        request.state.case_id = case.id
        try:
            form = await read_form(request, settings.upload_bytes, settings.upload_seconds)
            try:
                made = await stored_case(form, service.fields, case.folder)
            finally:
                await form.close()
        except OSError as error:
            if is_full(error):
                raise HTTPException(507, NO_ROOM) from None
            raise
        if isinstance(made, list):
            return JSONResponse({"detail": f"{len(made)} problem(s)", "problems": made}, 422)
        cases.submit(case, made)
    response.headers["Location"] = f"/cases/{case.id}"
    return Accepted(id=case.id, url=f"/cases/{case.id}")


def case_state(case: Found, service: OfService) -> CaseAnswer:
    """Where a case stands, and its prediction."""
    return service.cases.answer(case)


def explain(case: Found, request: Request, response: Response, service: OfService) -> CaseAnswer:
    """Make the occlusion map of a predicted case; once, however often it is asked for."""
    if case.state != "done":
        raise HTTPException(409, "the case is not predicted, so that there is nothing to explain")
    service.cases.explain(case)
    response.set_cookie(
        PAGE_COOKIE,
        case.page_key,
        path=f"/cases/{case.id}/explanation",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return service.cases.answer(case)


def explanation(case: Found) -> FileResponse:
    """The page of a case's occlusion map, in one file that needs nothing beside it."""
    if case.explanation != "done":
        raise HTTPException(409, "the occlusion map is not made; ask for it first")
    policy = {"Content-Security-Policy": explanation_policy()}
    return FileResponse(case.page, media_type="text/html; charset=utf-8", headers=policy)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


async def _full(_: Request, error: Exception) -> Response:
    assert isinstance(error, QueueFull)
    detail = "as many cases wait as may. Try again later"
    return JSONResponse({"detail": detail}, 429, {"Retry-After": str(error.retry_seconds)})
