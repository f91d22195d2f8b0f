import builtins
import importlib
import logging
import re
import sys
import zlib

import pytest

from ricenet.report.page import write_pdf
from ricenet.runtime.errors import ResultError

PAGE = (
    "<!DOCTYPE html><html lang='en'><head><title>A page</title></head>"
    "<body><h1>A page</h1><a href='../explain/dose/index.html'>gallery</a></body></html>"
)


def unpacked(pdf):
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.S)
    return pdf + b"".join(zlib.decompressobj().decompress(s) for s in streams if s[:1] == b"x")


def refuse_weasyprint(monkeypatch, error):
    real = builtins.__import__

    def guarded(name, *rest):
        if name == "weasyprint":
            raise error
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "weasyprint", raising=False)
    monkeypatch.setattr(builtins, "__import__", guarded)


def test_without_weasyprint_the_extra_is_named(tmp_path, monkeypatch):
    refuse_weasyprint(monkeypatch, ImportError("No module named 'weasyprint'"))
    with pytest.raises(ResultError, match=r'WeasyPrint is not installed.*pip install "ricenet\[pdf\]"'):
        write_pdf(PAGE, tmp_path / "report.pdf")
    assert list(tmp_path.iterdir()) == []


def test_without_pango_the_system_library_is_named(tmp_path, monkeypatch):
    refuse_weasyprint(monkeypatch, OSError("cannot load library 'libpango-1.0-0'"))
    with pytest.raises(ResultError, match=r"system library Pango.*apt install libpango-1\.0-0"):
        write_pdf(PAGE, tmp_path / "report.pdf")
    assert list(tmp_path.iterdir()) == []


def test_a_pdf_is_the_same_twice_and_tells_no_path(tmp_path, caplog):
    try:
        importlib.import_module("weasyprint")
    except (ImportError, OSError) as error:
        pytest.skip(f"WeasyPrint cannot be used here: {error}")
    with caplog.at_level(logging.WARNING):
        for name in ("a.pdf", "b.pdf"):
            write_pdf(PAGE, tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("a.pdf", "b.pdf"))
    assert first.startswith(b"%PDF-")
    assert first == second
    assert b"../explain/dose/index.html" in unpacked(first)
    assert str(tmp_path).encode() not in unpacked(first)
    assert caplog.records == []
