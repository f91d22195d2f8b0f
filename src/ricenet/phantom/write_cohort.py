"""Writing a synthetic cohort in the raw layout, with its ground truth in a folder of its own."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from ricenet.cohort.description import write_description
from ricenet.cohort.layout import GROUND_TRUTH, MECHANISM_FILE, PARTICIPANTS_TABLE
from ricenet.phantom.anatomy import read_template, template_file
from ricenet.phantom.mechanism import Mechanism
from ricenet.phantom.phantom_subject import (
    CONTROL_LABEL,
    Cause,
    draw_cause,
    least_intercept_for_rice,
    write_subject,
)
from ricenet.phantom.scanners import Scanner, SiteDesign
from ricenet.phantom.visits import FollowUps
from ricenet.runtime.errors import CohortError
from ricenet.runtime.execution import run_tasks
from ricenet.runtime.files import atomic_folder, write_json, write_text
from ricenet.runtime.machine import Backend, Share
from ricenet.runtime.randomness import seed_for
from ricenet.runtime.tables import table_text
from ricenet.vocabulary import LABELS, PAPER_VOLUMES, Volumes

SCANNER = "scanner"
"""Column of a cohort with sites alone."""

OF_CONTROLS = {
    "label": f" Or {CONTROL_LABEL}: no new lesion came.",
    "days_rt_end_to_event": f" Of {CONTROL_LABEL} ones: to the follow-up scan.",
}
"""What descriptions of columns say besides, where there are controls."""

COLUMNS = {
    "participant_id": "Subject.",
    "label": "What the new lesion was: recurrence or rice (radiation-induced contrast enhancement).",
    "label_source": "How that is known; here always: synthetic.",
    "subset": "train (cross-validation) or test (independent).",
    "site": "Scanner site; here without any effect.",
    SCANNER: "Manufacturer and model; here a phantom's, which differ as ground_truth/mechanism.json says.",
    "age_years": "Age at surgery; here without any effect.",
    "sex": "F or M; here without any effect.",
    "days_rt_end_to_event": "Days from the end of radiotherapy to the event; here without any effect.",
    "rt_modality": "Kind of radiation: photon.",
    "reirradiation": "Whether there was a second course of radiotherapy, which the dose includes: yes or no.",
}

PRELOAD = ("ricenet.phantom.phantom_subject", "nibabel", "scipy.ndimage")
"""What every worker needs."""


def write_phantom(
    folder: Path,
    subjects: int,
    seed: int,
    mechanism: Mechanism,
    *,
    test_fraction: float,
    spacing_mm: float,
    single_fraction_share: float,
    visits: int = 1,
    controls: int = 0,
    volumes: Volumes = PAPER_VOLUMES,
    sites: SiteDesign | None = None,
    backend: Backend = "processes",
    workers: Share = 2,
) -> None:
    """Write a cohort of `subjects` heads into a new folder; the same arguments give the same bytes.

    visits: most follow-ups of a subject (`ricenet.phantom.visits`); more of them leave the first as it is.
    controls: further heads without a lesion at the event, labelled CONTROL_LABEL; they change no other one.
    sites: with scanners that differ; None where all heads are scanned alike.
    Raises CohortError: the folder exists and holds something, or a subject could not be made.
    """
    require_new_folder(folder)
    causes = at_sites(draw_causes(subjects, seed, mechanism, controls), sites, seed)
    test = held_out_subjects(causes, test_fraction, seed)
    with atomic_folder(folder) as temporary, template_file(spacing_mm, temporary) as template:
        task = functools.partial(
            _write_one, temporary, template, seed, single_fraction_share, visits, volumes
        )
        outcomes = run_tasks(task, causes, backend, workers, 1, "phantom subjects", preload=PRELOAD)
        require_made("subjects", {outcome.task.subject: outcome.error for outcome in outcomes})
        write_mechanism(temporary, mechanism, sites.scanners(seed) if sites else ())
        _write_tables(temporary, causes, test, seed, volumes)


def write_mechanism(folder: Path, mechanism: Mechanism, scanners: Sequence[Scanner] = ()) -> None:
    """Into the ground truth: its name, the intercept that was used, and how scanners of sites differ."""
    said: dict[str, object] = {"mechanism": mechanism.name, "intercept": mechanism.intercept}
    if scanners:
        said["scanners"] = [asdict(scanner) for scanner in scanners]
    write_json(folder / GROUND_TRUTH / MECHANISM_FILE, said)


def draw_causes(subjects: int, seed: int, mechanism: Mechanism, controls: int = 0) -> list[Cause]:
    """The causes of subjects sub-001 and on; more subjects change none.

    controls: so many more, without an event.
    """
    causes = [draw_cause(subject, seed, mechanism) for subject in _names(subjects + controls)]
    return causes[:subjects] + [replace(cause, label=CONTROL_LABEL) for cause in causes[subjects:]]


def at_sites(causes: Sequence[Cause], sites: SiteDesign | None, seed: int) -> list[Cause]:
    """The same subjects with their scanners; as they are without sites."""
    if sites is None:
        return list(causes)
    scanners = sites.scanners(seed)
    places = sites.placed({c.subject: c.label == "rice" for c in causes if c.has_lesion}, seed)
    # shares are of events: controls have no part in them, and move nobody
    controls = {c.subject: False for c in causes if not c.has_lesion}
    places |= replace(sites, rice_shares=None).placed(controls, seed)
    return [replace(cause, scanner=scanners[places[cause.subject]]) for cause in causes]


def with_rice_share(mechanism: Mechanism, share: float, subjects: int, seed: int) -> Mechanism:
    """The mechanism with the intercept at which that share of these subjects is RICE, to the nearest one.

    Subjects and what they draw stay as they are: the intercept alone decides, midway between the one at
    which the last of them becomes RICE and the one at which the next would.
    """
    needed = sorted(least_intercept_for_rice(subject, seed, mechanism) for subject in _names(subjects))
    edges = [needed[0] - 1.0, *needed, needed[-1] + 1.0]
    rice = round(share * subjects)
    return replace(mechanism, intercept=(edges[rice] + edges[rice + 1]) / 2)


def _names(subjects: int) -> list[str]:
    return [f"sub-{number:03d}" for number in range(1, subjects + 1)]


def require_new_folder(folder: Path) -> None:
    """Refuse to write over what somebody has.

    Raises CohortError: the folder exists and holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CohortError(f"{folder} exists and is not empty; name a new folder or remove it first")


def require_made(what: str, errors: Mapping[str, str | None]) -> None:
    """Raise CohortError where something could not be made. errors: by name; None where all went well."""
    if failed := [f"{name}: {error}" for name, error in errors.items() if error]:
        raise CohortError(f"phantom {what} could not be made:\n" + "\n".join(failed))


def held_out_subjects(causes: Sequence[Cause], fraction: float, seed: int) -> set[str]:
    """The same share of each label, ordered by a draw of each subject's own; controls change no event's."""
    chosen: set[str] = set()
    for labels in (LABELS, (CONTROL_LABEL,)):
        among = [c for c in causes if c.label in labels]
        total = round(fraction * len(among))
        for label in labels:
            of_label = [c.subject for c in among if c.label == label]
            of_label.sort(key=lambda name: seed_for("phantom", seed, name, "subset"))
            if of_label:
                chosen.update(of_label[: round(total * len(of_label) / len(among))])
    return chosen


def _write_one(
    folder: Path,
    template: Path,
    seed: int,
    single_fraction_share: float,
    visits: int,
    volumes: Volumes,
    cause: Cause,
) -> None:
    subject = write_subject(folder, read_template(template), cause, seed, single_fraction_share, volumes)
    if visits > 1:
        first_day = _drawn_for_table(cause, seed)[-1]
        FollowUps.draw(cause, seed, first_day, visits).write(folder, subject, seed, volumes)


def _drawn_for_table(cause: Cause, seed: int) -> tuple[object, object, object, int]:
    """Site, age, sex, and days from the end of radiotherapy to the event."""
    rng = cause.stream(seed, "table")
    site, age = rng.choice(["phantom-a", "phantom-b"]), rng.integers(35, 80)
    return site, age, rng.choice(["F", "M"]), int(rng.integers(30, 600))


def _write_tables(folder: Path, causes: Sequence[Cause], test: set[str], seed: int, volumes: Volumes) -> None:
    with_sites = any(cause.scanner.site for cause in causes)
    columns = {name: text for name, text in COLUMNS.items() if with_sites or name != SCANNER}
    rows = []
    for cause in causes:
        subset = "test" if cause.subject in test else "train"
        second = "yes" if cause.evidence.reirradiated else "no"
        site, age, sex, days = _drawn_for_table(cause, seed)
        place = [cause.scanner.site, cause.scanner.name] if with_sites else [site]
        rows.append(
            [cause.subject, cause.label, "synthetic", subset, *place, age, sex, days, "photon", second]
        )
    write_text(folder / PARTICIPANTS_TABLE, table_text(list(columns), rows))
    further = {} if all(cause.has_lesion for cause in causes) else OF_CONTROLS
    said = {name: text + further.get(name, "") for name, text in columns.items()}
    write_json(folder / "participants.json", {name: {"Description": text} for name, text in said.items()})
    write_description(
        folder,
        {
            "Name": f"RICE-NET phantom, seed {seed}",
            "Synthetic": True,
            "License": "CC0, apart from the MNI152 maps it is made from (docs/phantom.md)",
        },
        volumes,
    )
