"""The published numbers, to stand beside a run's own where its modality set is the paper's.

Source: RICE-NET, arXiv 2603.11827, section 3 and figure 2.
"""

from __future__ import annotations

CITATION = "RICE-NET, arXiv:2603.11827"

VALIDATION_MACRO_F1: dict[str, float] = {
    "post_op": 0.70,
    "event": 0.58,
    "dose": 0.78,
    "post_op+event": 0.70,
    "post_op+dose": 0.828,
    "event+dose": 0.83,
    "post_op+event+dose": 0.804,
}
"""Mean over five folds of the macro-F1 on the validation fold (80 subjects)."""

TEST_MACRO_F1: dict[str, float] = {"post_op+event+dose": 0.916}
"""Macro-F1 of the five folds' majority vote on the test set (12 subjects)."""


def as_printed(macro_f1: float | None) -> str:
    """A published number with as many decimals as the paper gives it.

    >>> as_printed(0.7), as_printed(0.828), as_printed(VALIDATION_MACRO_F1.get("flair"))
    ('0.70', '0.828', 'n/a')
    """
    if macro_f1 is None:
        return "n/a"
    return f"{macro_f1:.2f}" if round(macro_f1, 2) == macro_f1 else f"{macro_f1:.3f}"
