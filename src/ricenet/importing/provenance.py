"""The code that makes a raw subject from its source, as a digest: what other code made is made anew."""

from __future__ import annotations

import functools
from importlib.metadata import version
from pathlib import Path

import ricenet
from ricenet.runtime.files import content_digest, file_digest

_SOURCE = Path(ricenet.__file__).parent
CODE = (
    *("dicom/**/*.py", "importing/**/*.py"),
    *(f"cohort/{name}.py" for name in ("dose_sidecar", "layout", "participants", "problems", "scan_checks")),
    *(
        f"preprocessing/{name}.py"
        for name in ("alignment", "coarse", "disagreement", "registration", "similarity")
    ),
    *("modalities.py", "randomness.py", "volume.py"),
)
"""What decides a subject's files, below the package's folder."""

_TOOLS = ("antspyx", "nibabel", "numpy", "pydicom", "python-gdcm", "scipy")


@functools.cache
def code_digest() -> str:
    """Digest of every module that reads, judges, places or writes, and of their tools' versions."""
    files = sorted(path for pattern in CODE for path in _SOURCE.glob(pattern))
    return content_digest(
        {
            "source": {path.relative_to(_SOURCE).as_posix(): file_digest(path) for path in files},
            "tools": {tool: version(tool) for tool in _TOOLS},
        }
    )
