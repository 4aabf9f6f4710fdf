"""What drawing in a second process promises: the same bytes, whatever becomes of the process."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import pytest

from bitdose.report.figures.drawing import draw
from bitdose.report.figures.figure_data import all_figures
from bitdose.report.figures.render_pool import aside
from bitdose.results.summary import Summary


def test_a_drawing_is_the_same_wherever_it_is_made(summary: Summary) -> None:
    """Some figures are drawn by the other process and some here, asked for from the last: all as ever."""
    figures = all_figures(summary)
    with aside() as pen:
        pending = [pen(figure) for figure in figures]
        found = [give() for give in reversed(pending)][::-1]
    assert found == [draw(figure) for figure in figures]


def test_a_process_that_dies_costs_no_figure(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before it could draw, it leaves what was asked of it, and what comes later, to this process."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    first, second, *_ = all_figures(summary)
    with aside() as pen:
        give = pen(first)
        for process in multiprocessing.active_children():
            process.kill()
        assert give() == draw(first)
        assert pen(second)() == draw(second)


def test_one_core_draws_here(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is started where it would only take turns with this one."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.delattr(ProcessPoolExecutor, "submit")
    figure = all_figures(summary)[0]
    with aside() as pen:
        assert pen(figure)() == draw(figure)
