"""Who is in a run: the cohort's table, and the flow of subjects."""

from ricenet.cohort.checked import CheckedCohort, CheckedSubject, ExcludedSubject, ScanDigests
from ricenet.cohort.participants import Participant
from ricenet.cohort.quarantine import quarantined_because
from ricenet.cohort.splits import Splits
from ricenet.report.cohort_table import POOLED, cohort_table
from ricenet.report.flow import draw_flow, flow_of
from ricenet.vocabulary import VariableSpec

# six subjects with recurrence and six with RICE; one of each in the test set
LABELS = {f"sub-{i:02d}": ("recurrence" if i <= 6 else "rice") for i in range(1, 13)}
SPLITS = Splits(
    LABELS,
    (("sub-01", "sub-02", "sub-03", "sub-07", "sub-08"), ("sub-04", "sub-05", "sub-09", "sub-10", "sub-11")),
    ("sub-06", "sub-12"),
)
COLUMNS = ("cross-validation: recurrence", "cross-validation: rice", "test: recurrence", "test: rice", "all")


def people(**columns):
    """Participants whose columns are given by subject; the others are n/a."""
    return {
        subject: Participant(
            participant_id=subject, label=label, label_source=None, subset=None,
            **{column: values.get(subject) for column, values in columns.items()},
        )
        for subject, label in LABELS.items()
    }  # fmt: skip


def cohort(unlabelled=0, variables=(), values=None):
    scans = ScanDigests(post_op="a", event="b", dose="c", dose_sidecar="d")
    labels = {**LABELS, **{f"sub-9{i}": None for i in range(unlabelled)}}
    subjects = [
        CheckedSubject(
            participant_id=s,
            label=label,
            subset=None,
            site=None,
            scans=scans,
            variables=(values or {}).get(s, {}),
        )
        for s, label in labels.items()
    ]
    excluded = [
        ExcludedSubject(participant_id="sub-50", problems=(quarantined_because("image_quality"),)),
        ExcludedSubject(participant_id="sub-51", problems=(quarantined_because("image_quality"),)),
        ExcludedSubject(participant_id="sub-52", problems=("dose in cGy", "no event")),
        ExcludedSubject(participant_id="sub-53", problems=("registration failed",)),
    ]
    return CheckedCohort.of("data/phantom", subjects, excluded, variables=variables)


def rows(participants, measures=None, made=None):
    return {
        row.title: row.cells
        for row in cohort_table(made or cohort(), SPLITS, participants, measures or {}).rows
    }


def test_columns_are_places_and_labels():
    table = cohort_table(cohort(), SPLITS, people(), {})
    assert table.columns == COLUMNS
    assert [row.cells for row in table.rows] == [("5", "5", "1", "1", "12")]


def test_numbers_are_medians_with_quartiles_and_the_missing_are_counted():
    ages = dict(zip(LABELS, (40, 50, 60, 70, 80, 90), strict=False))  # of those with recurrence only
    found = cohort_table(cohort(), SPLITS, people(age_years=ages), {}).rows
    assert found[1].title == "age, years"
    # of 40 to 80: 60 (50 to 70); of 40 to 90: 65 (52.5 to 77.5)
    assert found[1].cells == ("60 (50 to 70)", "-", "withheld", "-", "65 (52 to 78)")
    assert (found[2].title, found[2].cells) == ("not stated", ("0", "5", "0", "<3", "6"))


def test_days_come_from_their_column_or_from_two_dates():
    one = people(days_rt_end_to_event=dict.fromkeys(LABELS, 100))
    dated = people(
        rt_end_date=dict.fromkeys(LABELS, "2020-01-01"), event_date=dict.fromkeys(LABELS, "2020-04-10")
    )
    title = "days from the end of radiotherapy to the event"
    assert rows(one)[title] == rows(dated)[title]
    assert rows(dated)[title][-1] == "100 (100 to 100)"
    assert "2020" not in str(rows(dated))


def test_quality_control_gives_dose_and_volume():
    measures = {subject: {"v60_ml": 100.0 + i} for i, subject in enumerate(LABELS)}
    assert rows(people(), measures)["brain above 60 Gy, ml"][0] == "102 (101 to 103)"


def test_nobody_is_recognised_by_a_value_that_few_share():
    sites = dict.fromkeys(LABELS, "centre A") | {"sub-01": "Dr Small", "sub-07": "Dr Smaller"}
    found = rows(people(site=sites))
    assert found["centre A"] == ("4", "4", "<3", "<3", "10")
    assert found[POOLED] == ("<3", "<3", "0", "0", "<3")
    assert "Small" not in str(found)


def test_declared_variables_are_rows_beside_the_tables_own_columns():
    specs = (
        VariableSpec(name="ki67", kind="number", unit="%", title="Ki-67"),
        VariableSpec(name="steroids", kind="category"),
        VariableSpec(name="age", kind="number", column="age_years"),
        VariableSpec(name="dose_mean_gy", kind="number", measured=True),
    )
    values = {s: {"ki67": 20.0 + i, "steroids": "yes", "age": 50.0} for i, s in enumerate(LABELS)}
    found = rows(people(), made=cohort(variables=specs, values=values))
    assert found["Ki-67, %"][-1] == "25.5 (22.8 to 28.2)"  # of 20 to 31
    assert found["steroids"] == ("",) * 5 and found["yes"][-1] == "12"
    assert not {"age", "dose_mean_gy"} & found.keys()


def number(lines):
    return int(lines[0].rsplit(": ", 1)[1])


def test_everyone_who_was_listed_is_somewhere_in_the_flow():
    flow = flow_of(cohort(unlabelled=2), 3, SPLITS)
    assert [number(stay) for stay, _ in flow.steps] == [18, 15, 14, 12]
    assert [number(go) for _, go in flow.steps[:-1]] == [3, 1, 2]
    for (stay, go), (after, _) in zip(flow.steps, flow.steps[1:], strict=False):
        assert number(stay) - number(go) == number(after)
    assert sum(map(number, flow.places)) == number(flow.steps[-1][0])


def test_the_drawing_holds_every_number_and_its_boxes_do_not_overlap():
    drawing = draw_flow(flow_of(cohort(unlabelled=2), 3, SPLITS))
    lines = [line for box in drawing.boxes for line in box.lines]
    for text in ("listed: 18", "taken out by the checks: 3", "quarantined, image quality: 2",
                 "faulty files or table rows: 1", "excluded in preprocessing: 1", "without a label: 2",
                 "cross-validation, 2 folds: 10", "independent test set: 2",
                 "recurrence 5, rice 5"):  # fmt: skip
        assert text in lines
        assert text in drawing.text
    for a in drawing.boxes:
        assert a.x >= 0 and a.x + a.width <= drawing.width and a.y + a.height <= drawing.height
        for b in drawing.boxes:
            beside = a.x + a.width < b.x or b.x + b.width < a.x
            assert a is b or beside or a.y + a.height < b.y or b.y + b.height < a.y
