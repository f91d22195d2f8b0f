"""A sealed package: equal content gives equal bytes, nothing of a subject is in it, changes are refused."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import socket
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from predicting_project import TINY
from small_ensembles import ensemble_record, write_untrained
from small_evidence import evidence
from tracked_project import ENCODER, NETWORK, VARIABLES

from ricenet.inference.training_ranges import TrainingRanges, quantities
from ricenet.runtime.errors import FormatError, RegistryError, StudyError
from ricenet.study import open_package
from ricenet.study.open_package import opened_package
from ricenet.study.package_record import HomeResults, SealedRanges
from ricenet.study.plan import AnalysisPlan, SubgroupPlan
from ricenet.study.write_package import StudyContent, write_package
from ricenet.vocabulary import LABELS, PAPER_VOLUMES

RANGES = TrainingRanges(
    quantities(PAPER_VOLUMES), {"brain_ml": (1043.7, 1671.2), "event_similarity": (1.2345, 1.3456)}, 8
)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> StudyContent:
    files = tmp_path_factory.mktemp("ensembles") / "dose"
    record = ensemble_record(
        "dose",
        network=NETWORK,
        preprocessing=TINY.model_dump(),
        variables=VARIABLES,
        encoders=(ENCODER, ENCODER),
    )
    write_untrained(files, record)
    return StudyContent(
        model="rice-net-dose",
        version="3",
        files=files,
        plan=AnalysisPlan(),
        home=HomeResults.of(evidence("x"), "dose", ((3, 1), (1, 3)), LABELS),
        decision=None,
        ranges=RANGES,
        gate="passed",
        synthetic=True,
        seed=7,
        versions={"ricenet": "0.1.0"},
    )


@pytest.fixture(scope="module")
def sealed(content: StudyContent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package, to be read or copied, never changed."""
    path = tmp_path_factory.mktemp("sealed") / "study.zip"
    write_package(path, content, {})
    return path


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, contents: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, text in contents.items():
            archive.writestr(name, text)
    return path


def test_what_was_sealed_comes_out_as_it_went_in(content: StudyContent, sealed: Path) -> None:
    with opened_package(sealed) as package:
        assert package.plan == content.plan and package.home == content.home and package.decision is None
        assert package.record.gate == "passed" and package.record.seed == 7
        assert (package.files / "fold-1.safetensors").read_bytes() == (
            content.files / "fold-1.safetensors"
        ).read_bytes()
        assert package.predictor.ensemble.digest == package.record.ensemble


def test_equal_content_is_sealed_once_and_gives_equal_bytes(
    content: StudyContent, sealed: Path, tmp_path: Path
) -> None:
    with opened_package(sealed) as package:
        before = {package.record.content: "2026-01-02T03:04:05+00:00"}
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    record = write_package(first, content, before)
    write_package(second, content, before)
    assert record.sealed_utc == "2026-01-02T03:04:05+00:00"
    assert first.read_bytes() == second.read_bytes()
    other = replace(content, plan=AnalysisPlan(seed=8))
    assert write_package(tmp_path / "other.zip", other, before).sealed_utc != record.sealed_utc


def test_nothing_that_identifies_is_in_it(sealed: Path, content: StudyContent) -> None:
    texts = {name: text for name, text in members(sealed).items() if not name.endswith(".safetensors")}
    whole = b"\n".join(texts.values()).decode()
    assert not re.search(r"sub-[0-9A-Za-z]+", whole)
    for word in (socket.gethostname(), str(content.files), str(Path.home()) + "/", f"{getpass.getuser()}@"):
        assert word not in whole, word


def test_ends_of_training_ranges_are_nobodys_values() -> None:
    widened = SealedRanges.of(RANGES).ranges()
    assert widened.limits == {"brain_ml": (1000.0, 1700.0), "event_similarity": (1.2, 1.4)}


def test_a_plan_is_readable_and_is_the_sealed_one(sealed: Path) -> None:
    plan = json.loads(members(sealed)["plan.json"])
    assert plan["primary"] == "macro_f1" and plan["resamples"] == 9999 and plan["smallest_cell"] == 5


def test_a_file_in_the_way_is_left_alone(content: StudyContent, sealed: Path) -> None:
    before = sealed.read_bytes()
    with pytest.raises(StudyError, match="is there already"):
        write_package(sealed, content, {})
    assert sealed.read_bytes() == before


def test_a_plan_with_a_column_that_nobody_has_is_not_sealed(content: StudyContent, tmp_path: Path) -> None:
    plan = AnalysisPlan(subgroups=(SubgroupPlan(column="hospital", groups=("a",)),))
    with pytest.raises(StudyError, match="hospital is no column that divides subjects; known are site, sex"):
        write_package(tmp_path / "study.zip", replace(content, plan=plan), {})
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_the_ensembles_are_not_sealed(content: StudyContent, tmp_path: Path) -> None:
    files = shutil.copytree(content.files, tmp_path / "files")
    weights = bytearray((files / "fold-0.safetensors").read_bytes())
    weights[-1] ^= 1
    (files / "fold-0.safetensors").write_bytes(weights)
    with pytest.raises(RegistryError, match="weights or ensemble"):
        write_package(tmp_path / "study.zip", replace(content, files=files), {})


# --- packages that are refused ---


def changed_weights(contents: dict[str, bytes]) -> None:
    name = "ensemble/fold-1.safetensors"
    contents[name] = contents[name][:-1] + bytes([contents[name][-1] ^ 1])


def changed_plan(contents: dict[str, bytes]) -> None:
    contents["plan.json"] = contents["plan.json"].replace(b'"seed": 7', b'"seed": 8')


def changed_description(contents: dict[str, bytes]) -> None:
    contents["study.json"] = contents["study.json"].replace(b'"gate": "passed"', b'"gate": "golden"')


def newer(contents: dict[str, bytes]) -> None:
    contents["study.json"] = json.dumps(json.loads(contents["study.json"]) | {"format": 2}).encode()


def no_description(contents: dict[str, bytes]) -> None:
    contents["study.json"] = b"[1, 2]"


def name_that_leads_out(contents: dict[str, bytes]) -> None:
    contents["../evil.txt"] = b"hello"


def absolute_name(contents: dict[str, bytes]) -> None:
    contents["/tmp/evil.txt"] = b"hello"


def code(contents: dict[str, bytes]) -> None:
    contents["ensemble/model.py"] = b"print('hello')"


def missing_fold(contents: dict[str, bytes]) -> None:
    del contents["ensemble/fold-1.safetensors"]


def without_description(contents: dict[str, bytes]) -> None:
    del contents["study.json"]


def many_members(contents: dict[str, bytes]) -> None:
    contents |= {f"{k}.txt": b"" for k in range(200)}


CHANGES: list[tuple[Callable[[dict[str, bytes]], None], str]] = [
    (changed_weights, "ensemble/fold-1.safetensors is not what was sealed (its digest differs)"),
    (changed_plan, "plan.json is not what was sealed (its digest differs)"),
    (changed_description, "study.json is not what was sealed (the seal does not fit)"),
    (no_description, "study.json does not describe a study package"),
    (name_that_leads_out, "1 member(s) are missing, or none of a study package"),
    (absolute_name, "1 member(s) are missing, or none of a study package"),
    (code, "1 member(s) are missing, or none of a study package"),
    (missing_fold, "1 member(s) are missing, or none of a study package"),
    (without_description, "it lacks study.json"),
    (many_members, "members, at most 128"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_a_package_that_is_not_as_it_was_sealed_is_refused(
    sealed: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None], said: str
) -> None:
    contents = members(sealed)
    change(contents)
    with pytest.raises(StudyError) as refused, opened_package(pack(tmp_path / "study.zip", contents)):
        pass
    assert said in str(refused.value) and "study.zip" in str(refused.value)
    assert "evil" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["study.zip"]


def test_a_package_of_a_newer_format_is_told_so(sealed: Path, tmp_path: Path) -> None:
    contents = members(sealed)
    newer(contents)
    with (
        pytest.raises(FormatError, match=r"is of format 2, and this version of ricenet .* reads 1"),
        opened_package(pack(tmp_path / "study.zip", contents)),
    ):
        pass


def test_a_package_that_was_packed_again_is_refused(sealed: Path, tmp_path: Path) -> None:
    again = pack(tmp_path / "study.zip", members(sealed), zipfile.ZIP_DEFLATED)
    with pytest.raises(StudyError, match="was packed again"), opened_package(again):
        pass


def test_a_name_twice_is_refused(sealed: Path, tmp_path: Path) -> None:
    path = shutil.copy(sealed, tmp_path / "study.zip")
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("plan.json", b"{}")
    with pytest.raises(StudyError, match="has a name twice"), opened_package(path):
        pass


def test_a_member_beyond_the_bound_is_refused_before_it_is_read(
    sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_package, "MOST_WEIGHTS_BYTES", 1000)
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    with pytest.raises(StudyError, match=r"a member of \d+ MB, at most 0 are taken"), opened_package(sealed):
        pass


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no study package"),
        (b"hello", "is no study package"),
        (b'{"seal": 1}', "A result goes to `ricenet validation add`"),
        (b"\x89PNG\r\n\x1a\n" * 40, "is no study package"),
        (b"x" * 100 + b"PK\x05\x06" + bytes(18), "it lacks study.json"),
        (
            b"x" * 100 + b"PK\x05\x06" + bytes([0] * 4 + [3, 0, 3, 0, 90, 0, 0, 0, 5] + [0] * 5),
            "damaged archive",
        ),
    ],
)
def test_what_is_no_archive_of_ours_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "thing"
    path.write_bytes(content)
    with pytest.raises(StudyError) as refused, opened_package(path):
        pass
    assert said in str(refused.value)


def test_a_package_that_was_cut_off_is_refused(sealed: Path, tmp_path: Path) -> None:
    path = tmp_path / "study.zip"
    path.write_bytes(sealed.read_bytes()[:-400])
    with pytest.raises(StudyError, match="is no study package"), opened_package(path):
        pass
