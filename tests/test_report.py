import json
import re
import shutil
import subprocess
from html import unescape as html_unescaped

import pytest
from explained_cases import OTHER_VOLUMES
from small_evidence import estimate, evidence, robustness, write_evidence, write_robustness
from small_report import (
    ALL_THREE,
    PICTURES,
    page_of,
    plain_page,
    protocol,
    table_of,
    table_rows,
    without_buttons,
    write_participants,
    write_project,
    write_vote,
)
from small_results import (
    FOLDS,
    LABELS,
    TEST,
    write_ground_truth,
    write_json,
    write_text,
)

from ricenet.cohort.description import is_synthetic
from ricenet.cohort.splits import read_splits
from ricenet.config.params import CohortParams
from ricenet.evaluation.evidence.beyond_time import BeyondTime
from ricenet.evaluation.evidence.calibration_record import ConformalSets, ConformalThresholds
from ricenet.evaluation.evidence.learning_curve import CurvePoint, Forecast, LearningCurve, ScoreCurve
from ricenet.evaluation.evidence.power_law import PowerLaw
from ricenet.evaluation.evidence.record import Repeats, read_evidence
from ricenet.report.facts import SINGLE_NETWORKS
from ricenet.report.page import write_report
from ricenet.report.protocol import described_commit, package_versions, printed_params
from ricenet.report.report_figures import macro_f1_figure
from ricenet.report.results import read_results
from ricenet.report.sentences import SECTIONS
from ricenet.runtime.errors import CohortError, ResultError


@pytest.fixture
def project(tmp_path):
    return write_project(tmp_path)


def test_every_set_has_its_numbers_beside_the_papers():
    rows = table_of(plain_page(), "Macro-F1 beside the published")
    # post_op is wrong on two of four subjects of fold 0 and right on all of fold 1
    assert rows["post-op T1ce"][1:] == ["0.750", "0.354", "0.750", "0.450 to 0.950", "8", "0.70"]
    for name, printed in (("post-op T1ce + dose", "0.828"), ("post-op T1ce + event T1ce + dose", "0.804")):
        assert rows[name][1:] == ["1.000", "0.000", "1.000", "0.700 to 1.000", "8", printed]


def test_page_holds_everything_and_loads_nothing(project):
    write_text(project / "work/explain" / ALL_THREE / "index.html", "gallery")
    html = page_of(project)
    sources = re.findall(r'src\s*=\s*"([^"]*)"', html)
    assert len(sources) == 13
    assert all(
        source.startswith(("data:image/png;base64,", "data:image/svg+xml;base64,")) for source in sources
    )
    links = [link for link in re.findall(r'href\s*=\s*"([^"]*)"', html) if not link.startswith("#")]
    assert set(links) == {f"../explain/{ALL_THREE}/index.html"}
    assert not re.search(r"<script|<link|@import|url\((?!#)|https?://(?!www.w3.org/2000/svg)", html)


def test_every_picture_has_words_and_a_caption_that_names_the_interval():
    html = plain_page()
    figures = re.findall(r"<figure>.*?</figure>", html, re.S)
    assert len(figures) == 13
    for figure in figures:
        assert re.search(r'(alt|aria-label)="[^"]{40,}"', figure)
        caption = re.search(r"<figcaption>(.*?)</figcaption>", figure, re.S)[1]
        assert "Figure 1" in caption or "interval" in caption.lower()


def test_every_table_has_a_caption(project):
    write_vote(project)
    html = page_of(project)
    assert html.count("<table") == html.count("<caption>") > 10


def test_every_link_within_the_page_leads_somewhere():
    html = plain_page()
    anchors = set(re.findall(r'id="([^"]+)"', html))
    targets = re.findall(r'href="#([^"]+)"', html)
    assert list(dict.fromkeys(targets))[: len(SECTIONS)] == list(SECTIONS)
    assert set(targets) <= anchors


def test_all_figures_are_drawn_beside_the_page(project):
    write_vote(project)
    page = write_report(read_results(project, seed=7), project / "work/report", protocol())
    files = {path.name for path in (project / "work/report/figures").iterdir()}
    assert files == {f"{name}.svg" for name in PICTURES} | {"macro_f1.png"}
    again = page.read_bytes()
    assert (
        write_report(read_results(project, seed=7), project / "work/report", protocol()).read_bytes() == again
    )
    assert {path.name for path in page.parent.iterdir()} == {"figures", "index.html"}


def test_page_says_what_it_is_and_a_synthetic_cohort_is_announced(project):
    assert "Research software, not a medical device" in plain_page()
    assert "SYNTHETIC" not in plain_page()
    write_ground_truth(project / "data/phantom", "sub-001")
    html = page_of(project)
    assert "SYNTHETIC PHANTOM COHORT" in html and "Cavity and lesion are outlined" in html


def test_an_imported_phantom_has_no_outlines_of_its_maker(project):
    write_participants(project, "synthetic")
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
    ("text", "found"), [("{", r"is not well-formed JSON \(line 1\)"), ("[]", "is not a JSON object")]
)
def test_a_malformed_description_is_refused(tmp_path, text, found):
    (tmp_path / "dataset_description.json").write_text(text)
    with pytest.raises(CohortError, match=rf"^dataset_description\.json: {found}\. Write one JSON object"):
        is_synthetic(tmp_path)


def test_what_users_wrote_is_escaped():
    html = plain_page()
    assert "&lt;b&gt;Site &amp; Sons&lt;/b&gt;" in html
    assert "dose in cGy &lt;not Gy&gt;; no event" in html
    assert "site: &lt;none&gt;" in html
    assert "<b>Site" not in html


def test_cohort_is_counted_by_label_and_place(project):
    assert read_results(project, seed=7).counts() == [
        ("recurrence", 4, 1),
        ("rice", 4, 1),
        ("all", 8, 2),
    ]
    assert len(LABELS) == sum(map(len, FOLDS)) + len(TEST)


def test_explained_subject_is_described():
    html = plain_page()
    # the logit of the held-out fold's 0.32 doubled: 0.32^2 / (0.32^2 + 0.68^2)
    assert "predicted recurrence, p_rice 0.181 calibrated, 0.432 as predicted" in html
    assert "changes the latter by -0.062 to +0.125" in html


def test_explaining_nothing_is_said(project):
    (project / "work/explain" / ALL_THREE / "sub-001/summary.json").unlink()
    assert "No prediction was explained" in page_of(project)


def test_the_chance_level_stands_beside_the_commoner_label(project):
    html = page_of(project)
    assert "the chance level is 0.50, always naming the commoner label gives 0.33." in html
    figure = macro_f1_figure(read_results(project, seed=7))
    lines = [line for line in figure.axes[0].lines if str(line.get_label()).startswith("chance")]
    assert [(line.get_label(), set(line.get_ydata())) for line in lines] == [
        ("chance level 0.50 (commoner label 0.33)", {0.5})
    ]


def test_the_page_says_what_it_knows_the_three_way_vote_of():
    html = html_unescaped(plain_page())
    assert html.count(SINGLE_NETWORKS) == 1
    assert "which with few subjects is no proof of the contrary" in html


def test_provenance_names_code_data_versions_and_settings(project):
    html = page_of(project)
    cohort = json.loads((project / "work/cohort/cohort.json").read_text())
    for text in ("c0ffee", cohort["digest"], "9" * 64, "2.13.0", "seed: 7"):
        assert text in html


def test_numbers_of_fewer_than_three_subjects_are_withheld():
    html = plain_page()
    row = table_of(html, "Labelled subjects")["days from the end of radiotherapy to the event"]
    assert row[3:5] == ["withheld", "withheld"]


def test_evidence_of_other_splits_is_refused(project):
    write_evidence(project, evidence("0" * 64))
    with pytest.raises(
        ResultError, match=r"evidence\.json is of splits 000000000000, but .* dvc repro evidence"
    ):
        write_report(read_results(project, seed=7), project / "work/report", protocol())


@pytest.mark.parametrize(
    ("missing", "error", "words"),
    [
        ("data/phantom/participants.tsv", CohortError, "not found"),
        ("work/cohort/cohort.json", ResultError, "is missing"),
        ("work/evaluation/metrics.json", ResultError, "stage `evaluate` makes"),
        ("work/evaluation/figures/learning_curves.png", ResultError, "stage `evaluate` makes"),
        ("work/evaluation/out_of_fold.tsv", ResultError, "stage `evaluate` makes"),
        ("work/evidence/evidence.json", ResultError, "stage `evidence` makes"),
        ("work/robustness/robustness.json", ResultError, "stage `robustness` makes"),
        ("work/tuning/best.json", ResultError, "stage `tune` makes"),
        ("work/preprocessed/summary.json", ResultError, "stage `preprocess` makes"),
        ("work/vote/vote.json", ResultError, "stage `vote` makes"),
    ],
)
def test_a_missing_result_names_the_file_and_its_stage(project, missing, error, words):
    (project / missing).unlink()
    with pytest.raises(error) as refused:
        page_of(project)
    assert missing.rsplit("/", 1)[1] in str(refused.value) and words in str(refused.value)


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
    assert described_commit(tmp_path).endswith(", with uncommitted changes in code or params.yaml")


def test_versions_are_those_installed():
    versions = package_versions()
    assert versions["numpy"] == __import__("numpy").__version__
    assert "not installed" not in versions.values()


def test_a_run_of_one_set_says_what_it_cannot_tell(project):
    """Drawn in full: one panel, no pairs, no Shapley values, nothing calibrated or perturbed."""
    made = evidence(read_splits(project / "work/splits/splits.json").digest)
    alone = {"sets": {"dose": made.sets["dose"]}, "comparisons": (), "contributions": (), "guards": (),
             "calibration": {}, "abstention": {}}  # fmt: skip
    write_evidence(project, made.model_copy(update=alone))
    write_robustness(project, robustness().model_copy(update={"effects": {}}))
    metrics = json.loads((project / "work/evaluation/metrics.json").read_text())
    write_json(project / "work/evaluation/metrics.json", {"dose": metrics["dose"]})
    page = write_report(read_results(project, seed=7), project / "work/report", protocol())
    html = without_buttons(page.read_text(encoding="utf-8"))
    for text in (
        "Not examined: not every combination of the volumes was trained.", "Calibration was not examined.",
        "<code>robustness.modality_sets</code> names no set.", "No guard has run.",
        "No guard against leaks has run.", "was trained on one modality set",
    ):  # fmt: skip
        assert text in html
    assert "Every two modality sets" not in html
    assert not (page.parent / "figures/contribution.svg").exists()


def test_contributions_of_some_volumes_leave_the_others_cells_empty(project):
    """All combinations of dose and event T1ce were trained, and none with the post-op T1ce."""
    made = evidence(read_splits(project / "work/splits/splits.json").digest)
    of_two = [
        c.model_copy(update={"modalities": {name: c.modalities[name] for name in ("event", "dose")}})
        for c in made.contributions
    ]
    write_evidence(project, made.model_copy(update={"contributions": tuple(of_two)}))
    header, *rows = table_rows(
        next(t for t in re.findall(r"<table.*?</table>", page_of(project), re.S) if "Shapley values (95" in t)
    )
    place = header.index("post-op T1ce")
    assert {row[place] for row in rows} == {"\u2013"}
    assert all(row[header.index("dose")] != "\u2013" for row in rows)


def test_other_declared_volumes_are_reported_by_their_titles(project):
    made = evidence(read_splits(project / "work/splits/splits.json").digest)
    name, dose = "flair+adc", made.sets["dose"]
    alone = {"volumes": OTHER_VOLUMES, "sets": {name: dose}, "excluded": {name: ("sub-003",)}, "guards": (),
             "comparisons": (), "contributions": (), "calibration": {}, "abstention": {},
             "audit": made.audit.model_copy(update={"network": name, "baselines": ()})}  # fmt: skip
    write_evidence(project, made.model_copy(update=alone))
    write_robustness(project, robustness().model_copy(update={"effects": {}}))
    metrics = project / "work/evaluation/metrics.json"
    write_json(metrics, {name: json.loads(metrics.read_text())["dose"]})
    table = project / "work/evaluation/out_of_fold.tsv"
    table.write_text(table.read_text().replace("\tdose\t", f"\t{name}\t"))
    html = write_report(read_results(project, seed=7), project / "work/report", protocol()).read_text()
    assert table_of(html, "Macro-F1 beside the published")["FLAIR + ADC"][-1] == "n/a"
    assert table_of(html, "Excluded from modality sets")["FLAIR + ADC"][1:] == ["1", "sub-003"]
    assert "from FLAIR, T1 at month 3, ADC and T2 &lt;1.5 T&gt;." in html
    assert "T1 at month 3, ADC, T2 &lt;1.5 T&gt; were registered to the FLAIR with ANTs" in html
    assert "the ADC, which is quantitative, was divided by 0.001 instead" in html
    assert "dose was" not in html and "post-op" not in html.split("Every parameter")[0]


def test_other_divisions_stand_beside_this_runs_score(project):
    made = evidence(read_splits(project / "work/splits/splits.json").digest)
    repeats = Repeats(fold_seeds=(1, 2), macro_f1={"dose": (0.75, 0.625)})
    write_evidence(project, made.model_copy(update={"repeats": repeats}))
    row = table_of(page_of(project), "Pooled macro-F1 of other divisions")["dose"]
    assert row == ["dose", "1.00", "0.75", "0.62"]


def test_scores_by_number_of_subjects_are_shown_with_what_is_expected_of_more(project):
    made = evidence(read_splits(project / "work/splits/splits.json").digest)
    points = tuple(
        CurvePoint(subjects=n, score=estimate(value), draws=(value,) * draws)
        for n, value, draws in ((4, 0.5, 3), (6, 0.6, 3), (8, 0.65, 1))
    )
    law = PowerLaw(asymptote=0.9, gap=0.25, exponent=1.0, whole=8)
    ahead = (Forecast(growth=2, subjects=16, score=estimate(0.75), interval_width=0.25),)
    rising = ScoreCurve(points=points, law=law, forecasts=ahead, refusal="")
    flat = ScoreCurve(points=points, law=None, forecasts=(), refusal="the score is not shown to rise")
    curves = {"dose": LearningCurve(n=8, macro_f1=rising, auc=flat)}
    write_evidence(project, made.model_copy(update={"learning_curves": curves}))
    html = page_of(project, further=["subjects_curve"])
    table = next(t for t in re.findall(r"<table.*?</table>", html, re.S) if "Scores by number" in t)
    _, first, *_, last = table_rows(table.replace("\u00a0", " "))
    seen = "0.50 (0.40 to 0.60)"
    assert first == ["dose", "seen, 3 draws", "4", seen, "\u2013", seen, "\u2013"]
    assert last == ["dose", "expected", "16", "0.75 (0.65 to 0.85)", "0.25", "\u2013", "\u2013"]
    assert "from 2 times the subjects (16) it is expected between 0.65 and 0.85" in html
    assert "No forecast: the score is not shown to rise." in html
    assert "Learning curves: the same folds were trained on nested subsets" in html


def test_what_a_network_adds_to_time_stands_in_the_audit(project):
    made = evidence(read_splits(project / "work/splits/splits.json").digest)
    nothing = BeyondTime(n=7, time=0.8, gain=estimate(0.0), p=0.4)
    write_evidence(project, made.model_copy(update={"beyond_time": {"dose": nothing}}))
    row = table_of(page_of(project), "What each network's held-out answers add")["dose"]
    assert row == ["dose", "7", "0.80", "+0.00 (-0.10\u00a0to\u00a0+0.10)", "0.400"]


def test_of_the_cohorts_place_only_the_folders_name_is_reported(project):
    # where it lies may name a person
    shutil.move(project / "data/phantom", project / "data/dr_jones/phantom")
    cohort = project / "work/cohort/cohort.json"
    cohort.write_text(cohort.read_text().replace("data/phantom", "data/dr_jones/phantom"))
    html = page_of(project)
    assert "<title>RICE-NET report: phantom</title>" in html
    assert "Cohort <code>phantom</code>." in html
    assert "dr_jones" not in html


def test_the_printed_parameters_are_all_but_the_cohorts_place():
    params = protocol().params
    moved = CohortParams(root="data/dr_jones/phantom", exclude_faulty=False)
    printed = printed_params(params.model_copy(update={"cohort": moved}))
    assert printed["cohort"] == {"root": "phantom", "exclude_faulty": False}
    assert printed.keys() == params.model_dump().keys()
    assert {k: v for k, v in printed.items() if k != "cohort"} == params.model_dump(
        mode="json", exclude={"cohort"}
    )


def test_a_comparison_that_cannot_tell_says_so_instead_of_a_p_value():
    html = html_unescaped(plain_page())
    assert html.count('<td class="number">cannot tell</td>') == 2 * 21


def test_the_page_shows_sets_of_labels_subgroups_and_the_decision_curve(project):
    html = page_of(project)
    sets = table_of(html, "Sets of held-out subjects")
    assert sets["dose"][-1] == "RICE from 0.90, recurrence to 0.20"
    assert "2 groups are shown and none is tested" in html
    groups = re.findall(r"<td>(north|south)</td>(.*?)</tr>", html)
    assert [(name, cells.count("none")) for name, cells in groups] == [("north", 2), ("south", 2)]
    assert "Decision curve of the best set" in html


def test_too_few_subjects_for_sets_of_labels_are_said(project):
    made = read_evidence(project / "work/evidence/evidence.json")
    few = ConformalSets(
        thresholds=ConformalThresholds(coverage=0.9, rice_from=None, recurrence_to=None),
        cases={"recurrence": 4, "rice": 4},
        needed=9,
    )
    changed = made.model_copy(update={"conformal": {"dose": few}})
    write_json(project / "work/evidence/evidence.json", changed.model_dump(mode="json"))
    assert "9 subjects of each label are needed outside of every fold, of 4 with recurrence" in page_of(
        project
    )
