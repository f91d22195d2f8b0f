"""`ricenet predict` and `ricenet predict-cohort`: what a registered model says of new cases."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ricenet.cli.running import log_to_stderr, mendable_errors

if TYPE_CHECKING:
    from ricenet.config.params import Params
    from ricenet.inference.case import CaseFiles
    from ricenet.tracking.registry import RegisteredEnsemble

logger = logging.getLogger(__name__)

ModelUri = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="models:/NAME@ALIAS or models:/NAME/VERSION (default: the champion, where one set has one).",
    ),
]


def predict(
    post_op: Annotated[
        Path, typer.Option(metavar="PATH", help="Post-operative T1ce: NIfTI, or a DICOM folder.")
    ],
    event: Annotated[Path, typer.Option(metavar="PATH", help="T1ce at the event.")],
    dose: Annotated[
        Path,
        typer.Option(
            metavar="PATH", help="Dose in Gy, in the post-op scan's space; or RTDOSE, RTPLAN and planning CT."
        ),
    ],
    fractions: Annotated[
        int | None,
        typer.Option(metavar="N", help="The dose is that of one of N fractions (see --dose-of)."),
    ] = None,
    dose_of: Annotated[
        Literal["course", "fraction"] | None,
        typer.Option(
            help="What the dose holds, if no file says (default: course; with --fractions, fraction)."
        ),
    ] = None,
    prescription: Annotated[
        float | None, typer.Option(metavar="GY", help="Prescribed dose of the course, checked with the dose.")
    ] = None,
    model: ModelUri = None,
) -> None:
    """Predict a new case from three NIfTI files or three DICOM folders; JSON on stdout. Research use only.

    The volumes are preprocessed as the model's training subjects were. A JSON beside the dose, as in a
    cohort, or the RTDOSE and RTPLAN say what the dose is; the options must not contradict them.
    """
    from ricenet.inference.case import CaseFiles

    log_to_stderr()
    given = CaseFiles(post_op, event, dose, fractions, prescription, dose_of)
    with mendable_errors():
        found, warnings = _prediction(given, model)
    for warning in warnings:
        logger.warning("warning: %s", warning)
    typer.echo(json.dumps(found, indent=2, allow_nan=False))


def _prediction(given: CaseFiles, model: str | None) -> tuple[dict[str, Any], Sequence[str]]:
    """What is printed of a case, and what to warn of."""
    from ricenet.config.params import read_params
    from ricenet.inference.dicom_case import case_files
    from ricenet.inference.predict_subject import NOTICE, predict_case
    from ricenet.inference.training_ranges import training_ranges
    from ricenet.training.ensemble import Ensemble

    params = read_params()
    registered, folder = _model(params, model)
    ensemble = Ensemble.load(folder)
    ranges = training_ranges(Path(), ensemble.record).with_plausible(params.quality)
    with case_files(given, params.seed) as files:
        prediction = predict_case(files, ensemble, params.seed, ranges, registered.threshold)
    origin = {
        "notice": NOTICE,
        "model": registered.model,
        "version": registered.version,
        "digest": ensemble.digest,
        "modality_set": ensemble.modality_set,
        "seed": params.seed,
    }
    return origin | prediction.as_json(), prediction.warnings


def predict_cohort(
    folder: Annotated[
        Path, typer.Argument(help="Subjects in the layout of docs/own-cohort.md; no table is needed.")
    ],
    output: Annotated[Path, typer.Option(metavar="FILE", help="The table to write (.tsv).")],
    model: ModelUri = None,
) -> None:
    """Predict every subject of a folder into a table; exit status 1 if any failed. Research use only."""
    from ricenet.config.params import read_params
    from ricenet.inference import predict_cohort as cohort
    from ricenet.inference.predict_subject import NOTICE, require_known_preprocessing
    from ricenet.inference.training_ranges import training_ranges
    from ricenet.runtime.errors import CohortError, ResultError
    from ricenet.runtime.files import write_text
    from ricenet.training.ensemble import Ensemble

    log_to_stderr()
    with mendable_errors():
        if output.is_dir():
            raise ResultError(f"{output} is a folder; name the table to write with --output")
        params = read_params()
        registered, files = _model(params, model)
        ensemble = Ensemble.load(files)
        require_known_preprocessing(ensemble.record)
        ranges = training_ranges(Path(), ensemble.record).with_plausible(params.quality)
        for reason in ranges.not_compared:
            logger.warning("warning: %s", reason)
        outcomes = cohort.predict_cohort(
            folder, files, params.seed, ranges, params.execution, registered.threshold
        )
        uri = f"models:/{registered.model}/{registered.version}"
        write_text(output, cohort.prediction_table(outcomes, len(ensemble.networks), uri, ensemble.digest))
        for subject, warning in cohort.case_warnings(outcomes, ranges):
            logger.warning("warning: %s: %s", subject, warning)
        logger.info("%s: %d subject(s). %s", output, len(outcomes), NOTICE)
        if failed := [f"  - {o.task}: {o.error}" for o in outcomes if o.result is None]:
            lines = "\n".join(failed)
            raise CohortError(f"{len(failed)} of {len(outcomes)} subjects could not be predicted:\n{lines}")


def _model(params: Params, uri: str | None) -> tuple[RegisteredEnsemble, Path]:
    """The registered version that is asked for, and the folder of its files."""
    from ricenet.tracking import registry
    from ricenet.tracking.connection import open_store

    store = open_store(Path(), params.tracking.uri, params.tracking.experiment)
    registered = registry.find_registered(store, params.tracking.model_prefix, uri)
    return registered, registry.ensemble_files(Path(), store, registered)
