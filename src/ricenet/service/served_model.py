"""A registered model as the service offers it: what the worker does, and what clients are told."""

from __future__ import annotations

from ricenet.config.params import ExplainParams
from ricenet.inference.predict_subject import NOTICE, Predictor
from ricenet.service.answers import ModelAnswer, VariableAnswer, VolumeAnswer
from ricenet.service.case_work import CaseWork
from ricenet.service.settings import ServiceSettings
from ricenet.service.submission import Fields
from ricenet.tracking.registry import RegisteredEnsemble
from ricenet.training.ensemble_record import EnsembleRecord


def case_work(registered: RegisteredEnsemble, predictor: Predictor, explain: ExplainParams) -> CaseWork:
    """What the worker does with cases."""
    origin = {
        "notice": NOTICE,
        "model": registered.model,
        "version": registered.version,
        "digest": registered.digest,
        "modality_set": registered.modality_set,
    }
    return CaseWork(predictor, origin, explain)


def model_answer(work: CaseWork, record: EnsembleRecord, settings: ServiceSettings) -> ModelAnswer:
    """What clients are told of the model. record: of its ensemble."""
    fields = Fields.of(record)
    return ModelAnswer(
        **work.origin,
        volumes=[
            VolumeAnswer(name=spec.name, title=spec.title, kind=spec.kind, needed=spec.name in fields.needed)
            for spec in record.volumes
        ],
        variables=[
            VariableAnswer(name=spec.name, kind=spec.kind, unit=spec.unit, levels=fields.levels[spec.name])
            for spec in record.variables
            if not spec.measured
        ],
        upload_mb=settings.upload_mb,
        case_seconds=settings.case_seconds,
        kept_seconds=settings.kept_seconds,
    )
