"""What the seconds of a link promise: worked numbers, a packet-by-packet sender, text forms, edges."""

from __future__ import annotations

import heapq
import json
import math

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from bitdose.cli.links import links
from bitdose.errors import UsageError
from bitdose.links import (
    ANSWER_BYTES,
    HELLO_DOWN_BYTES,
    HELLO_UP_BYTES,
    LINKS,
    REQUEST_BYTES,
    SEGMENT_BYTES,
    Link,
    costs,
    knee_bytes,
    seconds,
)

GPRS = LINKS["gprs"]
XRAY_BYTES = 2500 * 2000 * 2
LINE = Link(1e6, 2e6, 0.1, overhead=1.0)
FAT = Link(10e6, 10e6, 0.2, overhead=1.0)


def send_by_packets(link: Link, segments: int) -> float:
    """Seconds until the last segment's acknowledgement: a sender that sends two for each one acknowledged."""
    segment_s = 8 * SEGMENT_BYTES * link.overhead / link.up_bps
    free_at, sent, allowed, last = 0.0, 0, 10, 0.0
    acknowledged: list[float] = []
    now = 0.0
    while sent < segments or acknowledged:
        while sent < min(segments, allowed):
            free_at = max(free_at, now) + segment_s
            heapq.heappush(acknowledged, free_at + link.rtt_s)
            sent += 1
        last = now = heapq.heappop(acknowledged)
        allowed += 2
    return last


def run(*words: str) -> str:
    """Run the command and return what it printed; its errors are raised."""
    app = typer.Typer()
    app.command()(links)
    done = CliRunner().invoke(app, list(words))
    if done.exception is not None:
        raise done.exception
    return done.output


def test_the_worked_numbers_of_an_x_ray_on_gprs() -> None:
    """By rate alone 10 MB take 1,818 s, 61 s at 30:1, 6,050 bytes 1.1 s; with the rest 1,912, 67, 4.1 s."""
    bare = np.array([XRAY_BYTES, XRAY_BYTES / 30, 6_050]) * 8 / GPRS.up_bps
    assert bare.round(1).tolist() == [1818.2, 60.6, 1.1]
    whole = seconds(GPRS, [XRAY_BYTES, XRAY_BYTES // 30, 6_050])
    assert whole.round(1).tolist() == [1912.0, 66.6, 4.1]
    assert np.diff(whole) == pytest.approx(np.diff(1.05 * bare), abs=1e-3)


def test_seconds_by_hand_within_the_first_window() -> None:
    """Two round trips and the hellos, the bytes and the request, one more round trip, the answer."""
    hello = 8 * (HELLO_UP_BYTES / 1e6 + HELLO_DOWN_BYTES / 2e6)
    body = 8 * (14_000 + REQUEST_BYTES) / 1e6 + 0.1 + 8 * ANSWER_BYTES / 2e6
    assert (hello, body) == pytest.approx((0.0176, 0.1152 + 0.1 + 0.002))
    assert float(seconds(LINE, 14_000)) == pytest.approx(0.2 + hello + body)
    assert float(seconds(LINE, 14_000, fresh=False)) == pytest.approx(body)


def test_slow_start_by_hand() -> None:
    """60,000 bytes at 10 Mbit/s and 200 ms outlast windows of 14,600 and 29,200: two waits."""
    waits = (0.2 + 0.001168 - 0.01168) + (0.2 + 0.001168 - 0.02336)
    hello = 8 * (HELLO_UP_BYTES + HELLO_DOWN_BYTES) / 10e6
    kept = float(seconds(FAT, 60_000 - REQUEST_BYTES, fresh=False))
    fresh = float(seconds(FAT, 60_000 - REQUEST_BYTES))
    assert fresh - kept == pytest.approx(2 * 0.2 + hello + waits)


@pytest.mark.parametrize("link", [GPRS, LINKS["vsat"], LINKS["starlink"], FAT, Link(50e6, 5e6, 0.6)])
@pytest.mark.parametrize("segments", [1, 9, 10, 11, 30, 31, 70, 71, 500, 3000])
def test_slow_start_agrees_with_a_sender_packet_by_packet(link: Link, segments: int) -> None:
    """A simulated sender that doubles per round trip needs the same seconds, to within one segment's."""
    payload = segments * SEGMENT_BYTES
    hello = 8 * link.overhead * (HELLO_UP_BYTES / link.up_bps + HELLO_DOWN_BYTES / link.down_bps)
    around = 2 * link.rtt_s + hello + 8 * ANSWER_BYTES * link.overhead / link.down_bps
    found = float(seconds(link, payload - REQUEST_BYTES)) - around
    segment_s = 8 * SEGMENT_BYTES * link.overhead / link.up_bps
    assert found == pytest.approx(send_by_packets(link, segments), abs=segment_s)


def test_more_bytes_never_take_less_time() -> None:
    """Seconds grow with bytes on every named link, fresh and kept alive; fresh is never the quicker."""
    sizes = np.arange(0, 2_000_000, 997)
    for link in LINKS.values():
        fresh, kept = seconds(link, sizes), seconds(link, sizes, fresh=False)
        assert np.all(np.diff(fresh) > 0)
        assert np.all(np.diff(kept) > 0)
        assert np.all(fresh > kept)


def test_seconds_keep_shape_and_nan() -> None:
    """A scalar gives a scalar array, a column a column; an undefined number of bytes undefined seconds."""
    assert seconds(GPRS, 1000).shape == ()
    assert seconds(GPRS, [[1000], [2000]]).shape == (2, 1)
    assert np.isnan(seconds(GPRS, [1000, math.nan])).tolist() == [False, True]


@pytest.mark.parametrize("wrong", [-1, math.inf, -math.inf])
def test_impossible_bytes_are_refused(wrong: float) -> None:
    """Negative or infinite bytes are an error, not a number."""
    with pytest.raises(UsageError, match="n_bytes"):
        seconds(GPRS, [10, wrong])


def test_loss_costs_retransmissions_and_caps_the_rate() -> None:
    """1 % on GPRS costs 1 % of the rate; at 10 Mbit/s and 100 ms classic TCP holds 1.09 Mbit/s."""
    assert Link(44e3, 64e3, 0.75, loss=0.01).payload_bps == pytest.approx(44e3 * 0.99 / 1.05)
    capped = Link(10e6, 10e6, 0.1, loss=0.01).payload_bps
    assert capped == pytest.approx(0.93 * 1460 * 8 / (0.1 * 0.1))


def test_named_links_are_those_of_their_sources() -> None:
    """Rates and round trips as measured or bounded; each has a source, and what is assumed says so."""
    figures = {name: (link.up_bps, link.down_bps, link.rtt_s) for name, link in LINKS.items()}
    assert figures["gprs"] == (44e3, 64e3, 0.75)
    assert figures["3g"][:2] == (331e3, 446e3)
    assert figures["edge"][0] == 59e3
    assert 7e6 <= figures["starlink"][0] <= 15e6
    assert 0.055 <= figures["starlink"][2] <= 0.065
    assert figures["vsat"][2] == pytest.approx(4 * 35_786e3 / 299_792_458, abs=0.003)
    assert all(link.source and link.name == name for name, link in LINKS.items())
    assert [name for name, link in LINKS.items() if "assumed" not in link.source] == ["gprs"]


@pytest.mark.parametrize(
    "text",
    [
        *LINKS,
        "up=44k,rtt=750ms",
        "up=1.5M,rtt=40ms,down=20M,loss=1%",
        "up=2G,rtt=0.25ms,loss=0.5%,overhead=1.2",
    ],
)
def test_text_forms_print_back(text: str) -> None:
    """A link parses from its text form and prints back to it."""
    assert str(Link.parse(text)) == text


def test_other_spellings_print_in_the_usual_one() -> None:
    """Order and units are free on the way in."""
    assert str(Link.parse("rtt=0.75s,up=44000,down=44k,loss=0.01")) == "up=44k,rtt=750ms,loss=1%"


def test_any_link_reads_back_exactly() -> None:
    """Figures that no unit writes exactly survive too."""
    rng = np.random.default_rng(3)
    for up, down, rtt, loss, over in rng.uniform(
        [1, 1, 0.001, 0, 1], [1e9, 1e9, 5, 0.4, 2], (300, 5)
    ).tolist():
        link = Link(up, down, rtt, loss, over)
        assert Link.parse(str(link)) == link


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gprss", "unknown link 'gprss': did you mean 'gprs'\\? known: gprs, edge"),
        ("GPRS", "did you mean 'gprs'"),
        ("", "unknown link ''"),
        ("up=44k", "expected up and rtt at least"),
        ("up=44k,rtt=750", "rtt: expected 1 microsecond to 60 s, such as 750ms or 0.75s, got '750'"),
        ("up=0,rtt=1s", "up: expected 1 bit/s"),
        ("up=-44k,rtt=1s", "up: expected 1 bit/s"),
        ("up=nan,rtt=1s", "up: expected 1 bit/s"),
        ("up=inf,rtt=1s", "up: expected 1 bit/s"),
        ("up=1e999,rtt=1s", "up: expected 1 bit/s"),
        ("up=44k,rtt=0ms", "rtt: expected"),
        ("up=44k,rtt=1s,down=0", "down: expected"),
        ("up=44k,rtt=1s,loss=60%", "loss: expected 0 to 50 %"),
        ("up=44k,rtt=1s,overhead=0.9", "overhead: expected 1 to 10"),
        ("up=44k,up=45k,rtt=1s", "each once, got 'up=45k'"),
        ("up=44k,rtt=1s,speed=3", "expected 'up=44k,rtt=750ms.*got 'speed=3'"),
        ("up=44k,rtt=1s,", "got ''"),
    ],
)
def test_wrong_links_say_what_was_expected(text: str, says: str) -> None:
    """Unknown names offer neighbours; wrong figures name the part, the range and what came."""
    with pytest.raises(UsageError, match=says):
        Link.parse(text)


@pytest.mark.parametrize(
    "figures", [(0, 1e6, 0.1), (1e6, math.nan, 0.1), (1e6, 1e6, math.inf), (1e6, 1e6, -1)]
)
def test_impossible_links_cannot_be_made(figures: tuple[float, float, float]) -> None:
    """Zero, negative, infinite or undefined figures are refused from code as well."""
    with pytest.raises(UsageError, match="link given: (up|down|rtt): expected"):
        Link(*figures)


def test_costs_are_those_of_the_exams() -> None:
    """Mean, median and 95th percentile of the exams' own seconds; a rate from the kept-alive ones."""
    sizes = np.random.default_rng(1).integers(2_000, 90_000, 101)
    each, kept = seconds(GPRS, sizes), seconds(GPRS, sizes, fresh=False)
    found = costs(GPRS, sizes, pristine_bytes=np.full(101, XRAY_BYTES))
    assert (found.link, found.n, found.reason) == ("gprs", 101, "")
    ranked = np.sort(each)
    assert (found.mean_s, found.median_s, found.p95_s) == pytest.approx(
        (each.sum() / 101, ranked[50], ranked[95])
    )
    assert found.exams_per_hour == pytest.approx(3600 * 101 / kept.sum())
    assert found.seconds_of_pristine == pytest.approx(1912, abs=0.1)
    assert math.isnan(costs(GPRS, sizes).seconds_of_pristine)


@pytest.mark.parametrize(("sizes", "reason"), [([], "no exam"), ([10.0, math.nan], "an exam without bytes")])
def test_undefined_costs_say_why(sizes: list[float], reason: str) -> None:
    """No exam, or one without bytes: NaN and the reason."""
    found = costs(GPRS, sizes)
    assert found.reason == reason
    assert all(map(math.isnan, (found.mean_s, found.median_s, found.p95_s, found.exams_per_hour)))


def test_below_fifteen_kilobytes_the_fixed_part_of_gprs_is_the_larger() -> None:
    """The knee of GPRS is about 15 kB; at a tenth it is about 1.7 kB."""
    assert 14_500 < knee_bytes(GPRS) < 15_500
    assert 1_600 < knee_bytes(GPRS, share=0.1) < 1_800


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_knee_is_the_last_size_within_its_share(share: float, fresh: bool) -> None:
    """At the knee at most ``share`` of the seconds come from bytes, one byte later more."""
    for link in (*LINKS.values(), FAT):
        knee = knee_bytes(link, share=share, fresh=fresh)
        nothing, at, after = seconds(link, [0, knee, knee + 1], fresh=fresh).tolist()
        assert (at - nothing) / at <= share < (after - nothing) / after


@pytest.mark.parametrize("share", [0, 1, -0.5, math.nan])
def test_the_share_of_a_knee_lies_between_none_and_all(share: float) -> None:
    """A share outside (0, 1) has no knee."""
    with pytest.raises(UsageError, match="share: expected a number between 0 and 1"):
        knee_bytes(GPRS, share=share)


def test_the_command_lists_every_named_link() -> None:
    """One line per link under a heading: rates, seconds, knee, source."""
    heading, *lines = run().splitlines()
    assert [line.split()[0] for line in lines] == list(LINKS)
    assert "10MB s" in heading
    assert "1,912.0" in lines[0]
    assert lines[0].endswith(GPRS.source)


def test_the_command_takes_links_and_sizes_of_your_own() -> None:
    """``--link`` and ``--bytes`` choose; JSON holds the numbers of the functions."""
    own = "up=256k,rtt=300ms"
    rows = json.loads(run("--link", own, "--link", "3g", "--bytes", "15k", "--json"))
    assert [row["link"] for row in rows] == [own, "3g"]
    (exam,) = rows[0]["exams"]
    link = Link.parse(own)
    assert exam["bytes"] == 15_000
    assert exam["seconds"] == pytest.approx(float(seconds(link, 15_000)), abs=1e-3)
    assert rows[0]["knee_bytes"] == knee_bytes(link)
    assert "yours" in run("--link", own)


@pytest.mark.parametrize("size", ["", "0", "-3", "15kB", "nan", "0.0001k", "2000G"])
def test_the_command_refuses_sizes_that_no_exam_has(size: str) -> None:
    """What is no whole number of bytes is refused, with an example."""
    with pytest.raises(UsageError, match="--bytes: expected whole bytes"):
        run(f"--bytes={size}")
