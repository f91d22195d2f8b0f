"""What the API answers, as its OpenAPI document describes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from ricenet.runtime.records import Record

State = Literal["queued", "running", "done", "refused", "failed"]
ExplanationState = Literal["none", "queued", "running", "done", "failed"]

_Probability = Annotated[float, Field(ge=0, le=1)]

PREDICTION: dict[str, Any] = {
    "notice": "Research use only: not a medical device, not for clinical use.",
    "model": "rice-net-post_op+event+dose",
    "version": "3",
    "digest": "9c1f" + "0" * 60,
    "modality_set": "post_op+event+dose",
    "label": "rice",
    "three_way": "indeterminate",
    "three_way_why": "5 of 5 folds vote for rice, and the calibrated p_rice is 0.7312: a confidence of "
    "0.7312 in rice, and 0.7904 is needed for an answer",
    "p_rice_calibrated": 0.7312,
    "p_rice": 0.9912,
    "confidence": 0.7312,
    "least_confidence": 0.7904,
    "label_set": ["recurrence", "rice"],
    "label_set_coverage": 0.9,
    "label_set_why": "p_rice is 0.9912; rice is in the set from 0.3120 on, recurrence up to 0.9934",
    "p_rice_folds": [0.99, 0.98, 0.995, 0.993, 0.998],
    "votes_rice": 5,
    "folds": 5,
    "used": ["post_op", "event", "dose"],
    "variables": {},
    "warnings": ["brain volume in ml is 884.736, but 900 to 2000 is plausible"],
    "measurements": {"brain_ml": 884.736},
}
CASE: dict[str, Any] = {
    "id": "o5cQx1l0yq3WmA7nJw2hBg",
    "state": "running",
    "step": "brain extraction",
    "share_done": 0.4,
    "seconds_left": 21.0,
}


class Accepted(Record):
    """A case that was taken in. url: where its state is."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"id": CASE["id"], "url": f"/cases/{CASE['id']}"}}
    )

    id: str
    url: str


class PredictionAnswer(Record):
    """A prediction, as `ricenet predict` prints it: probabilities of RICE to four places.

    model, version, digest: of the model that was loaded when the service started. three_way: rice,
    recurrence, indeterminate, or n/a where the version holds no evidence. used: names of the volumes and
    variables that the networks saw. measurements: brain volume in ml, doses in Gy, spacings in mm,
    similarities.
    """

    model_config = ConfigDict(json_schema_extra={"example": PREDICTION})

    notice: str
    model: str
    version: str
    digest: str
    modality_set: str
    label: Literal["rice", "recurrence"]
    three_way: Literal["rice", "recurrence", "indeterminate", "n/a"]
    three_way_why: str
    p_rice_calibrated: _Probability | None
    p_rice: _Probability
    confidence: _Probability | None
    least_confidence: _Probability | None
    label_set: list[Literal["recurrence", "rice"]] | None
    label_set_coverage: _Probability | None
    label_set_why: str
    p_rice_folds: list[_Probability]
    votes_rice: Annotated[int, Field(ge=0)]
    folds: Annotated[int, Field(ge=1)]
    used: list[str]
    variables: dict[str, float | str | None]
    warnings: list[str]
    measurements: dict[str, float]


class CaseAnswer(Record):
    """A case and where it stands.

    ahead: cases that are computed before it. step, share_done, seconds_left: of what is computed now, the
    last where an earlier case tells. problems: why it is refused, by the names of volumes. error: why it
    failed. explanation: state of the occlusion map. seconds: how long each finished step took.
    seconds_kept: until all of it is removed.
    """

    model_config = ConfigDict(json_schema_extra={"example": CASE})

    id: str
    state: State
    ahead: Annotated[int, Field(ge=0)] = 0
    step: str | None = None
    share_done: _Probability | None = None
    seconds_left: Annotated[float, Field(ge=0)] | None = None
    problems: list[str] = Field(default_factory=list)
    error: str | None = None
    prediction: PredictionAnswer | None = None
    explanation: ExplanationState = "none"
    explanation_error: str | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    seconds_kept: Annotated[float, Field(ge=0)] | None = None


class VolumeAnswer(Record):
    """A volume that the model declares: the name of its field, what it is, and whether it is needed."""

    name: str
    title: str
    kind: Literal["mri", "dose"]
    needed: bool


class VariableAnswer(Record):
    """A variable that a case may state, as the field `variable.NAME`. levels: those that training saw."""

    name: str
    kind: Literal["number", "category"]
    unit: str | None = None
    levels: tuple[str, ...] | None = None


class ModelAnswer(Record):
    """The model that is loaded, what a case consists of, and the service's limits."""

    notice: str
    model: str
    version: str
    digest: str
    modality_set: str
    volumes: list[VolumeAnswer]
    variables: list[VariableAnswer]
    upload_mb: float
    case_seconds: float
    kept_seconds: float


class HealthAnswer(Record):
    """Whether the service answers; the rest is told with the token only.

    waiting: cases that wait. computing: whether one is computed.
    """

    model_config = ConfigDict(json_schema_extra={"example": {"status": "ok"}})

    status: Literal["ok"] = "ok"
    model_loaded: bool | None = None
    waiting: Annotated[int, Field(ge=0)] | None = None
    computing: bool | None = None


class ErrorAnswer(Record):
    """Why a request is not answered."""

    model_config = ConfigDict(json_schema_extra={"example": {"detail": "no such case; it may have expired"}})

    detail: str


class RefusalAnswer(Record):
    """All that is wrong with a request, by the names of its fields."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"detail": "2 problem(s)", "problems": ["event: missing", "dose: given twice"]}
        }
    )

    detail: str
    problems: list[str]


class FaultAnswer(Record):
    """A fault of the program; the service's log holds where it came from, under the same id."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"detail": "a fault of the program", "id": "5f0c"}}
    )

    detail: str
    id: str
