"""A case for paper: what its page says, with a figure of each map in place of the viewer."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

from ricenet.display.templates import render
from ricenet.evaluation.occlusion.explained_case import Case
from ricenet.evaluation.occlusion.figure import occlusion_figure
from ricenet.evaluation.occlusion.page.case_page import map_title
from ricenet.evaluation.occlusion.page.gallery import PACKAGE
from ricenet.training.predictions import predicted_label

_DPI = 150


def printed_page(case: Case, warnings: Sequence[str] = ()) -> str:
    """The page as HTML text, in plain CSS, as what makes PDFs of pages knows no more.

    warnings: what speaks against trusting the prediction.
    """
    explanation, declared = case.explanation, case.anatomy.declared
    titles = {name: map_title(name, explanation.modality_set, declared) for name in case.maps}
    return render(
        PACKAGE,
        "printed.html",
        "printed.css",
        case=explanation,
        set_title=declared.set_title(explanation.modality_set),
        warnings=warnings,
        figures=[(titles[name], _figure(case, name)) for name in case.maps],
        summaries=[(titles[name], summary) for name, summary in explanation.maps.items()],
        votes=[(vote, predicted_label(vote.p_rice)) for vote in explanation.votes],
    )


def _figure(case: Case, name: str) -> str:
    """A map's figure, PNG as text; the same case gives the same bytes."""
    file = io.BytesIO()
    occlusion_figure(case, name).savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
    return base64.b64encode(file.getvalue()).decode("ascii")
