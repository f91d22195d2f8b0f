"""Every stage works on a cohort into which nobody may write, and none tries to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from small_project import PASSES
from tally import OTHERS
from undisturbed import Reference

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", [step.name for step in PASSES])
def test_no_stage_tries_to_write_into_the_cohort(
    reference: Reference, name: str, record_property: Callable[[str, object], None]
) -> None:
    step = next(step for step in PASSES if step.name == name)
    changes = reference.changes(step)
    assert changes and not [change for change in changes if " data/mine" in change]
    record_property(OTHERS, f"read-only cohort: {name}")


def test_the_undisturbed_project_ran_on_a_cohort_that_was_mounted_read_only(reference: Reference) -> None:
    if not reference.was_read_only:
        pytest.skip("a folder may not be mounted read-only here")
    assert (reference.ended / "work/vote/vote.json").is_file()
