from dataclasses import replace

import numpy as np
import pytest
from explained_cases import OTHER_VOLUMES, anatomy, blob, case, votes

from ricenet.display.drawing import save_figure
from ricenet.evaluation.anatomy_figure import Anatomy
from ricenet.evaluation.occlusion.explained_case import TOGETHER, strongest_voxel
from ricenet.evaluation.occlusion.figure import occlusion_figure
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import Grid


def at(voxel, value, shape=(10, 10, 10)):
    data = np.zeros(shape, np.float32)
    data[voxel] = value
    return data


def small_case(voxels=10, change=None, **changes):
    brain = np.zeros((voxels,) * 3, bool)
    brain[1:-1, 2:-2, 2:-2] = True
    mri = np.where(brain, np.random.default_rng(0).normal(size=brain.shape), 0).astype(np.float32)
    dose = np.linspace(0, 70, voxels, dtype=np.float32)[:, None, None] * np.ones_like(mri)
    known = {"cavity": brain.astype(np.float32), "lesion": at((5, 5, 5), 1.0, brain.shape)}
    images = {"post_op": mri, "event": mri, "dose": dose}
    grid = Grid.cube(np.zeros(3), 5.0, voxels)
    maps = {TOGETHER: at((2, 3, 4), -0.4) if change is None else change, "dose": at((6, 7, 5), 0.1)}
    contents = {"modality_set": "post_op+dose", "p_rice": 0.25, "votes": votes(0.6, 0.25, 0.5, held_out=1)}
    shown = Anatomy("sub-1", "rice", PAPER_VOLUMES, images, brain, grid, known)
    return case(shown, maps, **(contents | {"synthetic": False} | changes))


def test_strongest_voxel_is_by_absolute_change():
    change = at((2, 3, 4), -0.4)
    change[5, 5, 5] = 0.3
    assert strongest_voxel(change) == (2, 3, 4)


def test_strongest_voxel_of_a_block_is_its_middle_and_of_nothing_that_of_the_volume():
    block = np.zeros((10, 10, 10), np.float32)
    block[2:5, 4:7, 1:4] = 0.2
    assert strongest_voxel(block) == (3, 5, 2)
    assert strongest_voxel(np.zeros((10, 8, 6), np.float32)) == (5, 4, 3)


def test_figure_shows_every_volume_in_three_planes_through_the_strongest_voxel():
    figure = occlusion_figure(small_case())
    panels = figure.axes[:9]
    assert [axes.get_ylabel() for axes in panels[::3]] == ["post-op T1ce", "event T1ce (no input)", "dose"]
    assert [axes.get_title() for axes in panels[:3]] == ["sagittal", "coronal", "axial"]
    for axes in panels:
        overlay = axes.images[1]
        assert overlay.get_array().min() == pytest.approx(-0.4)  # the voxel is in every slice
        assert overlay.get_clim() == pytest.approx((-0.4, 0.4))  # centred at 0
        assert np.asarray(overlay.get_alpha()).min() == 0  # nothing hides the scan where nothing changes
    assert "change of p_rice" in figure.axes[9].get_ylabel()


def test_panels_show_the_brain_with_a_margin_and_the_patients_right_on_the_left():
    sagittal, coronal, axial = occlusion_figure(small_case()).axes[:3]
    # the brain is 40 mm wide, its middle at 0; with 10 mm on either side all panels are 60 mm wide and high
    assert sagittal.get_xlim() == pytest.approx((-30, 30))
    assert coronal.get_xlim() == axial.get_xlim() == pytest.approx((30, -30))
    assert coronal.get_ylim() == axial.get_ylim() == pytest.approx((-30, 30))


def test_title_says_who_is_explained_by_which_network_and_what_is_hidden():
    title = occlusion_figure(small_case()).get_suptitle()
    assert "sub-1: rice, predicted recurrence (wrong), p_rice 0.25\n" in title
    assert "post-op T1ce + dose\nthe network of fold 1, which did not train on this subject\n" in title
    assert title.endswith("occluded: all volumes at once")


def test_the_title_of_the_longest_set_fits_on_the_figure():
    figure = occlusion_figure(case(modality_set="post_op+event+dose@small_cohort"))
    figure.draw_without_rendering()
    title = figure._suptitle.get_window_extent()
    assert figure.bbox.x0 <= title.x0 and title.x1 <= figure.bbox.x1


def test_title_of_a_new_synthetic_case_that_all_networks_speak_for():
    changes = {"label": "n/a", "votes": votes(0.6, 0.25, 0.5), "interval": (0.1, 0.456), "synthetic": True}
    title = occlusion_figure(small_case(**changes), "dose").get_suptitle()
    assert "sub-1: of unknown label, predicted recurrence, p_rice 0.25, 95 % 0.10 to 0.46\n" in title
    assert "3 networks, none of which trained on this subject" in title
    assert title.endswith("occluded: dose alone; synthetic subject")


def test_the_map_of_one_volume_says_which_volumes_were_not_occluded():
    figure = occlusion_figure(small_case(), "dose")
    rows = [axes.get_ylabel() for axes in figure.axes[:9:3]]
    assert rows == ["post-op T1ce (not occluded)", "event T1ce (no input)", "dose"]
    assert figure.axes[0].images[1].get_clim() == pytest.approx((-0.1, 0.1))


def legend(of_case):
    return [text.get_text() for text in occlusion_figure(of_case).legends[0].get_texts()]


def test_known_masks_are_outlined_and_named_and_unknown_ones_are_not():
    found = small_case()
    plain = replace(found, anatomy=replace(found.anatomy, known_masks={}))
    # the slices do not meet the lesion of one voxel at (5, 5, 5)
    assert legend(found)[-1] == "resection cavity"
    assert legend(plain) == ["strongest voxel", "20 Gy", "40 Gy", "50 Gy", "60 Gy"]


def test_other_declared_volumes_are_rows_without_dose_or_those_that_the_subject_lacks():
    shown = anatomy(declared=OTHER_VOLUMES, lacks=("t2",))
    other = case(shown, {TOGETHER: blob((9, 9, 9), 2.0)}, modality_set="flair+adc")
    rows = [axes.get_ylabel() for axes in occlusion_figure(other).axes[:9:3]]
    assert rows == ["FLAIR", "T1 at month 3 (no input)", "ADC"]
    assert legend(other) == ["strongest voxel", "resection cavity", "new lesion"]


def test_a_case_without_change_or_dose_is_drawn():
    nothing = small_case(change=np.zeros((10, 10, 10), np.float32))
    images = {**nothing.anatomy.images, "dose": np.zeros((10, 10, 10), np.float32)}
    figure = occlusion_figure(replace(nothing, anatomy=replace(nothing.anatomy, images=images)))
    assert figure.axes[0].images[1].get_clim()[1] > 0


def test_figure_gives_the_same_bytes_twice(tmp_path):
    found = small_case()
    for suffix in ("png", "svg"):
        for name in ("a", "b"):
            save_figure(occlusion_figure(found), tmp_path / f"{name}.{suffix}")
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_svg_holds_slices_as_pictures_so_that_it_stays_small_whatever_the_cube(tmp_path):
    change = np.random.default_rng(1).normal(size=(160, 160, 160)).astype(np.float32)
    save_figure(occlusion_figure(small_case(voxels=160, change=change)), tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text()
    assert text.count("<image") == 9 + 1  # a picture a panel, and the colour bar
    assert len(text) < 5e6
