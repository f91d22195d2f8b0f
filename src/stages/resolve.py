"""Stage `resolve`: the aliases `champion` in MLflow -> work/champions.json.

Runs whenever the pipeline does. The file names ensembles by content, so that what depends on it is
repeated when another ensemble is promoted, and only then.
"""

from __future__ import annotations

import logging
from pathlib import Path

from ricenet.cli import run_stage
from ricenet.config.params import PARAMS_FILE, TrackingParams, read_params
from ricenet.runtime.files import write_json
from ricenet.runtime.store import Store
from ricenet.tracking.connection import open_store
from ricenet.tracking.registry import NO_CHAMPION, champions
from ricenet.tracking.settled import unless_unchanged
from ricenet.tracking.version_files import ENSEMBLES

logger = logging.getLogger("ricenet.stages.resolve")


def promoted(tracking: TrackingParams) -> dict[str, dict[str, str]]:
    """Modality set -> digest of its champion, and the champion in words."""
    store = open_store(Path(), tracking.uri, tracking.experiment)
    found = champions(store, tracking.model_prefix)
    return {name: {"digest": ensemble.digest, "said": str(ensemble)} for name, ensemble in found.items()}


def main() -> None:
    """Write which ensemble is each modality set's champion."""
    tracking = read_params().tracking
    seen = [Path(PARAMS_FILE)]
    found = unless_unchanged("champions", tracking.uri, seen, lambda: promoted(tracking))
    for champion in found.values():
        logger.info("champion: %s", champion["said"])
    if not found:
        logger.info("%s", NO_CHAMPION)
    digests = {modality_set: champion["digest"] for modality_set, champion in found.items()}
    write_json(Path("work/champions.json"), digests)
    Store(ENSEMBLES).use(digests.values())


if __name__ == "__main__":
    run_stage(main)
