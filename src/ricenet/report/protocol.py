"""What a run was asked to do and with what: the parameters, the versions and the commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ricenet.config import Params


@dataclass(frozen=True)
class Protocol:
    """Of a report. settings: the parameters as YAML, without passwords. versions: of packages, by name."""

    params: Params
    settings: str
    versions: Mapping[str, str]
    commit: str
