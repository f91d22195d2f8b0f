"""A server that answers as it is told to, which no real PACS would do on request."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


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

    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        self.answer, self.asked = answer, list[Asked]()
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
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/dicom-web"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def scripted_pacs(*answers: Answer) -> Iterator[ScriptedPacs]:
    """One answer after the other, the last of them to all further requests."""
    waiting = list(answers)
    pacs = ScriptedPacs(lambda _: waiting.pop(0) if len(waiting) > 1 else waiting[0])
    try:
        yield pacs
    finally:
        pacs.close()
