"""A line that tells how far something is, on a terminal alone."""

import io
import os
import sys
import threading

import pytest

from tfclust.data.reading import scan
from tfclust.runtime import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def fileno(self):
        return 2


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_long_check_shows_a_bar_on_a_terminal_alone(monkeypatch, stream):
    monkeypatch.setattr(progress, "_SHOWN_AFTER", 0.0)
    monkeypatch.setattr(progress, "_REDRAWN_EVERY", 0.0)
    monkeypatch.setattr("sys.stderr", stream())
    threads = threading.active_count()
    with scan.checking("/ima\rges", 2000, done=500) as line:
        line.update(500)
        line.update(1000)
        assert threading.active_count() == threads
    shown = sys.stderr.getvalue().split("\r")
    if stream is io.StringIO:
        assert shown == [""]
        return
    first, half, done = (
        "#" * filled + " " * (30 - filled) for filled in (7, 15, 30)
    )
    # Before the first ones are done nobody knows how long it will take.
    seen = [words.rpartition(",")[0] for words in shown]
    assert seen == [
        "",
        rf"Checking /ima\rges [{first}] 500 of 2,000",
        rf"Checking /ima\rges [{half}] 1,000 of 2,000",
        rf"Checking /ima\rges [{done}] 2,000 of 2,000",
        "",
        "",
    ]
    assert shown[1].endswith(", ? left") and shown[2].endswith(":00 left")
    assert not shown[-2].strip() and not shown[-1]  # the line is wiped


def test_what_is_done_soon_shows_no_line(monkeypatch):
    monkeypatch.setattr("sys.stderr", Terminal())
    with progress.line("soon", 10) as line:
        line.update(10)
    assert sys.stderr.getvalue() == ""


def test_a_name_longer_than_the_terminal_takes_one_line(monkeypatch):
    monkeypatch.setattr("sys.stderr", Terminal())
    size = os.terminal_size((60, 20))
    monkeypatch.setattr(os, "get_terminal_size", lambda number: size)
    with progress.line("name" * 50, 10, after=0.0) as line:
        line.update(10)
    assert max(map(len, sys.stderr.getvalue().split("\r"))) <= 60
