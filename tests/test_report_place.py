"""Where a cohort lies may name a person, so the page does not tell it."""

import shutil

from small_report import page_of, protocol, write_project

from ricenet.config.params import CohortParams
from ricenet.report.protocol import printed_params


def test_of_the_cohorts_place_only_the_folders_name_is_reported(tmp_path):
    project = write_project(tmp_path)
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
