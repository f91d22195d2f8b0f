"""A service with a tiny ensemble, the slow tools replaced in its worker; and cases for it."""

from __future__ import annotations

import io
import os
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import requests
import uvicorn
from cohorts import write_tiny_subject
from explained_cases import settings as explain_settings
from small_ensembles import ensemble_record, write_untrained

from ricenet.cohort.layout import RawSubject
from ricenet.config.network_params import ResNetParams
from ricenet.config.params import read_params
from ricenet.evaluation.evidence.calibration_record import Recalibration
from ricenet.inference.predict_subject import NOTICE, Predictor
from ricenet.inference.three_way import DecisionThreshold
from ricenet.inference.training_ranges import unknown_ranges
from ricenet.preprocessing import preprocess_subject
from ricenet.preprocessing.brain import extraction
from ricenet.preprocessing.registration.rigid_registration import RigidResult
from ricenet.service.access import Service
from ricenet.service.app import build_app
from ricenet.service.case_work import CaseRequest, CaseWork
from ricenet.service.cases import Cases, open_cases
from ricenet.service.served_model import model_answer
from ricenet.service.server import uvicorn_settings
from ricenet.service.settings import ServiceSettings
from ricenet.service.submission import Fields
from ricenet.training.ensemble_record import read_record
from ricenet.training.variables import VariableEncoder
from ricenet.vocabulary import PAPER_VOLUMES, VariableSpec
from ricenet.volume import Volume

SECRET = "a-token-of-the-tests"
VARIABLES = (
    VariableSpec(name="age_years", kind="number", unit="years"),
    VariableSpec(name="rt_modality", kind="category"),
)
ENCODER = VariableEncoder.fitted(
    VARIABLES, [{"age_years": 50.0, "rt_modality": "photon"}, {"age_years": 60.0, "rt_modality": "proton"}]
)
HANGS, DIES, BREAKS, SLOW = "111", "112", "113", "114"
"""Values of age_years at which the worker does so."""

CHILD, PATIENT = "nobody-may-read-this.nii.gz", "Sibylle"


class QuickWork(CaseWork):
    """Registers nothing, and takes a block in the middle for the brain."""

    def load(self) -> None:
        def brain(t1: Volume, *_: object) -> Volume:
            mask = np.zeros(t1.grid.shape, bool)
            mask[3:9, 3:9, 3:9] = True
            return Volume(mask, t1.grid)

        extraction.extract_brain = brain  # type: ignore[assignment]
        result = RigidResult(np.eye(4), 1.25, 1.2)
        preprocess_subject.register_rigid = lambda *_, **__: result  # type: ignore[assignment]
        super().load()

    def predict(self, request: CaseRequest, began: Callable[[str], None]) -> dict[str, Any]:
        age = request.variables.get("age_years")
        if age == HANGS:
            began("a step without an end")
            time.sleep(600)
        if age == SLOW:
            began("a slow step")
            time.sleep(3)
        if age == DIES:
            began("the last step")
            os._exit(7)
        if age == BREAKS:
            raise ValueError(f"{PATIENT} in {CHILD}")
        return super().predict(request, began)


def write_ensemble(folder: Path) -> Path:
    """An untrained ensemble of two folds on post-op MRI and dose, 8 cubed."""
    preprocessing = read_params(Path(__file__).parents[1] / "params.yaml").preprocessing
    tiny = preprocessing.model_copy(update={"cube_voxels": 8, "spacing_mm": 20.0, "crop": None})
    record = ensemble_record(
        "post_op+dose",
        network=ResNetParams(widen_factor=1 / 64, stem_stride=2),
        variables=VARIABLES,
        encoders=(ENCODER, ENCODER),
        preprocessing=tiny.model_dump(),
    )
    write_untrained(folder, record, seed=7)
    return folder


def work_of(files: Path, kind: type[CaseWork] = QuickWork) -> CaseWork:
    threshold = DecisionThreshold(
        recalibration=Recalibration(method="temperature", slope=0.5, intercept=0.0), least_confidence=0.6
    )
    record = read_record(files)
    origin = {
        "notice": NOTICE,
        "model": "rice-net-post_op+dose",
        "version": "1",
        "digest": record.digest,
        "modality_set": record.modality_set,
    }
    predictor = Predictor(files, 7, unknown_ranges("a test", PAPER_VOLUMES), threshold)
    return kind(predictor, origin, explain_settings(4, 4))


def app_of(cases: Cases, files: Path) -> Any:
    record = read_record(files)
    model = model_answer(work_of(files), record, cases.settings)
    return build_app(Service(cases, SECRET, model, Fields.of(record)))


class Client(requests.Session):
    """Of a live service, by paths. token: sent with each request, unless a header says otherwise."""

    def __init__(self, address: str, token: str | None = SECRET) -> None:
        super().__init__()
        self.address = address
        # neither a proxy nor a password file of whoever runs the tests
        self.trust_env = False
        if token is not None:
            self.headers["Authorization"] = f"Bearer {token}"

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        return super().request(method, self.address + url, *args, timeout=60, **kwargs)

    def stranger(self) -> Client:
        """One without the token."""
        return Client(self.address, None)


@contextmanager
def live(app: Any) -> Iterator[str]:
    """The address of an application that runs in a thread, with the settings of the command."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn_settings(app))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@contextmanager
def served(project: Path, files: Path, **settings: Any) -> Iterator[tuple[Client, Cases]]:
    """A client with the token, and the cases behind the service that it asks."""
    with (
        open_cases(project, work_of(files), ServiceSettings(**settings)) as cases,
        live(app_of(cases, files)) as address,
    ):
        yield Client(address), cases


def tiny_files(folder: Path) -> dict[str, bytes]:
    """Three sound volumes by name, as the files that one would send."""
    write_tiny_subject(folder, "sub-001")
    raw = RawSubject(folder, "sub-001")
    return {name: raw.scan(name).read_bytes() for name in PAPER_VOLUMES.names}


def parts(files: Mapping[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    """As multipart files, under a name that a patient could have."""
    return [(name, (f"{PATIENT}-{CHILD}", content)) for name, content in files.items()]


def zipped(folder: Path) -> bytes:
    """A folder as a ZIP archive, its files under their own names."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder))
    return made.getvalue()


def until(client: Client, case: str, states: tuple[str, ...], seconds: float = 60) -> dict[str, Any]:
    """The case once it is in one of these states."""
    end = time.monotonic() + seconds
    while True:
        answer: dict[str, Any] = client.get(f"/cases/{case}").json()
        if answer.get("state") in states:
            return answer
        assert time.monotonic() < end, answer
        time.sleep(0.05)


ENDED = ("done", "refused", "failed")
