"""What a DICOMweb server's refusal, silence or strange answer means, and what to do about it.

Nothing that identifies a patient is in it: addresses of requests hold PatientIDs and UIDs, and answers hold
whatever the server likes, so neither is ever repeated.
Source: DICOM PS3.18 (status codes of its services).
"""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import ReadTimeoutError

from ricenet.runtime.errors import PacsAwayError, PacsError

PASSING = frozenset({408, 429, 502, 503, 504})
"""Status codes of what passes: too many requests, a restart, a proxy without its server."""

_OTHER_ADDRESS = "Give the address of its DICOMweb service, such as https://pacs.example.org/dicom-web"

_REFUSALS = {
    401: "refuses the user name, password or token (401). Set RICENET_PACS_USER and RICENET_PACS_PASSWORD, "
    "or RICENET_PACS_TOKEN, in the environment to what its administrator gave you",
    403: "does not permit that to this user (403). Ask its administrator for the right to it",
    404: "has nothing there (404). Its address may lack a part, such as /dicom-web at the end",
    405: "does not offer that at this address (405). Give the address of its DICOMweb service",
    413: "says that this is too large (413). Ask its administrator to raise the limit, also of a proxy "
    "before it",
}
_WEB_PAGES = ("text/html", "application/xhtml+xml")


def refusal(server: str, response: requests.Response) -> PacsError | None:
    """Why an answer is none of DICOMweb's, or a refusal; None where it is what was asked for.

    server: its name in the message.
    """
    status = response.status_code
    if status < 400:
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind not in _WEB_PAGES:
            return None
        found = "answers with a web page, such as a viewer or a form to sign in"
        return PacsError(f"{server} {found}. {_OTHER_ADDRESS}", status)
    if status in PASSING:
        return PacsAwayError(
            f"{server} is busy or restarting ({status}). Try again later; what is done is kept", status
        )
    found = _REFUSALS.get(
        status, f"answers with an error ({status}). Ask its administrator what its log says"
    )
    return PacsError(
        f"{server} {found}", status, response.content if response.request.method == "POST" else b""
    )


def refuse_leading_elsewhere(server: str, response: requests.Response, target: str) -> None:
    """Raise PacsError where an answer leads to another server, or would have objects stored in another place.

    target: as its Location says.
    """
    here, there = urlsplit(response.url), urlsplit(urljoin(response.url, target))
    if (there.scheme, there.netloc) != (here.scheme, here.netloc):
        raise PacsError(
            f"{server} sends the request on to {there.scheme}://{there.hostname}, which is not followed: it "
            "would learn who is asked for. Give that server's address, if it is the PACS",
            response.status_code,
        )
    if response.request.method != "GET":
        # of which requests would make a request to read, without an error
        raise PacsError(
            f"{server} sends what is to be stored on to another place ({response.status_code}), which is not "
            "followed. Give the address of its DICOMweb service as its administrator states it",
            response.status_code,
        )


def failure(server: str, error: Exception, silent_s: float) -> PacsError:
    """What went wrong where there is no answer (PacsAwayError), or one that cannot be read.

    silent_s: seconds without a byte until the server is slow.
    """
    is_silent = isinstance(error, requests.exceptions.ReadTimeout)
    # in the middle of an answer, requests calls that a connection error
    if is_silent or any(isinstance(of, ReadTimeoutError) for of in error.args):
        return PacsAwayError(
            f"{server} was silent for {silent_s:g} s. Try again when it is less busy; what has arrived is "
            "kept"
        )
    if isinstance(error, requests.exceptions.SSLError):
        return PacsAwayError(
            f"{server}: its certificate cannot be trusted. Give the file of the hospital's certificate "
            "authority (--ca-file), or the name that the certificate is for"
        )
    if isinstance(error, requests.JSONDecodeError):
        return PacsError(f"{server} does not answer in DICOM JSON. {_OTHER_ADDRESS}")
    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
        return PacsError(
            f"{server} broke off in the middle of an answer. Try again; what has arrived is kept"
        )
    if isinstance(error, requests.Timeout | requests.ConnectionError):
        return PacsAwayError(
            f"{server} cannot be reached. Check that it is running, that its address is right, and that the "
            "network lets you through to it"
        )
    return PacsError(f"{server} does not answer as DICOMweb does ({type(error).__name__}). {_OTHER_ADDRESS}")
