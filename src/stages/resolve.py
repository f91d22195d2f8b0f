"""Stage `resolve`: the aliases `champion` in MLflow -> work/champions.json.

Runs whenever the pipeline does. A former champion whose model MLflow does not hold, as in a new clone, is
registered again with its alias. The file names ensembles by content, so that what depends on it is repeated
when another ensemble is promoted, and only then.
"""

from __future__ import annotations

import logging

from ricenet.cli import run_stage
from ricenet.config.params import read_params
from ricenet.runtime.files import write_json
from ricenet.runtime.store import Store
from ricenet.tracking.settled import CHAMPIONS, ENSEMBLES, NO_CHAMPION, settled_champions

logger = logging.getLogger("ricenet.stages.resolve")


def main() -> None:
    """Write which ensemble is each modality set's champion."""
    found = settled_champions(read_params().tracking)
    for champion in found.values():
        logger.info("champion: %s", champion["said"])
    if not found:
        logger.info("%s", NO_CHAMPION)
    digests = {modality_set: champion["digest"] for modality_set, champion in found.items()}
    write_json(CHAMPIONS, digests)
    Store(ENSEMBLES).use(digests.values())


if __name__ == "__main__":
    run_stage(main)
