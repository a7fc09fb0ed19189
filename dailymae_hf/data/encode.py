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
  that JPEG, though none is made (`_native.pixels`).
"""

import io
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

from dailymae_hf._native import codec, pixels
from dailymae_hf.data.image_fault import images_fault
from dailymae_hf.data.modes import MODES
from dailymae_hf.data.modes.storage_mode import StorageMode
from dailymae_hf.data.pixel_statistics import Moments, image_hash, image_moments
from dailymae_hf.data.pixels import Pixels
from dailymae_hf.data.png import read_png
from dailymae_hf.data.sixteen_bit import load_rounded, to_eight_bits
from dailymae_hf.data.sources.image_source import StoredImage, read_image
from dailymae_hf.errors import CorruptSampleError, RecipeError

WRITE_MODES = (*MODES, "smart", "proportion")
TRANSCODE = ("auto", "always", "never")
_MAX_SIDE = 65535  # the container keeps sides in 16 bits
_WHITE = (255, 255, 255, 255)
_JPEG_START = b"\xff\xd8\xff"
# Several images in one file, which Pillow then decodes in another way, and an orientation outside of EXIF.
_PILLOWS_OWN = (b"MPF\0", b"tiff:Orientation")
_FRONT = 1 << 17  # bytes in which a JPEG's own segments are looked for
_MOST_PIXELS = 1 << 26  # of images that the kernel decodes
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class EncodeOptions:
    """How `write_beton` stores images; its docstring explains each. Raises RecipeError naming a value that cannot be
    used."""

    mode: str
    max_resolution: int | None
    quality: int
    transcode: str
    smart_threshold: int | None
    compress_probability: float

    def __post_init__(self) -> None:
        for name, value, allowed in (("mode", self.mode, WRITE_MODES), ("transcode", self.transcode, TRANSCODE)):
            if value not in allowed:
                raise RecipeError(f"{name}: {value!r} is none of {', '.join(allowed)}")
        if not 1 <= self.quality <= 100:
            raise RecipeError(f"quality: {self.quality} is not between 1 and 100")
        if self.max_resolution is not None and self.max_resolution < 1:
            raise RecipeError(f"max_resolution: {self.max_resolution} is not a number of pixels")
        if not 0 <= self.compress_probability <= 1:
            raise RecipeError(f"compress_probability: {self.compress_probability} is not between 0 and 1")
        if (self.mode == "smart") != (self.smart_threshold is not None):
            raise RecipeError(
                f"smart_threshold: {self.smart_threshold} with mode {self.mode!r}; mode smart alone needs and takes it"
            )

    def mode_of(self, index: int, raw_bytes: int) -> StorageMode:
        """The storage mode of an image of so many bytes of pixels: raw below `smart_threshold` in mode smart, and for a
        fraction of 1 - `compress_probability`, spread by a hash of the index, in mode proportion."""
        if self.mode == "smart":
            return MODES["raw" if raw_bytes <= (self.smart_threshold or 0) else "jpg"]
        if self.mode == "proportion":
            # Fibonacci hashing: the fractional part of index * golden ratio spreads any run of indices evenly.
            place = (index * 0x9E3779B97F4A7C15 % (1 << 64)) / (1 << 64)
            return MODES["raw" if place >= self.compress_probability else "jpg"]
        return MODES[self.mode]

    @property
    def field_magic(self) -> bytes | None:
        """Of the custom image field that a file in this mode needs; None: FFCV's own."""
        return MODES[self.mode].field_magic if self.mode in MODES else None


class Encoded(NamedTuple):
    """One image as it will lie in the file; `moments` where it is one of the measured images."""

    mode: int
    width: int
    height: int
    data: bytes
    carried_over: bool
    moments: Moments | None


class Broken(NamedTuple):
    """An image that could not be stored, and why."""

    reason: str


def encode_chunk(items: list[tuple[int, StoredImage, int]], options: EncodeOptions) -> list[Encoded | Broken]:
    """Encode (index, image, hash limit) triples; broken images are returned as such. Images whose hash lies below the
    limit are measured (`pixel_statistics`)."""
    results: list[Encoded | Broken] = []
    for index, image, limit in items:
        try:
            results.append(encode_image(image, index, options, measured_below=limit))
        except CorruptSampleError as error:
            results.append(Broken(str(error)))
    return results


def encode_image(image: StoredImage, index: int, options: EncodeOptions, *, measured_below: int = 0) -> Encoded:
    """Encode one image. Raises CorruptSampleError saying what is wrong with it, in the same words each time."""
    if image is None:
        raise CorruptSampleError("there is no image in this row")
    with images_fault():
        data = read_image(image)
    if not data:
        raise CorruptSampleError("an empty file")
    content_hash = image_hash(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # photographs of over 89 megapixels exist
        return _encode(data, index, options, content_hash if content_hash < measured_below else None)


def _encode(data: bytes, index: int, options: EncodeOptions, content_hash: int | None) -> Encoded:
    if options.transcode != "never" and data.startswith(_JPEG_START):
        carried = _carry_over(data, index, options, content_hash)
        if carried is not None:
            return carried
    image = _decode(data, options)
    width, height = image.width, image.height
    if max(width, height) > _MAX_SIDE:
        raise CorruptSampleError(f"{width}x{height} pixels: a side of over {_MAX_SIDE} needs max_resolution")
    moments = None
    if content_hash is not None:
        moments = image_moments(content_hash, width * height, pixels.pixel_sums(image.array))
    mode = options.mode_of(index, width * height * 3)
    return Encoded(mode.number, width, height, mode.from_pixels(image, options.quality), False, moments)


def _decode(data: bytes, options: EncodeOptions) -> Pixels:
    """Upright, at its final size."""
    image = _decode_jpeg(data, options.max_resolution)
    if image is None:
        final = None
        array = read_png(data, _MOST_PIXELS)
        if array is not None:
            image = Pixels(array)
            final = _final_size((image.width, image.height), options.max_resolution)
        else:
            with images_fault():
                rgb, final = _decode_with_pillow(data, options)
            image = Pixels(rgb)
        if (image.width, image.height) != final:
            image = Pixels(pixels.resize_bicubic(image.array, final))
    return image


def _decode_jpeg(data: bytes, max_resolution: int | None) -> Pixels | None:
    """What `_decode_with_pillow` and the resize make of a JPEG, without a stop on the way; None where Pillow has to
    decode it: it is turned, of rare colours, or has faults that Pillow may forgive."""
    if not data.startswith(_JPEG_START) or any(data.find(mark, 0, _FRONT) >= 0 for mark in _PILLOWS_OWN):
        return None
    try:
        header = codec.jpeg_header(data)
    except CorruptSampleError:
        return None
    size = header.width, header.height
    final = _final_size(size, max_resolution)
    if header.orientation != 1 or header.width * header.height > _MOST_PIXELS:
        return None
    reduction = min(size[0] // (2 * final[0]), size[1] // (2 * final[1]))
    scaled = pixels.jpeg_pixels(data, final, next((whole for whole in (8, 4, 2) if reduction >= whole), 1))
    return None if scaled is None else Pixels(scaled)


def _decode_with_pillow(data: bytes, options: EncodeOptions) -> tuple[Image.Image, tuple[int, int]]:
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


def _carry_over(data: bytes, index: int, options: EncodeOptions, content_hash: int | None) -> Encoded | None:
    """A JPEG's coefficients in the file's storage mode, None where the image has to be decoded instead.

    Raises CorruptSampleError where `transcode` "always" forbids that."""
    try:
        header = codec.jpeg_header(data)
        width, height = header.upright_size
        mode = options.mode_of(index, width * height * 3)
        if mode is MODES["raw"]:
            return None
        why_not = ""
        if not header.can_carry_over:
            why_not = f"a {header.color} JPEG of a kind whose coefficients cannot be carried over"
        elif options.max_resolution is not None and max(width, height) > options.max_resolution:
            why_not = f"{width}x{height} pixels are more than max_resolution {options.max_resolution}"
        if not why_not:
            sums: Any = None if content_hash is None else codec.new_sums()
            stored = mode.from_jpeg(data, sums)
            if stored is None:
                return None
            moments = None if content_hash is None else image_moments(content_hash, width * height, sums)
            return Encoded(mode.number, width, height, stored, True, moments)
    except CorruptSampleError as error:
        why_not = str(error)  # Pillow may still read it: some of the world's JPEGs have a few bytes too many
    if options.transcode == "always":
        raise CorruptSampleError(f"would be compressed a second time: {why_not}")
    return None


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


def _final_size(size: tuple[int, int], max_resolution: int | None) -> tuple[int, int]:
    longest = max(size)
    if max_resolution is None or longest <= max_resolution:
        return size
    ratio = max_resolution / longest
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))
