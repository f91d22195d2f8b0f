"""The view in which MLflow's page opens: modality sets by macro-F1, with interval, AUC and the gate's answer.

MLflow 3.17 keeps the columns of its list of runs in the browser. A view that somebody shares is a tag of the
experiment, though, and a page's address may name it (`viewStateShareKey`): so this one is such a tag. Keys
and values are those of its page (`selectedColumns`, `compareRunCharts` and the rest).
"""

from __future__ import annotations

import json
from typing import Any

from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.descriptions import AUC, MACRO_F1
from ricenet.tracking.evidence_content import GATE
from ricenet.tracking.runs import KIND

SHARE_KEY = "ricenet-scores"
TAG = f"mlflow.sharedViewState.{SHARE_KEY}"

_WIDTHS_PX = {MACRO_F1: 145, AUC: 145, GATE: 230}
"""Columns beside the runs' names: all three are seen at 1440 px, with MLflow's assistant open."""
_CHARTS = ("macro_f1_pooled", "auc")
_SECTION = "ricenet-scores"


def page_of(experiment_id: str, shared: bool = True) -> str:
    """Where the list of runs lies on a server's page, in the view of scores. shared: the view is there."""
    # without workflowType the page opens in its view for language models, whatever the experiment says
    view = f"&viewStateShareKey={SHARE_KEY}" if shared else ""
    return f"#/experiments/{experiment_id}/runs?workflowType=machine_learning{view}"


def share_view(store: TrackingStore) -> None:
    """Let the experiment hold the view, where it does not yet."""
    set_experiment_tag(store, TAG, json.dumps(_view(), separators=(",", ":")))


def set_experiment_tag(store: TrackingStore, name: str, text: str) -> None:
    """Write a tag of the experiment where it differs: a store in which nothing changed is not written to."""
    client = store.client()
    if client.get_experiment(store.experiment_id).tags.get(name) != text:
        client.set_experiment_tag(store.experiment_id, name, text)


def _view() -> dict[str, Any]:
    columns = {f"tags.`{name}`": width for name, width in _WIDTHS_PX.items()}
    return {
        "searchFilter": f"tags.`{KIND}` = 'set'",
        "orderByKey": f"metrics.`{_CHARTS[0]}`",
        "orderByAsc": False,
        "selectedColumns": list(columns),
        "columnOrder": list(columns),
        "columnWidths": columns,
        "compareRunSections": [
            {"uuid": _SECTION, "name": "Scores", "display": True, "isReordered": False, "deleted": False}
        ],
        "compareRunCharts": [_bars(metric) for metric in _CHARTS],
    }


def _bars(metric: str) -> dict[str, Any]:
    """A bar a run."""
    return {
        "uuid": f"ricenet-{metric}",
        "type": "BAR",
        "metricKey": metric,
        "displayName": metric,
        "metricSectionId": _SECTION,
        "runsCountToCompare": 20,
        "deleted": False,
        "isGenerated": False,
    }
