"""What is shown of the machine's use while folds train."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from ricenet.tracking.system_metrics import SystemUse, graphics_card


def test_the_use_of_the_machine_is_averaged_since_the_last_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    used, busy = iter([1e9, 2e9, 6e9]), iter([0.0, 20.0, 30.0])
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(used=next(used), total=10e9))
    monkeypatch.setattr(psutil, "cpu_percent", lambda: next(busy))
    use = SystemUse()
    for _ in range(3):
        use.look()

    assert use.take() == {
        "system/system_memory_usage_megabytes": 3000.0,
        "system/system_memory_usage_percentage": 30.0,
        "system/cpu_utilization_percentage": 25.0,
    }
    assert use.take() == {}


def test_of_a_graphics_card_what_its_driver_tells_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    def refuse(device: int) -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    assert graphics_card() == {}
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=40e9)
    )
    monkeypatch.setattr(torch.cuda, "utilization", refuse)
    monkeypatch.setattr(torch.cuda, "device_memory_used", lambda device: 10e9)
    monkeypatch.setattr(torch.cuda, "power_draw", lambda device: 350_000)

    assert graphics_card() == {
        "gpu_0_memory_usage_megabytes": 10_000.0,
        "gpu_0_memory_usage_percentage": 25.0,
        "gpu_0_power_usage_watts": 350.0,
    }
