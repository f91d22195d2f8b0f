"""`ricenet export bundle`: MONAI alone answers as ricenet does, by the bundle's own config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported_bundles import KINDS, SUBJECTS, THRESHOLD, Bundled, our_p_rice, without_ricenet, write_bundled
from exported_bundles import write_subjects

from ricenet.bundle.inference_config import table_columns
from ricenet.evaluation.evidence.calibration import recalibrated
from ricenet.training.ensemble import majority_vote

BY_PARTS = """
import json
import pathlib
try:
    import ricenet
    raise SystemExit("ricenet is not blocked")
except ImportError:
    pass
import torch
from monai.bundle import ConfigParser, verify_net_in_out
from monai.bundle.properties import InferProperties, MetaProperties
root, subjects, *kinds = sys.argv[1:]
found = {}
for kind in kinds:
    folder = pathlib.Path(root) / kind
    config, meta = str(folder / "configs/inference.json"), str(folder / "configs/metadata.json")
    verify_net_in_out("network_def", meta, config, device="cpu", bundle_root=str(folder))
    parser = ConfigParser()
    parser.read_config(config)
    parser.read_meta(meta)
    lacking = [name for name, known in {**InferProperties, **MetaProperties}.items()
               if known["required"] and known["id"] not in parser]
    assert not lacking, lacking
    parser.update({"bundle_root": str(folder), "dataset_dir": subjects, "device": "cpu"})
    get = parser.get_parsed_content
    network, inferer, after = get("network"), get("inferer"), get("postprocessing")
    with torch.no_grad():
        found[kind] = {item["subject"]: after({"pred": inferer(item["image"][None], network)[0]})["answer"].tolist()
                       for item in get("dataset")}
print(json.dumps(found))
"""
"""Data, network, inferer and postprocessing of a config, without the engine that needs pytorch-ignite."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bundles")
    write_subjects(made / "subjects")
    return made


@pytest.fixture(scope="module")
def bundles(folder: Path) -> dict[str, Bundled]:
    return {kind: write_bundled(folder, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def answers(folder: Path, bundles: dict[str, Bundled]) -> Any:
    return without_ricenet(BY_PARTS, str(folder), str(folder / "subjects"), *bundles, cwd=folder)


@pytest.mark.parametrize("kind", KINDS)
def test_monai_alone_answers_as_the_folds_do(
    folder: Path, bundles: dict[str, Bundled], answers: Any, kind: str
) -> None:
    assert list(answers[kind]) == list(SUBJECTS)
    ours, theirs = our_p_rice(bundles[kind], folder / "subjects"), np.array(list(answers[kind].values()))
    folds = ours.shape[1]
    # answers that hardly differ would show nothing
    assert np.ptp(ours) > 0.01
    np.testing.assert_allclose(theirs[:, :folds], ours, rtol=0, atol=1e-5)
