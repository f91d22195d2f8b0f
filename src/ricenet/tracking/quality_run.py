"""The run of quality control in MLflow, from files alone."""

from __future__ import annotations

from pathlib import Path

from ricenet.runtime.files import content_digest, read_json
from ricenet.tracking.descriptions import NOTE
from ricenet.tracking.gather import made_by
from ricenet.tracking.run_content import ArtifactGroup, RunContent, flat


def quality_content(project: Path) -> RunContent | None:
    """The run of quality control: its pages and tables, the group's medians; None where there is none yet.

    Other measures or other limits make another run; pages that only look different do not.
    """
    folder = project / "work" / "quality"
    if not (folder / "summary.json").is_file():
        return None
    with made_by("quality"):
        summary = read_json(folder / "summary.json")
        key = content_digest({"quality": summary["digest"]})
        counts = {name: float(summary[name]) for name in ("subjects", "marked", "excluded")}
        medians = {f"median_{name}": float(value) for name, value in summary["medians"].items()}
        return RunContent(
            kind="quality",
            name="quality",
            set_key=key,
            key=key,
            params=flat(summary["limits"]),
            tags={
                "ricenet.data_digest": summary["cohort_digest"],
                "ricenet.preprocessing_digest": summary["preprocessing_digest"],
                NOTE: f"Quality control: {summary['subjects']} subjects, {summary['marked']} marked to "
                f"follow up, {summary['excluded']} excluded. Its pages: `ricenet open quality`.",
            },
            metrics=counts | medians,
            artifacts=(ArtifactGroup.of_folder("quality", folder),),
        )
