"""A server that answers as it is told to, which no real PACS would do on request."""

from __future__ import annotations

import datetime
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydicom import Dataset, dcmread


@dataclass(frozen=True)
class Answer:
    """silent_s: before the first byte. cut: how many of its bytes come before the connection breaks."""

    status: int = 200
    content: bytes = b""
    kind: str = "application/dicom+json"
    headers: Mapping[str, str] = field(default_factory=dict)
    silent_s: float = 0.0
    cut: int | None = None


def found(*datasets: Mapping[str, Any]) -> Answer:
    """What QIDO finds, in DICOM JSON."""
    return Answer(content=json.dumps(datasets).encode())


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes


class ScriptedPacs:
    """answer: what is answered to a request; may be replaced at any time. asked: all requests so far."""

    def __init__(self, answer: Callable[[Asked], Answer], certificate: Path | None = None) -> None:
        self.answer, self.asked = answer, list[Asked]()
        self._scheme = "http" if certificate is None else "https"
        pacs = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked = Asked(self.command, self.path, dict(self.headers), content)
                pacs.asked.append(asked)
                answer = pacs.answer(asked)
                time.sleep(answer.silent_s)
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.kind)
                self.send_header("Content-Length", str(len(answer.content)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.content[: answer.cut])
                self.close_connection = answer.cut is not None

            do_GET = do_POST = serve

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *args: Any) -> None:
                """Whoever asked has gone, as some tests want."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}/dicom-web"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, valid for a day: with its key, and alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a hospital's own authority")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(private + public)
    (folder / "authority.pem").write_bytes(public)
    return folder / "server.pem", folder / "authority.pem"


@contextmanager
def scripted_pacs(*answers: Answer, certificate: Path | None = None) -> Iterator[ScriptedPacs]:
    """One answer after the other, the last of them to all further requests.

    certificate: with its key (PEM), for https.
    """
    waiting = list(answers)
    pacs = ScriptedPacs(lambda _: waiting.pop(0) if len(waiting) > 1 else waiting[0], certificate)
    try:
        yield pacs
    finally:
        pacs.close()


class HeldObjects:
    """Answers as a PACS that holds DICOM files, unless `change` says otherwise.

    change: takes a request and what would be answered. count: added to the number that is said to be in a
    study or series. page: results at most at once; takes_offset: whether it goes on from one.
    decodes: whether it reads what stands encoded in an address.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self.objects = [(dcmread(path, stop_before_pixels=True), path.read_bytes()) for path in files]
        self.change: Callable[[Asked, Answer], Answer] = lambda _, answer: answer
        self.count, self.page, self.takes_offset, self.takes_filter = 0, 1000, True, True
        self.decodes = True

    def __call__(self, asked: Asked) -> Answer:
        return self.change(asked, self._answer(asked))

    def _answer(self, asked: Asked) -> Answer:
        url = urlsplit(asked.path)
        words = url.path.removeprefix("/dicom-web/").split("/")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if not self.decodes:
            query = dict(pair.split("=", 1) for pair in url.query.split("&") if pair)
        named = dict(zip(words[::2], words[1::2], strict=False))
        level = words[-1] if len(words) % 2 else ""
        keys = {"studies": "StudyInstanceUID", "series": "SeriesInstanceUID", "instances": "SOPInstanceUID"}
        held = [
            (one, content)
            for one, content in self.objects
            if all(one[keys[name]].value == uid for name, uid in named.items())
            and (not self.takes_filter or fnmatchcase(one.PatientID, query.get("PatientID", "*")))
        ]
        if not level:
            return multipart(*(content for _, content in held))
        groups: dict[object, list[Dataset]] = {}
        for number, (one, _) in enumerate(held):
            # an object that is there twice is listed twice
            groups.setdefault(number if level == "instances" else one[keys[level]].value, []).append(one)
        start = int(query.get("offset", 0)) if self.takes_offset else 0
        return found(*[self._listed(level, group) for group in groups.values()][start : start + self.page])

    def _listed(self, level: str, group: list[Dataset]) -> dict[str, Any]:
        keywords = ["PatientID", "StudyInstanceUID", "StudyDate"]
        keywords += ["SeriesInstanceUID", "Modality"] if level != "studies" else []
        keywords += ["SOPInstanceUID"] if level == "instances" else []
        listed = {f"{group[0][name].tag:08X}": group[0][name].to_json_dict(None, 0) for name in keywords}
        if level == "series":
            listed["00201209"] = {"vr": "IS", "Value": [len(group) + self.count]}
        if level == "studies":
            series = {one.SeriesInstanceUID for one in group}
            listed["00201206"] = {"vr": "IS", "Value": [len(series) + self.count]}
        return listed


def multipart(*objects: bytes) -> Answer:
    """What WADO delivers."""
    parts = [b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n" for content in objects]
    kind = 'multipart/related; type="application/dicom"; boundary=edge'
    return Answer(content=b"".join(parts) + b"--edge--\r\n", kind=kind)


@contextmanager
def pacs_with(held: HeldObjects) -> Iterator[ScriptedPacs]:
    pacs = ScriptedPacs(held)
    try:
        yield pacs
    finally:
        pacs.close()
