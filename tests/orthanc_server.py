"""A real PACS on this machine: Orthanc with its DICOMweb plug-in, in a process and a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import urllib.request
from base64 import b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tracking_servers import free_port, wait_until

USER, PASSWORD = "ricenet-tests", "no-secret-of-anybody"
_PLUGIN = "libOrthancDicomWeb.so"
_PLUGIN_FOLDERS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")


class Orthanc:
    """Where it listens and keeps its files; it answers this machine alone, without DICOM's own protocol.

    signed_in: only USER with PASSWORD may use it.
    """

    def __init__(self, program: Path, plugin: Path, folder: Path, signed_in: bool) -> None:
        self.port, self.signed_in = free_port(), signed_in
        self._program, self._folder, self._log = program, folder, folder / "orthanc.log"
        self._process: subprocess.Popen[bytes] | None = None
        storage = folder / "storage"
        storage.mkdir(parents=True)
        self._configuration = folder / "orthanc.json"
        configuration = {
            "Name": "RICE-NET tests",
            "StorageDirectory": str(storage),
            "IndexDirectory": str(storage),
            "Plugins": [str(plugin)],
            "HttpPort": self.port,
            "HttpBindAddresses": ["127.0.0.1"],
            "RemoteAccessAllowed": False,
            "DicomServerEnabled": False,
            "AuthenticationEnabled": signed_in,
            "RegisteredUsers": {USER: PASSWORD} if signed_in else {},
            "SaveJobs": False,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
        }
        self._configuration.write_text(json.dumps(configuration))

    @property
    def url(self) -> str:
        """Of its own interface."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def dicomweb(self) -> str:
        return f"{self.url}/dicom-web"

    @property
    def credentials(self) -> dict[str, str]:
        """What its user needs in the environment."""
        return {"RICENET_PACS_USER": USER, "RICENET_PACS_PASSWORD": PASSWORD} if self.signed_in else {}

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._program), str(self._configuration)], cwd=self._folder, stdout=log, stderr=log
            )
        wait_until(self._answers, 60)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def store(self, files: Iterable[Path]) -> None:
        """Take up DICOM files, by its own interface."""
        for path in files:
            self.ask("/instances", "POST", path.read_bytes())

    def clear(self) -> None:
        """Forget all patients."""
        for patient in self.ask("/patients"):
            self.ask(f"/patients/{patient}", "DELETE")

    def ask(self, path: str, method: str = "GET", content: bytes | None = None) -> Any:
        """One request to its own interface, answered in JSON."""
        request = urllib.request.Request(self.url + path, content, method=method)
        if self.signed_in:
            signed = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            request.add_header("Authorization", f"Basic {signed}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self._log.read_text()[-3000:]
        try:
            return "dicom-web" in self.ask("/plugins")
        except OSError:
            return False


@contextlib.contextmanager
def orthanc_server(folder: Path, *, signed_in: bool = False) -> Iterator[Orthanc]:
    """An empty PACS that is up. Skips the test where Orthanc or its plug-in is not installed."""
    program = shutil.which("Orthanc", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if program is None:
        pytest.skip("Orthanc is not installed")
    plugins = [path for folder_ in _PLUGIN_FOLDERS if (path := Path(folder_) / _PLUGIN).is_file()]
    if not plugins:
        pytest.skip(f"{_PLUGIN}, the DICOMweb plug-in of Orthanc, is not installed")
    server = Orthanc(Path(program), plugins[0], folder, signed_in)
    try:
        server.start()
        yield server
    finally:
        server.stop()
