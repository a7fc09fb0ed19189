"""One source image -> the bytes that a .beton keeps of it. Pure functions, run in the writer's worker processes.

What happens to a picture, and nothing else does (compression shift, the paper's warning, comes from training and
validation files that went through different steps):

- **Carried over.** A JPEG that fits `max_resolution` keeps its quantised coefficients (`transcode` "auto"): they are
  stored again, turned upright, without being decoded to pixels, so there is no second compression. Not possible for
  CMYK JPEGs and for turns that would cut blocks; those are compressed anew.
- **Becomes RGB.** Grayscale and palette images are expanded; alpha is composited onto white, as a browser shows it;
  CMYK is converted by Pillow (Adobe's inverted kind included); 16-bit samples are scaled by 255/65535 and rounded
  (`sixteen_bit` says for which formats); EXIF orientations 1 to 8 are applied, others mean nothing; of several frames
  the first is taken. Colour profiles are not applied.
- **Scaled down** when the longest side exceeds `max_resolution`, to round(side * ratio): Pillow's bicubic filter with
  antialiasing (support widened by the factor). A JPEG at least four times too large is first decoded at 1/2, 1/4 or
  1/8 scale by libjpeg, never below twice the final size.
- **Compressed** by libjpeg-turbo at `quality`, 4:2:0 chroma, or kept raw. In mode dct too the coefficients are those of
  that JPEG, though none is made (`codec.pack_pixels`).
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

from dailymae_hf._native import codec
from dailymae_hf.data.beton import MODE_DCT, MODE_JPG, MODE_RAW
from dailymae_hf.data.sixteen_bit import load_rounded, to_eight_bits
from dailymae_hf.errors import CorruptSampleError

_RESTART_MCUS = 2  # 4:2:0 MCUs between restart markers, as codec.restart_jpeg puts them
_MAX_SIDE = 65535  # the container keeps sides in 16 bits
_WHITE = (255, 255, 255, 255)
_JPEG_START = b"\xff\xd8\xff"
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class EncodeOptions:
    """How `write_beton` stores images; its docstring explains each."""

    mode: str
    max_resolution: int | None
    quality: int
    transcode: str
    smart_threshold: int
    compress_probability: float


class Encoded(NamedTuple):
    """One image as it will lie in the file. `moments`: per-channel sum and sum of squares of its pixels, and their
    number, where they were asked for."""

    mode: int
    width: int
    height: int
    data: bytes
    carried_over: bool
    moments: tuple[np.ndarray, np.ndarray, int] | None


class Broken(NamedTuple):
    """An image that could not be stored, and why."""

    reason: str


def encode_chunk(
    items: list[tuple[int, bytes | str | None]], options: EncodeOptions, measure_every: int
) -> list[Encoded | Broken]:
    """Encode (index, image) pairs, an image being its bytes or its file's path; None stands for a row without one.
    Broken ones are returned as such."""
    results: list[Encoded | Broken] = []
    for index, source in items:
        try:
            results.append(encode_image(source, index, options, measure=index % measure_every == 0))
        except CorruptSampleError as error:
            results.append(Broken(str(error)))
    return results


def encode_image(source: bytes | str | None, index: int, options: EncodeOptions, *, measure: bool = False) -> Encoded:
    """Encode one image. Raises CorruptSampleError saying what is wrong with it, in the same words each time."""
    if source is None:
        raise CorruptSampleError("there is no image in this row")
    if isinstance(source, str):
        with _images_fault(), open(source, "rb") as stream:
            source = stream.read()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # photographs of over 89 megapixels exist
        return _encode(source, index, options, measure)


@contextmanager
def _images_fault() -> Iterator[None]:
    """Around reading and Pillow alone, whose plugins raise nearly everything on damaged files: a kernel that is missing
    or out of date is no image's fault."""
    try:
        yield
    except Exception as error:
        raise CorruptSampleError(f"{type(error).__name__}: {_message(error)}") from error


def _message(error: Exception) -> str:
    """What an exception says, without the file's path and without addresses: the reason is kept in the .beton."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return re.sub(r" ?<[^<>]* at 0x[0-9a-f]+>", "", str(error))


def _encode(data: bytes, index: int, options: EncodeOptions, measure: bool) -> Encoded:
    if options.transcode != "never" and data.startswith(_JPEG_START):
        carried = _carry_over(data, index, options, measure)
        if carried is not None:
            return carried
    with _images_fault():
        rgb, final = _decode(data, options)
    if rgb.size != final:
        rgb = _resize(rgb, final)
    if max(rgb.size) > _MAX_SIDE:
        raise CorruptSampleError(f"{rgb.size[0]}x{rgb.size[1]} pixels: a side of over {_MAX_SIDE} needs max_resolution")
    raw_bytes = rgb.width * rgb.height * 3
    moments = _moments(rgb) if measure else None
    if stores_raw(options, index, raw_bytes):
        return Encoded(MODE_RAW, rgb.width, rgb.height, rgb.tobytes(), False, moments)
    mode, data = _compress(rgb, options)
    return Encoded(mode, rgb.width, rgb.height, data, False, moments)


def _decode(data: bytes, options: EncodeOptions) -> tuple[Image.Image, tuple[int, int]]:
    """Upright RGB, for a JPEG perhaps already smaller than the file's image, and the size to scale it to."""
    image = Image.open(io.BytesIO(data))
    if image.format == "JPEG":
        final = _final_size(image.size, options.max_resolution)
        image.draft(None, (2 * final[0], 2 * final[1]))
        image.load()
    else:
        load_rounded(image, data)
        final = _final_size(image.size, options.max_resolution)  # known now: to load a TIFF is to turn it upright
    if _orientation(image) in _SIDEWAYS:
        final = final[::-1]
    return to_rgb(image), final


def _orientation(image: Image.Image) -> int:
    return image.getexif().get(ExifTags.Base.Orientation, 1)


def _pixels(rgb: Image.Image) -> np.ndarray:
    """uint8 (height, width, 4), as Pillow keeps RGB images in memory."""
    return np.frombuffer(rgb.tobytes("raw", "RGBX"), np.uint8).reshape(rgb.height, rgb.width, 4)


def _resize(rgb: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Pillow's `rgb.resize(size, BICUBIC)`, several times faster."""
    return Image.frombytes("RGB", size, codec.resize_bicubic(_pixels(rgb), size).tobytes(), "raw", "RGBX")


def _compress(rgb: Image.Image, options: EncodeOptions) -> tuple[int, bytes]:
    """Storage mode and bytes. Both modes hold the same coefficients."""
    if options.mode == "dct":
        return MODE_DCT, pack_rgb(rgb, options.quality)
    buffer = io.BytesIO()
    with _images_fault():
        rgb.save(buffer, "JPEG", quality=options.quality, subsampling="4:2:0", restart_marker_blocks=_RESTART_MCUS)
    return MODE_JPG, buffer.getvalue()


def _carry_over(data: bytes, index: int, options: EncodeOptions, measure: bool) -> Encoded | None:
    """A JPEG's coefficients in the file's storage mode, None where the image has to be decoded instead.

    Raises CorruptSampleError where `transcode` "always" forbids that."""
    try:
        header = codec.jpeg_header(data)
        width, height = header.upright_size
        if stores_raw(options, index, width * height * 3):
            return None
        why_not = ""
        if not header.can_carry_over:
            why_not = f"a {header.color} JPEG of a kind whose coefficients cannot be carried over"
        elif options.max_resolution is not None and max(width, height) > options.max_resolution:
            why_not = f"{width}x{height} pixels are more than max_resolution {options.max_resolution}"
        if not why_not:
            mode, store = (MODE_DCT, codec.pack_jpeg) if options.mode == "dct" else (MODE_JPG, codec.restart_jpeg)
            stored = store(data)
            with _images_fault():
                moments = _moments(to_rgb(Image.open(io.BytesIO(data)))) if measure else None
            return Encoded(mode, width, height, stored, True, moments)
    except CorruptSampleError as error:
        why_not = str(error)  # Pillow may still read it: some of the world's JPEGs have a few bytes too many
    if options.transcode == "always":
        raise CorruptSampleError(f"would be compressed a second time: {why_not}")
    return None


def stores_raw(options: EncodeOptions, index: int, raw_bytes: int) -> bool:
    """Whether an image's pixels are kept uncompressed: in mode raw, below `smart_threshold` bytes in mode smart, and
    for a share of 1 - `compress_probability`, spread by a hash of the index, in mode proportion."""
    if options.mode == "smart":
        return raw_bytes <= options.smart_threshold
    if options.mode == "proportion":
        # Fibonacci hashing: the fractional part of index * golden ratio spreads any run of indices evenly.
        return (index * 0x9E3779B97F4A7C15 % (1 << 64)) / (1 << 64) >= options.compress_probability
    return options.mode == "raw"


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow image as 8-bit RGB, upright (see the module's list). Raises ValueError for floating-point images."""
    image.load()
    if _orientation(image) != 1:  # else exif_transpose would only copy it
        image = ImageOps.exif_transpose(image)
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        samples = np.asarray(image)
        transparent = samples == image.info.get("transparency")
        return Image.fromarray(np.where(transparent, np.uint8(255), to_eight_bits(samples))).convert("RGB")
    if image.mode == "F":
        raise ValueError("a floating-point image: its range is not known; save it as 8 or 16 bits per channel")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, _WHITE), rgba).convert("RGB")
    return image.convert("RGB")


def pack_rgb(rgb: Image.Image, quality: int) -> bytes:
    """An RGB image as the packed sample of the JPEG that libjpeg makes of it (4:2:0), without making it."""
    return codec.pack_pixels(_pixels(rgb), quality)


def _final_size(size: tuple[int, int], max_resolution: int | None) -> tuple[int, int]:
    longest = max(size)
    if max_resolution is None or longest <= max_resolution:
        return size
    ratio = max_resolution / longest
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def _moments(rgb: Image.Image) -> tuple[np.ndarray, np.ndarray, int]:
    histogram = np.array(rgb.histogram(), dtype=np.float64).reshape(3, 256)
    levels = np.arange(256, dtype=np.float64) / 255
    return histogram @ levels, histogram @ levels**2, rgb.width * rgb.height
