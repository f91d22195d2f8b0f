"""What speaks for a proposed role: no single tag or date is trusted alone."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_SIGNS = 2
"""Operators copy descriptions, protocols keep agents, anonymisers change dates: two have to agree."""


@dataclass(frozen=True)
class Signs:
    """What speaks for a series being a volume, and what against it; one entry a source (a tag, the dates)."""

    of: tuple[str, ...] = ()
    against: tuple[str, ...] = ()

    def joined(self, *further: str) -> Signs:
        """With further signs for it."""
        return Signs((*self.of, *further), self.against)

    @property
    def agree(self) -> bool:
        """Whether a role may be proposed: two sources say so, and none contradicts."""
        return len(self.of) >= LEAST_SIGNS and not self.against

    def judged(self, role: str, undecided: str, note: str) -> tuple[str, str]:
        """The role where the signs agree, else the undecided one; and the note with the signs."""
        if self.agree:
            return role, f"{note}; {self}"
        return undecided, f"{note}; {self}: look at it, and write {role} if it is that"

    def __str__(self) -> str:
        against = f"; against it: {', '.join(self.against)}" if self.against else ""
        return f"signs: {', '.join(self.of) or 'none'}{against}"
