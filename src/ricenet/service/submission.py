"""From a multipart request to a case; all that is wrong with it is told at once."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

from ricenet.cohort.table_variables import number_in
from ricenet.importing.dose.statement import DoseStatement
from ricenet.inference.case import needed_volumes
from ricenet.runtime.errors import RegistryError
from ricenet.service.case_work import UPLOADS, CaseRequest
from ricenet.training.ensemble_record import EnsembleRecord
from ricenet.vocabulary import VariableSpec

STATED = ("dose_of", "fractions", "prescription")
"""Fields that state something of the dose; prescription in Gy."""

VARIABLE = "variable."
"""What the name of a variable's field begins with."""

UNKNOWN = "n/a"
"""Of a variable, as in a cohort's table; leaving it out says the same."""

MOST_FIELDS = 256
MOST_FIELD_BYTES = 1024
_HEADROOM_BYTES = 2**16
"""Of a request beside its files: boundaries, headers and fields."""


@dataclass(frozen=True)
class Fields:
    """The fields of a case for one model.

    volumes, needed: by name. levels: of variables that may be stated, those that the training of every fold
    saw; None of a number. dose: the volume that it is.
    """

    volumes: tuple[str, ...]
    needed: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...] | None]
    dose: str | None

    @classmethod
    def of(cls, record: EnsembleRecord) -> Fields:
        """Those that a model's record declares. Raises RegistryError: a volume's name is that of a field."""
        declared = record.volumes
        if taken := [name for name in declared.names if name in STATED]:
            raise RegistryError(
                f"the model {record.modality_set} has a volume called {taken[0]}, which is the name of a "
                "field of the service. Give it another name in params.yaml, and train again"
            )
        return cls(
            tuple(declared.names),
            needed_volumes(record),
            {spec.name: _levels(spec, record) for spec in record.variables if not spec.measured},
            None if declared.dose is None else declared.dose.name,
        )

    def schema(self) -> dict[str, Any]:
        """The request's body in OpenAPI."""
        file = {"type": "string", "format": "binary", "minLength": 1}
        properties: dict[str, Any] = dict.fromkeys(self.volumes, file)
        for name, levels in self.levels.items():
            known = {"type": "number"} if levels is None else {"type": "string", "enum": [*levels, UNKNOWN]}
            properties[f"{VARIABLE}{name}"] = known
        if self.dose is not None:
            properties["dose_of"] = {"type": "string", "enum": ["course", "fraction"]}
            properties["fractions"] = {"type": "integer", "minimum": 1, "maximum": 1000}
            properties["prescription"] = {"type": "number", "exclusiveMinimum": 0, "maximum": 1000}
        return {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": properties,
                        "required": list(self.needed),
                        "additionalProperties": False,
                    },
                    "encoding": {name: {"contentType": "application/octet-stream"} for name in self.volumes},
                }
            },
        }


def _levels(spec: VariableSpec, record: EnsembleRecord) -> tuple[str, ...] | None:
    if spec.kind != "category":
        return None
    of_folds = [
        set(variable.levels)
        for encoder in record.encoders
        for variable in encoder.variables
        if variable.spec.name == spec.name
    ]
    return tuple(sorted(set.intersection(*of_folds))) if of_folds else ()


async def read_form(request: Request, most_bytes: int, seconds: float) -> FormData:
    """The fields and files of a multipart request, files in temporary ones without a name.

    Raises HTTPException: 413, larger than it may be; 408, too slow; 415, no multipart form; 400, damaged.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise HTTPException(415, "send the case as multipart/form-data")
    most = most_bytes + _HEADROOM_BYTES
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise _too_large(most_bytes)
    bounded = Request(request.scope, _bounded(request.receive, most, most_bytes))
    try:
        async with asyncio.timeout(seconds):
            # so many files that each field may be sent twice, which is then told
            return await bounded.form(
                max_files=MOST_FIELDS, max_fields=MOST_FIELDS, max_part_size=MOST_FIELD_BYTES
            )
    except TimeoutError:
        raise HTTPException(408, f"not received within {seconds:g} s") from None


def _bounded(receive: Receive, most: int, most_files: int) -> Receive:
    """What passes a request on until it is larger than it may be."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > most:
            raise _too_large(most_files)
        return message

    return counted


def _too_large(most_bytes: int) -> HTTPException:
    return HTTPException(413, f"larger than {most_bytes / 2**20:g} MB, which is what the service takes")


async def stored_case(form: FormData, fields: Fields, folder: Path) -> CaseRequest | list[str]:
    """A case in its folder, each volume under its own name; or all that is wrong with the request.

    The names that files had at the sender are not looked at.
    """
    problems: list[str] = []
    counts = Counter(name for name, _ in form.multi_items())
    problems += [f"{_shown(name, fields)}: given {n} times" for name, n in counts.items() if n > 1]
    files = {name: value for name, value in form.multi_items() if isinstance(value, UploadFile)}
    texts = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    problems += [
        f"{_shown(name, fields)}: no volume of this model, whose volumes are {', '.join(fields.volumes)}"
        for name in files
        if name not in fields.volumes
    ]
    problems += [
        f"{name}: is missing, and this model needs it" for name in fields.needed if name not in counts
    ]
    problems += [f"{name}: no file was sent" for name in texts if name in fields.volumes]
    problems += [
        f"{name}: the file is empty"
        for name, file in files.items()
        if name in fields.volumes and not file.size
    ]
    variables = {
        name.removeprefix(VARIABLE): text for name, text in texts.items() if name.startswith(VARIABLE)
    }
    problems += _variable_problems(variables, fields)
    statement = _statement(texts, files, fields, problems)
    known = {*STATED, *fields.volumes}
    problems += [
        f"{_shown(name, fields)}: no field of a case"
        for name in texts
        if name not in known and not name.startswith(VARIABLE)
    ]
    if problems:
        return problems
    for name, file in files.items():
        await run_in_threadpool(_store, file, folder / UPLOADS / name)
    return CaseRequest(folder, tuple(files), variables, statement)


def _store(file: UploadFile, path: Path) -> None:
    with path.open("xb") as target:
        path.chmod(0o600)
        shutil.copyfileobj(file.file, target, 2**20)


def _variable_problems(variables: Mapping[str, str], fields: Fields) -> list[str]:
    problems = []
    for name, text in ((name, text.strip()) for name, text in variables.items()):
        if name not in fields.levels:
            known = ", ".join(fields.levels) or "none"
            problems.append(f"{_name(VARIABLE + name)}: not a variable of this model, which takes {known}")
        elif text not in ("", UNKNOWN):
            levels = fields.levels[name]
            if levels is None and number_in(text) is None:
                problems.append(f"{VARIABLE}{name}: is no number")
            elif levels is not None and text not in levels:
                known = ", ".join(levels) or "none"
                problems.append(f"{VARIABLE}{name}: was not seen in training, which knows {known}")
    return problems


def _statement(
    texts: Mapping[str, str], files: Mapping[str, UploadFile], fields: Fields, problems: list[str]
) -> DoseStatement:
    """What is stated of the dose; what is wrong with it is added to the problems."""
    stated = {name: texts[name].strip() for name in STATED if texts.get(name, "").strip()}
    if stated and (fields.dose is None or fields.dose not in files):
        problems.append(f"{', '.join(stated)}: stated of a dose that is not given")
    dose_of, fractions, prescription_gy = stated.get("dose_of"), None, None
    if dose_of not in (None, "course", "fraction"):
        problems.append("dose_of: is neither course nor fraction")
    if (text := stated.get("fractions")) is not None:
        if re.fullmatch(r"[0-9]{1,4}", text) and 1 <= int(text) <= 1000:
            fractions = int(text)
        else:
            problems.append("fractions: is no whole number from 1 to 1000")
    if (text := stated.get("prescription")) is not None:
        number = number_in(text)
        if number is not None and 0 < number <= 1000:
            prescription_gy = number
        else:
            problems.append("prescription: is no positive number of Gy up to 1000")
    return DoseStatement(None, dose_of, fractions, prescription_gy)  # type: ignore[arg-type]


def _shown(name: str, fields: Fields) -> str:
    return name if name in (*fields.volumes, *STATED) else _name(name)


def _name(name: str) -> str:
    """A field's name that the sender made up, as far as it can be told: it may be that of a file."""
    return name if re.fullmatch(r"[a-z][a-z0-9_.+]{0,39}", name) else "a field of an unknown name"
