"""`ricenet predict` and `ricenet predict-cohort`: what a registered model says of new cases."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ricenet.cli.options import CaFile
from ricenet.cli.running import PrivateErrors, log_to_stderr, mendable_errors

if TYPE_CHECKING:
    from ricenet.config.params import ExplainParams, Params
    from ricenet.inference.case import CaseFiles
    from ricenet.inference.predict_subject import Prediction, Predictor
    from ricenet.tracking.registry import RegisteredEnsemble

logger = logging.getLogger(__name__)

ModelUri = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="models:/NAME@ALIAS or models:/NAME/VERSION (default: the champion, where one set has one).",
    ),
]
VolumePaths = Annotated[
    list[str] | None,
    typer.Option(
        "--volume",
        metavar="NAME=PATH",
        help="A volume that params.yaml declares: NIfTI, or a DICOM folder. Also as --NAME PATH.",
    ),
]
VariableValues = Annotated[
    list[str] | None,
    typer.Option(
        "--variable",
        metavar="NAME=VALUE",
        help="A variable that params.yaml declares; n/a: not known.",
    ),
]
PrescriptionGy = Annotated[
    float | None,
    typer.Option(
        "--prescription",
        min=0.01,
        metavar="GY",
        help="Prescribed dose of the course, checked with the dose.",
    ),
]
OWN_OPTIONS = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Settings of `predict`, so that each declared volume has an option of its own."""


def predict(
    context: typer.Context,
    volume: VolumePaths = None,
    variable: VariableValues = None,
    fractions: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="The dose is that of one of N fractions (see --dose-of)."),
    ] = None,
    dose_of: Annotated[
        Literal["course", "fraction"] | None,
        typer.Option(
            help="What the dose holds, if no file says (default: course; with --fractions, fraction)."
        ),
    ] = None,
    prescription: PrescriptionGy = None,
    model: ModelUri = None,
    dicom_out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write report, brain mask, occlusion maps and case page as DICOM, of the patient's study.",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Store what --dicom-out writes in a PACS, by its DICOMweb service."),
    ] = None,
    ca_file: CaFile = None,
) -> None:
    """Predict a new case from NIfTI files or DICOM folders; JSON on stdout. Research use only.

    Each volume is named by --volume NAME=PATH, or by an option of its own, with - for _ in its name.
    The dose is in Gy, in the space of its session's MRI; or a folder with RTDOSE, RTPLAN and planning CT.
    A JSON beside it, or the RTDOSE and RTPLAN say what it is; options must not contradict them.
    """
    from ricenet.config.params import read_params
    from ricenet.importing.dose.statement import DoseStatement
    from ricenet.inference.case import CaseFiles
    from ricenet.pacs.connection import connect
    from ricenet.pacs.storing import store_files

    if store is not None and dicom_out is None:
        raise typer.BadParameter("--store needs --dicom-out FOLDER, where what is stored stays as files")
    log_to_stderr()
    named = [*(volume or ()), *_own_options(context.args)]
    given = CaseFiles(
        {name: Path(path) for name, path in _pairs(named, "--volume").items()},
        _pairs(variable or (), "--variable"),
        DoseStatement(None, dose_of, fractions, prescription),
    )
    with mendable_errors():
        # an address that cannot be is found out before minutes of work
        pacs = None if store is None else connect(store, ca_file)
        params = read_params()
        registered, predictor = loaded_predictor(params, model)
        origin = _origin(registered, params.seed)
        prediction, files = _predicted(predictor, given, origin, params.explain, dicom_out)
        for warning in prediction.warnings:
            logger.warning("warning: %s", warning)
        answer = {**origin, **prediction.as_json()}
        if files:
            answer["dicom"] = {"folder": files[0].parent.name, "files": [file.name for file in files]}
        typer.echo(json.dumps(answer, indent=2, allow_nan=False))
        if pacs is not None:
            # once the answer is out: what a PACS does cannot take it back
            logger.info("%d DICOM object(s) are stored", store_files(pacs, files))


def _predicted(
    predictor: Predictor,
    given: CaseFiles,
    origin: Mapping[str, object],
    explain: ExplainParams,
    out: Path | None,
) -> tuple[Prediction, list[Path]]:
    """The prediction, and the DICOM files of its results where they are asked for. out: their folder."""
    from ricenet.dicom_results.case_results import predict_with_results, require_place
    from ricenet.training.ensemble_record import require_rice_task

    if out is None:
        return predictor.case(given), []
    require_rice_task(predictor.ensemble.record, "--dicom-out writes")
    require_place(out)
    # what the headers hold is in the objects that are made, so in what may fail
    with PrivateErrors():
        prediction, results = predict_with_results(predictor, given, origin, explain)
        return prediction, results.write(out)


def predict_cohort(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="COHORT",
            help="Subjects in the layout of docs/own-cohort.md; a table is needed for variables.",
        ),
    ],
    output: Annotated[Path, typer.Option(metavar="FILE", help="The table to write (.tsv).")],
    model: ModelUri = None,
) -> None:
    """Predict every subject of a folder into a table; exit status 1 if any failed. Research use only."""
    from ricenet.config.params import read_params
    from ricenet.inference import predict_cohort as cohort
    from ricenet.inference.predict_subject import NOTICE
    from ricenet.runtime.errors import CohortError, ResultError
    from ricenet.runtime.files import write_text

    log_to_stderr()
    with mendable_errors():
        if output.is_dir():
            raise ResultError(f"{output} is a folder; name the table to write with --output")
        params = read_params()
        registered, predictor = loaded_predictor(params, model)
        for reason in predictor.ranges.not_compared:
            logger.warning("warning: %s", reason)
        outcomes = cohort.predict_cohort(folder, predictor, params.execution)
        record = predictor.ensemble.record
        uri, folds = f"models:/{registered.model}/{registered.version}", record.folds
        names = record.label_names
        write_text(output, cohort.prediction_table(outcomes, folds, uri, registered.digest, names))
        for subject, warning in cohort.case_warnings(outcomes, predictor.ranges):
            logger.warning("warning: %s: %s", subject, warning)
        logger.info("%s: %d subject(s). %s", output, len(outcomes), NOTICE)
        if failed := [f"  - {o.task}: {o.error}" for o in outcomes if o.result is None]:
            lines = "\n".join(failed)
            raise CohortError(f"{len(failed)} of {len(outcomes)} subjects could not be predicted:\n{lines}")


def loaded_predictor(params: Params, uri: str | None) -> tuple[RegisteredEnsemble, Predictor]:
    """The registered version that is asked for, ready to predict."""
    from ricenet.inference.predict_subject import Predictor
    from ricenet.inference.training_ranges import training_ranges
    from ricenet.tracking import registry, version_files
    from ricenet.tracking.connection import open_store
    from ricenet.training.ensemble_record import read_record

    store = open_store(Path(), params.tracking.uri, params.tracking.experiment)
    registered = registry.find_registered(store, params.tracking.model_prefix, uri)
    files = version_files.ensemble_files(Path(), store, registered).absolute()
    record = read_record(files)
    record.known_preprocessing()
    ranges = training_ranges(Path(), record).with_plausible(params.quality)
    return registered, Predictor(
        files, params.seed, ranges, version_files.decision_threshold(Path(), registered)
    )


def _origin(registered: RegisteredEnsemble, seed: int) -> dict[str, object]:
    """What stands before an answer: of which model it is."""
    from ricenet.inference.predict_subject import NOTICE

    return {
        "notice": NOTICE,
        "model": registered.model,
        "version": registered.version,
        "digest": registered.digest,
        "modality_set": registered.modality_set,
        "seed": seed,
    }


def _own_options(arguments: Sequence[str]) -> list[str]:
    """Options by the names of volumes, as NAME=PATH. arguments: what typer did not know."""
    left, pairs = list(arguments), []
    while left:
        option, equals, path = left.pop(0).partition("=")
        if not option.startswith("--"):
            raise typer.BadParameter(f"unexpected argument {option!r}; name a volume: --volume NAME=PATH")
        if not equals:
            if not left:
                raise typer.BadParameter(f"{option} needs a path")
            path = left.pop(0)
        pairs.append(f"{option.removeprefix('--').replace('-', '_')}={path}")
    return pairs


def _pairs(given: Sequence[str], option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"{option} {text!r}; expected NAME=..., such as {option} NAME=VALUE")
        if name in found:
            raise typer.BadParameter(f"{name} is given twice")
        found[name] = value
    return found
