"""What coding one image at many points promises."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from bitdose.codecs.coding import Coded, code_points, decode_streams, encode_point, kernel_names
from bitdose.codecs.jpeg import Jpeg
from bitdose.codecs.point import Point
from bitdose.errors import CaseError, UsageError
from bitdose.hashing import rng_for
from bitdose.image import Image, rescale_bits, stack
from bitdose.metrics.fidelity import psnr_db
from bitdose.testing import textured_image


def _code(image: Image, *texts: str, exact: bool = True) -> list[Coded]:
    results = code_points(image, [Point.parse(text) for text in texts], exact=exact)
    coded = [result for _, result in results]
    assert all(isinstance(one, Coded) for one in coded), coded
    return coded  # type: ignore[return-value]


@pytest.mark.parametrize("quality", [10, 75])
def test_the_papers_scheme_is_what_one_would_do_by_hand(texture: Image, quality: int) -> None:
    """Lanczos-4 down, JPEG, Lanczos-4 up: the pixels and bytes of OpenCV and Pillow called in a row."""
    (coded,) = _code(texture, f"jpeg:q{quality}@128")
    small = cv2.resize(texture.pixels, (128, 128), interpolation=cv2.INTER_LANCZOS4)
    file = io.BytesIO()
    PillowImage.fromarray(small).save(file, "JPEG", quality=quality)
    decoded = np.asarray(PillowImage.open(file))
    large = cv2.resize(decoded, (512, 512), interpolation=cv2.INTER_LANCZOS4)
    assert np.array_equal(coded.image.pixels, large)
    assert coded.coded_bytes == len(file.getvalue())


def test_colour_and_other_kernels_go_the_same_way(colour_texture: Image) -> None:
    """Width comes before height, and each way has its own kernel."""
    (coded,) = _code(colour_texture, "jpeg:q80@100x60:area:linear")
    small = cv2.resize(colour_texture.pixels, (100, 60), interpolation=cv2.INTER_AREA)
    decoded = Jpeg(80).decode(Jpeg(80).encode(Image(small, 8, "RGB"))).pixels
    large = cv2.resize(decoded, (320, 256), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(coded.image.pixels, large)


def test_none_hands_on_the_small_image(texture: Image) -> None:
    """With ``none`` nothing is interpolated back."""
    (coded,) = _code(texture, "jpeg:q80@96x64:lanczos4:none")
    assert coded.image.pixels.shape == (64, 96)


def test_a_volume_is_coded_slice_by_slice() -> None:
    """Each slice has a stream of its own; bytes are the sum, and the stack comes back whole."""
    slices = [textured_image(48, 64, rng=rng_for("slice", index)) for index in range(3)]
    volume = Image(np.stack([plane.pixels for plane in slices]))
    (coded,) = _code(volume, "jpeg:q60")
    streams = [Jpeg(60).encode(plane) for plane in slices]
    assert coded.coded_bytes == sum(map(len, streams))
    assert coded.image.is_volume
    expected = np.stack([Jpeg(60).decode(data).pixels for data in streams])
    assert np.array_equal(coded.image.pixels, expected)


@pytest.mark.parametrize("text", ["jpeg2000:10x@32", "jpeg2000:10x@32x24:area:none"])
def test_a_volumes_slices_are_resized_in_plane(text: str) -> None:
    """Downsizing never mixes slices."""
    volume = Image(np.stack([textured_image(48, 64, rng=rng_for("z", z)).pixels for z in range(4)]))
    (coded,) = _code(volume, text)
    assert coded.image.n_slices == 4
    assert coded.image.pixels.shape == ((4, 24, 32) if "none" in text else (4, 48, 64))


@pytest.mark.parametrize("bits", [12, 16])
def test_deep_images_pass_an_8_bit_codec_by_a_named_mapping(bits: int) -> None:
    """JPEG gets the image mapped to 8 bits, it comes back at its own depth, and the row says so."""
    image = textured_image(64, 64, rng=rng_for("mapped", bits), bits=bits)
    (coded,) = _code(image, "jpeg:q95")
    assert coded.mapping == f"linear {bits}>8>{bits} bits"
    assert coded.image.bits == bits
    by_hand = Jpeg(95).decode(Jpeg(95).encode(rescale_bits(image, 8)))
    assert coded.image == rescale_bits(by_hand, bits)


def test_twelve_bits_use_the_whole_of_a_deeper_stream() -> None:
    """JPEG 2000 codes 12-bit samples over its 16 bits, says so, and gives them back at 12."""
    image = textured_image(64, 64, rng=rng_for("unmapped"), bits=12)
    for coded in _code(image, "jpeg2000:4x", "jpeg2000:60x", "jpeg2000:8x@32"):
        assert coded.mapping == "linear 12>16>12 bits"
        assert coded.image.bits == 12
        assert coded.image.pixels.max() <= 4095


def test_a_full_depth_needs_no_mapping(texture: Image) -> None:
    """Eight bits through either codec, and 16 through JPEG 2000, are coded as they are."""
    deep = textured_image(64, 64, rng=rng_for("full"), bits=16)
    assert {coded.mapping for coded in _code(texture, "jpeg:q50", "jpeg2000:4x")} == {""}
    assert {coded.mapping for coded in _code(deep, "jpeg2000:4x")} == {""}


def test_where_a_rate_leaves_nothing_an_image_is_mid_grey_and_not_white() -> None:
    """The harshest rate on 12 bits decodes to the middle of the 12 bits."""
    image = textured_image(64, 64, rng=rng_for("nothing"), bits=12)
    (coded,) = _code(image, "jpeg2000:10000x")
    assert 1500 < coded.image.pixels.mean() < 2600


def test_a_shared_encode_is_marked_layered_and_exact_forbids_it(texture: Image) -> None:
    """From 512x512 on a JPEG 2000 chain shares one encode, where exact streams are not asked for."""
    chain = ("jpeg2000:10x", "jpeg2000:40x")
    shared = _code(texture, *chain, exact=False)
    assert [coded.mode for coded in shared] == ["layered", "layered"]
    exact = {coded.point: coded for coded in _code(texture, *chain)}
    assert [coded.mode for coded in exact.values()] == ["exact", "exact"]
    for layered in shared:
        alone = exact[layered.point]
        gap_db = _fidelity(texture, alone) - _fidelity(texture, layered)
        assert abs(gap_db) < 0.25


@pytest.mark.parametrize(
    "texts", [["jpeg2000:10x"], ["jpeg:q10", "jpeg:q90"], ["jpeg2000:10x@128", "jpeg2000:40x@128"]]
)
def test_a_chain_that_cannot_gain_is_coded_exactly(texture: Image, texts: list[str]) -> None:
    """A single point, a codec without layers and a small image share no encode."""
    assert {coded.mode for coded in _code(texture, *texts, exact=False)} == {"exact"}


@pytest.mark.parametrize("unit", ["x", "dB"])
def test_an_exact_chain_has_the_bytes_of_an_encode_per_point(unit: str) -> None:
    """What is made together is what a sender makes alone, grey and colour, small and large, by slices."""
    texts = [f"jpeg2000:{quality}{unit}{size}" for quality in (10, 25, 40) for size in ("", "@64")]
    points = [Point.parse(text) for text in texts]
    volume = stack([textured_image(64, 48, rng=rng_for("slice", n)) for n in range(3)], volume=True)
    for image in (
        textured_image(300, 200, rng=rng_for("exact")),
        textured_image(100, 90, rng=rng_for("exact"), bits=12),
        textured_image(100, 90, rng=rng_for("exact"), colour=True),
        volume,
    ):
        for point, coded in code_points(image, points):
            assert isinstance(coded, Coded)
            sent = encode_point(image, point)
            assert (coded.coded_bytes, coded.mode) == (sum(map(len, sent.data)), "exact")
            assert coded.image == decode_streams(image, point, sent).image


@pytest.mark.parametrize("chain", [("jpeg2000:8x", "jpeg2000:20x", "jpeg2000:40x"), ("jpeg:q90", "jpeg:q10")])
@pytest.mark.parametrize("exact", [False, True])
def test_only_the_wanted_points_of_a_chain_are_made(chain: tuple[str, ...], *, exact: bool) -> None:
    """What is wanted of a chain comes out as of all of it, the shared encode included; the rest does not."""
    image = textured_image(600, 700, rng=rng_for("wanted"))
    points, whole = [Point.parse(text) for text in chain], _code(image, *chain, exact=exact)
    (point, coded), *more = code_points(image, points[1:2], grid=points, exact=exact)
    assert isinstance(coded, Coded)
    assert (point, more) == (points[1], [])
    (same,) = (each for each in whole if each.point == point)
    assert np.array_equal(coded.image.pixels, same.image.pixels)
    assert (coded.coded_bytes, coded.mode) == (same.coded_bytes, same.mode)


def test_one_failing_point_does_not_stop_the_rest() -> None:
    """An image too wide for JPEG gives that point's error; every other point is coded."""
    wide = Image(np.zeros((1, 65_501), np.uint8))
    texts = ["jpeg:q90", "jpeg:q50@64", "jpeg2000:10x", "jpeg:q10"]
    results = {str(point): result for point, result in code_points(wide, [Point.parse(t) for t in texts])}
    assert set(results) == set(texts)
    for text in ("jpeg:q90", "jpeg:q10"):
        error = results[text]
        assert isinstance(error, CaseError)
        assert error.status == "codec-limit"
    for text in ("jpeg:q50@64", "jpeg2000:10x"):
        coded = results[text]
        assert isinstance(coded, Coded)
        assert coded.image.width == 65_501


def test_a_chain_that_shares_an_encode_fails_as_one() -> None:
    """Where the shared encode meets a limit, each of its points gets the error."""
    deep = textured_image(300, 300, rng=rng_for("deep"), bits=16, colour=True)
    points = [Point.parse(text) for text in ("jpeg2000:10x", "jpeg2000:40x", "jpeg:q50")]
    kinds = [type(result) for _, result in code_points(deep, points)]
    assert kinds == [CaseError, CaseError, Coded]


def test_results_come_chain_by_chain_without_pristine(texture: Image) -> None:
    """Chains in the order first named, points in the order given; pristine is not coded."""
    texts = ["jpeg:q90", "pristine", "jpeg2000:40x@64", "jpeg:q10", "jpeg2000:5x@64"]
    coded = _code(texture, *texts)
    order = ["jpeg:q90", "jpeg:q10", "jpeg2000:40x@64", "jpeg2000:5x@64"]
    assert [str(one.point) for one in coded] == order


def test_what_is_sent_is_what_the_study_measured(texture: Image) -> None:
    """``encode_point`` and ``decode_streams`` give the pixels and bytes of an exact study."""
    for text in ("jpeg:q30@256", "jpeg2000:40x"):
        (studied,) = _code(texture, text, exact=True)
        streams = encode_point(texture, Point.parse(text))
        received = decode_streams(texture, Point.parse(text), streams)
        assert received.image == studied.image
        assert received.coded_bytes == studied.coded_bytes == sum(map(len, streams.data))


def test_sending_fails_as_coding_does() -> None:
    """A codec's limit and ``pristine`` are errors before anything is sent."""
    with pytest.raises(CaseError, match="codec-limit"):
        encode_point(Image(np.zeros((1, 65_501), np.uint8)), Point.parse("jpeg:q50"))
    with pytest.raises(UsageError, match="pristine"):
        encode_point(Image(np.zeros((2, 2), np.uint8)), Point())


def test_a_row_names_library_and_kernels(texture: Image) -> None:
    """Each result says which build coded it, what it took, and which kernels went around it."""
    (coded,) = _code(texture, "jpeg:q30@128")
    assert coded.library == Jpeg.library()
    assert coded.encode_ms > 0
    assert coded.decode_ms > 0
    assert kernel_names(coded.point.resize) == "opencv:lanczos4 > opencv:lanczos4"
    none = Point.parse("jpeg:q30@64:lanczos3:none").resize
    assert kernel_names(none) == "pillow:lanczos3 > none"
    assert kernel_names(None) == ""


def _fidelity(image: Image, coded: Coded) -> float:
    return psnr_db(image.pixels, coded.image.pixels, peak=image.max_value)
