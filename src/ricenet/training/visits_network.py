"""A network that reads several visits: one encoder for the MRIs of each, attention over visits with their
times.

Each visit is a volume of as many channels: its MRIs, what each differs by from an earlier visit's, and the
dose, so that a convolution sees lesion, change and dose of a place together. The encoded visits are tokens,
to which their time is added as Time2Vec (Kazemi et al. 2019) and what of them there is; a learned query
attends to those that there are (Vaswani et al. 2017). What is missing is NaN as in
`ricenet.training.withheld_volumes`: it is 0 for the encoder, and a visit of nothing but missing MRIs is
neither encoded nor attended to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from ricenet.training.withheld_volumes import present_in
from ricenet.vocabulary import LABELS, VolumeSpec

ORDER = ("postop", "postrt", "previous", "event")
"""Sessions in time, whatever the order of their declaration; others follow in theirs."""

DAYS = "days_rt_end_to_{session}"
"""The declared number that is the time of a visit; without it the time is the place in ORDER."""

WAVES = 7
"""Of Time2Vec, beside its linear part."""

Channel = int | None
"""A volume's place among the network's volumes; None: not declared for this visit."""


@dataclass(frozen=True)
class Visits:
    """Which volume is what, of a network's volumes.

    sessions: in time. mris: by visit, its MRIs by the same kinds of scan. dose: of all visits. times: column
    of the variables, or place in time where none is declared, by visit.
    """

    sessions: tuple[str, ...]
    mris: tuple[tuple[Channel, ...], ...]
    dose: Channel
    times: tuple[tuple[int | None, float], ...]

    @classmethod
    def of(cls, members: Sequence[VolumeSpec], columns: Sequence[str] = ()) -> Visits:
        """members: the volumes in channel order. columns: names of the variables' columns that are given.

        A set without an MRI is a single visit of its dose alone.
        """
        places = {(spec.session, spec.suffix): k for k, spec in enumerate(members) if spec.kind == "mri"}
        declared = tuple(dict.fromkeys(session for session, _ in places))
        others = tuple(sorted(session for session in declared if session not in ORDER))
        sessions = tuple(s for s in (*ORDER, *others) if s in declared) or ("",)
        kinds = sorted({suffix for _, suffix in places})
        known = {column: place for place, column in enumerate(columns)}
        return cls(
            sessions=sessions,
            mris=tuple(tuple(places.get((session, kind)) for kind in kinds) for session in sessions),
            dose=next((k for k, spec in enumerate(members) if spec.kind == "dose"), None),
            times=tuple(
                (known.get(DAYS.format(session=session)), _order(session, place) / len(ORDER))
                for place, session in enumerate(sessions)
            ),
        )

    @property
    def channels(self) -> int:
        """Of a visit as the encoder sees it: MRIs, their differences, and the dose."""
        return 2 * len(self.mris[0]) + (self.dose is not None)


def _order(session: str, place: int) -> int:
    return ORDER.index(session) if session in ORDER else len(ORDER) + place


class Time2Vec(torch.nn.Module):
    """A time (..., ) as (..., 1 + WAVES): one linear part, and sines of learned frequencies and phases."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(1, 1 + WAVES)

    def forward(self, times: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        parts = self.linear(times[..., None].to(self.linear.weight))
        return torch.cat([parts[..., :1], parts[..., 1:].sin()], dim=-1)


class VisitsNetwork(torch.nn.Module):
    """The network. difference: of a visit's MRI from that of the first visit, or of the one before.

    encoder: of a visit's channels (N, D, X, Y, Z), to features (N, size, X', Y', Z'). size: a multiple of
    `heads`.
    """

    def __init__(
        self,
        visits: Visits,
        encoder: torch.nn.Module,
        size: int,
        heads: int,
        difference: Literal["first", "previous"],
        variables: int = 0,
    ) -> None:
        super().__init__()
        self.visits, self.difference, self.uses_variables = visits, difference, variables > 0
        self.encoder = encoder
        self.time, self.of_time = Time2Vec(), torch.nn.Linear(1 + WAVES, size)
        self.of_presence = torch.nn.Linear(visits.channels, size, bias=False)
        self.query = torch.nn.Parameter(torch.zeros(1, 1, size))
        self.attention = torch.nn.MultiheadAttention(size, heads, batch_first=True)
        self.head = torch.nn.Linear(size + variables, len(LABELS))

    def forward(self, volumes: torch.Tensor, variables: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (N, K) of volumes (N, C, X, Y, Z), missing ones NaN, and variables (N, V)."""
        seen, present, there = self.arranged(volumes)
        size = self.query.shape[-1]
        encoded = self.encoder(seen[there]).mean(dim=(2, 3, 4))
        tokens = encoded.new_zeros(*there.shape, size)
        tokens[there] = encoded
        tokens = (
            tokens
            + self.of_time(self.time(self.times(there, variables)).to(tokens))
            + self.of_presence(present.to(tokens))
        )
        query = self.query.expand(len(tokens), -1, -1).to(tokens)
        found, _ = self.attention(query, tokens, tokens, key_padding_mask=~there, need_weights=False)
        features = found[:, 0]
        if self.uses_variables:
            assert variables is not None
            features = torch.cat([features, variables.to(features)], dim=1)
        logits: torch.Tensor = self.head(features)
        return logits

    def arranged(self, volumes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the encoder sees (N, V, D, X, Y, Z), which of it is there (N, V, D), and which visits are (N,
        V).

        Without any MRI the first visit is there where the dose is.
        """
        given = present_in(volumes)
        filled = torch.where(given[..., None, None, None], volumes, 0.0)
        nothing, never = torch.zeros_like(filled[:, 0]), torch.zeros_like(given[:, 0])

        def of(channel: Channel) -> tuple[torch.Tensor, torch.Tensor]:
            return (nothing, never) if channel is None else (filled[:, channel], given[:, channel])

        with_dose, dose_given = of(self.visits.dose)
        seen, present, there = [], [], []
        for place, mris in enumerate(self.visits.mris):
            found = [of(channel) for channel in mris]
            earlier = (
                [of(channel) for channel in self._earlier(place)]
                if place
                else [(nothing, never)] * len(found)
            )
            both = [mri & before for (_, mri), (_, before) in zip(found, earlier, strict=True)]
            changes = [
                (now - before) * known[:, None, None, None]
                for (now, _), (before, _), known in zip(found, earlier, both, strict=True)
            ]
            of_dose = [] if self.visits.dose is None else [(with_dose, dose_given)]
            channels = [*found, *zip(changes, both, strict=True), *of_dose]
            seen.append(torch.stack([values for values, _ in channels], dim=1))
            present.append(torch.stack([known for _, known in channels], dim=1))
            there.append(torch.stack([never, *(known for _, known in found)], dim=1).any(1))
        shown = torch.stack(there, dim=1)
        alone = ~shown.any(dim=1, keepdim=True) & dose_given[:, None]
        first = torch.arange(shown.shape[1], device=shown.device) == 0
        return torch.stack(seen, dim=1), torch.stack(present, dim=1), shown | (alone & first)

    def times(self, there: torch.Tensor, variables: torch.Tensor | None) -> torch.Tensor:
        """Of each visit (N, V): the declared days as they are encoded, else the place in time."""
        columns = [
            variables[:, column].float()
            if column is not None and variables is not None
            else torch.full((len(there),), place, device=there.device)
            for column, place in self.visits.times
        ]
        return torch.stack(columns, dim=1)

    def _earlier(self, place: int) -> tuple[Channel, ...]:
        return self.visits.mris[0 if self.difference == "first" else place - 1]
