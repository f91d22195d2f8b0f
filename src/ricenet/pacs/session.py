"""Requests to a DICOMweb server: at a bounded rate, and again where that helps.

Source: RFC 9110 (which requests may be repeated, and Retry-After).
"""

from __future__ import annotations

import itertools
import logging
import time
from typing import Any

import requests
from pydantic import Field

from ricenet.pacs.failures import PASSING, failure, refusal, refuse_leading_elsewhere
from ricenet.runtime.errors import PacsError
from ricenet.runtime.records import Record

logger = logging.getLogger(__name__)

_NOT_BEGUN = frozenset({429, 503})
"""Status codes by which a server says that it has done nothing yet."""

_LONGEST_WAIT_S = 60.0


class Limits(Record):
    """How patiently, and how hard, a server is asked.

    connect_s, silent_s: seconds until it is away, and without a byte until it is slow. requests_per_s: at
    most. attempts: of one request. first_wait_s: before the second attempt; doubled before each further one.
    """

    connect_s: float = Field(10.0, gt=0)
    silent_s: float = Field(60.0, gt=0)
    requests_per_s: float = Field(20.0, gt=0)
    attempts: int = Field(5, ge=1)
    first_wait_s: float = Field(1.0, ge=0)


class PacsSession(requests.Session):
    """What dicomweb-client sends its requests through. server: its name in errors."""

    def __init__(self, server: str, limits: Limits) -> None:
        super().__init__()
        self._server, self._limits = server, limits
        self._next_s = 0.0
        # no ~/.netrc, and no variable that replaces the CA file
        self.trust_env = False

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request, again where that may help. Raises PacsError: no answer, or a refusal."""
        # dicomweb-client leaves the port out of it
        request.headers.pop("Host", None)
        # a wildcard may stand as it is (RFC 3986, 3.4), and servers that decode nothing know it so alone
        request.url = (request.url or "").replace("%2A", "*")
        kwargs["timeout"] = (self._limits.connect_s, self._limits.silent_s)
        for attempt in itertools.count(1):
            self._keep_rate()
            last = attempt >= self._limits.attempts
            wait_s = min(self._limits.first_wait_s * 2 ** (attempt - 1), _LONGEST_WAIT_S)
            try:
                response = super().send(request, **kwargs)
            except requests.RequestException as error:
                if last or not _may_repeat(request, error):
                    raise self.told(error) from None
            else:
                if last or not _may_repeat_after(request, response):
                    if refused := refusal(self._server, response):
                        response.close()
                        raise refused
                    return response
                wait_s = max(wait_s, _asked_wait_s(response))
                response.close()
            logger.info(
                "the PACS does not answer; asked again in %.0f s (%d of %d)",
                *(wait_s, attempt + 1, self._limits.attempts),
            )
            time.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Where an answer leads to. Raises PacsError: elsewhere, where identifiers are not to be sent."""
        target = super().get_redirect_target(resp)
        if target is not None:
            refuse_leading_elsewhere(self._server, resp, target)
        return target

    def told(self, error: Exception) -> PacsError:
        """What went wrong, without the address that was asked for."""
        return failure(self._server, error, self._limits.silent_s)

    def _keep_rate(self) -> None:
        now = time.monotonic()
        time.sleep(max(0.0, self._next_s - now))
        self._next_s = max(now, self._next_s) + 1 / self._limits.requests_per_s


def _may_repeat(request: requests.PreparedRequest, error: requests.RequestException) -> bool:
    passing = (requests.Timeout, requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
    if isinstance(error, requests.exceptions.SSLError) or not isinstance(error, passing):
        return False
    if request.method == "GET":
        return True
    # where the connection stood, the objects may be stored, and the answer alone is lost
    return isinstance(error, requests.ConnectTimeout) and isinstance(request.body, bytes)


def _may_repeat_after(request: requests.PreparedRequest, response: requests.Response) -> bool:
    if request.method == "GET":
        return response.status_code in PASSING
    # what was sent piece by piece has been used up
    return response.status_code in _NOT_BEGUN and isinstance(request.body, bytes)


def _asked_wait_s(response: requests.Response) -> float:
    """The seconds of Retry-After; 0 where it is absent or a date."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), _LONGEST_WAIT_S) if text.isascii() and text.isdigit() else 0.0
