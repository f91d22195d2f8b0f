"""What the best reader of each modality set reaches on each of the phantom's mechanisms (docs/phantom.md).

    python benchmarks/phantom_ceilings.py
    python benchmarks/phantom_ceilings.py --markdown      # the tables of docs/phantom.md

No images are made: a reader knows the mechanism and the features that its volumes show.
"""

from __future__ import annotations

import argparse
import json

from ricenet.phantom.ceilings import Ceiling, ceiling
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.vocabulary import PAPER_VOLUMES


def table(found: dict[str, dict[str, Ceiling]], score: str) -> str:
    """One line a mechanism, one column a modality set."""
    sets = list(PAPER_VOLUMES.sets)
    rows = [["mechanism", *sets], ["---"] * (len(sets) + 1)]
    rows += [[name, *(f"{getattr(of[s], score):.2f}" for s in sets)] for name, of in found.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Print a line a figure, or tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--subjects", type=int, default=40_000, help="that are drawn")
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args()
    found = {
        name: {s: ceiling(mechanism, s.split("+"), given.subjects) for s in PAPER_VOLUMES.sets}
        for name, mechanism in MECHANISMS.items()
    }
    if given.markdown:
        print(f"Macro-F1:\n\n{table(found, 'macro_f1')}\n\nArea under the curve:\n\n{table(found, 'auc')}")
        return
    for name, of in found.items():
        for modality_set, best in of.items():
            for score, value in vars(best).items():
                line = {"mechanism": name, "modality_set": modality_set, "subjects": given.subjects}
                print(
                    json.dumps({"name": f"{name} {modality_set} {score}", "value": round(value, 4), **line})
                )


if __name__ == "__main__":
    main()
