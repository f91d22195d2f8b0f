"""Reading YAML within bounds, without the models of what it may say: that costs a tenth of a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ricenet.runtime.errors import ParamsError
from ricenet.runtime.files import regular_bytes

_MOST_YAML_BYTES, _MOST_YAML_VALUES = 2**20, 20_000
"""Of a parameter file: far more than its settings."""


def read_yaml(path: Path) -> Any:
    """The content of a YAML 1.2 file as plain Python values.

    Raises ParamsError: missing file, not YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not path.is_file():
        raise ParamsError(
            path.name,
            [
                f"file not found in {path.parent.absolute().name or '.'}; "
                "run the command in the project's folder"
            ],
        )
    try:
        content = YAML(typ="safe", pure=True).load(regular_bytes(path, _MOST_YAML_BYTES))
        values = _values(content, _MOST_YAML_VALUES)
    except (YAMLError, ValueError) as error:
        raise ParamsError(path.name, [f"not valid YAML: {' '.join(str(error).split())}"]) from None
    except RecursionError:
        raise ParamsError(path.name, ["not valid YAML: nested too deep"]) from None
    if values > _MOST_YAML_VALUES:
        # a few names for others' content can stand for any number of values
        raise ParamsError(path.name, [f"holds more than {_MOST_YAML_VALUES} values"])
    return content


def _values(content: Any, most: int) -> int:
    """How many values a content holds, each counted wherever it stands; not counted on beyond `most`."""
    below = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    count = 1
    for value in below:
        if count > most:
            break
        count += _values(value, most - count)
    return count
