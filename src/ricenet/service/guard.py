"""What surrounds every request: a line in the log that identifies nobody, headers, faults."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Mapping, Sequence

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ricenet.runtime.execution import trace_without_messages

logger = logging.getLogger(__name__)

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Of each answer; one that sets one of these itself keeps its own."""

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Guard:
    """Outermost around the application.

    The log names the route, never the path as it was asked for, no query, no header and no client.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and see to its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), 0

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, with_headers)
        except ClientDisconnect:
            status = status or 499
        except Exception as error:  # noqa: BLE001
            fault = secrets.token_hex(8)
            logger.error("fault %s: %s", fault, trace_without_messages(error))
            if not status:
                await _answer_fault(fault, with_headers)
        finally:
            _log(scope, status, time.monotonic() - began)


async def _answer_fault(fault: str, send: Send) -> None:
    body = json.dumps({"detail": "a fault of the program, noted in the service's log", "id": fault}).encode()
    headers: Sequence[tuple[bytes, bytes]] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _log(scope: Scope, status: int, seconds: float) -> None:
    method = scope["method"] if scope["method"] in _METHODS else "other"
    route = getattr(scope.get("route"), "path", "no route")
    case = scope.get("state", {}).get("case_id", "-")
    logger.info("%s %s %d %.3f s case %s", method, route, status, seconds, case)
