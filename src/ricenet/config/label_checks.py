"""What other labels than the paper's two do not have yet, refused while the parameter file is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ricenet.vocabulary import LABELS, is_rice_task, volumes_and_recipe

_NONE = "none"

_CONTROL = "stable"
"""The phantom's label of a subject without an event (`ricenet.phantom.phantom_subject`)."""


def misfit_labels(content: Any, accepted: Callable[..., bool]) -> list[str]:
    """Settings that know the paper's two labels only, where others are declared; and controls that are none.

    content: of the parameter file. accepted: whether what a path leads to was not refused for itself.
    """
    if not (accepted("labels") and accepted("controls")):
        return []
    labels, controls = content.get("labels") or LABELS, content.get("controls") or ()
    problems = [*_misfit_controls(labels, controls)]
    if accepted("phantom", "controls") and content["phantom"].get("controls") and _CONTROL not in labels:
        problems.append(
            f"phantom.controls: the phantom labels them {_CONTROL}, which is not declared under labels; "
            "declare it there, and under controls"
        )
    if is_rice_task(labels):
        return problems
    if all(accepted(name) for name in ("training", "recipes", "modality_sets")):
        problems += [
            f"{setting}: {rule} joins answers of the labels {' and '.join(LABELS)} alone; with other labels "
            "write none, or take the sets of this recipe out of modality_sets (docs/labels.md)"
            for setting, rule in dict(_fusions(content)).items()
            if rule not in (None, _NONE)
        ]
    if accepted("explain", "modality_sets") and (asked := content["explain"]["modality_sets"]):
        problems.append(
            f"explain.modality_sets: {', '.join(asked)}: occlusion explains {' and '.join(LABELS)} alone; "
            "with other labels write [] (docs/labels.md)"
        )
    curve = content["evidence"].get("learning_curve") or {} if accepted("evidence") else {}
    if asked := curve.get("sets"):
        problems.append(
            f"evidence.learning_curve.sets: {', '.join(asked)}: it knows {' and '.join(LABELS)} alone; "
            "with other labels write [] (docs/labels.md)"
        )
    if accepted("evidence") and (rule := content["evidence"].get("harmonisation", _NONE)) != _NONE:
        problems.append(
            f"evidence.harmonisation: {rule} is of {' and '.join(LABELS)} alone; with other labels write "
            "none (docs/labels.md)"
        )
    if all(accepted(name) for name in ("network", "recipes", "modality_sets")):
        problems += _misfit_networks(content)
    if accepted("tuning") and (asked := content["tuning"]["modality_sets"]):
        problems.append(
            f"tuning.modality_sets: {', '.join(asked)}: a search judges {' and '.join(LABELS)} alone; with "
            "other labels write [] (docs/labels.md)"
        )
    return problems


def _misfit_controls(labels: tuple[str, ...], controls: tuple[str, ...]) -> Iterator[str]:
    undeclared = [name for name in controls if name not in labels]
    for name in undeclared:
        yield f"controls: {name} is not declared under labels ({', '.join(labels)})"
    if not undeclared and len(set(labels) - set(controls)) < 2:
        yield "controls: fewer than two labels are left that are an event's; declare more under labels"


def _misfit_networks(content: Any) -> Iterator[str]:
    """Networks that know the paper's two labels only, of the recipes that are trained."""
    networks = {"network": content["network"]}
    recipes = content.get("recipes") or {}
    networks |= {f"recipes.{name}.network": recipe["network"] for name, recipe in recipes.items()}
    used = {volumes_and_recipe(name)[1] for name in content["modality_sets"]}
    for setting in (f"recipes.{name}.network" if name else "network" for name in sorted(used)):
        network = networks.get(setting) or {}
        if network.get("name") == "visits":
            yield f"{setting}.name: visits tells {' and '.join(LABELS)} apart alone; choose another network"
        if network.get("channel_dropout"):
            yield f"{setting}.channel_dropout: is of {' and '.join(LABELS)} alone; with other labels write 0"


def _fusions(content: Any) -> Iterator[tuple[str, str | None]]:
    """The setting that decides on fusion, and what it says, of every set that is trained."""
    main, recipes = content["training"], content.get("recipes") or {}
    overrides: Mapping[str, Any] = main.get("overrides") or {}
    for modality_set in content["modality_sets"]:
        name = volumes_and_recipe(modality_set)[1]
        own = ((recipes.get(name) or {}).get("training") or {}).get("fusion") if name else None
        if own is not None:
            yield f"recipes.{name}.training.fusion", own
        else:
            yield "training.fusion", main.get("fusion")
        if (changed := (overrides.get(modality_set) or {}).get("fusion")) is not None:
            yield f"training.overrides.{modality_set}.fusion", changed
