"""What a storage mode is: how an image's bytes lie in a .beton."""

from typing import Any, Literal, Protocol

from dailymae_hf.data.pixels import Pixels


class StorageMode(Protocol):
    """One way to store an image. Its number stands in each sample's record, and chooses the kernel's decoder."""

    name: Literal["jpg", "raw", "dct"]
    number: int
    field_magic: bytes | None
    """How the arguments of the custom field begin that alone may hold it; None: FFCV's own image field holds it."""

    def from_pixels(self, pixels: Pixels, quality: int) -> bytes:
        """The stored bytes of an image; `quality` is libjpeg's, for modes that compress. Raises CorruptSampleError
        where the image is none that the mode can hold."""

    def from_jpeg(self, jpeg: bytes, sums: Any = None) -> bytes | None:
        """The stored bytes with a JPEG's coefficients, bit for bit, upright; None in modes that hold pixels. `sums`:
        `codec.new_sums()` to set to those of its pixels.

        Raises CorruptSampleError for a JPEG that is damaged, or of a kind that `codec.JpegHeader.can_carry_over`
        excludes."""

    def to_jpeg(self, data: bytes) -> bytes | None:
        """A JPEG with the stored coefficients; None in modes that hold pixels. Raises CorruptSampleError."""
