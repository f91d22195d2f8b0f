"""A planning CT that lies over the scan only when turned about is refused: it may be mirrored as well."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ricenet.importing import planning_registration
from ricenet.importing.planning_registration import register_to_post_op
from ricenet.preprocessing.registration.rigid_registration import RigidResult
from ricenet.runtime.errors import SourceError
from ricenet.volume import Grid, Volume

SCAN = Volume(np.ones((4, 4, 4), np.float32), Grid((4, 4, 4), np.eye(4)))


def registering_turned(degrees: float, monkeypatch: pytest.MonkeyPatch) -> None:
    found = np.eye(4)
    found[:3, :3] = Rotation.from_rotvec([degrees * 0.6, 0, degrees * 0.8], degrees=True).as_matrix()
    result = RigidResult(found, similarity=1.12, similarity_before=1.0, searched=True)
    monkeypatch.setattr(planning_registration, "register_head", lambda *_: result)


@pytest.mark.parametrize("degrees", [90.0, 180.0, -180.0, 61.0])
def test_a_ct_turned_about_is_refused_however_similar_it_is(
    degrees: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    registering_turned(degrees, monkeypatch)
    message = (
        rf"only when turned by {abs(degrees):.0f} degrees \(at most 60 are expected\).* be mirrored as well"
    )
    with pytest.raises(SourceError, match=message):
        register_to_post_op(SCAN, SCAN, SCAN, seed=7)


@pytest.mark.parametrize("degrees", [0.0, 25.0, -59.0])
def test_a_tilted_head_is_not(degrees: float, monkeypatch: pytest.MonkeyPatch) -> None:
    registering_turned(degrees, monkeypatch)
    assert register_to_post_op(SCAN, SCAN, SCAN, seed=7).similarity == 1.12
