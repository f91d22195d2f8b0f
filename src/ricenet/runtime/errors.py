"""Errors that a user can mend; the command line prints them without a traceback."""

from __future__ import annotations

from collections.abc import Sequence


class RicenetError(Exception):
    """Base of every problem that the user, not the programmer, has to solve."""


class ParamsError(RicenetError):
    """One or more values in the parameter file are refused; all of them are listed."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{source}: {len(self.problems)} problem(s)\n{lines}")


class ScanError(RicenetError):
    """A scan cannot be used: says whose, which file, what was found and what to do."""

    def __init__(self, subject: str, scan: str, found: str, remedy: str) -> None:
        self.subject, self.scan, self.found, self.remedy = subject, scan, found, remedy
        super().__init__(f"{subject}: {scan}: {found}. {remedy}")


class VariableError(RicenetError):
    """A variable of a subject cannot be used: says whose, which variable, what was found and what to do."""

    def __init__(self, subject: str, variable: str, found: str, remedy: str) -> None:
        super().__init__(f"{subject}: {variable}: {found}. {remedy}")


class SourceError(RicenetError):
    """Something in the files to be imported cannot be used; the importer adds whose it is.

    found, remedy: free of names, identifiers, dates, UIDs and paths, since they reach logs and tables.
    """

    def __init__(self, found: str, remedy: str) -> None:
        self.found, self.remedy = found, remedy
        super().__init__(f"{found}. {remedy}")

    def __reduce__(self) -> tuple[type[SourceError], tuple[str, str]]:
        # exceptions with two arguments are not rebuilt from their message alone
        return SourceError, (self.found, self.remedy)


class CohortError(RicenetError):
    """The cohort as a whole cannot be used (missing table, faulty subjects, no test subjects)."""


class StoreError(RicenetError):
    """The store of finished results cannot be written or cleaned; it is no subject's fault."""


class SplitError(RicenetError):
    """Subjects cannot be divided into the folds and test set that were asked for."""


class TrainingError(RicenetError):
    """Training stopped; says which modality set, fold and epoch."""


class RegistryError(RicenetError):
    """A registered model, version or alias is missing or does not fit the data at hand."""


class ProjectError(RicenetError):
    """A project cannot be made, or is not at the version that is installed."""


class ServerError(RicenetError):
    """The project's MLflow server cannot be started, backed up or restored."""


class ResultError(RicenetError):
    """A stage's result is missing or does not fit the others; says which file and who makes it."""


class FormatError(ResultError):
    """A file is of a format that this version does not read; says which file, both numbers and what to do."""


class StudyError(RicenetError):
    """A package, plan or result of an external validation cannot be used; says which and what to do."""


class GuardError(RicenetError):
    """A guard against leaks failed; lists every one, whom it concerns and what to do."""


class PacsError(RicenetError):
    """A PACS cannot be reached, refuses, or does not answer as DICOMweb does.

    status: of its answer; None without one. answer: what it said to a request to store; never to be shown,
    since it may name patients.
    """

    def __init__(self, found: str, status: int | None = None, answer: bytes = b"") -> None:
        self.status, self.answer = status, answer
        super().__init__(found)


class PacsAwayError(PacsError):
    """A PACS gives no answer at all: whatever else is asked of it now will fail too."""
