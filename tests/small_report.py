"""A project folder with the results of all stages of small_results, and its page."""

import atexit
import functools
import re
import shutil
import tempfile
from dataclasses import fields
from pathlib import Path

from explained_cases import case, summary
from preprocessed_subjects import save_summary
from small_evidence import write_evidence, write_robustness
from small_results import (
    LABELS,
    TEST,
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
    write_excluded,
)
from ricenet.cohort.splits import read_splits
from ricenet.config.evidence import ReportParams
from ricenet.config.params import read_params
from ricenet.display.drawing import save_figure
from ricenet.evaluation.anatomy_figure import read_anatomy, volumes_figure
from ricenet.evaluation.held_out import read_out_of_fold
from ricenet.evaluation.metrics import out_of_fold_table, set_metrics
from ricenet.evaluation.occlusion.explained_case import TOGETHER
from ricenet.inference.test_ledger import LedgerRow, identify_test_set
from ricenet.report.page import report_page
from ricenet.report.protocol import Protocol
from ricenet.report.results import read_results
from ricenet.runtime.tables import table_text
from ricenet.vocabulary import PAPER_VOLUMES

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
    write_excluded([], project / "work/cohort/excluded.json")
    write_participants(project, "biopsy")


def write_participants(project, label_source):
    rows = [
        [s, label, label_source, "n/a", "<b>Site & Sons</b>", 50 + i, "F" if i < 2 else "M", 100 * i]
        for i, (s, label) in enumerate(LABELS.items())
    ]
    header = ["participant_id", "label", "label_source", "subset", "site", "age_years", "sex",
              "days_rt_end_to_event"]  # fmt: skip
    write_text(project / "data/phantom/participants.tsv", table_text(header, rows))


def write_evaluation(project):
    splits = read_splits(project / "work/splits/splits.json")
    predictions = {
        name: read_out_of_fold(project / "work/training", name, splits) for name in PAPER_VOLUMES.sets
    }
    metrics = {name: set_metrics(p, 7, 200) for name, p in predictions.items()}
    write_text(project / "work/evaluation/out_of_fold.tsv", out_of_fold_table(predictions))
    write_json(
        project / "work/evaluation/metrics.json", {name: m.model_dump() for name, m in metrics.items()}
    )
    write_preprocessed(project, "sub-001")
    anatomy = read_anatomy(
        project / "work/preprocessed", project / "data/phantom", "sub-001", "rice", PAPER_VOLUMES
    )
    figures = project / "work/evaluation/figures"
    save_figure(volumes_figure(anatomy), figures / "volumes.png")
    (figures / "learning_curves.png").write_bytes((figures / "volumes.png").read_bytes())


def write_explanation(project):
    folder = project / "work/explain" / ALL_THREE / "sub-001"
    found = case(modality_set=ALL_THREE, p_rice=0.4321, summaries={TOGETHER: summary(-0.0625, 0.125)})
    write_text(folder / "summary.json", found.explanation.model_dump_json())
    (folder / "figure.png").write_bytes(b"\x89PNG occlusion")


def write_vote(project, gate="passed"):
    """The vote of the model that was evaluated second; gate: how it came to vote, by the ledger."""
    write_json(
        project / "work/vote/vote.json",
        {ALL_THREE: {"macro_f1": 1 / 3, "confusion": [[1, 0], [1, 0]], "n": 2, "digest": "e2" * 32}},
    )
    rows = [[s, LABELS[s], 0.1, 0.2, 0, 0.15, "n/a", "recurrence", "n/a"] for s in TEST]
    header = ["participant_id", "label", "fold_0", "fold_1", "votes_rice", "p_rice"]
    header += ["p_rice_calibrated", "predicted", "three_way"]
    write_text(project / "work/vote" / f"{ALL_THREE}.tsv", table_text(header, rows))
    write_ledger(project, gate)


def write_ledger(project, gate="passed"):
    """Two evaluations of the test set; gate: of the second."""
    header = [field.name for field in fields(LedgerRow)]
    test_set = identify_test_set({s: LABELS[s] for s in TEST})
    evaluations = [
        ["2026-01-02T03:04:05+00:00", ALL_THREE, "rice-net", i, f"e{i}" * 6, 2, "0.333333", i, test_set,
         passed, "someone@somewhere"]
        for i, passed in ((1, "n/a"), (2, gate))
    ]  # fmt: skip
    write_text(project / "models/test_ledger.tsv", table_text(header, evaluations))


@functools.cache
def finished() -> Path:
    """A project folder whose stages have all run but the report's; no model has voted."""
    folder = Path(tempfile.mkdtemp(prefix="small_report_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_splits(folder)
    write_training(folder)
    write_cohort(folder)
    write_evaluation(folder)
    write_explanation(folder)
    save_summary(folder / "work/preprocessed", "9" * 64)
    write_json(folder / "work/vote/vote.json", {})
    write_json(folder / "work/tuning/best.json", {})
    write_evidence(folder)
    write_robustness(folder)
    return folder


def write_project(tmp_path):
    """A copy of it of one's own."""
    return shutil.copytree(finished(), tmp_path, dirs_exist_ok=True)


@functools.cache
def plain_page():
    """The page of the project as it is."""
    return page_of(finished())


def protocol(pdf=False):
    versions = {"python": "3.11.0", "torch": "2.13.0"}
    params = read_params(Path(__file__).parents[1] / "params.yaml")
    params = params.model_copy(update={"report": ReportParams(pdf=pdf)})
    return Protocol(params, "seed: 7\nsite: <none>\n", versions, "c0ffee")


PICTURES = (
    "in_short",
    "macro_f1",
    "roc",
    "confusion",
    "audit",
    "contribution",
    "reliability",
    "coverage_risk",
    "decision_curve",
    "flip_rates",
)


def page_of(project, buttons=False, further=()):
    """The page with stand-ins for the figures, which take seconds. buttons: those of its terms too.

    further: names of figures that not every page has.
    """
    drawn = {name: project / f"{name}.svg" for name in (*PICTURES, *further)}
    for name, path in drawn.items():
        path.write_text(f"<svg xmlns='http://www.w3.org/2000/svg' id='{name}'/>")
    page = report_page(read_results(project, seed=7), drawn, protocol())
    return page if buttons else without_buttons(page)


def without_buttons(html):
    """A page without the buttons that open the meaning of a term, their text kept."""
    return re.sub(r'<button type="button" class="term"[^>]*>(.*?)</button>', r"\1", html)


def table_of(html, caption):
    """Rows of the table whose caption begins so, by their first cell."""
    (table,) = [t for t in re.findall(r"<table.*?</table>", html, re.S) if f"<caption>{caption}" in t]
    return {row[0]: row for row in table_rows(table)}


def table_rows(html):
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", html, re.S)
    return [
        [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)]
        for row in rows
    ]
