"""A case on paper: it says what its page says, holds a figure of each map, and prints without a remark."""

from __future__ import annotations

import logging
import re
from html import unescape

import pytest
from case_results import can_print
from explained_cases import blob, case, summary

from ricenet.display.pdf import page_as_pdf
from ricenet.evaluation.occlusion.page.printed_page import printed_page


def words(html: str) -> str:
    """What is read, with single spaces."""
    return " ".join(unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.S)).split())


@pytest.fixture(scope="module")
def page() -> str:
    return printed_page(case(calibrated=0.41, label="n/a"), ["the dose is <high>"])


def test_answer_votes_maps_and_warnings_are_said(page: str) -> None:
    said = words(page)
    assert "Research use only, not a medical device." in said
    assert "predicted recurrence p_rice, calibrated 0.410 p_rice, raw 0.320" in said
    assert "0 0.710 rice 1 0.320 recurrence 2 0.640 rice" in said
    assert "Warnings the dose is <high> Votes" in said
    assert "above 40 Gy 60.0 % 10.0 %" in said and "lesion 50.0 % 2.0 %" in said
    assert "splits 0a1b2c" in said


def test_each_map_has_a_figure_and_nothing_is_loaded(page: str) -> None:
    assert page.count("data:image/png;base64,") == 3
    for hidden in ("all volumes", "event T1ce alone", "dose alone"):
        assert f"Hidden: {hidden}" in words(page)
    assert not re.search(r"https?://|<script|<link", page)


def test_what_is_not_known_is_left_out() -> None:
    said = words(
        printed_page(case(maps={"together": blob((9, 9, 9), 2.0)}, summaries={"together": summary()}))
    )
    assert "calibrated" not in said and "Warnings" not in said and "p_rice 0.320" in said


def test_a_printed_case_is_the_same_twice_and_prints_without_a_remark(
    page: str, caplog: pytest.LogCaptureFixture
) -> None:
    if not can_print():
        pytest.skip("WeasyPrint cannot be used here")
    with caplog.at_level(logging.WARNING):
        first, second = (page_as_pdf(page, "wanted", "do without") for _ in range(2))
    assert first.startswith(b"%PDF-") and first == second
    assert caplog.records == []
