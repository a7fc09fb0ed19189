"""Bad samples get a status that says what is wrong with them: no crash, no print, no invented pixels."""

import ctypes

import numpy as np
import pytest
from PIL import Image

from dailymae_hf import _native
from dailymae_hf._native import crop_decode
from dailymae_hf.errors import CorruptSampleError, DailyMAEError

from .samples import jpeg, restart_offsets, scan_offset, segment_offset, with_frame

WHOLE = (0, 0, 200, 150)


@pytest.fixture(scope="module")
def image(photographs) -> Image.Image:
    return photographs[1][1].resize((200, 150))


def status(data: bytes, box: tuple = WHOLE, *, height: int = 150, width: int = 200, mode: str = "jpg") -> int:
    """The kernel's own status, which `crop_decode` turns into an exception."""
    source, out = np.frombuffer(data, np.uint8), np.empty((3, 64, 64), np.uint8)
    image = source.ctypes.data, source.size, _native.MODES[mode], height, width
    place = ctypes.byref(_native._Box(*box))
    return _native.load().dmae_crop_decode(*image, place, 0, -1, out.ctypes.data, *out.shape[1:])


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}], ids=["plain", "progressive", "restarts"]
)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.3, 0.7, 0.97])
def test_truncated(image, capfd, options, share):
    data = jpeg(image, **options)
    assert status(data[: int(len(data) * share)]) in (_native.TRUNCATED, _native.CORRUPT)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("options", [{}, {"restart_marker_blocks": 2}], ids=["plain", "restarts"])
def test_what_a_crop_does_not_need_may_be_missing(image, options):
    data = jpeg(image, **options)
    cut = data[: int(len(data) * 0.7)]
    upper = (0, 0, 200, 60)
    np.testing.assert_array_equal(
        crop_decode(cut, upper, (64, 64), height=150, width=200),
        crop_decode(data, upper, (64, 64), height=150, width=200),
    )


def test_an_end_of_image_in_the_middle(image):
    data = jpeg(image)
    middle = (scan_offset(data) + len(data)) // 2
    assert status(data[:middle] + b"\xff\xd9") == _native.CORRUPT


@pytest.mark.parametrize("how", ["missing", "duplicated", "renumbered"])
def test_restart_markers(image, how):
    data = jpeg(image, restart_marker_blocks=2)
    at = restart_offsets(data)[20]
    broken = {
        "missing": data[:at] + data[at + 2 :],
        "duplicated": data[:at] + data[at : at + 2] + data[at:],
        "renumbered": data[: at + 1] + bytes([0xD0 + (data[at + 1] + 3) % 8]) + data[at + 2 :],
    }[how]
    assert status(data) == _native.OK
    assert status(broken) == _native.CORRUPT


def test_a_segment_without_its_data(image):
    data = jpeg(image, restart_marker_blocks=2)
    first, second = restart_offsets(data)[20:22]
    assert status(data[: first + 6] + data[second:]) == _native.CORRUPT


def test_a_segment_with_more_data_than_it_should_have(image):
    data = jpeg(image, restart_marker_blocks=2)
    first, second = restart_offsets(data)[20:22]
    assert status(data[:second] + data[first + 2 : second] + data[second:]) == _native.CORRUPT


@pytest.mark.parametrize("size", [(151, 200), (150, 199), (1, 1), (65500, 65500)])
def test_the_table_names_another_size(image, size):
    box = (0, 0, size[1], size[0])
    assert status(jpeg(image), box, height=size[0], width=size[1]) == _native.SIZE_MISMATCH


@pytest.mark.parametrize("size", [(65500, 65500), (150, 65500), (65500, 200)])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}], ids=["plain", "progressive", "restarts"]
)
def test_sizes_that_the_data_cannot_fill(image, size, options):
    if options.get("progressive"):
        data = bytearray(jpeg(image, **options))
        at = segment_offset(data, 0xC2)
        data[at + 5 : at + 9] = size[0].to_bytes(2, "big") + size[1].to_bytes(2, "big")
    else:
        data = with_frame(jpeg(image, **options), size=size)
    result = status(bytes(data), (0, 0, size[1], size[0]), height=size[0], width=size[1])
    assert result in (_native.TRUNCATED, _native.CORRUPT, _native.OUT_OF_MEMORY)


@pytest.mark.parametrize(
    "frame",
    [{"precision": 12}, {"marker": 0xC9}, {"marker": 0xCA}, {"marker": 0xC3}, {"marker": 0xC5}, {"marker": 0xCB}],
    ids=["12-bit", "arithmetic", "arithmetic-progressive", "lossless", "hierarchical", "lossless-arithmetic"],
)
def test_kinds_that_are_not_read(image, frame):
    assert status(with_frame(jpeg(image), **frame)) == _native.UNSUPPORTED


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"GIF89a" * 9, bytes(1000), b"\xff" * 1000], ids=range(7)
)
def test_no_jpeg(data):
    assert status(data) in (_native.TRUNCATED, _native.CORRUPT)


@pytest.mark.parametrize(
    ("extra", "expected"), [(-1, _native.TRUNCATED), (-29999, _native.TRUNCATED), (1, _native.SIZE_MISMATCH)]
)
def test_raw_of_another_size(extra, expected):
    assert status(bytes(200 * 150 * 3 + extra), mode="raw") == expected


def test_raw_that_claims_65500_pixels():
    assert status(bytes(1000), (0, 0, 65500, 65500), height=65500, width=65500, mode="raw") == _native.TRUNCATED


@pytest.mark.parametrize("size", [(0, 200), (150, 0), (70000, 200)])
def test_no_image_size(image, size):
    assert status(jpeg(image), height=size[0], width=size[1]) == _native.SIZE_MISMATCH


@pytest.mark.parametrize(
    "box",
    [
        (-1, 0, 50, 50),
        (0, -0.5, 50, 50),
        (160, 0, 50, 50),
        (0, 0, 200, 151),
        (0, 0, 0, 50),
        (0, 0, 50, -3),
        (float("nan"), 0, 5, 5),
        (0, 0, float("inf"), 5),
    ],
)
def test_boxes_outside_the_image(image, box):
    with pytest.raises(DailyMAEError, match="out of range"):
        crop_decode(jpeg(image), box, (64, 64), height=150, width=200)


def test_messages_name_the_sample(image):
    with pytest.raises(CorruptSampleError, match=r"jpg sample of 100 bytes, 200 x 150 pixels.*ends too early"):
        crop_decode(jpeg(image)[:100], WHOLE, (64, 64), height=150, width=200)


def test_a_failure_leaves_the_thread_usable(image):
    good = crop_decode(jpeg(image), WHOLE, (64, 64), height=150, width=200)
    for data in (jpeg(image)[:900], jpeg(image, progressive=True)[:3000], b"\xff\xd8"):
        with pytest.raises(CorruptSampleError):
            crop_decode(data, WHOLE, (64, 64), height=150, width=200)
        np.testing.assert_array_equal(crop_decode(jpeg(image), WHOLE, (64, 64), height=150, width=200), good)


@pytest.mark.parametrize(
    "make",
    [lambda a: a, np.asfortranarray, lambda a: np.repeat(a, 2, 1)[:, ::2]],
    ids=["plain", "fortran", "strided"],
)
def test_any_layout_of_the_array_and_read_only_memory(image, make):
    array = np.asarray(image)
    given = make(array)
    given.flags.writeable = False
    want = crop_decode(array, WHOLE, (64, 64), height=150, width=200, mode="raw")
    np.testing.assert_array_equal(crop_decode(given, WHOLE, (64, 64), height=150, width=200, mode="raw"), want)


def test_truncation_at_every_byte_of_the_header(image):
    data = jpeg(image, restart_marker_blocks=3)
    results = {status(data[:end]) for end in range(scan_offset(data) + 40)}
    assert _native.OK not in results
    assert results <= {_native.TRUNCATED, _native.CORRUPT}
