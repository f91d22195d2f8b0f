"""Write the report page."""

from __future__ import annotations

import logging
from pathlib import Path

from ricenet.cli import run_stage
from ricenet.config.params import read_params
from ricenet.config.preset import to_yaml
from ricenet.report.page import write_report
from ricenet.report.protocol import Protocol, described_commit, package_versions, printed_params
from ricenet.report.results import read_results
from ricenet.runtime.stage_times import read_stage_times
from ricenet.tracking.address import redacted

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
    page = write_report(read_results(PROJECT, params.seed), PROJECT / "work" / "report", protocol)
    logger.info("%s", page)


if __name__ == "__main__":
    run_stage(main)
