import json
import re
import subprocess

import pytest
from small_results import (
    FOLDS,
    LABELS,
    TEST,
    write_ground_truth,
    write_json,
    write_preprocessed,
    write_splits,
    write_text,
    write_training,
)

from ricenet.cohort.checked import (
    CheckedCohort,
    CheckedSubject,
    ExcludedSubject,
    ScanDigests,
    write_checked_cohort,
    write_left_out,
)
from ricenet.cohort.description import is_synthetic
from ricenet.errors import CohortError, ResultError
from ricenet.evaluation.anatomy_figure import read_anatomy, volumes_figure
from ricenet.evaluation.drawing import save_figure
from ricenet.evaluation.metrics import set_metrics
from ricenet.evaluation.predictions import read_out_of_fold, table_text
from ricenet.modalities import MODALITY_SETS
from ricenet.report.page import write_report
from ricenet.report.provenance import described_commit, package_versions
from ricenet.report.results import count_subjects, read_results
from ricenet.splits import read_splits

ALL_THREE = "post_op+event+dose"


def write_cohort(project):
    scans = ScanDigests(post_op="a", event="b", dose="c", dose_sidecar="d")
    subjects = [
        CheckedSubject(participant_id=s, label=label, subset=None, site="<b>Site & Sons</b>", scans=scans)
        for s, label in LABELS.items()
    ]
    excluded = [ExcludedSubject(participant_id="sub-666", problems=("dose in cGy <not Gy>", "no event"))]
    cohort = CheckedCohort.of("data/phantom", subjects, excluded)
    write_checked_cohort(cohort, project / "work/cohort/cohort.json")
    write_left_out([], project / "work/cohort/left_out.json")


def write_evaluation(project):
    splits = read_splits(project / "work/splits/splits.json")
    metrics = {
        name: set_metrics(read_out_of_fold(project / "work/training", name, splits), 7, 200)
        for name in MODALITY_SETS
    }
    write_json(project / "work/evaluation/metrics.json", {name: m.as_json() for name, m in metrics.items()})
    write_preprocessed(project, "sub-001")
    anatomy = read_anatomy(project / "work/preprocessed", project / "data/phantom", "sub-001", "rice")
    figures = project / "work/evaluation/figures"
    save_figure(volumes_figure(anatomy), figures / "volumes.png")
    for name in ("confusion", "learning_curves"):
        (figures / f"{name}.png").write_bytes((figures / "volumes.png").read_bytes())


def write_explanation(project):
    folder = project / "work/explain" / ALL_THREE / "sub-001"
    write_json(
        folder / "summary.json",
        {"modality_set": ALL_THREE, "participant_id": "sub-001", "label": "rice", "predicted": "recurrence",
         "fold": 0, "p_rice": 0.4321, "baseline": 0.4321, "min": -0.0625, "max": 0.125},
    )  # fmt: skip
    (folder / "figure.png").write_bytes(b"\x89PNG occlusion")


def write_vote(project):
    write_json(
        project / "work/vote/vote.json",
        {ALL_THREE: {"macro_f1": 1 / 3, "confusion": [[1, 0], [1, 0]], "n": 2, "digest": "e" * 64}},
    )
    rows = [[s, LABELS[s], 0.1, 0.2, 0, 0.15, "recurrence"] for s in TEST]
    header = ["participant_id", "label", "fold_0", "fold_1", "votes_rice", "p_rice", "predicted"]
    write_text(project / "work/vote" / f"{ALL_THREE}.tsv", table_text(header, rows))
    header = ["utc", "modality_set", "model", "version", "digest12", "n", "macro_f1", "look", "test_set"]
    looks = [
        ["2026-01-02T03:04:05+00:00", ALL_THREE, "rice-net", i, "e" * 12, 2, "0.333333", i, "f" * 12]
        for i in (1, 2)
    ]
    write_text(project / "models/test_ledger.tsv", table_text(header, looks))


@pytest.fixture
def project(tmp_path):
    write_splits(tmp_path)
    write_training(tmp_path)
    write_cohort(tmp_path)
    write_evaluation(tmp_path)
    write_explanation(tmp_path)
    write_json(tmp_path / "work/preprocessed/summary.json", {"digest": "9" * 64, "subjects": {}})
    write_json(tmp_path / "work/vote/vote.json", {})
    return tmp_path


def page_of(project):
    results = read_results(project, seed=7)
    versions = {"python": "3.11.0", "torch": "2.13.0"}
    page = write_report(results, project / "work/report", "seed: 7\nsite: <none>\n", versions, "c0ffee")
    return page.read_text(encoding="utf-8")


def table_rows(html):
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", html, re.S)
    return [
        [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)]
        for row in rows
    ]


def test_every_set_has_its_numbers_beside_the_papers(project):
    rows = {row[0]: row for row in table_rows(page_of(project))}
    # post_op is wrong on two of four subjects of fold 0 and right on all of fold 1
    assert rows["post-op"][1:4] == ["0.750", "0.354", "0.750"]
    assert rows["post-op"][-2:] == ["8", "0.70"]
    low, high = map(float, rows["post-op"][4].split(" to "))
    assert low < 0.75 < high
    for name, printed in (("post-op + dose", "0.828"), ("post-op + event + dose", "0.804")):
        assert rows[name][1:] == ["1.000", "0.000", "1.000", "1.000 to 1.000", "8", printed]


def test_page_holds_everything_and_loads_nothing(project):
    html = page_of(project)
    sources = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', html)
    assert len(sources) == 5
    assert all(
        source.startswith(("data:image/png;base64,", "data:image/svg+xml;base64,")) for source in sources
    )
    assert not re.search(r"<script|<link|@import|url\(|https?://", html)
    assert len(re.findall(r'<img [^>]*alt="[^"]{20,}"', html)) == 5


def test_page_says_that_it_is_research_software(project):
    assert "Research software, not a medical device" in page_of(project)


def test_synthetic_cohort_is_announced(project):
    assert "SYNTHETIC" not in page_of(project)
    write_ground_truth(project / "data/phantom", "sub-001")
    assert "SYNTHETIC PHANTOM COHORT" in page_of(project)
    assert "Cavity and lesion are outlined" in page_of(project)


def test_an_imported_phantom_has_no_outlines_of_its_maker(project):
    table = project / "data/phantom/participants.tsv"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text("participant_id\tlabel_source\nsub-001\tsynthetic\n")
    page = page_of(project)
    assert "SYNTHETIC PHANTOM COHORT" in page and "are outlined" not in page


def test_any_mark_of_a_synthetic_cohort_is_enough(tmp_path):
    assert not is_synthetic(tmp_path)
    table = tmp_path / "participants.tsv"
    table.write_text("participant_id\tlabel_source\nsub-001\tbiopsy\n")
    write_json(tmp_path / "dataset_description.json", {"Name": "real"})
    assert not is_synthetic(tmp_path)
    table.write_text("participant_id\tlabel_source\nsub-001\tbiopsy\nsub-002\tsynthetic\n")
    assert is_synthetic(tmp_path)
    table.unlink()
    write_json(tmp_path / "dataset_description.json", {"Synthetic": True})
    assert is_synthetic(tmp_path)


@pytest.mark.parametrize(
    ("text", "found"), [("{", r"is not readable JSON \(JSONDecodeError\)"), ("[]", "is not a JSON object")]
)
def test_a_malformed_description_is_refused(tmp_path, text, found):
    (tmp_path / "dataset_description.json").write_text(text)
    with pytest.raises(CohortError, match=rf"^dataset_description\.json: {found}\. Write one JSON object"):
        is_synthetic(tmp_path)


def test_what_users_wrote_is_escaped(project):
    html = page_of(project)
    assert "&lt;b&gt;Site &amp; Sons&lt;/b&gt;" in html
    assert "dose in cGy &lt;not Gy&gt;; no event" in html
    assert "site: &lt;none&gt;" in html
    assert "<b>Site" not in html


def test_cohort_is_counted_by_label_and_place(project):
    assert count_subjects(read_results(project, seed=7)) == [
        ("recurrence", 4, 1),
        ("rice", 4, 1),
        ("all", 8, 2),
    ]
    assert len(LABELS) == sum(map(len, FOLDS)) + len(TEST)


def test_without_a_vote_the_page_says_what_to_do(project):
    html = page_of(project)
    assert "ricenet promote" in html
    assert "The test set has not been used." in html
    assert "The ledger holds no look at the test set." in html


def test_vote_is_shown_with_its_interval_and_the_number_of_looks(project):
    write_vote(project)
    html = page_of(project)
    (row,) = [row for row in table_rows(html) if row[-1] == "e" * 12]
    # both test subjects are called recurrence: F1 of 2/3 and 0
    assert row[1] == "0.333"
    assert row[3:] == ["2", "1 of 1", "0 of 1", "0.916", "e" * 12]
    low, high = map(float, row[2].split(" to "))
    assert low == 0.0
    assert high == 0.5  # a resample that holds recurrence alone
    assert "2 looks in all" in html
    assert "ricenet promote" not in html


def test_explained_subject_is_described(project):
    html = page_of(project)
    assert "predicted recurrence, p_rice 0.432" in html
    assert "changes it by -0.062 to +0.125" in html


def test_explaining_nothing_is_said(project):
    (project / "work/explain" / ALL_THREE / "sub-001/summary.json").unlink()
    assert "No prediction was explained" in page_of(project)


def test_provenance_names_code_data_versions_and_settings(project):
    html = page_of(project)
    cohort = json.loads((project / "work/cohort/cohort.json").read_text())
    for text in ("c0ffee", cohort["digest"], "9" * 64, "2.13.0", "seed: 7"):
        assert text in html


def test_same_results_give_the_same_bytes(project):
    assert page_of(project) == page_of(project)


@pytest.mark.parametrize(
    ("missing", "stage"),
    [
        ("work/evaluation/metrics.json", "evaluate"),
        ("work/evaluation/figures/confusion.png", "evaluate"),
        ("work/preprocessed/summary.json", "preprocess"),
        ("work/vote/vote.json", "vote"),
    ],
)
def test_missing_result_names_the_file_and_its_stage(project, missing, stage):
    (project / missing).unlink()
    name = missing.rsplit("/", 1)[1].replace(".", r"\.")
    with pytest.raises(ResultError, match=rf"{name} is missing\. The stage `{stage}` makes it"):
        page_of(project)


def test_missing_cohort_is_refused(project):
    (project / "work/cohort/cohort.json").unlink()
    with pytest.raises(CohortError, match=r"cohort\.json"):
        page_of(project)


def test_commit_of_a_folder_and_of_changed_parameters(tmp_path):
    assert described_commit(tmp_path) == "not a git repository, or no commit yet"

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)

    git("init")
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    git("add", ".")
    git("commit", "-m", "first")
    assert re.fullmatch(r"[0-9a-f]{40}", described_commit(tmp_path))
    (tmp_path / "params.yaml").write_text("seed: 2\n")
    assert described_commit(tmp_path).endswith(", with uncommitted changes in src or params.yaml")


def test_versions_are_those_installed():
    versions = package_versions()
    assert versions["numpy"] == __import__("numpy").__version__
    assert "not installed" not in versions.values()
