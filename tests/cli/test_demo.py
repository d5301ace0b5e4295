"""The demonstration's page is there before training begins, and says so."""

from __future__ import annotations

import pytest

from so3krates_lite.cli import demo


class Began(Exception):
    pass


def test_the_first_picture_does_not_wait_for_training(tmp_path, monkeypatch, capsys):
    page = tmp_path / "demo" / "report.html"

    def train(*_, **__):
        assert page.is_file()
        raise Began

    monkeypatch.setattr(demo, "train", train)
    with pytest.raises(Began):
        demo.run_demo(tmp_path / "demo")
    text = page.read_text(encoding="utf-8")
    assert demo.UNTRAINED in text and demo.TEACHER in text
    assert "bundled model, test" in text and "What it attends to" in text
    assert str(page) in capsys.readouterr().out
