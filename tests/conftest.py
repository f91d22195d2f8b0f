"""The order of files of tests: those that take long begin first, so that no worker ends alone with one."""

from __future__ import annotations

from collections import defaultdict

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # a stable sort: what is in a file keeps its order
    slowness = defaultdict[object, float](float)
    for item in items:
        slowness[item.path] = max(slowness[item.path], _slowness(item))
    items.sort(key=lambda item: -slowness[item.path])


def _slowness(item: pytest.Item) -> float:
    timeout = item.get_closest_marker("timeout")
    if timeout is not None:
        return float(timeout.args[0])
    return 1.0 if item.get_closest_marker("slow") else 0.0
