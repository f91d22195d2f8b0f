"""Which DICOMweb server is asked, and as whom: address, certificate authority, name and password or token."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
from dicomweb_client.web import DICOMwebClient
from requests.auth import HTTPBasicAuth

from ricenet.pacs.session import Limits, PacsSession
from ricenet.runtime.errors import PacsError

logger = logging.getLogger(__name__)

TOKEN, USER, PASSWORD = "RICENET_PACS_TOKEN", "RICENET_PACS_USER", "RICENET_PACS_PASSWORD"
"""The environment variables by which this user proves itself: a token, or a name with a password."""

_UNREADABLE = (requests.RequestException, ValueError, KeyError, AttributeError, EOFError, TypeError)
"""What an answer that is none of DICOMweb's leads dicomweb-client and pydicom to."""

_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Pacs:
    """A DICOMweb server. address: as given, free of credentials. client: whose requests fail in our words."""

    address: str
    client: DICOMwebClient
    session: PacsSession

    @contextmanager
    def answers(self) -> Iterator[None]:
        """A block that makes requests through `client` and reads their answers.

        Raises PacsError: in place of what requests, dicomweb-client or pydicom say of an answer.
        """
        try:
            yield
        except _UNREADABLE as error:
            raise self.session.told(error) from None


def connect(url: str, ca_file: Path | None = None, limits: Limits | None = None) -> Pacs:
    """How to reach a server; asks it nothing yet.

    url: of its DICOMweb service. ca_file: certificates (PEM) to trust in place of the public ones.
    Name and password, or a token, come from the environment (RICENET_PACS_USER and RICENET_PACS_PASSWORD, or
    RICENET_PACS_TOKEN); proxies too (HTTPS_PROXY, NO_PROXY). A certificate is always verified.
    Raises PacsError: no such address, one that holds a password, half of a name and password, an unusable
    file.
    """
    address = _checked(url)
    session = PacsSession(f"the PACS {address}", limits or Limits())
    session.proxies.update(requests.utils.get_environ_proxies(address))
    if ca_file is not None:
        session.verify = _usable(ca_file)
    _sign_in(session)
    # they log whole addresses, and Python prints warnings of loggers that nobody has set up
    for name in ("urllib3", "dicomweb_client", "retrying"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # UIDs that break the standard's rules are in use
    client = DICOMwebClient(address, session=session, permissive_uid=True)
    # which would repeat whatever fails, a refusal and a used-up body too
    client.set_http_retry_params(retry=False)
    return Pacs(address, client, session)


def _checked(url: str) -> str:
    """The address without a slash at its end."""
    example = "Give it as https://pacs.example.org/dicom-web"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise PacsError(f"the address of the PACS is not well formed. {example}") from None
    if "@" in url:
        raise PacsError(
            "the address of the PACS holds a user name or password, which lists of processes show. Leave it "
            f"out up to the @, and set {USER} and {PASSWORD} in the environment"
        )
    if parts.query or parts.fragment:
        raise PacsError(f"the address of the PACS goes on after its path (? or #). {example}")
    if parts.scheme not in ("http", "https") or not parts.hostname or any(c.isspace() for c in url):
        raise PacsError(f"the address of the PACS is none of http:// or https://. {example}")
    if parts.scheme == "http" and parts.hostname not in _LOCAL_HOSTS:
        logger.warning(
            "the PACS is asked by http: names, images and passwords can be read on the way. Use https"
        )
    return url.rstrip("/")


def _usable(ca_file: Path) -> str:
    try:
        ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        reason = "no certificate in PEM in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise PacsError(
            f"{ca_file.name}: cannot be used as certificate authority ({reason}). Name its certificate in PEM"
        ) from None
    return str(ca_file)


def _sign_in(session: PacsSession) -> None:
    token, user, password = (os.environ.get(name, "").strip() for name in (TOKEN, USER, PASSWORD))
    if token and (user or password):
        raise PacsError(f"both {TOKEN} and {USER} or {PASSWORD} are set. Unset what this PACS does not use")
    if bool(user) != bool(password):
        there, lacks = (USER, PASSWORD) if user else (PASSWORD, USER)
        raise PacsError(f"{there} is set and {lacks} is not. Set both, or none")
    if not token.isascii() or any(character.isspace() for character in token):
        raise PacsError(
            f"{TOKEN} holds blanks or other characters that no token has. Set it to the token alone"
        )
    if token:
        session.headers["Authorization"] = f"Bearer {token}"
    if user:
        session.auth = HTTPBasicAuth(user.encode(), password.encode())
