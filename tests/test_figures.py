import csv
import shutil
from dataclasses import replace

import matplotlib.figure
import numpy as np
import pytest
from matplotlib.colors import to_hex
from preprocessed_subjects import image_of
from small_results import (
    FOLDS,
    GRID,
    LABELS,
    ball,
    write_fold,
    write_ground_truth,
    write_preprocessed,
)

from ricenet.cohort.splits import Splits
from ricenet.display.drawing import OUTLINE_COLOURS, extent_mm, save_figure, show_slice, slice_of
from ricenet.evaluation.anatomy_figure import read_anatomy, subject_to_show, volumes_figure
from ricenet.evaluation.figures import (
    confusion_figure,
    curves_table,
    learning_curves_figure,
    macro_f1_figure,
    over_folds,
    read_histories,
)
from ricenet.evaluation.metrics import SetMetrics
from ricenet.preprocessing.derivative_files import image_file
from ricenet.preprocessing.dose_cube import isocentre_voxel
from ricenet.runtime.errors import ResultError
from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec
from ricenet.volume import Grid


def metrics(mean, sd):
    return SetMetrics(
        macro_f1_mean=mean, macro_f1_sd=sd, macro_f1_folds=(mean - sd, mean + sd), macro_f1_pooled=mean,
        ci_low=mean - 0.1, ci_high=mean + 0.1, confusion=((30, 18), (10, 22)), n=80,
    )  # fmt: skip


METRICS = {name: metrics(0.5 + i / 20, 0.01 * (i + 1)) for i, name in enumerate(PAPER_VOLUMES.sets)}
ALL_THREE = "post_op+event+dose"


def bars(figure, hatch):
    return [p for p in figure.axes[0].patches if p.get_hatch() == hatch]


def test_the_papers_numbers_are_beside_its_two_labels_alone():
    of_three = {
        name: m.model_copy(
            update={
                "label_names": ("recurrence", "rice", "stable"),
                "confusion": ((9, 1, 0), (2, 8, 0), (1, 1, 8)),
            }
        )
        for name, m in METRICS.items()
    }
    said = [
        [text.get_text() for text in macro_f1_figure(of, {}, PAPER_VOLUMES).legends[0].get_texts()]
        for of in (METRICS, of_three)
    ]
    assert [any("paper" in text for text in texts) for texts in said] == [True, False]


def test_a_striped_bar_for_each_set_with_its_sd():
    figure = macro_f1_figure(METRICS, {}, PAPER_VOLUMES)
    striped = bars(figure, "///")
    assert [b.get_height() for b in striped] == pytest.approx([0.5 + i / 20 for i in range(7)])
    assert bars(figure, "...") == []
    spans = [
        c.errorbar.lines[2][0].get_segments()[0][:, 1]
        for c in figure.axes[0].containers
        if hasattr(c, "errorbar") and c.errorbar
    ]
    assert [np.ptp(span) / 2 for span in spans] == pytest.approx([0.01 * (i + 1) for i in range(7)])
    labels = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert labels[0] == "post-op T1ce"
    assert labels[-1] == "post-op T1ce\n+ event T1ce\n+ dose"


def test_a_dotted_bar_only_where_a_model_voted():
    figure = macro_f1_figure(METRICS, {ALL_THREE: 0.75}, PAPER_VOLUMES)
    (dotted,) = bars(figure, "...")
    assert dotted.get_height() == 0.75
    striped = bars(figure, "///")[-1]
    # side by side, touching and not overlapping
    assert striped.get_x() + striped.get_width() == pytest.approx(dotted.get_x())


def published(figure, label):
    return [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_label() == label]


def test_the_papers_numbers_are_marked():
    figure = macro_f1_figure(METRICS, {ALL_THREE: 0.75, "dose": 0.6}, PAPER_VOLUMES)
    assert published(figure, "paper, validation") == [0.70, 0.58, 0.78, 0.70, 0.828, 0.83, 0.804]
    assert published(figure, "paper, test") == [0.916]
    assert figure.axes[0].get_ylim() == (0, 1)


def test_legend_names_each_kind_once():
    legend = macro_f1_figure(METRICS, {ALL_THREE: 0.75}, PAPER_VOLUMES).legends[0]
    texts = [t.get_text() for t in legend.get_texts()]
    assert texts[:2] == ["validation, mean and SD over folds", "test, majority vote of the folds"]
    assert sorted(texts[2:]) == ["chance level (0.49)", "paper, test", "paper, validation"]


def test_confusion_matrices_print_counts_and_shares():
    confusions = {"event": ((0, 0), (1, 1)), "dose": ((30, 10), (5, 15))}
    figure = confusion_figure(confusions, PAPER_VOLUMES)
    assert [axes.get_title() for axes in figure.axes] == ["event T1ce", "dose"]
    texts = [t.get_text() for t in figure.axes[1].texts]
    assert texts == ["30", "75%", "10", "25%", "5", "25%", "15", "75%"]


def test_long_names_of_sets_stay_over_their_own_panel():
    sets = ["dose", "post_op+dose", "post_op+event+dose", "post_op+event+dose@small_cohort"]
    figure = confusion_figure(dict.fromkeys(sets, ((3, 1), (2, 4))), PAPER_VOLUMES)
    figure.canvas.draw()
    boxes = [axes.title.get_window_extent() for axes in figure.axes]
    edges = [edge for box in boxes for edge in (box.x0, box.x1)]
    assert edges == sorted(edges) and edges[0] >= 0 and edges[-1] <= figure.bbox.width


def test_equal_input_gives_equal_bytes(tmp_path):
    for suffix in ("png", "svg"):
        for name in ("a", "b"):
            figure = macro_f1_figure(METRICS, {ALL_THREE: 0.75}, PAPER_VOLUMES)
            save_figure(figure, tmp_path / f"{name}.{suffix}")
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_a_saved_figure_lies_at_rounded_places_for_the_layout_solver_differs_in_the_last_bit(tmp_path):
    figure = macro_f1_figure(METRICS, {}, PAPER_VOLUMES)
    save_figure(figure, tmp_path / "figure.svg")
    for axes in figure.axes:
        bounds = axes.get_position(original=True).bounds
        assert bounds == tuple(round(edge, 6) for edge in bounds)


def test_figures_ignore_and_keep_the_users_own_settings(tmp_path):
    save_figure(macro_f1_figure(METRICS, {}, PAPER_VOLUMES), tmp_path / "plain.png")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        save_figure(macro_f1_figure(METRICS, {}, PAPER_VOLUMES), tmp_path / "styled.png")
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "styled.png").read_bytes()


@pytest.fixture
def histories(tmp_path):
    for fold in range(len(FOLDS)):
        write_fold(tmp_path, "dose", fold, epochs=4 + fold)
    return {"dose": read_histories(tmp_path / "work/training", "dose", len(FOLDS))}


def test_learning_curve_is_the_mean_over_folds_up_to_their_common_epoch(histories):
    # fold 1's loss lies 0.1 above fold 0's
    expected = [0.7 / e + 0.05 for e in (1, 2, 3, 4)]
    assert over_folds(histories["dose"], "train_loss").mean(axis=0) == pytest.approx(expected)
    loss = learning_curves_figure(histories, PAPER_VOLUMES).axes[0]
    assert loss.lines[0].get_ydata() == pytest.approx(expected)
    assert list(loss.lines[0].get_xdata()) == [1, 2, 3, 4]


def test_curves_table_has_every_epoch_of_every_fold(histories):
    rows = list(csv.DictReader(curves_table(histories).splitlines()))
    assert [(r["fold"], r["epoch"]) for r in rows] == [("0", str(e)) for e in range(1, 5)] + [
        ("1", str(e)) for e in range(1, 6)
    ]
    assert rows[1]["train_loss"] == "0.35"


def test_missing_history_names_the_stage(tmp_path):
    with pytest.raises(ResultError, match=r"history\.csv is missing\. The stage `train`"):
        read_histories(tmp_path, "dose", 2)


def test_slices_lie_in_world_millimetres_with_the_patients_right_on_the_left():
    grid = Grid((2, 3, 4), np.diag([10.0, 10.0, 10.0, 1.0]))
    data = np.arange(24.0).reshape(2, 3, 4)
    assert slice_of(data, "axial", 1).tolist() == [[1, 13], [5, 17], [9, 21]]
    assert extent_mm(grid, "axial") == (-5, 15, -5, 25)
    assert extent_mm(grid, "sagittal") == (-5, 25, -5, 35)
    axes = matplotlib.figure.Figure().add_subplot()
    show_slice(axes, data, grid, "axial", 1)
    assert axes.get_xlim() == (15, -5)  # RAS+: x grows to the patient's right


def test_isocentre_is_the_middle_of_the_largest_high_dose_region():
    brain = ball((9.5, 9.5, 9.5), 9)
    dose_gy = np.zeros((20, 20, 20), np.float32)
    dose_gy[10:15, 6:11, 7:12] = 60
    dose_gy[3, 10, 10] = 90  # a hot spot elsewhere
    np.testing.assert_allclose(isocentre_voxel(dose_gy, brain), [12, 8, 9])
    np.testing.assert_allclose(isocentre_voxel(dose_gy * 0, brain), [9.5, 9.5, 9.5])


def test_first_training_subject_with_rice_is_shown():
    splits = Splits(
        {"sub-0": "rice", "sub-1": "recurrence", "sub-2": "rice"}, (("sub-2",), ("sub-1",)), ("sub-0",)
    )
    assert subject_to_show(splits) == "sub-2"
    none = Splits({"sub-1": "recurrence", "sub-2": "recurrence"}, (("sub-2",), ("sub-1",)), ())
    assert subject_to_show(none) == "sub-1"


def anatomy_of(tmp_path, known, volumes=PAPER_VOLUMES):
    write_preprocessed(tmp_path, "sub-001")
    if known:
        write_ground_truth(tmp_path / "data", "sub-001")
    folders = tmp_path / "work/preprocessed", tmp_path / "data"
    return read_anatomy(*folders, "sub-001", LABELS["sub-001"], volumes)


def test_isocentre_is_marked_at_the_same_place_in_all_three_volumes(tmp_path):
    figure = volumes_figure(anatomy_of(tmp_path, known=True))
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles == ["post-op T1ce", "event T1ce", "dose"]
    centre_mm = GRID.world_mm(np.array([13.0, 12.0, 11.0]))
    for axes in figure.axes[:3]:
        (cross,) = axes.lines
        assert (cross.get_xdata()[0], cross.get_ydata()[0]) == pytest.approx(tuple(centre_mm[:2]))
    assert figure.axes[3].get_ylabel() == "dose (Gy)"


def outlines(axes):
    return [c for c in axes.collections if len(c.get_paths()[0].vertices)]


def test_known_cavity_and_lesion_are_outlined_around_their_centres(tmp_path):
    figure = volumes_figure(anatomy_of(tmp_path, known=True))
    for axes, centre, colour in (
        (figure.axes[0], (12, 12, 11), OUTLINE_COLOURS["cavity"]),
        (figure.axes[1], (14, 10, 11), OUTLINE_COLOURS["lesion"]),
    ):
        (outline,) = outlines(axes)
        vertices = outline.get_paths()[0].vertices
        middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        assert middle == pytest.approx(GRID.world_mm(np.array(centre, float))[:2], abs=0.01)
        assert to_hex(outline.get_edgecolor()[0]) == colour
    assert "resection cavity" in [t.get_text() for t in figure.legends[0].get_texts()]


def test_a_real_cohort_has_no_outlines_and_no_legend_for_them(tmp_path):
    figure = volumes_figure(anatomy_of(tmp_path, known=False))
    assert outlines(figure.axes[0]) == []
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "isocentre, estimated from the dose",
        "20 Gy",
        "40 Gy",
        "50 Gy",
    ]


def test_missing_preprocessed_volume_names_the_stage(tmp_path):
    with pytest.raises(ResultError, match=r"ses-postop.*T1w\.nii\.gz is missing\. The stage `preprocess`"):
        read_anatomy(tmp_path, tmp_path, "sub-001", "rice", PAPER_VOLUMES)


def test_a_subject_whose_dose_is_zero_is_drawn_without_isodoses(tmp_path):
    anatomy = anatomy_of(tmp_path, known=False)
    anatomy = replace(anatomy, images={**anatomy.images, "dose": np.zeros((20, 20, 20), np.float32)})
    assert outlines(volumes_figure(anatomy).axes[2]) == []


def test_declared_mris_are_drawn_as_far_as_the_subject_has_them_and_no_dose_is_needed(tmp_path):
    flair, adc = (
        VolumeSpec(name=name.lower(), kind="mri", session="event", suffix=name, title=name, required=False)
        for name in ("FLAIR", "ADC")
    )
    write_preprocessed(tmp_path, "sub-001")
    folder = tmp_path / "work/preprocessed/sub-001"
    event = image_of(folder, "event")
    shutil.copy(event, folder / image_file("sub-001", flair))
    anatomy = anatomy_of(tmp_path, known=True, volumes=Volumes([*PAPER_VOLUMES.mris, flair, adc]))
    assert anatomy.dose_gy is None
    figure = volumes_figure(anatomy)
    assert [axes.get_title() for axes in figure.axes] == ["post-op T1ce", "event T1ce", "FLAIR"]
    # the cavity on MRIs of the first session, the lesion on those of the last
    assert [len(outlines(axes)) for axes in figure.axes] == [1, 1, 1]
    assert all(not axes.lines for axes in figure.axes)
