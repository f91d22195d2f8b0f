"""The official validator of BIDS, bids-validator-deno, as tests ask it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

VALIDATOR = Path(sys.executable).with_name("bids-validator-deno")


def errors(dataset: Path) -> list[tuple[str, str]]:
    """Code and place of every error that the validator finds."""
    asked = [str(VALIDATOR), str(dataset), "--format", "json"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["issues"]["issues"]
    return [(issue["code"], issue["location"]) for issue in found if issue["severity"] == "error"]
