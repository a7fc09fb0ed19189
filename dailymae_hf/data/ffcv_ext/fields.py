"""PackedDCTField: images as packed DCT coefficients in a .beton, for stock ffcv's writer and loader.

    DatasetWriter(path, {"image": PackedDCTField(), "label": IntField()})
    Loader(path, ..., custom_fields={"image": PackedDCTField},
           pipelines={"image": [CropDecodeRandomResizedCrop(224), ToTensor()]})

`write_beton(..., mode="dct")` and BetonLoader need none of this; docs/packed-dct.md specifies what is stored.
"""

import io
from collections.abc import Callable

from dailymae_hf.data.ffcv_ext import ffcv_import  # noqa: F401  before anything of ffcv's

# isort: split
import numpy as np
from ffcv.fields.base import ARG_TYPE, Field
from ffcv.fields.rgb_image import RGBImageField
from ffcv.pipeline.operation import Operation
from PIL import Image

from dailymae_hf._native.codec import jpeg_header, pack_jpeg
from dailymae_hf.data.beton import MODE_DCT, PACKED_FIELD_MAGIC
from dailymae_hf.data.encode import to_rgb
from dailymae_hf.data.ffcv_ext.operations import CropDecode
from dailymae_hf.data.modes import MODES
from dailymae_hf.data.pixels import Pixels

ImageLike = bytes | Image.Image | np.ndarray


class PackedDCTField(Field):
    """Images stored as the quantised coefficients of a JPEG, packed so that a crop unpacks for next to nothing.

    A sample's metadata is that of RGBImageField (mode, width, height, data_ptr), its mode being 2: one decoder reads
    both fields. Accepts as values:

    - `bytes` of a JPEG: its coefficients are carried over bit for bit, turned upright as its EXIF orientation asks.
      The few that cannot be (CMYK; a turn that would cut blocks) are compressed anew.
    - a Pillow image, or uint8 (height, width, 3): compressed once, as a JPEG of `quality` would be, 4:2:0.

    Args:
        quality: JPEG quality, 1 to 100, of what has to be compressed. Readers do not need it.
    """

    def __init__(self, quality: int = 95) -> None:
        self.quality = int(quality)

    @property
    def metadata_type(self) -> np.dtype:
        return RGBImageField().metadata_type

    @staticmethod
    def from_binary(binary: np.ndarray) -> "PackedDCTField":
        return PackedDCTField()

    def to_binary(self) -> np.void:
        arguments = np.zeros(1, ARG_TYPE)
        arguments.view(np.uint8)[: len(PACKED_FIELD_MAGIC)] = np.frombuffer(PACKED_FIELD_MAGIC, np.uint8)
        return arguments[0]

    def get_decoder_class(self) -> type[Operation]:
        return CropDecode

    def encode(self, destination: np.ndarray, image: ImageLike, malloc: Callable) -> None:
        """Store one image: FFCV's writer calls this with the sample's metadata record.

        Raises:
            CorruptSampleError: `image` is bytes, but no JPEG that can be read.
            TypeError: `image` is none of the kinds above.
        """
        packed = self._packed(image)
        destination["mode"] = MODE_DCT
        destination["width"], destination["height"] = np.frombuffer(packed, "<u2", 2, offset=4)
        destination["data_ptr"], storage = malloc(len(packed))
        storage[:] = np.frombuffer(packed, np.uint8)

    def _packed(self, image: ImageLike) -> bytes:
        if isinstance(image, bytes):
            if jpeg_header(image).can_carry_over:
                return pack_jpeg(image)
            image = Image.open(io.BytesIO(image))
        elif isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise TypeError(f"an array must be uint8 (height, width, 3), got {image.dtype} {image.shape}")
            image = Image.fromarray(image)
        elif not isinstance(image, Image.Image):
            raise TypeError(f"an image must be the bytes of a JPEG, a Pillow image or an array, got {type(image)}")
        return MODES["dct"].from_pixels(Pixels(to_rgb(image)), self.quality)
