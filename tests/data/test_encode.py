"""What is done to a picture before it is stored, against Pillow and the stated formulas."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import ExifTags, Image, features

from dailymae_hf._native import codec
from dailymae_hf.data.beton import MODE_DCT, MODE_JPG, MODE_RAW
from dailymae_hf.data.encode import Encoded, EncodeOptions, encode_image
from dailymae_hf.errors import CorruptSampleError, MissingDependencyError

RAW = EncodeOptions("raw", None, 90, "auto", None, 0.5)
RNG = np.random.default_rng(0)
GRADIENT = np.linspace(0, 65535, 24 * 16).reshape(16, 24).astype(np.uint16)
COLOURS = np.repeat(np.repeat(RNG.integers(0, 256, (2, 3, 3), dtype=np.uint8), 8, 0), 8, 1)  # (16, 24, 3)


def encoded(image: Image.Image, kind: str, **save: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **save)
    return buffer.getvalue()


def pixels(result: Encoded) -> np.ndarray:
    assert result.mode == MODE_RAW
    return np.frombuffer(result.data, np.uint8).reshape(result.height, result.width, 3)


def gray(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


def on_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return rgb * (alpha[..., None] / 255) + 255 * (1 - alpha[..., None] / 255)


ALPHA = np.repeat(np.linspace(0, 255, 24)[None], 16, 0).astype(np.uint8)
BILEVEL = RNG.integers(0, 2, (16, 24)).astype(bool)


def palette_with_transparency() -> bytes:
    image = Image.fromarray(np.zeros((16, 24), np.uint8)).convert("P")
    image.putpalette([10, 200, 30] + [0] * 765)
    return encoded(image, "PNG", transparency=0)


def png16(samples: np.ndarray, colour_type: int, key: tuple[int, ...] = ()) -> bytes:
    """A 16-bit PNG as its specification has it (Pillow writes none in colour). `key` is the transparent colour."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    transparent = chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)) if key else b""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + transparent + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff16(samples: np.ndarray, order: str, orientation: int = 1, deflate: bool = False) -> bytes:
    """A 16-bit RGB TIFF of one strip in byte order "<" or ">", by TIFF 6.0's list of tags."""
    height, width = samples.shape[:2]
    pixels = samples.astype(f"{order}u2").tobytes()
    pixels = zlib.compress(pixels) if deflate else pixels
    pixels += bytes(len(pixels) % 2)  # the directory begins at an even place
    entries = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 8), (259, 3, 1, 8 if deflate else 1),
               (262, 3, 1, 2), (273, 4, 1, 14), (274, 3, 1, orientation), (277, 3, 1, 3), (278, 3, 1, height),
               (279, 4, 1, len(pixels))]  # fmt: skip
    directory = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        small = kind == 3 and count == 1
        directory += struct.pack(f"{order}HHI", tag, kind, count) + struct.pack(
            f"{order}HH" if small else f"{order}I", *((value, 0) if small else (value,))
        )
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 14 + len(pixels))
    return start + struct.pack(f"{order}HHH", 16, 16, 16) + pixels + directory + bytes(4)


DEEP = RNG.integers(0, 65536, (16, 24, 3)).astype(np.uint16)
DEEP[0, 0] = (60000, 65535, 128)  # 233, 255 and 0, where upper bytes are 234, 255 and 0
DEEP_ALPHA = np.dstack([DEEP, RNG.integers(0, 65536, (16, 24)).astype(np.uint16)])
ROUNDED = np.rint(DEEP.astype(np.float64) / 65535 * 255)
KEYED = DEEP.copy()
KEYED[::2] = (60000, 1, 65535)
KEYED[::4, 0, 1] = 2  # the same upper bytes as the transparent colour


def without_key(samples: np.ndarray, key: tuple[int, ...]) -> np.ndarray:
    transparent = (samples.reshape(16, 24, -1) == key).all(-1)
    return np.where(transparent[..., None], 255, np.rint(samples.reshape(16, 24, -1) / 65535 * 255))


CONVERSIONS: dict[str, tuple[bytes, np.ndarray, float]] = {  # source, expected pixels, tolerance in levels
    "rgb": (encoded(Image.fromarray(COLOURS), "PNG"), COLOURS, 0),
    "gray": (encoded(Image.fromarray(COLOURS[..., 0]), "PNG"), gray(COLOURS[..., 0]), 0),
    "bilevel": (encoded(Image.fromarray(BILEVEL), "PNG"), gray(BILEVEL * 255), 0),
    "palette": (encoded(Image.fromarray(COLOURS).quantize(16), "PNG"), COLOURS, 6),
    "rgba": (encoded(Image.fromarray(np.dstack([COLOURS, ALPHA])), "PNG"), on_white(COLOURS, ALPHA), 1),
    "gray with alpha": (
        encoded(Image.fromarray(np.dstack([COLOURS[..., 0], ALPHA])), "PNG"),
        on_white(gray(COLOURS[..., 0]), ALPHA),
        1,
    ),
    "transparent palette colour": (palette_with_transparency(), np.full((16, 24, 3), 255), 0),
    "16 bit png": (encoded(Image.fromarray(GRADIENT), "PNG"), gray(np.rint(GRADIENT / 65535 * 255)), 0),
    "16 bit tiff": (encoded(Image.fromarray(GRADIENT), "TIFF"), gray(np.rint(GRADIENT / 65535 * 255)), 0),
    "32 bit tiff": (encoded(Image.fromarray(GRADIENT.astype(np.int32)), "TIFF"), gray(np.rint(GRADIENT / 257)), 0),
    "16 bit rgb png": (png16(DEEP, 2), ROUNDED, 0),
    "16 bit rgb png with a transparent colour": (
        png16(KEYED, 2, (60000, 1, 65535)),
        without_key(KEYED, (60000, 1, 65535)),
        0,
    ),
    "16 bit png with a transparent gray": (
        png16(KEYED[..., 1], 0, (1,)),
        np.repeat(without_key(KEYED[..., 1], (1,)), 3, axis=-1),
        0,
    ),
    "16 bit rgba png": (png16(DEEP_ALPHA, 6), on_white(ROUNDED, np.rint(DEEP_ALPHA[..., 3] / 257)), 1),
    "16 bit gray png with alpha": (
        png16(DEEP_ALPHA[..., [0, 3]], 4),
        on_white(gray(ROUNDED[..., 0]), np.rint(DEEP_ALPHA[..., 3] / 257)),
        1,
    ),
    "16 bit rgb tiff, little-endian": (tiff16(DEEP, "<"), ROUNDED, 0),
    "16 bit rgb tiff, big-endian": (tiff16(DEEP, ">"), ROUNDED, 0),
    "16 bit rgb tiff, compressed": (tiff16(DEEP, "<", deflate=True), ROUNDED, 0),
    "16 bit rgb tiff, big-endian and compressed": (tiff16(DEEP, ">", deflate=True), ROUNDED, 0),
    "16 bit rgb tiff on its side": (tiff16(DEEP, "<", orientation=6), np.rot90(ROUNDED, -1), 0),
    "cmyk jpeg": (encoded(Image.fromarray(COLOURS).convert("CMYK"), "JPEG", quality=100), COLOURS, 4),
    "gray jpeg": (encoded(Image.fromarray(COLOURS[..., 0]), "JPEG", quality=100), gray(COLOURS[..., 0]), 4),
    "animated gif": (
        encoded(Image.fromarray(COLOURS), "GIF", save_all=True, append_images=[Image.new("RGB", (24, 16))]),
        COLOURS,
        6,
    ),
    "webp": (encoded(Image.fromarray(COLOURS), "WEBP", lossless=True), COLOURS, 0),
}


@pytest.mark.parametrize("kind", CONVERSIONS)
def test_becomes_rgb(kind: str) -> None:
    source, expected, tolerance = CONVERSIONS[kind]
    assert np.abs(pixels(encode_image(source, 0, RAW)) - expected.astype(np.float64)).max() <= tolerance


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF 2.3, tag 0x112: what has to be done to see it upright
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", [*TURNS, 0, 9, 65535])
@pytest.mark.parametrize("max_resolution", [None, 12])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_orientation_is_applied(orientation: int, max_resolution: int | None, kind: str) -> None:
    """A number that EXIF does not know leaves the picture as it is."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    source = encoded(Image.fromarray(COLOURS), kind, quality=100, subsampling=0, exif=exif)
    options = EncodeOptions("raw", max_resolution, 90, "auto", None, 0.5)
    expected = TURNS.get(orientation, TURNS[1])(COLOURS)
    if max_resolution:
        expected = np.asarray(Image.fromarray(expected).resize((expected.shape[1] // 2, expected.shape[0] // 2), 3))
    assert np.abs(pixels(encode_image(source, 0, options)) - expected.astype(np.float64)).mean() < 4


@pytest.mark.parametrize("size", [(1411, 1000), (700, 999), (501, 100), (500, 400), (2, 2000)])
def test_longest_side_is_limited(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (200, 100, 50))
    result = encode_image(encoded(image, "PNG"), 0, EncodeOptions("jpg", 500, 90, "auto", None, 0.5))
    ratio = min(1, 500 / max(size))
    assert (result.width, result.height) == tuple(max(1, round(side * ratio)) for side in size)
    assert np.abs(np.asarray(Image.open(io.BytesIO(result.data))) - np.array([200, 100, 50.0])).max() <= 3


def test_scaling_down_is_antialiased(photographs: list[tuple[str, Image.Image]]) -> None:
    """Close to Pillow's antialiased bicubic of the fully decoded photograph; and flat for a checkerboard, which a
    filter without antialiasing would turn into stripes."""
    errors = []
    for _, photograph in photographs:
        source = encoded(photograph, "JPEG", quality=95)
        result = pixels(encode_image(source, 0, EncodeOptions("raw", 120, 90, "auto", None, 0.5)))
        exact = Image.open(io.BytesIO(source)).resize((result.shape[1], result.shape[0]), Image.Resampling.BICUBIC)
        errors.append(np.abs(result - np.asarray(exact, np.float64)).mean())
    assert np.mean(errors) < 1
    assert max(errors) < 2  # a field of stars
    board = np.indices((999, 999)).sum(0) % 2 * 255
    result = pixels(encode_image(encoded(Image.fromarray(board.astype(np.uint8)), "PNG"), 0,
                                 EncodeOptions("raw", 100, 90, "auto", None, 0.5)))  # fmt: skip
    assert np.abs(result - 127.5).max() < 8


@pytest.mark.parametrize("size", [(16, 24), (8, 9)])
def test_mode_smart_compresses_by_size(size: tuple[int, int]) -> None:
    source = encoded(Image.new("RGB", size), "PNG")
    threshold = 16 * 20 * 3
    result = encode_image(source, 0, EncodeOptions("smart", None, 90, "auto", threshold, 0.5))
    assert result.mode == (MODE_JPG if size[0] * size[1] * 3 > threshold else MODE_RAW)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.9, 1.0])
def test_mode_proportion_compresses_the_share(share: float) -> None:
    source = encoded(Image.new("RGB", (4, 4)), "PNG")
    options = EncodeOptions("proportion", None, 90, "auto", None, share)
    jpegs = sum(encode_image(source, index, options).mode == MODE_JPG for index in range(400))
    assert abs(jpegs / 400 - share) < 0.02


def test_jpeg_has_restart_markers_and_stays_small(photographs: list[tuple[str, Image.Image]]) -> None:
    total = plain = 0
    for _, photograph in photographs:
        source = encoded(photograph, "PNG")
        result = encode_image(source, 0, EncodeOptions("jpg", 500, 90, "auto", None, 0.5))
        stored = Image.open(io.BytesIO(result.data))
        reference = photograph.copy().resize(stored.size, Image.Resampling.BICUBIC)
        without = encoded(reference, "JPEG", quality=90, subsampling="4:2:0")
        assert b"\xff\xdd\x00\x04" in result.data  # DRI
        np.testing.assert_array_equal(np.asarray(stored), np.asarray(Image.open(io.BytesIO(without))))
        total, plain = total + len(result.data), plain + len(without)
    assert total < 1.04 * plain


# ---- carried over: the JPEG's own coefficients


def as_pixels(result: Encoded) -> np.ndarray:
    data = codec.unpack_to_jpeg(result.data) if result.mode == MODE_DCT else result.data
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def carry(source: bytes, mode: str = "jpg", max_resolution: int | None = 500, transcode: str = "auto") -> Encoded:
    return encode_image(source, 0, EncodeOptions(mode, max_resolution, 30, transcode, None, 0.5))


JPEG_KINDS: dict[str, dict] = {
    "4:2:0": {"quality": 90},
    "4:4:4": {"quality": 100, "subsampling": 0},
    "4:2:2": {"quality": 75, "subsampling": 1},
    "progressive": {"quality": 85, "progressive": True},
    "optimised": {"quality": 40, "optimize": True},
    "with restarts": {"quality": 90, "restart_marker_rows": 1},
}


@pytest.mark.parametrize("mode", ["jpg", "dct"])
@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_fitting_jpegs_are_carried_over(photographs: list[tuple[str, Image.Image]], kind: str, mode: str) -> None:
    """Pixel for pixel what the source decodes to: compressing again at this test's quality of 30 would show."""
    for _, photograph in photographs[:4]:
        source = encoded(photograph.resize((333, 211)), "JPEG", **JPEG_KINDS[kind])
        result = carry(source, mode)
        assert result.carried_over
        assert result.mode == (MODE_DCT if mode == "dct" else MODE_JPG)
        assert (result.width, result.height) == (333, 211)
        np.testing.assert_array_equal(as_pixels(result), np.asarray(Image.open(io.BytesIO(source))))


def test_gray_jpegs_are_carried_over() -> None:
    source = encoded(Image.fromarray(COLOURS[..., 0]), "JPEG")
    expected = gray(np.asarray(Image.open(io.BytesIO(source))))
    for mode in ("jpg", "dct"):
        assert carry(source, mode).carried_over
        np.testing.assert_array_equal(as_pixels(carry(source, mode)), expected)


@pytest.mark.parametrize("orientation", TURNS)
def test_turned_jpegs_are_carried_over_upright(photographs: list[tuple[str, Image.Image]], orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    source = encoded(photographs[0][1].resize((320, 192)), "JPEG", quality=90, exif=exif)
    result = carry(source)
    expected = TURNS[orientation](np.asarray(Image.open(io.BytesIO(source))))
    assert result.carried_over
    assert as_pixels(result).shape == expected.shape
    assert np.abs(as_pixels(result) - expected.astype(float)).mean() < 0.5
    assert not Image.open(io.BytesIO(result.data)).getexif()


NOT_CARRIED: dict[str, bytes] = {
    "too large": encoded(Image.new("RGB", (501, 20)), "JPEG"),
    "cmyk": encoded(Image.new("CMYK", (20, 20)), "JPEG"),
}


@pytest.mark.parametrize("kind", NOT_CARRIED)
def test_other_jpegs_are_compressed_or_refused(kind: str) -> None:
    assert not carry(NOT_CARRIED[kind]).carried_over
    with pytest.raises(CorruptSampleError, match="second time"):
        carry(NOT_CARRIED[kind], transcode="always")


def test_transcode_never_compresses_all(photographs: list[tuple[str, Image.Image]]) -> None:
    source = encoded(photographs[0][1].resize((320, 192)), "JPEG", quality=90)
    result = carry(source, transcode="never")
    assert not result.carried_over
    assert len(result.data) < len(source) / 2  # at this test's quality of 30


def test_transcode_always_takes_what_was_never_compressed() -> None:
    assert carry(encoded(Image.fromarray(COLOURS), "PNG"), transcode="always").mode == MODE_JPG


def test_mode_dct_packs_what_has_to_be_compressed(photographs: list[tuple[str, Image.Image]]) -> None:
    source = encoded(photographs[0][1], "PNG")
    packed, jpeg = carry(source, "dct"), carry(source, "jpg")
    np.testing.assert_array_equal(as_pixels(packed), as_pixels(jpeg))
    assert (packed.width, packed.height) == (jpeg.width, jpeg.height)


PHOTO = encoded(Image.fromarray(np.repeat(np.repeat(COLOURS, 8, 0), 8, 1)), "JPEG")


def damaged(data: bytes, place: int, damage: bytes) -> bytes:
    return data[:place] + damage + data[place + len(damage) :]


DDS = encoded(Image.fromarray(COLOURS), "DDS")
BROKEN = {
    "missing": None,
    "empty": b"",
    "text": b"this is not an image",
    "half a jpeg": PHOTO[: len(PHOTO) // 2],
    "half a png": encoded(Image.fromarray(COLOURS), "PNG")[:60],
    "floating point": encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"),
    "no such file": "/nonexistent/photograph.jpg",
    "too wide to store": encoded(Image.new("1", (70000, 1)), "PNG"),
    "a dds of unknown pixels": damaged(DDS, 80, bytes(4)),  # the pixel format's flags
}
if features.check("avif"):  # not in every build of Pillow
    AVIF = encoded(Image.fromarray(np.repeat(np.repeat(COLOURS, 8, 0), 8, 1)), "AVIF")
    BROKEN["a damaged avif"] = damaged(AVIF, AVIF.index(b"mdat") + 6, b"\xff" * 54)


@pytest.mark.parametrize("mode", ["raw", "jpg", "dct"])
@pytest.mark.parametrize("kind", BROKEN)
def test_broken_images_are_refused(kind: str, mode: str) -> None:
    """With a reason that can be kept in a file whose bytes are promised: no addresses of this process in it."""
    with pytest.raises(CorruptSampleError, match=r"^.{10,}$") as caught:
        encode_image(BROKEN[kind], 0, EncodeOptions(mode, None, 90, "auto", None, 0.5))
    assert " at 0x" not in str(caught.value)


@pytest.mark.parametrize("fault", [MissingDependencyError("no kernel"), AttributeError("undefined symbol")])
def test_a_fault_of_the_kernel_is_no_broken_image(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipping "broken" images would leave out every JPEG of a sound folder."""

    def without_kernel(_: bytes) -> None:
        raise fault

    monkeypatch.setattr(codec, "jpeg_header", without_kernel)
    with pytest.raises(type(fault), match=str(fault)):
        encode_image(PHOTO, 0, RAW)


def test_an_interrupt_is_not_a_broken_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Image, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encode_image(encoded(Image.fromarray(COLOURS), "BMP"), 0, RAW)


def test_moments_are_those_of_the_pixels(photographs: list[tuple[str, Image.Image]]) -> None:
    result = encode_image(encoded(photographs[0][1], "PNG"), 0, RAW, measured_below=1 << 32)
    assert result.moments is not None
    values = pixels(result).reshape(-1, 3).astype(np.int64)
    assert result.moments.pixels == len(values)
    assert result.moments.totals == tuple(values.sum(0))
    assert result.moments.squares == tuple((values**2).sum(0))
