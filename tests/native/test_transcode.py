"""JPEG -> JPEG with restart markers: the same coefficients, upright, legal baseline, hardly larger."""

import ctypes
import io

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from dailymae_hf._native import codec
from dailymae_hf.errors import CorruptSampleError, DailyMAEError
from tests.native import packed_reference
from tests.native.libjpeg_reference import LAYOUTS, arithmetic_coded, encode_jpeg, read_coefficients, same_coefficients

MARKER_SOF0, MARKER_SOF2, MARKER_DRI = 0xC0, 0xC2, 0xDD


def segments(jpeg: bytes) -> dict[int, bytes]:
    """Marker -> payload of a JPEG's segments up to its first scan."""
    found, at = {}, 2
    while jpeg[at + 1] != 0xDA:
        length = int.from_bytes(jpeg[at + 2 : at + 4], "big")
        found[jpeg[at + 1]] = jpeg[at + 4 : at + 2 + length]
        at += 2 + length
    return found


def restart_markers(jpeg: bytes) -> int:
    return sum(jpeg.count(bytes([0xFF, 0xD0 + i])) for i in range(8))


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)))


@pytest.mark.parametrize("interval", [0, 1, 2, 7, 1000])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_coefficients_are_carried_over(photographs, layout, progressive, interval):
    jpeg = encode_jpeg(photographs[0][1].resize((203, 149)), layout, progressive=progressive)
    result = codec.restart_jpeg(jpeg, interval)
    found = segments(result)
    assert same_coefficients(jpeg, result)
    assert MARKER_SOF0 in found
    assert MARKER_SOF2 not in found
    width, height = {"gray": (8, 8), "4:4:4": (8, 8), "4:2:2": (16, 8), "4:2:0": (16, 16), "4:4:0": (8, 16),
                     "4:1:1": (32, 8)}[layout]  # fmt: skip
    mcus = -(-203 // width) * -(-149 // height)
    spacing = int.from_bytes(found[MARKER_DRI], "big")
    assert spacing == (interval or {"gray": 12, "4:4:4": 4, "4:2:2": 3, "4:2:0": 2, "4:4:0": 3, "4:1:1": 2}[layout])
    assert restart_markers(result) == -(-mcus // spacing) - 1


def test_pillow_reads_the_same_pixels(photographs):
    for layout in LAYOUTS:
        jpeg = encode_jpeg(photographs[1][1].resize((131, 77)), layout)
        np.testing.assert_array_equal(pixels(codec.restart_jpeg(jpeg)), pixels(jpeg))


def test_files_hardly_grow(photographs):
    """Under 4 % even if the source has optimal Huffman tables already; with the usual ones it shrinks or stays."""
    before, after = {True: 0, False: 0}, {True: 0, False: 0}
    for _, photograph in photographs:
        small = photograph.copy()
        small.thumbnail((500, 500))
        for optimize in before:
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=90, optimize=optimize)
            before[optimize] += len(buffer.getvalue())
            after[optimize] += len(codec.restart_jpeg(buffer.getvalue()))
    assert after[True] / before[True] < 1.04
    assert after[False] / before[False] < 1.01


def test_huffman_tables_are_as_good_as_libjpegs(photographs):
    """Without markers the file is as small as libjpeg's own two passes make it."""
    for _, photograph in photographs[:5]:
        buffer = io.BytesIO()
        photograph.resize((320, 240)).save(buffer, "JPEG", quality=90, optimize=True)
        assert len(codec.restart_jpeg(buffer.getvalue(), 65535)) < 1.002 * len(buffer.getvalue())


@pytest.mark.parametrize("coefficient", ["AC of 11 bits", "DC difference of 12 bits"])
def test_what_baseline_cannot_say_is_refused(coefficient):
    """A packed sample may hold any 16-bit number; 8-bit baseline JPEG has no code for all of them."""
    blocks = np.zeros((2, 3, 64), np.int64)
    if coefficient == "AC of 11 bits":
        blocks[1, 1, 5] = 1024
    else:
        blocks[0, 0, 0], blocks[1, 2, 0] = -1024, 1024
    packed = packed_reference.Packed(24, 16, 1, [(1, 1)], [np.ones(64, np.int64)], [blocks])
    with pytest.raises(CorruptSampleError, match="damaged"):
        codec.unpack_to_jpeg(packed_reference.encode(packed))


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    payload = exif.tobytes()
    segment = b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload
    return jpeg[:2] + segment + jpeg[2:]


# How each orientation moves a (high, wide) array of blocks and the 8x8 coefficients inside.
def upright(blocks: np.ndarray, orientation: int) -> np.ndarray:
    alternate = np.where(np.arange(8) % 2, -1, 1)

    def mirrored(b):
        return b[:, ::-1] * alternate

    def upended(b):
        return b[::-1] * alternate[:, None]

    def transposed(b):
        return b.transpose(1, 0, 3, 2)

    steps = {1: [], 2: [mirrored], 3: [mirrored, upended], 4: [upended], 5: [transposed], 6: [transposed, mirrored],
             7: [transposed, mirrored, upended], 8: [transposed, upended]}  # fmt: skip
    for step in steps[orientation]:
        blocks = step(blocks)
    return blocks


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_exif_orientation_is_honoured_without_loss(photographs, layout, orientation):
    jpeg = encode_jpeg(photographs[2][1].resize((192, 128)), layout)  # whole MCUs in every layout
    turned = with_orientation(jpeg, orientation)
    result = codec.restart_jpeg(turned)
    header = codec.jpeg_header(turned)
    assert header.can_carry_over
    assert header.orientation == orientation
    assert header.upright_size == Image.open(io.BytesIO(result)).size
    sideways = orientation >= 5
    for (blocks, table), (before, table_before) in zip(read_coefficients(result), read_coefficients(jpeg), strict=True):
        np.testing.assert_array_equal(blocks, upright(before.astype(int), orientation))
        np.testing.assert_array_equal(table, table_before.T if sideways else table_before)
    # The same turn as Pillow's; the inverse DCT's two passes round differently once they change places.
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(turned)))).astype(int)
    assert np.abs(pixels(result) - expected).mean() < 0.5
    assert same_coefficients(result, codec.unpack_to_jpeg(codec.pack_jpeg(turned)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sides_that_are_not_whole_mcus_are_mirrored_only_by_compressing_anew(photographs, orientation):
    """A mirrored partial block would leave its padding in the middle of the image."""
    for width, height in ((203, 160), (208, 149)):
        turned = with_orientation(encode_jpeg(photographs[3][1].resize((width, height))), orientation)
        mirrors_x, mirrors_y = orientation in (2, 3, 7, 8), orientation in (3, 4, 6, 7)
        possible = not (mirrors_x and width % 16) and not (mirrors_y and height % 16)
        assert codec.jpeg_header(turned).can_carry_over == possible
        if not possible:
            with pytest.raises(CorruptSampleError, match="does not read"):
                codec.restart_jpeg(turned)
            with pytest.raises(CorruptSampleError, match="does not read"):
                codec.pack_jpeg(turned)


def test_metadata_goes_and_colour_meaning_stays(photographs):
    photograph = photographs[0][1].resize((64, 48))
    buffer = io.BytesIO()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E] = "a description"
    photograph.save(buffer, "JPEG", exif=exif, icc_profile=profile, comment="a comment")
    result = codec.restart_jpeg(buffer.getvalue())
    assert set(segments(result)) & {0xE1, 0xE2, 0xFE} == set()
    assert segments(result)[0xE0].startswith(b"JFIF\0")


def test_rgb_jpegs_stay_rgb(photographs):
    photograph = photographs[0][1].resize((64, 48))
    buffer = io.BytesIO()
    photograph.save(buffer, "JPEG", keep_rgb=True, quality=95)
    jpeg = buffer.getvalue()
    assert codec.jpeg_header(jpeg).color == "rgb"
    for result in (codec.restart_jpeg(jpeg), codec.unpack_to_jpeg(codec.pack_jpeg(jpeg))):
        assert codec.jpeg_header(result).color == "rgb"
        np.testing.assert_array_equal(pixels(result), pixels(jpeg))


@pytest.mark.parametrize("kind", ["ycc", "rgb", "gray"])
def test_stock_ffcv_reads_what_is_carried_over(photographs, kind):
    """FFCV's decoder asks TurboJPEG for RGB: also of grayscale and RGB components."""
    imdecode = pytest.importorskip("ffcv.libffcv").imdecode
    photograph = photographs[0][1].resize((96, 64))
    buffer = io.BytesIO()
    photograph.convert("L" if kind == "gray" else "RGB").save(buffer, "JPEG", quality=95, keep_rgb=kind == "rgb")
    result = np.frombuffer(codec.restart_jpeg(buffer.getvalue()), np.uint8)
    out = np.zeros((64, 96, 3), np.uint8)
    imdecode(result, out, 64, 96, 64, 96, 0, 0, 1, 1, False, False)
    expected = np.asarray(Image.open(buffer).convert("RGB")).astype(int)
    assert np.abs(out - expected).mean() < 3.0  # FFCV asks for the fast, less exact inverse DCT


@pytest.mark.parametrize("inverted", [False, True])
def test_cmyk_is_not_carried_over(photographs, inverted):
    buffer = io.BytesIO()
    photographs[0][1].resize((64, 48)).convert("CMYK").save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    if inverted:  # Adobe's transform 2 says YCCK
        jpeg = jpeg.replace(b"Adobe\0\x64\0\0\0\0\0", b"Adobe\0\x64\0\0\0\0\x02")
    header = codec.jpeg_header(jpeg)
    assert header.components == 4
    assert not header.can_carry_over
    with pytest.raises(CorruptSampleError, match="does not read"):
        codec.restart_jpeg(jpeg)


def test_the_header_says_what_is_there(photographs):
    jpeg = encode_jpeg(photographs[0][1].resize((203, 149)), "4:2:2", progressive=True)
    header = codec.jpeg_header(jpeg)
    assert (header.width, header.height, header.components, header.color) == (203, 149, 3, "ycc")
    assert header.sampling == ((2, 1), (1, 1), (1, 1))
    assert header.progressive
    assert not header.arithmetic
    assert (header.precision, header.orientation, header.restart_interval) == (8, 1, 0)
    assert codec.jpeg_header(codec.restart_jpeg(jpeg, 5)).restart_interval == 5


@pytest.mark.parametrize("convert", [codec.jpeg_header, codec.restart_jpeg, codec.pack_jpeg])
@pytest.mark.parametrize(("offset", "value"), [(4, 12), (1, 0xC3)], ids=["12-bit", "lossless"])
def test_kinds_that_libjpeg_does_not_read_are_refused(photographs, convert, offset, value):
    jpeg = bytearray(encode_jpeg(photographs[0][1].resize((64, 48))))
    jpeg[jpeg.index(b"\xff\xc0") + offset] = value
    with pytest.raises(CorruptSampleError, match="does not read"):
        convert(bytes(jpeg))


def test_arithmetic_coding_becomes_huffman_coding(photographs):
    """Few readers know the former; the coefficients are the same."""
    jpeg = encode_jpeg(photographs[0][1].resize((64, 48)))
    arithmetic = arithmetic_coded(jpeg)
    assert codec.jpeg_header(arithmetic).arithmetic
    result = codec.restart_jpeg(arithmetic)
    assert not codec.jpeg_header(result).arithmetic
    assert same_coefficients(result, jpeg)


def test_a_missing_end_of_image_marker_loses_nothing(photographs):
    jpeg = encode_jpeg(photographs[0][1].resize((64, 48)))
    assert codec.restart_jpeg(jpeg[:-2]) == codec.restart_jpeg(jpeg)
    assert codec.pack_jpeg(jpeg[:-2]) == codec.pack_jpeg(jpeg)


def test_truncated_jpegs_are_refused(photographs):
    """libjpeg itself would fill in gray; what is carried over must be whole."""
    jpeg = encode_jpeg(photographs[0][1].resize((64, 48)))
    for length in range(0, len(jpeg) - 2, 7):
        with pytest.raises(CorruptSampleError):
            codec.restart_jpeg(jpeg[:length])
        with pytest.raises(CorruptSampleError):
            codec.pack_jpeg(jpeg[:length])


def test_damaged_jpegs_give_a_result_or_a_status(photographs):
    jpeg = encode_jpeg(photographs[0][1].resize((64, 48)), progressive=True)
    random = np.random.default_rng(0)
    for _ in range(500):
        damaged = bytearray(jpeg)
        damaged[int(random.integers(len(jpeg)))] = int(random.integers(256))
        try:
            assert codec.jpeg_header(codec.restart_jpeg(bytes(damaged))).width > 0
            codec.pack_jpeg(bytes(damaged))
        except CorruptSampleError:
            pass


@pytest.mark.parametrize("interval", [-1, 65536])
def test_an_impossible_interval_is_the_callers_mistake(photographs, interval):
    jpeg = encode_jpeg(photographs[0][1].resize((64, 48)))
    with pytest.raises(DailyMAEError, match="out of range"):
        codec.restart_jpeg(jpeg, interval)
    with pytest.raises(DailyMAEError, match="out of range"):
        codec.unpack_to_jpeg(codec.pack_jpeg(jpeg), interval)


def test_exif_that_lies_is_ignored(photographs):
    """Offsets past the end, no entries, values that are no orientation: the image is as it is stored."""
    jpeg = encode_jpeg(photographs[0][1].resize((64, 48)))
    payload = bytearray(with_orientation(jpeg, 6)[6 : 6 + 32])
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(payload)
        for _ in range(3):
            damaged[int(random.integers(6, len(damaged)))] = int(random.integers(256))
        segment = b"\xff\xe1" + (len(damaged) + 2).to_bytes(2, "big") + bytes(damaged)
        assert codec.jpeg_header(jpeg[:2] + segment + jpeg[2:]).orientation in range(1, 9)


def test_a_buffer_that_is_too_small_is_not_overrun(photographs):
    """The size needed is reported, and not a byte is written past the capacity."""
    jpeg = encode_jpeg(photographs[0][1].resize((128, 96)))
    library = codec._library()
    for convert, options in ((library.dmae_transcode_jpeg, (2, None)), (library.dmae_pack_jpeg, (None,))):
        needed = ctypes.c_uint64()
        for capacity in (0, 1, 100, 3000):
            out = ctypes.create_string_buffer(b"\xa5" * 8192, 8192)
            status = convert(jpeg, len(jpeg), *options, out, capacity, ctypes.byref(needed))
            assert status == 7
            assert needed.value > capacity
            assert out.raw[capacity:] == b"\xa5" * (8192 - capacity)
        out = ctypes.create_string_buffer(needed.value)
        assert convert(jpeg, len(jpeg), *options, out, needed.value, ctypes.byref(needed)) == 0
