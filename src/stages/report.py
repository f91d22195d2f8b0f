"""Write the report page."""

from __future__ import annotations

import logging
from pathlib import Path

from ricenet.cli import run_stage
from ricenet.config.params import read_params
from ricenet.config.preset import to_yaml
from ricenet.report.labels_page import write_labels_report
from ricenet.report.labels_results import read_label_results
from ricenet.report.page import write_report
from ricenet.report.protocol import Protocol, described_commit, package_versions, printed_params
from ricenet.report.results import read_results
from ricenet.runtime.stage_times import read_stage_times
from ricenet.tracking.address import redacted
from ricenet.vocabulary import is_rice_task

logger = logging.getLogger("ricenet.stages.report")

PROJECT = Path()


def main() -> None:
    """Write work/report/index.html with its figures beside it, and report.pdf where the parameters ask."""
    params = read_params()
    protocol = Protocol(
        params=params,
        settings=redacted(to_yaml(printed_params(params))),
        versions=package_versions(),
        commit=described_commit(PROJECT),
        times=read_stage_times(),
    )
    folder = PROJECT / "work" / "report"
    if is_rice_task(params.labels):
        page = write_report(read_results(PROJECT, params.seed), folder, protocol)
    else:
        page = write_labels_report(read_label_results(PROJECT, params.seed), folder, protocol)
    logger.info("%s", page)


if __name__ == "__main__":
    run_stage(main)
