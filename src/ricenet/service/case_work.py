"""What the worker process does with a case, all in the case's own folder: checks, prediction, map."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ricenet.cohort.layout import RawSubject, is_there
from ricenet.config.params import ExplainParams
from ricenet.evaluation.occlusion.page.case_page import case_page
from ricenet.evaluation.occlusion.subject_explainer import SubjectExplainer
from ricenet.importing.dose.statement import DoseStatement
from ricenet.inference.case import CASE, CaseFiles
from ricenet.inference.predict_subject import Prediction, Predictor, parsed_variables
from ricenet.inference.three_way import label_set_said
from ricenet.preprocessing.preprocess_subject import Began
from ricenet.runtime.errors import ResultError, RicenetError, SourceError
from ricenet.runtime.files import write_text
from ricenet.service.archive import unpack

CHECK_STEP, EXPLAIN_STEP = "checks of the files", "occlusion map"
PAGE = "explanation.html"
UPLOADS, KEPT = "uploads", "kept"
"""Folders of a case: what came, and what an occlusion map needs of it."""

_ZIP = b"PK\x03\x04"

Told = Callable[[str, float | None], None]
"""Called with the name of a step that begins, or that goes on, with the share of it that is done."""


class CaseRefusal(RicenetError):
    """A case that cannot be predicted; all that is wrong with it, without names of files that were sent."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class CaseRequest:
    """A case as it was sent: a file a volume in its folder, variables as text, what is stated of the dose."""

    folder: Path
    volumes: tuple[str, ...]
    variables: Mapping[str, str]
    stated: DoseStatement


@dataclass(frozen=True)
class CaseWork:
    """Predicts cases and explains them, one after the other.

    origin: which model it is, beside each answer. explain: settings of occlusion maps.
    """

    predictor: Predictor
    origin: Mapping[str, Any]
    explain: ExplainParams

    def load(self) -> None:
        """Read the model into memory. Raises RegistryError: it cannot be used."""
        self.predictor.ensemble.record.known_preprocessing()

    def steps(self, volumes: tuple[str, ...]) -> int:
        """How many steps a prediction from these volumes takes."""
        declared = self.predictor.ensemble.volumes
        moving = [spec for spec in declared.mris if spec.name in volumes and spec != declared.reference]
        # checks, brain, cube and vote
        return len(moving) + 4

    def predict(self, request: CaseRequest, began: Began) -> dict[str, Any]:
        """The answer to a case, as JSON; keeps in its folder what an occlusion map needs.

        Raises CaseRefusal.
        """
        began(CHECK_STEP)
        with collected_warnings() as warnings:
            prediction = self._prediction(request, began)
        answer = {**self.origin, **prediction.as_json()}
        answer["warnings"] = [*warnings, *answer["warnings"]]
        return answer

    def _prediction(self, request: CaseRequest, began: Began) -> Prediction:
        problems = self._faulty_variables(request.variables)
        files = self._files(request, problems)
        given = CaseFiles(files, {} if problems else request.variables, request.stated)
        if problems and len(files) < len(request.volumes):
            raise CaseRefusal(problems)
        try:
            with self.predictor.opened(given) as (raw, variables):
                if problems:
                    raise CaseRefusal(problems)
                # one folder, as preprocessing has it: a subject's name in it
                kept = request.folder / KEPT / CASE
                kept.mkdir(parents=True)
                prediction = self.predictor.subject(raw, variables, kept, began)
                _keep_dose(raw, RawSubject(request.folder / KEPT, CASE, raw.volumes))
        except CaseRefusal:
            raise
        except RicenetError as error:
            raise CaseRefusal([*problems, *problems_of(error)]) from None
        return prediction

    def _faulty_variables(self, variables: Mapping[str, str]) -> list[str]:
        problems = []
        for name, text in variables.items():
            try:
                parsed_variables({name: text}, self.predictor.ensemble.record)
            except RicenetError as error:
                problems += problems_of(error)
        return problems

    def _files(self, request: CaseRequest, problems: list[str]) -> dict[str, Path]:
        """By volume: the file, or the folder of an archive; archives that cannot be used become problems."""
        found = dict[str, Path]()
        for name in request.volumes:
            sent = request.folder / UPLOADS / name
            if _start(sent) != _ZIP:
                # NIfTI, or the checks will say that it is none
                found[name] = sent.rename(sent.with_name(f"{name}.nii.gz"))
                continue
            folder = sent.with_name(f"{name}.folder")
            try:
                unpack(sent, folder)
                found[name] = folder
            except SourceError as error:
                problems.append(f"{name}: {error}")
            sent.unlink()
        return found

    def explanation(self, folder: Path, answer: Mapping[str, Any], told: Told) -> None:
        """Write the page of a predicted case's occlusion map into its folder.

        answer: what `predict` said. Raises RicenetError: as `SubjectExplainer.explain`, or volumes are
        missing.
        """
        if missing := answer.get("missing"):
            raise ResultError(
                f"{', '.join(missing)} missing: occlusion maps are made of cases with all volumes"
            )
        told(EXPLAIN_STEP, 0.0)
        raw = RawSubject(folder / KEPT, CASE, self.predictor.ensemble.volumes)
        folds = range(self.predictor.ensemble.record.folds)
        case = self._explainer.explain(
            raw,
            raw.folder,
            "n/a",
            {CASE: answer["variables"]},
            folds,
            lambda _: answer["p_rice_calibrated"],
            {
                "version": f"{answer['model']} version {answer['version']}",
                "set of labels": label_set_said(answer),
            },
            lambda done, of: told(EXPLAIN_STEP, done / max(of, 1)),
        )
        write_text(folder / PAGE, case_page(case))

    @cached_property
    def _explainer(self) -> SubjectExplainer:
        return SubjectExplainer(self.predictor.ensemble, self.explain, self.predictor.seed, synthetic=False)


def problems_of(error: RicenetError) -> list[str]:
    """The single problems of an error that lists several, with fields in place of the command's options.

    >>> problems_of(RicenetError("case: 2 problem(s)\\n  - event: flat. See --dose-of\\n  - dose: flat"))
    ['event: flat. See dose_of', 'dose: flat']
    >>> problems_of(RicenetError("case: age_years: 'old' is no number"))
    ["age_years: 'old' is no number"]
    """
    text = re.sub(r"--([a-z][a-z0-9-]*)", lambda found: found[1].replace("-", "_"), str(error))
    first, *listed = text.removeprefix(f"{CASE}: ").splitlines()
    return [line.strip().removeprefix("- ") for line in listed] or [first]


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """What the import of DICOM folders warns of, which it says in its log; identifies nobody, as all logs."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if text.startswith("warning: "):
                found.extend(problems_of(RicenetError(text.removeprefix("warning: "))))

    logger, handler = logging.getLogger("ricenet"), Collector(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


def _start(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(len(_ZIP))


def _keep_dose(raw: RawSubject, kept: RawSubject) -> None:
    """Keep the dose in its own voxels, and what it means: a page's histogram counts these."""
    if raw.volumes.dose is None or not is_there(raw.scan(raw.volumes.dose.name)):
        return
    name = raw.volumes.dose.name
    kept.scan(name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(raw.scan(name), kept.scan(name))
    shutil.copyfile(raw.dose_sidecar, kept.dose_sidecar)
