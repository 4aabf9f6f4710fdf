"""What lists, ranges and presets of points promise."""

from __future__ import annotations

import pytest

from bitdose.codecs.grid import PRESETS, chains_of, expand_points, run_order
from bitdose.codecs.point import Point
from bitdose.errors import UsageError


def _texts(points: str | list[str]) -> list[str]:
    return [str(point) for point in expand_points(points)]


def test_the_paper_preset_is_pristine_and_four_chains_of_twelve() -> None:
    """The paper's grid: JPEG and JPEG 2000, at full size and interpolative at 256."""
    points = expand_points("paper")
    chains = chains_of(points)
    assert points[0].is_pristine
    assert {name: len(chain) for name, chain in chains.items()} == {
        "jpeg": 12,
        "jpeg2000": 12,
        "jpeg@256": 12,
        "jpeg2000@256": 12,
    }
    assert len(points) == 1 + 4 * 12


def test_the_quick_preset_is_a_part_of_the_papers() -> None:
    """Every point of ``quick`` is one of ``paper``, of the same four chains."""
    quick = expand_points("quick")
    assert set(quick) < set(expand_points("paper"))
    assert list(chains_of(quick)) == list(chains_of(expand_points("paper")))


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_written_in_run_order(name: str) -> None:
    """Each preset reads chain by chain, mild to strong, without repeats."""
    assert _texts(name) == ["pristine", *PRESETS[name]]


def test_a_list_is_commas_or_several_texts() -> None:
    """Commas, spaces and separate texts mean the same."""
    expected = ["pristine", "jpeg:q50", "jpeg2000:8x"]
    assert _texts("jpeg:q50,jpeg2000:8x") == expected
    assert _texts(["jpeg:q50", " jpeg2000:8x ,"]) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jpeg:q3..1", ["jpeg:q3", "jpeg:q2", "jpeg:q1"]),
        ("jpeg:q1..q3", ["jpeg:q3", "jpeg:q2", "jpeg:q1"]),
        ("jpeg:q10..30/10+444@256", ["jpeg:q30+444@256", "jpeg:q20+444@256", "jpeg:q10+444@256"]),
        ("jpeg:q10..25/10", ["jpeg:q20", "jpeg:q10"]),
        ("jpeg2000:2x..3x/0.5", ["jpeg2000:2x", "jpeg2000:2.5x", "jpeg2000:3x"]),
        ("jpeg2000:2x..4", ["jpeg2000:2x", "jpeg2000:3x", "jpeg2000:4x"]),
        ("jpeg2000:30dB..40dB/5", ["jpeg2000:40dB", "jpeg2000:35dB", "jpeg2000:30dB"]),
        ("jpeg2000:1x..1.3x/0.1", ["jpeg2000:1x", "jpeg2000:1.1x", "jpeg2000:1.2x", "jpeg2000:1.3x"]),
    ],
)
def test_a_range_has_both_ends_and_walks_from_mild_to_strong(text: str, expected: list[str]) -> None:
    """Ends included, step 1 unless said, in either direction, with the tail kept."""
    assert _texts(text) == ["pristine", *expected]


def test_repeats_are_left_out_and_pristine_comes_first() -> None:
    """A point named twice is one point; pristine is there once, asked for or not."""
    assert _texts("jpeg:q50, jpeg:q50.0, pristine, jpeg:q40..60/10") == [
        "pristine",
        "jpeg:q60",
        "jpeg:q50",
        "jpeg:q40",
    ]


def test_points_are_walked_chain_by_chain_as_first_named() -> None:
    """Chains keep the order of their first point; within a chain it goes from mild to harsh."""
    named = [Point.parse(text) for text in ("jpeg2000:40x", "jpeg:q10", "jpeg2000:5x", "jpeg:q90")]
    assert [str(p) for p in run_order(named)] == ["jpeg2000:5x", "jpeg2000:40x", "jpeg:q90", "jpeg:q10"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "at least one point"),
        (" , ", "at least one point"),
        ("papers", "expected CODEC:QUALITY"),
        ("jpeg:q10..90/0", "step above 0"),
        ("jpeg2000:1x..10000x/0.001", "at most 10000 points"),
        ("jpeg2000:10000x..1x/0.0001", "at most 10000 points"),
        (f"jpeg2000:{'9' * 400}x..{'9' * 400}x", "at most 10000 points"),
        (f"jpeg:q1..9/{'9' * 400}", "step above 0"),
        ("jpeg:q0..10", "whole number from q1 to q100, got q0"),
        ("jpeg:q10..20/2.5", "got q12.5"),
        ("jpeg:10..20", "quality '10..20' of jpeg"),
        ("jpeg2000:2..3x", "quality '2..3x' of jpeg2000"),
        ("webq:q10..20", "unknown codec 'webq'"),
    ],
)
def test_a_wrong_list_says_what_was_expected(text: str, says: str) -> None:
    """The error is a usage error about the very word that is wrong."""
    with pytest.raises(UsageError) as caught:
        expand_points(text)
    assert says in str(caught.value)
