"""Volumes are declared: order, references and modality sets follow from the declaration alone."""

from __future__ import annotations

import pytest

from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec

FIVE = Volumes(
    [
        *PAPER_VOLUMES,
        VolumeSpec(name="event_flair", kind="mri", session="event", suffix="FLAIR", title="event FLAIR"),
        VolumeSpec(
            name="event_adc",
            kind="mri",
            session="event",
            suffix="ADC",
            title="event ADC",
            scale=1000.0,
            required=False,
        ),
    ]
)


def test_the_paper_has_seven_modality_sets_in_the_order_of_its_figure_2() -> None:
    assert PAPER_VOLUMES.sets == (
        "post_op", "event", "dose", "post_op+event", "post_op+dose", "event+dose", "post_op+event+dose",
    )  # fmt: skip


def test_each_volume_is_registered_to_its_sessions_t1_and_that_to_the_first_of_all() -> None:
    references = {spec.name: FIVE.reference_of(spec).name for spec in FIVE}
    assert references == {
        "post_op": "post_op",
        "event": "post_op",
        "dose": "post_op",
        "event_flair": "event",
        "event_adc": "event",
    }
    assert FIVE.last_session_reference.name == "event"
    assert FIVE.sessions == ("postop", "event")


def test_members_and_titles_of_a_set_are_in_the_order_of_the_declaration() -> None:
    assert [spec.name for spec in FIVE.members("event+event_adc")] == ["event", "event_adc"]
    assert FIVE.set_name(["event_adc", "dose"]) == "dose+event_adc"
    assert FIVE.set_title("dose+event_adc") == "dose + event ADC"
    assert len(FIVE.sets) == 31
    assert [spec.name for spec in FIVE.required] == ["post_op", "event", "dose", "event_flair"]


@pytest.mark.parametrize("name", ["flair", "event+post_op", "event+event", "", "event+flair"])
def test_a_set_that_the_declaration_does_not_allow_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="unknown modality set"):
        FIVE.members(name)


def test_a_declaration_survives_its_record() -> None:
    assert Volumes(VolumeSpec.model_validate(spec) for spec in FIVE.as_json()) == FIVE


def test_a_session_without_an_mri_has_nothing_to_register_its_volumes_to() -> None:
    with pytest.raises(ValueError, match="session planning has no MRI"):
        FIVE.session_reference("planning")


def test_the_last_session_is_the_one_declared_last_whatever_mri_of_an_earlier_one_follows() -> None:
    flair = VolumeSpec(name="flair", kind="mri", session="postop", suffix="FLAIR", title="FLAIR")
    assert Volumes([*PAPER_VOLUMES, flair]).last_session_reference.name == "event"
