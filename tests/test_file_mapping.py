"""A BIDS dataset that calls its files otherwise, taken in by a mapping: what is found, what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bids_validation import errors
from cohorts import write_tiny_cohort
from typer.testing import CliRunner

from ricenet.cli import app
from ricenet.cohort.checks import check_cohort
from ricenet.cohort.file_mapping import read_mapping
from ricenet.cohort.layout import RawSubject
from ricenet.cohort.mapped_cohort import mapped_cohort
from ricenet.runtime.errors import CohortError
from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec

FLAIR = VolumeSpec(
    name="flair", kind="mri", session="event", suffix="FLAIR", title="event FLAIR", required=False
)
MAPPING: dict[str, Any] = {
    "sessions": {"postop": "01", "event": "02"},
    "files": {
        "post_op": "ses-{session}/anat/*_acq-mprage_*T1w.nii*",
        "event": "ses-{session}/anat/{subject}_ses-*_T1w.nii.gz",
        "dose": "ses-{session}/plan/*_RTDOSE.nii.gz",
    },
    "subjects": {"sub-002": {"sessions": {"event": "05"}}},
}
"""The second subject's event was its fifth visit; one scan is not compressed."""


def their_name(subject: str, name: str) -> Path:
    event = "05" if subject == "sub-002" else "02"
    return (
        Path(subject)
        / {
            "post_op": f"ses-01/anat/{subject}_ses-01_acq-mprage_ce-gd_T1w.nii.gz",
            "event": f"ses-{event}/anat/{subject}_ses-{event}_ce-gd_run-1_T1w.nii.gz",
            "dose": f"ses-01/plan/{subject}_course_RTDOSE.nii.gz",
        }[name]
    )


@pytest.fixture(scope="module")
def standard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_cohort(tmp_path_factory.mktemp("standard") / "tiny", subjects=3)


@pytest.fixture
def dataset(standard: Path, tmp_path: Path) -> Path:
    """The tiny cohort under another's names, with a series of each visit that is not asked for."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    shutil.copy(standard / "participants.tsv", folder)
    for subject in ("sub-001", "sub-002", "sub-003"):
        raw = RawSubject(standard, subject)
        for name in PAPER_VOLUMES.names:
            theirs = folder / their_name(subject, name)
            theirs.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(raw.scan(name), theirs)
        dose = folder / their_name(subject, "dose")
        shutil.copy(raw.dose_sidecar, dose.with_name(dose.name.replace(".nii.gz", ".json")))
        post_op = folder / their_name(subject, "post_op")
        post_op.with_name(post_op.name.replace(".nii.gz", ".json")).write_text('{"EchoTime": 0.003}')
        post_op.with_name(f"{subject}_ses-01_T2w.nii.gz").write_bytes(b"another series")
    return folder


def written(folder: Path, content: object = MAPPING) -> Path:
    path = folder.parent / "mapping-of-mine.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def files_in(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(dataset: Path, content: object, volumes: Volumes = PAPER_VOLUMES) -> str:
    with pytest.raises(CohortError) as told, mapped_cohort(dataset, written(dataset, content), volumes):
        pass
    return str(told.value)


def test_each_file_is_found_under_its_own_name(dataset: Path, standard: Path) -> None:
    (dataset / "sub-notes.txt").write_text("of somebody's own")
    before = files_in(dataset)
    with mapped_cohort(dataset, written(dataset), PAPER_VOLUMES) as mapped:
        found, own = files_in(mapped.folder), files_in(standard)
        assert {name: found[name] for name in own} == own
        # and what says more of it
        sidecar = "sub-001/ses-postop/anat/sub-001_ses-postop_ce-gadolinium_T1w.json"
        assert found.keys() - own.keys() == {
            *(sidecar, sidecar.replace("001", "002"), sidecar.replace("001", "003")),
            *("mapping.json", ".bidsignore"),
        }
        assert found[sidecar] == b'{"EchoTime": 0.003}'
        assert check_cohort(mapped.folder).problems == ()
    assert not mapped.folder.exists() and files_in(dataset) == before


def test_sessions_alone_rename_what_is_called_as_in_the_layout(standard: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(standard, tmp_path / "visits")
    for path in sorted(folder.rglob("*event*"), reverse=True):
        path.rename(path.with_name(path.name.replace("ses-event", "ses-v2")))
    with mapped_cohort(folder, written(folder, {"sessions": {"event": "v2"}}), PAPER_VOLUMES) as mapped:
        assert check_cohort(mapped.folder).problems == ()


def test_a_file_that_is_not_compressed_stays_so(dataset: Path) -> None:
    theirs = dataset / their_name("sub-003", "post_op")
    theirs.rename(theirs.with_name(theirs.name.removesuffix(".gz")))
    with mapped_cohort(dataset, written(dataset), PAPER_VOLUMES) as mapped:
        assert RawSubject(mapped.folder, "sub-003").scan("post_op").name.endswith("T1w.nii")


def test_problems_of_files_name_the_datasets_own(dataset: Path) -> None:
    theirs = their_name("sub-002", "event")
    (dataset / theirs).write_bytes(b"no volume")
    with mapped_cohort(dataset, written(dataset), PAPER_VOLUMES) as mapped:
        report = mapped.in_own_names(check_cohort(mapped.folder))
    assert [(p.subject, p.file) for p in report.problems] == [("sub-002", theirs.as_posix())]


def changed(**sections: Any) -> dict[str, Any]:
    """The mapping with parts of it replaced; a section's entry of None goes."""
    content = json.loads(json.dumps(MAPPING))
    for section, entries in sections.items():
        content[section] = {k: v for k, v in (content[section] | entries).items() if v is not None}
    return dict(content)


REFUSED: dict[str, tuple[object, str]] = {
    "no JSON": ("{", "mapping-of-mine.json: is not well-formed JSON"),
    "another key": ({"file": {}}, "file: Extra inputs are not permitted"),
    "an absolute pattern": (
        changed(files={"dose": "/data/*.nii.gz"}),
        "files.dose: leaves the subject's folder",
    ),
    "a pattern that leaves": (
        changed(files={"dose": "ses-01/../../sub-003/*.nii.gz"}),
        "files.dose: leaves the subject's folder; write it from there",
    ),
    "no name of a file": (changed(files={"dose": "a\0b"}), "files.dose: is no pattern of files"),
    "any depth": (changed(files={"dose": "**/*.nii.gz"}), "files.dose: is no pattern of files"),
    "an unknown volume": (
        changed(files={"flair": "x*"}),
        "files: flair is none of post_op, event, dose, ",
    ),
    "an unknown session": (changed(sessions={"preop": "00"}), "sessions: preop is none of postop, event"),
    "an unknown subject": (changed(subjects={"sub-9": {}}), "subjects: sub-9 is no subject of the dataset"),
    "what may be a person": (
        changed(subjects={"Meier": {}}),
        "a name without sub- before it is no subject",
    ),
    "nothing of one subject": (
        changed(subjects={"sub-002": {"sessions": {"event": "07"}}}),
        "sub-002\n  - sub-002/ses-07/anat/sub-002_ses-*_T1w.nii.gz: no file matches for event. Add it,",
    ),
    "nothing of anybody": (
        changed(files={"dose": "rt/*.nii.gz"}),
        "the cohort as a whole\n  - rt/*.nii.gz: no subject has a file for dose.",
    ),
    "a standard name that nobody has": (
        changed(files={"dose": None}),
        "ses-01/rt/*_ses-01_dose.nii.gz: no subject has a file for dose",
    ),
    "several": (
        changed(files={"post_op": "ses-01/anat/*.nii.gz"}),
        "sub-001/ses-01/anat/*.nii.gz: 2 files match for post_op (sub-001_ses-01_T2w.nii.gz, "
        "sub-001_ses-01_acq-mprage_ce-gd_T1w.nii.gz). Make the pattern narrower",
    ),
    "one file for two volumes": (
        changed(files={"event": "ses-01/anat/*mprage*.nii.gz"}),
        "sub-003/ses-01/anat/sub-003_ses-01_acq-mprage_ce-gd_T1w.nii.gz: is taken for post_op and for event.",
    ),
    "no volume": (
        changed(files={"post_op": "ses-01/anat/*mprage*.json"}),
        "T1w.json: is taken for post_op, but is no .nii.gz or .nii.",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_mapping_that_does_not_fit_says_where(dataset: Path, fault: str) -> None:
    content, message = REFUSED[fault]
    assert message in refused(dataset, content)


def test_every_subject_is_listed_and_names_of_others_are_not(dataset: Path) -> None:
    for subject in ("sub-001", "sub-003"):
        (dataset / subject / "ses-01/anat/Meier_acq-mprage_T1w.nii.gz").touch()
    told = refused(dataset, MAPPING)
    assert told.startswith("theirs: 2 problem(s)") and "sub-001\n" in told and "sub-003\n" in told
    assert (
        "2 files match for post_op (sub-001_ses-01_acq-mprage_ce-gd_T1w.nii.gz)." in told
        and "Meier" not in told
    )


def _link_elsewhere(dataset: Path) -> None:
    inside = dataset / "sub-001/ses-01/plan"
    shutil.move(inside, dataset.parent / "plans")
    inside.symlink_to(dataset.parent / "plans")


def _no_sidecar(dataset: Path) -> None:
    (dataset / their_name("sub-001", "dose")).with_name("sub-001_course_RTDOSE.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_link_elsewhere, "plan/sub-001_course_RTDOSE.nii.gz: lies outside of the dataset, by a link."),
        (_no_sidecar, "sub-001/ses-01/plan/sub-001_course_RTDOSE.json: no file matches for dose_sidecar."),
    ],
)
def test_what_is_wrong_with_the_dataset_is_told_too(
    dataset: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(dataset)
    told = refused(dataset, MAPPING)
    assert message in told and told.startswith("theirs: 1 problem(s)")


def test_who_is_excluded_needs_no_files_and_who_lacks_an_optional_volume_is_no_fault(dataset: Path) -> None:
    declared = Volumes([*PAPER_VOLUMES, FLAIR])
    content = changed(files={"flair": "ses-{session}/anat/*_T2w.nii.gz"})
    # only the first two have it, and the third lacks all of its event
    for subject, session in (("sub-001", "02"), ("sub-002", "05")):
        shutil.copy(
            dataset / their_name(subject, "event"), dataset / f"{subject}/ses-{session}/anat/x_T2w.nii.gz"
        )
    nobodys = refused(dataset, changed(files={"flair": "y*.nii"}), declared)
    assert "  - y*.nii: no subject has a file for flair." in nobodys
    with mapped_cohort(dataset, written(dataset, content), declared) as mapped:
        assert not RawSubject(mapped.folder, "sub-003", declared).scan("flair").exists()
    shutil.rmtree(dataset / "sub-003/ses-02")
    assert "sub-003" in refused(dataset, content, declared)
    (dataset / "exclude.tsv").write_text("participant_id\treason\nsub-003\tother\n")
    with mapped_cohort(dataset, written(dataset, content), declared) as mapped:
        assert (mapped.folder / "sub-003").is_dir()


def test_a_missing_mapping_is_named(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"none.json: cannot be read \(No such file or directory\)"):
        read_mapping(tmp_path / "none.json")


def test_the_commands_take_it_in_and_the_copy_is_valid_bids(
    dataset: Path, standard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(Path(__file__).parents[1] / "params.yaml", project)
    monkeypatch.chdir(project)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "true")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "dvc-site-cache"))
    subprocess.run([shutil.which("dvc") or "dvc", "init", "--no-scm", "--quiet"], check=True)
    (dataset / "dataset_description.json").write_text('{"Name": "theirs", "BIDSVersion": "1.8.0"}')
    (dataset / "README").write_text("Whose it is.\n")
    mapping, before = str(written(dataset)), files_in(dataset)
    run = CliRunner().invoke
    checked = run(app, ["check", str(dataset), "--mapping", mapping])
    assert "no problem found in 3 subjects" in checked.output
    for says in ("data/mine: copied", "data/mine: already there"):
        added = run(app, ["cohort", "add", str(dataset), "--name", "mine", "--mapping", mapping])
        assert added.exit_code == 0 and says in added.output, added.output
    copied, own = files_in(project / "data/mine"), files_in(standard)
    assert {name: copied[name] for name in own} == own and files_in(dataset) == before
    assert not any(path.is_symlink() for path in (project / "data/mine").rglob("*"))
    assert "no problem found in 3 subjects" in run(app, ["check"]).output
    assert errors(project / "data/mine") == []
    refusal = run(app, ["check", str(dataset), "--mapping", str(written(dataset, {"files": {"dose": "/x"}}))])
    assert refusal.exit_code == 1 and "files.dose: leaves the subject's folder" in refusal.output
    assert "Traceback" not in refusal.output


def test_a_subject_may_have_names_of_its_own(dataset: Path) -> None:
    odd = dataset / their_name("sub-001", "event")
    odd.rename(odd.with_name("T1_after.nii.gz"))
    content = changed(subjects={"sub-001": {"files": {"event": "ses-02/anat/T1_after.nii.gz"}}})
    with mapped_cohort(dataset, written(dataset, content), PAPER_VOLUMES) as mapped:
        assert check_cohort(mapped.folder).problems == ()
