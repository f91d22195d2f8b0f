"""The vocabulary of the task: volumes, modality sets, variables and labels.

All are declared in params.yaml; what handles volumes and variables iterates over the declaration by kind.
Source: RICE-NET section 2 (three inputs, seven combinations, two classes) for the default.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    TypeAdapter,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

Label = Literal["recurrence", "rice"]

LABELS: tuple[Label, ...] = get_args(Label)
"""Class index = position; `rice` is the positive class of every probability (`p_rice`)."""

LabelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
"""Of a class that params.yaml declares under `labels`."""

LabelNames = tuple[str, ...]
"""The declared classes; class index = position. `LABELS` where nothing else is declared (docs/labels.md)."""


def is_rice_task(label_names: Sequence[str]) -> bool:
    """Whether the classes are the paper's two, of which one probability says all: that of RICE, `p_rice`.

    Records leave the two out, so that one without classes, as those of before, has these.

    >>> is_rice_task(["recurrence", "rice"]), is_rice_task(["recurrence", "rice", "stable"])
    (True, False)
    """
    return tuple(label_names) == LABELS


Kind = Literal["mri", "dose"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
VariableValue = float | str | None
"""Of one subject: a number, a category, or None where it is not known."""


EVENT, PREVIOUS, POST_RT = "event", "previous", "postrt"
"""Declared sessions: of a visit, of the one before it, and after radiotherapy (docs/visits.md)."""

RECIPE_MARK = "@"
"""Between a modality set and the recipe by which it is trained; without one it is the main recipe."""


def volumes_and_recipe(modality_set: str) -> tuple[str, str]:
    """The volumes of a set's name, and its recipe; "" for the main one.

    >>> volumes_and_recipe("post_op+dose@small_cohort")
    ('post_op+dose', 'small_cohort')
    """
    volumes, _, recipe = modality_set.partition(RECIPE_MARK)
    return volumes, recipe


def in_recipe(volumes: str, recipe: str) -> str:
    """The name of a set's volumes with its recipe; as it is for the main one, "".

    >>> in_recipe("dose", "small_cohort"), in_recipe("dose", "")
    ('dose@small_cohort', 'dose')
    """
    return f"{volumes}{RECIPE_MARK}{recipe}" if recipe else volumes


class _Declaration(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VolumeSpec(_Declaration):
    """A declared volume.

    session: the BIDS session without `ses-`. suffix: what follows it in the file's name, such as
    `ce-gadolinium_T1w`. title: for people. required: without it a subject cannot be used; an optional volume
    excludes a subject only from the modality sets that need it. scale: of a quantitative MRI, which keeps its
    unit: the network sees value / scale; None: the MRI is z-scored.
    """

    name: Name
    kind: Kind
    session: Annotated[str, Field(pattern=r"^[A-Za-z0-9]+$")]
    suffix: Annotated[str, Field(pattern=r"^[A-Za-z0-9]+([-_][A-Za-z0-9]+)*$")]
    title: Annotated[str, Field(min_length=1)]
    required: bool = True
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @field_validator("scale")
    @classmethod
    def _of_an_mri(cls, scale: float | None, info: Any) -> float | None:
        if scale is not None and info.data.get("kind") == "dose":
            raise ValueError("a dose has no scale; its unit is preprocessing.dose_unit_gy")
        return scale


class Volumes(Sequence[VolumeSpec]):
    """The declared volumes, in channel order.

    Raises ValueError: a name twice, two files of one name, more than one dose, or no required MRI.
    """

    def __init__(self, specs: Iterable[VolumeSpec]) -> None:
        self._specs = tuple(specs)
        for what, values in (
            ("volume", [spec.name for spec in self._specs]),
            ("file", [f"ses-{spec.session} {spec.suffix}" for spec in self._specs]),
        ):
            if repeated := [value for value in dict.fromkeys(values) if values.count(value) > 1]:
                raise ValueError(f"{what} declared twice: {', '.join(repeated)}")
        if len(doses := [spec.name for spec in self._specs if spec.kind == "dose"]) > 1:
            raise ValueError(f"more than one dose: {', '.join(doses)}; courses are summed into one volume")
        if not any(spec.kind == "mri" and spec.required for spec in self._specs):
            raise ValueError("no required MRI, into whose space all other volumes are brought")

    def __getitem__(self, key: Any) -> Any:
        """By name, or by position. Raises KeyError: no such name."""
        return self._by_name[key] if isinstance(key, str) else self._specs[key]

    def __iter__(self) -> Iterator[VolumeSpec]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def __contains__(self, item: object) -> bool:
        return item in self._by_name or item in self._specs

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Volumes) and self._specs == other._specs

    def __hash__(self) -> int:
        return hash(self._specs)

    def __repr__(self) -> str:
        return f"Volumes({', '.join(self.names)})"

    @cached_property
    def _by_name(self) -> Mapping[str, VolumeSpec]:
        return {spec.name: spec for spec in self._specs}

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in channel order."""
        return tuple(self._by_name)

    @property
    def mris(self) -> tuple[VolumeSpec, ...]:
        """The MRIs, in channel order."""
        return tuple(spec for spec in self if spec.kind == "mri")

    @property
    def dose(self) -> VolumeSpec | None:
        """The radiotherapy dose, if one is declared."""
        return next((spec for spec in self if spec.kind == "dose"), None)

    @property
    def required(self) -> tuple[VolumeSpec, ...]:
        """Those without which a subject cannot be used."""
        return tuple(spec for spec in self if spec.required)

    @property
    def reference(self) -> VolumeSpec:
        """The first required MRI (the paper's post_op): every other volume is brought into its space."""
        return next(spec for spec in self.mris if spec.required)

    @property
    def sessions(self) -> tuple[str, ...]:
        """The sessions, that of the reference first."""
        return tuple(dict.fromkeys([self.reference.session, *(spec.session for spec in self)]))

    def session_reference(self, session: str) -> VolumeSpec:
        """The MRI to which others of a session are registered: its first required one, or its first.

        Raises ValueError: the session has no MRI.
        """
        mris = [spec for spec in self.mris if spec.session == session]
        if not mris:
            raise ValueError(f"session {session} has no MRI to which its volumes could be registered")
        return next((spec for spec in mris if spec.required), mris[0])

    def reference_of(self, spec: VolumeSpec) -> VolumeSpec:
        """What a volume is registered to: its session's reference; a session's reference to `reference`."""
        of_session = self.session_reference(spec.session)
        return self.reference if spec == of_session else of_session

    @property
    def last_session_reference(self) -> VolumeSpec:
        """The reference MRI of the last session that has one (the paper's event): it shows the new lesion."""
        with_mri = {spec.session for spec in self.mris}
        if EVENT in with_mri:
            # what lies before the event may be declared after it, since channels keep their order
            with_mri -= {POST_RT, PREVIOUS}
        return self.session_reference([session for session in self.sessions if session in with_mri][-1])

    @cached_property
    def sets(self) -> tuple[str, ...]:
        """Every non-empty combination, small ones first: of the paper's volumes in the order of its figure 2.

        >>> PAPER_VOLUMES.sets[-2:]
        ('event+dose', 'post_op+event+dose')
        """
        sizes = range(1, len(self) + 1)
        return tuple("+".join(chosen) for size in sizes for chosen in combinations(self.names, size))

    def members(self, modality_set: str) -> tuple[VolumeSpec, ...]:
        """The volumes of a set, in channel order, whatever its recipe.

        Raises ValueError: an undeclared volume, one named twice, or another order than the declared one.
        """
        of_set, _ = volumes_and_recipe(modality_set)
        names = of_set.split("+")
        if unknown := [name for name in names if name not in self._by_name]:
            raise ValueError(
                f"unknown modality set {modality_set!r}: {', '.join(unknown)} is not declared under volumes "
                f"({', '.join(self.names)})"
            )
        chosen = tuple(spec for spec in self if spec.name in names)
        if (expected := "+".join(spec.name for spec in chosen)) != of_set:
            raise ValueError(f"unknown modality set {modality_set!r}; expected {expected}")
        return chosen

    def subsets(self, modality_set: str) -> tuple[str, ...]:
        """Every non-empty subset of a set's volumes, small ones first; the last has all of them.

        >>> PAPER_VOLUMES.subsets("event+dose@small_cohort")
        ('event', 'dose', 'event+dose')
        """
        names = {spec.name for spec in self.members(modality_set)}
        return tuple(subset for subset in self.sets if names.issuperset(subset.split("+")))

    def set_name(self, names: Iterable[str]) -> str:
        """The name of a set of volumes.

        >>> PAPER_VOLUMES.set_name({"dose", "post_op"})
        'post_op+dose'
        """
        wanted = set(names)
        return "+".join(name for name in self.names if name in wanted)

    def set_title(self, modality_set: str, separator: str = " + ") -> str:
        """A set as a reader writes it; its recipe in brackets, where that is not the main one."""
        _, recipe = volumes_and_recipe(modality_set)
        titles = separator.join(spec.title for spec in self.members(modality_set))
        return f"{titles} ({recipe.replace('_', ' ')})" if recipe else titles

    def in_order(self, modality_sets: Iterable[str]) -> list[str]:
        """Names of sets: those of the main recipe first, and within a recipe small ones first."""
        places = {name: place for place, name in enumerate(self.sets)}

        def place(modality_set: str) -> tuple[str, int]:
            of_set, recipe = volumes_and_recipe(modality_set)
            return recipe, places[of_set]

        return sorted((s for s in modality_sets if volumes_and_recipe(s)[0] in places), key=place)

    def select(self, modality_set: str) -> Volumes:
        """The declaration of a set's members alone; without a required MRI it could not stand."""
        return Volumes(self.members(modality_set))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """In records and parameters: a list of declarations."""
        listed = core_schema.no_info_before_validator_function(
            lambda value: list(value) if isinstance(value, Volumes) else value,
            handler.generate_schema(list[VolumeSpec]),
        )
        written = core_schema.plain_serializer_function_ser_schema(Volumes.as_json)
        return core_schema.no_info_after_validator_function(cls, listed, serialization=written)

    def as_json(self) -> list[dict[str, Any]]:
        """For records."""
        return [spec.model_dump(mode="json") for spec in self]


PAPER_VOLUMES = Volumes(
    [
        VolumeSpec(
            name="post_op", kind="mri", session="postop", suffix="ce-gadolinium_T1w", title="post-op T1ce"
        ),
        VolumeSpec(name="event", kind="mri", session="event", suffix="ce-gadolinium_T1w", title="event T1ce"),
        VolumeSpec(name="dose", kind="dose", session="postop", suffix="dose", title="dose"),
    ]
)
"""The paper's three volumes: the default."""


class VariableSpec(_Declaration):
    """A declared variable: what is known of a subject beside its volumes.

    column: of participants.tsv; None: the variable's name. measured: taken from what preprocessing measures
    (dose_mean_gy and the like), not from a column. unit: of a number. categories: the permitted ones; None:
    whatever the column holds. title: for people; None: the name.
    """

    name: Name
    kind: Literal["number", "category"]
    unit: str | None = None
    title: str | None = None
    column: Annotated[str, Field(min_length=1)] | None = None
    measured: bool = False
    categories: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind == "category" and self.unit is not None:
            raise ValueError(f"{self.name}: a category has no unit")
        if self.kind == "number" and self.categories is not None:
            raise ValueError(f"{self.name}: a number has no categories")
        if self.measured and (self.column is not None or self.kind == "category"):
            raise ValueError(f"{self.name}: a measured variable is a number without a column")
        return self

    @property
    def source_column(self) -> str | None:
        """The column of participants.tsv it is read from; None for a measured variable."""
        return None if self.measured else (self.column or self.name)


VARIABLES: TypeAdapter[tuple[VariableSpec, ...]] = TypeAdapter(tuple[VariableSpec, ...])
"""To read declarations from records."""
