"""How busy processor, memory and graphics card are while a fold trains, under MLflow's own names.

MLflow's own SystemMetricsMonitor is not used: it gives up for good at the first request that fails, with a
warning and after MLflow's own retries; asks the server every ten seconds whether the run still runs; starts
again from step 0 in a training that was resumed; logs all cards of a machine at the run of every fold; and
writes a point every ten seconds for as long as a training takes, millions of rows for the paper's. Here the
means since the last point travel with an epoch, so that they are sent, kept and repeated like its losses.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from statistics import fmean

PREFIX = "system/"
"""What MLflow's page shows under `System metrics`."""


class SystemUse:
    """Means of the use of this machine between two calls of `take`, from what `look` sees in between."""

    def __init__(self) -> None:
        self._seen: dict[str, list[float]] = defaultdict(list)
        self._since = time.monotonic()
        self._looked = False

    @property
    def seconds(self) -> float:
        """How long ago the last means were taken."""
        return time.monotonic() - self._since

    def look(self) -> None:
        """Add a sample; always from the same thread, since psutil counts each thread's calls apart."""
        import psutil

        processor = psutil.cpu_percent()
        # the first answer would be about no time at all
        if self._looked:
            self._seen["cpu_utilization_percentage"].append(processor)
        self._looked = True
        for name, value in {**_memory(), **graphics_card()}.items():
            self._seen[name].append(value)

    def take(self) -> dict[str, float]:
        """The means since the last call, by MLflow's names; without a graphics card in use, none of it."""
        seen, self._seen = self._seen, defaultdict(list)
        self._since = time.monotonic()
        return {PREFIX + name: round(fmean(values), 1) for name, values in seen.items()}


def graphics_card() -> dict[str, float]:
    """Use of the card on which this process trains: what its driver tells, and nothing without one.

    Cards that CUDA_VISIBLE_DEVICES hides are not counted. A share of a card (MIG) tells its memory only.
    """
    torch = sys.modules.get("torch")
    # asking a card on which nobody trains would open it
    if torch is None or torch.version.cuda is None or not torch.cuda.is_initialized():
        return {}
    total = torch.cuda.get_device_properties(0).total_memory
    questions: dict[str, Callable[[], float]] = {
        "gpu_0_utilization_percentage": lambda: torch.cuda.utilization(0),
        "gpu_0_memory_usage_megabytes": lambda: torch.cuda.device_memory_used(0) / 1e6,
        "gpu_0_memory_usage_percentage": lambda: 100 * torch.cuda.device_memory_used(0) / total,
        "gpu_0_power_usage_watts": lambda: torch.cuda.power_draw(0) / 1000,
    }
    answers = {name: _answer(question) for name, question in questions.items()}
    return {name: float(answer) for name, answer in answers.items() if answer is not None}


def _answer(question: Callable[[], float]) -> float | None:
    import pynvml

    try:
        return question()
    except (pynvml.NVMLError, RuntimeError):
        return None


def _memory() -> dict[str, float]:
    import psutil

    memory = psutil.virtual_memory()
    return {
        "system_memory_usage_megabytes": memory.used / 1e6,
        "system_memory_usage_percentage": 100 * memory.used / memory.total,
    }
