"""Several follow-ups of a patient: each visit is a sample, and a patient stays in one place."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cohorts import change_cell, refusal, write_tiny_subject
from visited_cohorts import Row, add_visit, write_sessions, write_visited_cohort

from ricenet.cohort.checked import (
    CheckedCohort,
    CheckedSubject,
    ExcludedSubject,
    read_checked_cohort,
    write_checked_cohort,
)
from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.layout import RawSubject
from ricenet.cohort.settled_places import SettledPlaces
from ricenet.cohort.splits import Splits, make_splits, read_splits, with_other_folds, write_splits
from ricenet.cohort.visits import DESCRIPTIONS, Visit, read_visits
from ricenet.cohort.visits import write_sessions as write_written
from ricenet.config.params import read_params
from ricenet.evaluation.occlusion.explainer import held_out_folds
from ricenet.preprocessing.step_keys import step_keys
from ricenet.report.flow import flow_of
from ricenet.runtime.errors import SplitError
from ricenet.runtime.files import read_json, write_json
from ricenet.screening.guards.fold_guards import subject_in_two_places
from ricenet.screening.guards.image_guards import same_image
from ricenet.training.tuning.searches import inner_splits
from ricenet.vocabulary import PAPER_VOLUMES, Label, VariableSpec, Volumes, VolumeSpec

DAYS = VariableSpec(name="days_rt_end_to_event", kind="number", unit="days")


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be read or copied, never changed."""
    return write_visited_cohort(tmp_path_factory.mktemp("visited") / "visited")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients, the first with two visits."""
    visits = {"sub-001": [E1, E2]}
    return write_visited_cohort(tmp_path_factory.mktemp("pair") / "pair", 2, visits)


@pytest.fixture
def cohort(visited: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(visited, tmp_path / "visited"))


def admitted(folder: Path, **settings: object) -> CheckedCohort:
    return admit(check_cohort(folder, **settings), exclude_faulty=False)  # type: ignore[arg-type]


# --- samples ---


def test_each_visit_is_a_sample_with_its_own_label_days_and_scan(visited: Path) -> None:
    found = admitted(visited, variables=[DAYS])
    assert [
        (s.participant_id, s.patient, s.visit, s.label, s.variables[DAYS.name]) for s in found.subjects
    ] == [
        ("sub-001", "sub-001", 1, "recurrence", 90.0),
        ("sub-001v2", "sub-001", 2, "recurrence", 180.0),
        ("sub-002", "sub-002", 1, "rice", 60.0),
        ("sub-002v2", "sub-002", 2, None, 150.0),
        ("sub-002v3", "sub-002", 3, "recurrence", 240.0),
        ("sub-003", "sub-003", 1, "recurrence", None),
        ("sub-004", "sub-004", 1, "rice", None),
    ]
    first, second = found.subjects[:2]
    assert first.scans["post_op"] == second.scans["post_op"] and first.scans["event"] != second.scans["event"]
    assert found.summary().startswith("4 subjects (7 visits): 4 recurrence, 2 rice, 1 unlabelled")
    assert found.patients == {"sub-001v2": "sub-001", "sub-002v2": "sub-002", "sub-002v3": "sub-002"}


def test_a_sample_finds_the_files_of_its_visit_and_shares_the_patients_others(visited: Path) -> None:
    volumes = Volumes(
        VolumeSpec(
            name=name, kind="mri", session=session, suffix="T1w", title=name, required=name != "before"
        )
        for name, session in [("post_op", "postop"), ("before", "previous"), ("event", "event")]
    )
    third = RawSubject(visited, "sub-002v3", volumes)
    assert [third.scan(name).relative_to(visited).as_posix() for name in volumes.names] == [
        "sub-002/ses-postop/anat/sub-002_ses-postop_T1w.nii.gz",
        "sub-002/ses-event2/anat/sub-002_ses-event2_T1w.nii.gz",
        "sub-002/ses-event3/anat/sub-002_ses-event3_T1w.nii.gz",
    ]
    # nothing comes before the first
    assert not RawSubject(visited, "sub-002", volumes).scan("before").exists()
    assert volumes.last_session_reference.name == "event"


def test_the_previous_visit_is_an_optional_volume_that_the_first_visit_lacks(visited: Path) -> None:
    before = VolumeSpec(
        name="before",
        kind="mri",
        session="previous",
        suffix="ce-gadolinium_T1w",
        title="before",
        required=False,
    )
    found = admitted(visited, volumes=Volumes([*RawSubject(visited, "sub-001").volumes, before]))
    scans = {s.participant_id: s.scans for s in found.subjects}
    assert scans["sub-002v3"]["before"] == scans["sub-002v2"]["event"]
    assert "before" not in scans["sub-001"]


def test_the_days_of_the_visit_before_are_a_variable_too(visited: Path) -> None:
    before = VariableSpec(name="days_rt_end_to_previous", kind="number", unit="days")
    found = {s.participant_id: s.variables for s in admitted(visited, variables=[DAYS, before]).subjects}
    assert [found[s][before.name] for s in ("sub-002", "sub-002v2", "sub-002v3")] == [None, 60.0, 150.0]
    assert found["sub-003"] == {DAYS.name: None, before.name: None}


def test_a_participant_may_be_called_like_a_visit(tmp_path: Path) -> None:
    write_tiny_subject(tmp_path, "sub-001v2")
    assert RawSubject(tmp_path, "sub-001v2").patient == "sub-001v2"


def test_a_cohort_of_one_visit_each_has_the_digest_of_before(tiny: Path, tmp_path: Path) -> None:
    found = admitted(tiny)
    for subject in json.loads(found.model_dump_json())["subjects"]:
        assert subject.keys() == {"participant_id", "label", "subset", "site", "scans", "variables"}
    one = CheckedSubject(
        participant_id="sub-1", label="rice", site="A", scans={"event": "00"}, variables={"days": 3.0}
    )
    # as the version before there were visits computed it
    assert CheckedCohort.of("data/x", [one]).digest == (
        "114b0c1e6ab9b24973689ef0841cf86418ca17a66b4f4b45a42b878088ffc8e1"
    )


def test_a_cohort_with_visits_is_read_as_it_was_written(visited: Path, tmp_path: Path) -> None:
    found = admitted(visited)
    write_checked_cohort(found, tmp_path / "cohort.json")
    assert read_checked_cohort(tmp_path / "cohort.json") == found


def test_the_table_says_what_participants_tsv_leaves_open(cohort: Path) -> None:
    change_cell(cohort, "sub-002", label="n/a")
    labels = {s.participant_id: s.label for s in admitted(cohort).subjects}
    assert labels["sub-002"] == "rice"
    write_sessions(cohort, "sub-001", [("ses-event", "90", "n/a"), ("ses-event2", "180", "n/a")])
    labels = {s.participant_id: s.label for s in admitted(cohort).subjects}
    # without a label in the table, the event of participants.tsv is the first visit
    assert (labels["sub-001"], labels["sub-001v2"]) == ("recurrence", None)


def test_a_table_of_a_dataset_that_says_nothing_of_visits_changes_nothing(tiny: Path, tmp_path: Path) -> None:
    plain = Path(shutil.copytree(tiny, tmp_path / "tiny"))
    (plain / "sub-001" / "sub-001_sessions.tsv").write_text("session_id\tacq_time\nses-event\tn/a\n")
    assert admitted(plain).digest == admitted(tiny).digest


def test_a_quarantined_visit_goes_alone_and_a_quarantined_patient_with_all_visits(cohort: Path) -> None:
    (cohort / "exclude.tsv").write_text("participant_id\treason\nsub-002v3\tregistration\nsub-001\tdose\n")
    found = admitted(cohort)
    assert [s.participant_id for s in found.subjects] == ["sub-002", "sub-002v2", "sub-003", "sub-004"]
    assert [one.participant_id for one in found.excluded] == ["sub-001", "sub-002v3"]


# --- what is refused ---


def rows(*given: Row) -> Callable[[Path], object]:
    return lambda cohort: write_sessions(cohort, "sub-001", given)


def without_row(cohort: Path) -> None:
    add_visit(cohort, "sub-001", 3)


def of_another(cohort: Path) -> None:
    table = cohort / "sub-001" / "sub-001_sessions.tsv"
    table.rename(table.with_name("sub-002_sessions.tsv"))


def with_days(cohort: Path) -> None:
    header, *lines = (cohort / "participants.tsv").read_text().splitlines()
    cells = [f"{header}\tdays_rt_end_to_event", *(f"{line}\t91" for line in lines)]
    (cohort / "participants.tsv").write_text("\n".join(cells) + "\n")


def without_header(cohort: Path) -> None:
    (cohort / "sub-001" / "sub-001_sessions.tsv").write_text("session_id\n")


def without_first(cohort: Path) -> None:
    rows(E2)(cohort)
    shutil.rmtree(cohort / "sub-001" / "ses-event")


E1, E2 = ("ses-event", "90", "recurrence"), ("ses-event2", "180", "recurrence")
FAULTS: list[tuple[Callable[[Path], object], str, str]] = [
    (rows(E1, ("ses-event2", "80", "rice")), r"ses-event and ses-event2 are out of order: 10 day", "Number"),
    (rows(E1, ("ses-event2", "90", "rice")), "are of the same day", "Keep one of them"),
    (rows(("ses-event", "-3", "recurrence"), E2), r"3 day\(s\) before the end", "Correct"),
    (
        rows(("ses-event", "90", "rice"), E2),
        "label of ses-event, the first that has one, is not",
        "Make both",
    ),
    (rows(("ses-event", "90", "n/a"), ("ses-event2", "180", "rice")), "label of ses-event2", "Make both"),
    (with_days, "days_since_rt_end of ses-event, the first event, is not", "Make both"),
    (rows(E1, E2, ("ses-event3", "270", "n/a")), "ses-event3 has a row, but no folder", "Add the folder"),
    (rows(E1), "ses-event2 holds scans, but has no row", "Add a row"),
    (rows(E1, E2, E2), r"ses-event2 has two rows \(line 4\)", "Keep one row"),
    (rows(E1, ("ses-event2", "soon", "n/a")), r"no whole number of days \(line 3\)", "Correct"),
    (rows(E1, ("ses-event2", "180", "Jane")), r"label is none of .* \(line 3\)", "Correct"),
    (without_first, "ses-event is missing before ses-event2", "without a gap"),
    (rows(), "names no visit", "one row a visit"),
    (without_header, "column days_since_rt_end, label is missing", "Add it"),
]


def test_a_visit_may_have_a_declared_label_and_the_refusal_of_another_names_them(cohort: Path) -> None:
    write_sessions(cohort, "sub-001", [("ses-event", "90", "n/a"), ("ses-event2", "180", "stable")])
    change_cell(cohort, "sub-001", label="n/a")
    found = admitted(cohort, label_names=("recurrence", "rice", "stable"))
    assert [s.label for s in found.subjects if s.patient == "sub-001"] == [None, "stable"]
    assert "label is none of recurrence, rice, n/a (line 3)" in check_cohort(cohort).text()
    others = check_cohort(cohort, label_names=("recurrence", "rice", "mixed")).text()
    assert "label is none of recurrence, rice, mixed, n/a (line 3)" in others
    undeclared = read_visits(cohort, {}, ["sub-001"], None)
    assert [visit.label for visit in undeclared.of("sub-001")] == [None, "stable"]
    write_sessions(cohort, "sub-001", [("ses-event", "90", "n/a"), ("ses-event2", "180", "Jane")])
    refused, *_ = read_visits(cohort, {}, ["sub-001"], None).problems
    assert refused.found == "label is no lower-case word (line 3)"


def test_a_table_with_another_declared_label_says_so_beside_it(tmp_path: Path) -> None:
    paper = [Visit(number=1, label="rice"), Visit(number=2)]
    told = {}
    for name, visits in {"sub-1": paper, "sub-2": [Visit(number=1, label="stable")]}.items():
        (tmp_path / name).mkdir()
        write_written(tmp_path / name, visits)
        told[name] = read_json(tmp_path / name / f"{name}_sessions.json")["label"]["Description"]
    assert told == {
        "sub-1": DESCRIPTIONS["label"],
        "sub-2": f"{DESCRIPTIONS['label']} Or of another declared kind: stable.",
    }


@pytest.mark.parametrize(("spoil", "found", "remedy"), FAULTS)
def test_a_fault_of_the_visits_names_subject_file_and_remedy(
    pair: Path, tmp_path: Path, spoil: Callable[[Path], object], found: str, remedy: str
) -> None:
    cohort = Path(shutil.copytree(pair, tmp_path / "pair"))
    spoil(cohort)
    report = check_cohort(cohort)
    text = report.text()
    assert re.search(rf"\nsub-001\n(.*\n)*?  - sub-001/sub-001_sessions\.tsv: .*{found}.*{remedy}", text)
    assert "Jane" not in text
    assert [s.participant_id for s in admit(report, exclude_faulty=True).subjects] == ["sub-002"]


def test_a_table_of_another_subject_is_refused_without_its_name(cohort: Path) -> None:
    of_another(cohort)
    assert "sub-001/*_sessions.tsv: a sessions table of another subject" in refusal(cohort)


def test_a_participant_called_like_a_visit_of_another_is_refused(cohort: Path) -> None:
    (cohort / "sub-001v2").mkdir()
    assert "sub-001v2 is the name of a participant, too" in refusal(cohort)


def test_visits_without_any_table_are_noted_and_not_used(cohort: Path) -> None:
    (cohort / "sub-001" / "sub-001_sessions.tsv").unlink()
    report = check_cohort(cohort)
    assert report.problems == ()
    assert [n.file for n in report.notes if "is not used" in n.found] == ["sub-001/ses-event2"]
    assert "sub-001v2" not in {s.participant_id for s in report.subjects}


def test_a_scan_that_a_visit_lacks_is_that_visits_fault(cohort: Path) -> None:
    RawSubject(cohort, "sub-002v3").scan("event").unlink()
    report = check_cohort(cohort)
    assert [(p.subject, p.file.split("/")[1]) for p in report.problems] == [("sub-002v3", "ses-event3")]
    kept = {s.participant_id for s in admit(report, exclude_faulty=True).subjects}
    assert {"sub-002", "sub-002v2"} <= kept and "sub-002v3" not in kept


# --- one place a patient ---


def sample(patient: str, visit: int, label: Label | None) -> CheckedSubject:
    name = patient if visit == 1 else f"{patient}v{visit}"
    return CheckedSubject(participant_id=name, label=label, visit=visit)


def many() -> list[CheckedSubject]:
    """Forty patients, labels by turns; every third has three visits, the first of every ninth unlabelled."""
    made = []
    for i in range(40):
        label: Label = "rice" if i % 2 else "recurrence"
        for visit in range(1, 4 if i % 3 == 0 else 2):
            unknown = i % 9 == 0 and visit == 1
            made.append(sample(f"sub-{i:03d}", visit, None if unknown else label))
    return made


def patient_of(name: str) -> str:
    return name.split("v", maxsplit=1)[0]


def test_all_visits_of_a_patient_are_in_one_fold_or_in_the_test_set() -> None:
    splits = make_splits(many(), 4, 0.2, 7)
    places = [{patient_of(s) for s in splits.visits_of(group)} for group in (*splits.folds, splits.test)]
    assert sum(map(len, places)) == len(set.union(*places)) == 40
    for fold in range(4):
        trained, judged = splits.training_subjects(fold), splits.validation_subjects(fold)
        assert not {patient_of(s) for s in trained} & {patient_of(s) for s in judged}
        assert len(judged) > len(splits.folds[fold])
        assert set(trained) | set(judged) == set(splits.visits_of(splits.development))
    # one sample a patient, the first with a label
    assert len(splits.labels) == 40 and "sub-009v2" in splits.labels and "sub-009" not in splits.labels
    assert splits.later["sub-009v2"].keys() == {"sub-009v3"} and splits.later["sub-003"].keys() == {
        "sub-003v2",
        "sub-003v3",
    }


def test_further_visits_move_nobody() -> None:
    firsts = [s for s in many() if s.visit == 1 and s.label is not None]
    same = {s.patient for s in firsts}
    alone = make_splits(firsts, 4, 0.2, 7)
    together = make_splits([s for s in many() if s.patient in same], 4, 0.2, 7)
    assert (alone.folds, alone.test, alone.labels) == (together.folds, together.test, together.labels)
    assert alone.digest != together.digest


def test_places_are_kept_by_patient_although_another_visit_becomes_the_first_event() -> None:
    before = make_splits(many(), 4, 0.2, 7)
    places = SettledPlaces(
        cohort="data/x",
        seed=7,
        test_fraction=0.2,
        folds=tuple(tuple(map(patient_of, fold)) for fold in before.folds),
        test=tuple(map(patient_of, before.test)),
    )
    labelled = [
        s.model_copy(update={"label": "recurrence"}) if s.participant_id == "sub-018" else s for s in many()
    ]
    after = make_splits(labelled, 4, 0.2, 7, places)
    assert "sub-018" in after.labels and "sub-018v2" in before.labels
    assert [set(map(patient_of, fold)) for fold in after.folds] == [
        set(map(patient_of, fold)) for fold in before.folds
    ]


def test_other_folds_and_inner_folds_keep_visits_together() -> None:
    splits = make_splits(many(), 4, 0.2, 7)
    for other in (with_other_folds(splits, 3), inner_splits(splits, 0, 7)):
        held = [{patient_of(s) for s in other.validation_subjects(k)} for k in range(4)]
        assert sum(map(len, held)) == len(set.union(*held))
    assert not set(splits.validation_subjects(0)) & set(inner_splits(splits, 0, 7).labels_of_visits)


def test_a_division_with_visits_is_read_as_it_was_written_and_without_them_as_before(tmp_path: Path) -> None:
    splits = make_splits(many(), 4, 0.2, 7)
    write_splits(splits, tmp_path / "splits.json")
    assert read_splits(tmp_path / "splits.json") == splits
    plain = Splits({"sub-1": "rice", "sub-2": "recurrence"}, (("sub-1",), ("sub-2",)), ())
    write_splits(plain, tmp_path / "plain.json")
    # the digest of the version before there were visits
    assert json.loads((tmp_path / "plain.json").read_text()).keys() == {"digest", "labels", "folds", "test"}
    assert plain.digest == "cdb71cc20815020da41e3e7dd10eed0b2b873bb5a172decdc9547a9ee5abb118"


@pytest.mark.parametrize(
    ("folds", "later", "subject"),
    [
        ([["sub-001"], ["sub-001v2"]], {}, "sub-001"),
        ([["sub-001"], ["sub-002"]], {"sub-002": {"sub-001v2": "rice"}}, "sub-001"),
    ],
)
def test_visits_of_one_patient_in_two_folds_are_a_leak(
    tmp_path: Path, folds: list[list[str]], later: dict[str, dict[str, str]], subject: str
) -> None:
    write_json(
        tmp_path / "splits.json", {"folds": folds, "test": [], "labels": {}, "digest": "", "later": later}
    )
    result = subject_in_two_places(tmp_path / "splits.json", {"sub-001v2": "sub-001"})
    assert (result.outcome, result.subjects) == ("failed", (subject,))


def test_a_later_visit_that_is_a_first_event_too_is_refused(tmp_path: Path) -> None:
    split = Splits(
        {"sub-1": "rice", "sub-1v2": "rice"}, (("sub-1",), ("sub-1v2",)), (), {"sub-1": {"sub-1v2": "rice"}}
    )
    with pytest.raises(SplitError, match="sub-1v2 is in fold 1, and a later visit of sub-1"):
        write_splits(split, tmp_path / "splits.json")


def test_what_visits_share_is_no_copy_but_a_repeated_scan_is_one(cohort: Path) -> None:
    from ricenet.cohort.raw_record import records_of
    from ricenet.config.params import ExecutionParams
    from ricenet.runtime.store import Store

    serial = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)

    def guard(folder: Path) -> tuple[str, tuple[str, ...]]:
        found = admitted(folder)
        result = same_image(records_of(found, serial, Store(folder / "store")), found.volumes, found.patients)
        return result.outcome, result.subjects

    assert guard(cohort) == ("passed", ())
    first, second = (RawSubject(cohort, name).scan("event") for name in ("sub-002v2", "sub-002v3"))
    shutil.copyfile(first, second)
    assert guard(cohort) == ("failed", ("sub-002v2", "sub-002v3"))


def test_every_visit_of_a_folder_is_predicted_with_its_own_scan_and_days(cohort: Path) -> None:
    from types import SimpleNamespace

    from ricenet.config.params import ExecutionParams
    from ricenet.inference import predict_cohort as module

    days = VariableSpec(name="days", kind="number", column="days_rt_end_to_event")
    network = SimpleNamespace(may_lack_volumes=False)
    record = SimpleNamespace(
        volumes=RawSubject(cohort, "sub-001").volumes, variables=(days,), network=network
    )

    class Answers:
        """Says what it is asked, in place of networks."""

        ensemble = SimpleNamespace(record=record)

        def subject(self, raw: RawSubject, variables: object) -> object:
            return raw.scan("event").parent.parent.name, variables

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "require_usable", lambda raw: None)
        patched.setattr(module, "parsed_variables", lambda given, record, subject: dict(given))
        serial = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)
        outcomes = module.predict_cohort(cohort, Answers(), serial)  # type: ignore[arg-type]
    assert [(o.task, o.result) for o in outcomes] == [
        ("sub-001", ("ses-event", {"days": "90"})),
        ("sub-001v2", ("ses-event2", {"days": "180"})),
        ("sub-002", ("ses-event", {"days": "60"})),
        ("sub-002v2", ("ses-event2", {"days": "150"})),
        ("sub-002v3", ("ses-event3", {"days": "240"})),
        ("sub-003", ("ses-event", {})),
        ("sub-004", ("ses-event", {})),
    ]


def test_what_visits_share_is_registered_and_extracted_once(visited: Path) -> None:
    before = VolumeSpec(
        name="before", kind="mri", session="previous", suffix="ce-gadolinium_T1w", title="x", required=False
    )
    volumes = Volumes([*PAPER_VOLUMES, before])
    found = {s.participant_id: s for s in admitted(visited, volumes=volumes).subjects}
    params = read_params(Path(__file__).parents[1] / "params.yaml").preprocessing
    keys = {name: step_keys(subject, volumes, params, 7, {}) for name, subject in found.items()}
    second, third = keys["sub-002v2"], keys["sub-002v3"]
    assert second.brain == third.brain
    # the scan of the second visit is the third's scan before the event
    assert third.registrations["before"] == second.registrations["event"]
    assert third.registrations["event"] != second.registrations["event"] and third.cube != second.cube
    # of another patient nothing is shared
    assert keys["sub-001"].brain != second.brain


def test_no_network_that_trained_on_a_patient_answers_for_any_of_the_visits() -> None:
    splits = make_splits(many(), 4, 0.2, 7)
    fold = next(k for k, held in enumerate(splits.folds) if "sub-009v2" in held)
    assert held_out_folds(splits, "sub-009v3") == [fold]
    # of the unlabelled first visit the division knows nothing, but the cohort does
    cohort = CheckedCohort.of("data/x", many())
    assert held_out_folds(splits, "sub-009") == [0, 1, 2, 3]
    assert held_out_folds(splits, "sub-009", cohort.visits_with("sub-009")) == [fold]


def test_one_faulty_visit_leaves_the_patient_in_the_flow() -> None:
    made = CheckedCohort.of(
        "data/x",
        many(),
        [
            ExcludedSubject(participant_id="sub-003v4", problems=("x",)),
            ExcludedSubject(participant_id="sub-099", problems=("x",)),
        ],
    )
    flow = flow_of(made, 2, make_splits(many(), 4, 0.2, 7))
    assert flow.steps[0] == (("listed: 41", "in participants.tsv or with a folder"), flow.steps[0][1])
    assert flow.steps[0][1][0] == "taken out by the checks: 1"
    assert flow.steps[-1][0] == ("labelled: 40",)
    assert made.without([ExcludedSubject(participant_id="sub-003", problems=("x",))]).subjects == tuple(
        s for s in made.subjects if s.patient != "sub-003"
    )
