"""What a run was asked to do and with what: the parameters, the versions and the commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from ricenet.config.params import Params


@dataclass(frozen=True)
class Protocol:
    """Of a report. settings: the parameters as YAML, without passwords. versions: of packages, by name."""

    params: Params
    settings: str
    versions: Mapping[str, str]
    commit: str


def printed_params(params: Params) -> dict[str, Any]:
    """The parameters as a report prints them: of the cohort's place the folder's name alone.

    Where a folder lies may name a person.
    """
    content = params.model_dump(mode="json")
    content["cohort"]["root"] = PurePath(params.cohort.root).name
    return content
