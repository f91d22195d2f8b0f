"""One case of the service: where it stands, how far it is, and which of its files are still needed."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ricenet.service.answers import CaseAnswer, ExplanationState, PredictionAnswer, State
from ricenet.service.case_work import KEPT, PAGE, UPLOADS
from ricenet.service.child import TEMPORARY, Outcome


@dataclass
class Case:
    """A case and where it stands; changed under the lock of its `Cases` alone.

    page_key: opens the page of its occlusion map. ended_at: of the clock `time.monotonic`, when it was done,
    refused or failed; what is kept of it is kept from then on.
    """

    id: str
    folder: Path
    state: State = "queued"
    step: str | None = None
    share: float | None = None
    step_began: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    error: str | None = None
    prediction: Mapping[str, Any] | None = None
    explanation: ExplanationState = "none"
    explanation_error: str | None = None
    page_key: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    ended_at: float | None = None

    @property
    def page(self) -> Path:
        """Of its occlusion map."""
        return self.folder / PAGE

    def begin(self, step: str, share: float | None, now: float) -> None:
        """Note that a step begins, or goes on."""
        if step != self.step:
            self.end_step(now)
            self.step, self.step_began = step, now
        # an occlusion map is made in several rounds, each of which counts from the start
        self.share = share if self.share is None or share is None else max(share, self.share)

    def end_step(self, now: float) -> None:
        """Note how long the step took that ends."""
        if self.step is not None:
            self.seconds[self.step] = round(now - self.step_began, 3)
        self.step = self.share = None

    def work_begins(self, *, explaining: bool) -> None:
        """Note that the worker takes it, to predict or to explain it."""
        if explaining:
            self.explanation = "running"
        else:
            self.state = "running"

    def work_ends(self, outcome: Outcome, error: str | None, now: float, *, explaining: bool) -> None:
        """Note what the worker made of it. error: what is told of a failure."""
        self.end_step(now)
        self.ended_at = now
        if explaining:
            self.explanation, self.explanation_error = ("failed", error) if error else ("done", None)
        elif outcome.problems:
            self.state, self.problems = "refused", outcome.problems
        elif outcome.answer is None:
            self.state, self.error = "failed", error
        else:
            self.state, self.prediction = "done", outcome.answer

    def remove_unneeded(self) -> None:
        """Remove files that nothing asks for any more: of a predicted case, what its map needs stays."""
        if self.state != "done":
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        # the page is all that is left once it is made
        for name in (UPLOADS, TEMPORARY, *([KEPT] if self.explanation == "done" else [])):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def answer_now(
        self, now: float, ahead: int, usual: Mapping[str, float], kept_seconds: float
    ) -> CaseAnswer:
        """Where it stands. usual: how long each step of the last predicted case took."""
        share, left = self.progress(now, usual)
        kept = None if self.ended_at is None else max(self.ended_at + kept_seconds - now, 0.0)
        return CaseAnswer(
            id=self.id,
            state=self.state,
            ahead=ahead,
            step=self.step,
            share_done=share,
            seconds_left=left,
            problems=list(self.problems),
            error=self.error,
            prediction=None if self.prediction is None else PredictionAnswer.model_validate(self.prediction),
            explanation=self.explanation,
            explanation_error=self.explanation_error,
            seconds=dict(self.seconds),
            seconds_kept=None if kept is None else round(kept, 1),
        )

    def progress(self, now: float, usual: Mapping[str, float]) -> tuple[float | None, float | None]:
        """The share that is done, and the seconds left, as far as the last predicted case tells."""
        if self.step is None:
            return None, None
        in_step = now - self.step_began
        if self.state != "running":
            # an occlusion map says how far it is
            left = None if not self.share else in_step * (1 - self.share) / self.share
            return self.share, None if left is None else round(left, 1)
        if self.step not in usual:
            return self.share, None
        names = list(usual)
        after = sum(usual[name] for name in names[names.index(self.step) + 1 :])
        left = max(usual[self.step] - in_step, 0.0) + after
        done = sum(self.seconds.values()) + in_step
        return round(done / max(done + left, 1e-9), 3), round(left, 1)
