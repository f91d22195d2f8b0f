"""Phantom subjects without an event: they change no other one, and nothing of theirs tells of a lesion."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cohorts import read_table
from typer.testing import CliRunner

from ricenet.cli.main import app
from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.layout import RawSubject
from ricenet.phantom.anatomy import shared_template
from ricenet.phantom.dicom.export import write_dicom_phantom
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.phantom.phantom_subject import CONTROL_LABEL, make_subject
from ricenet.phantom.scanners import SiteDesign
from ricenet.phantom.visits import make_visit
from ricenet.phantom.write_cohort import at_sites, draw_causes, held_out_subjects, write_phantom
from ricenet.runtime.files import read_json
from ricenet.vocabulary import PAPER_VOLUMES

CLINICAL = MECHANISMS["clinical"]
SEED, SPACING_MM = 7, 8.0
NAMES = ("recurrence", "rice", CONTROL_LABEL)


def files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Two subjects with events, with up to three visits each; by number of controls beside them."""
    folder = tmp_path_factory.mktemp("controls")
    for controls in (0, 2):
        write_phantom(
            folder / str(controls), 2, SEED, CLINICAL, test_fraction=0.5, spacing_mm=SPACING_MM,
            single_fraction_share=0.0, visits=3, controls=controls, backend="serial",
        )  # fmt: skip
    return {controls: folder / str(controls) for controls in (0, 2)}


def test_controls_change_no_other_subject(cohorts: dict[int, Path]) -> None:
    without, beside = files(cohorts[0]), files(cohorts[2])
    tables = {Path("participants.tsv"), Path("participants.json")}
    assert {
        path: content for path, content in without.items() if path not in tables
    }.items() <= beside.items()
    assert read_table(cohorts[0]) == read_table(cohorts[2])[:2]
    assert "stable" not in without[Path("participants.json")].decode()


def test_a_control_passes_the_check_with_its_label_at_every_visit(cohorts: dict[int, Path]) -> None:
    checked = admit(check_cohort(cohorts[2], label_names=NAMES), exclude_faulty=False)
    controls = [s for s in checked.subjects if s.patient in ("sub-003", "sub-004")]
    assert len(controls) > 2, "one of them has further visits"
    assert {s.label for s in controls} == {CONTROL_LABEL}
    assert "label is none of recurrence, rice, n/a" in check_cohort(cohorts[2]).text()


def test_no_file_of_a_control_tells_of_a_lesion(cohorts: dict[int, Path]) -> None:
    truths = [p.parent for p in (cohorts[2] / "ground_truth").glob("sub-*/truth.json")]
    assert len(truths) > 4, "visits have one each"
    for folder in truths:
        is_control = folder.name.startswith(("sub-003", "sub-004"))
        truth = read_json(folder / "truth.json")
        of_lesion = {"p_rice", "core_enhancement", "lesion_centre_mm"} & truth.keys()
        assert len(of_lesion) == (0 if is_control else 3)
        assert set(truth["evidence"]) == ({"dose", "post_op"} if is_control else {"dose", "post_op", "event"})
        raw = RawSubject(cohorts[2], folder.name)
        assert raw.lesion_mask.is_file() is not is_control
        assert (truth["label"] == CONTROL_LABEL) is is_control
    said = read_json(cohorts[2] / "participants.json")
    assert "Of stable ones: to the follow-up scan." in said["days_rt_end_to_event"]["Description"]
    # an interval that only events have would give the label away
    assert all(row["days_rt_end_to_event"] != "n/a" for row in read_table(cohorts[2]))


def test_a_control_is_the_head_of_a_subject_with_an_event_but_for_the_lesion() -> None:
    cause = draw_causes(1, SEED, CLINICAL)[0]
    event, control = (
        make_subject(shared_template(SPACING_MM), one, SEED)
        for one in (cause, replace(cause, label=CONTROL_LABEL))
    )
    for name in ("post_op", "dose"):
        np.testing.assert_array_equal(event.scans[name].data, control.scans[name].data)
    assert event.lesions.lesion.any() and not control.lesions.lesion.any()
    assert not np.array_equal(event.scans["event"].data, control.scans["event"].data)
    later = make_visit(control, 2, SEED, PAPER_VOLUMES)
    assert not later.lesions.lesion.any() and not later.lesions.lesion_core.any()


@pytest.mark.parametrize("controls", [1, 7, 40])
def test_no_event_changes_its_place_or_scanner_beside_controls(controls: int) -> None:
    design = SiteDesign(3, 0.25, 2.0, 2.0, 3.0, (0.1, 0.4, 0.7))
    alone = draw_causes(30, SEED, CLINICAL)
    everyone = draw_causes(30, SEED, CLINICAL, controls)
    for sites in (None, design, replace(design, rice_shares=None)):
        placed = at_sites(everyone, sites, SEED)
        assert placed[:30] == at_sites(alone, sites, SEED)
        assert all(cause.scanner.site for cause in placed) is (sites is not None)
    held_out = held_out_subjects(everyone, 0.2, SEED)
    of_events = {cause.subject for cause in alone}
    assert held_out & of_events == held_out_subjects(alone, 0.2, SEED)
    assert len(held_out - of_events) == round(0.2 * controls)


def test_an_export_of_dicom_has_controls_too_and_says_that_they_have_no_event(tmp_path: Path) -> None:
    write_dicom_phantom(
        tmp_path / "export", 1, SEED, CLINICAL, test_fraction=0.0, spacing_mm=SPACING_MM, controls=1,
        backend="serial",
    )  # fmt: skip
    with (tmp_path / "export/clinical.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] == CONTROL_LABEL for row in rows] == [False, True]
    truth = read_json(tmp_path / "export/ground_truth/truth.json")
    assert ["p_rice" in truth[row["patient_id"]] for row in rows] == [True, False]
    assert truth["PHANTOM-0002"]["label"] == CONTROL_LABEL


@pytest.mark.parametrize("dicom", [False, True])
def test_the_command_writes_and_counts_controls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dicom: bool
) -> None:
    asked: list[object] = []
    where = "ricenet.phantom.dicom.export.write_dicom_phantom" if dicom else (
        "ricenet.phantom.write_cohort.write_phantom"
    )  # fmt: skip
    monkeypatch.setattr(where, lambda *_, **options: asked.append(options["controls"]))
    text = (Path(__file__).parents[1] / "params.yaml").read_text()
    text = text.replace("labels: [recurrence, rice] ", "labels: [recurrence, rice, stable] ")
    text = text.replace("controls: [] ", "controls: [stable] ").replace("controls: 0 ", "controls: 2 ")
    text = text.replace("fusion: mean", "fusion: none")
    text = text.replace("modality_sets: [post_op+event+dose@small_cohort]", "modality_sets: []")
    (tmp_path / "params.yaml").write_text(text)
    command = ["phantom", str(tmp_path / "out"), "--subjects", "3", "--params", str(tmp_path / "params.yaml")]
    result = CliRunner().invoke(app, [*command, *(["--dicom"] if dicom else [])])
    assert result.exit_code == 0, result.output
    assert f"5 synthetic {'patients as DICOM' if dicom else 'subjects'}" in result.stdout
    assert asked == [2]
