"""FFCV operations that decode only a crop: one call into the native kernel per sample.

They stand where FFCV's own image decoders stand, in any `ffcv.Loader` pipeline::

    Loader(path, ..., pipelines={"image": [CropDecodeRandomResizedCrop(224, seed=0), ToTensor()]})

and give uint8 (batch, 3, height, width), contiguous, without a buffer for the decoded image.
"""

from collections.abc import Callable
from dataclasses import replace

from dailymae_hf.data.ffcv_ext import ffcv_import  # noqa: F401  before anything of ffcv's

# isort: split
import numpy as np
from ffcv.fields.rgb_image import SimpleRGBImageDecoder
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.compiler import Compiler
from ffcv.pipeline.state import State

from dailymae_hf import _native
from dailymae_hf.data import crop
from dailymae_hf.errors import RecipeError


def _size_pair(output_size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (output_size, output_size) if isinstance(output_size, int) else map(int, output_size)
    if height < 1 or width < 1:
        raise RecipeError(f"output_size must be positive, got {output_size}")
    return height, width


class CropDecode(SimpleRGBImageDecoder):
    """What both crops share: parameters in memory that the kernel reads, so that no change compiles anything again.

    A subclass of FFCV's simplest decoder because FFCV takes a pipeline's first operation for the decoder only if it is
    an instance of the field's own decoder class; nothing of it is used. For the same reason PackedDCTField names this
    class as its decoder: made without arguments, as FFCV makes a default decoder, it gives whole images, which then
    must all be of one size.
    """

    def __init__(self, output_size: int | tuple[int, int] | None = None, params: np.ndarray | None = None) -> None:
        super().__init__()
        if output_size is None:
            self._output_size: tuple[int, int] | None = None
        else:
            self.output_size = output_size
        self._params = crop.whole_image() if params is None else params
        self._kernel = _native.load().dmae_decode_sample
        _native.load().dmae_guard_install()

    @property
    def output_size(self) -> tuple[int, int]:
        """(height, width). A change takes effect with the next epoch's buffers."""
        assert self._output_size is not None  # known once FFCV has shown the file's metadata
        return self._output_size

    @output_size.setter
    def output_size(self, value: int | tuple[int, int]) -> None:
        self._output_size = _size_pair(value)

    def _take_whole_images(self) -> None:
        height, width = self.metadata["height"], self.metadata["width"]
        if height.min() != height.max() or width.min() != width.max():
            raise TypeError(
                "whole images can be decoded only where all are of one size: put CropDecodeRandomResizedCrop or "
                "CropDecodeCenterCrop first in the image field's pipeline"
            )
        self.output_size = int(height[0]), int(width[0])
        self._params["ratio"] = int(width[0]) / int(height[0])

    @property
    def errors(self) -> tuple[int, int | None, int | None]:
        """(failed samples since `clear_errors`, smallest sample index among them, its status code)."""
        failures = crop.failures_of(self._params)
        return (failures.count, failures.index, failures.status) if failures else (0, None, None)

    def clear_errors(self) -> None:
        """Forget the failures counted so far."""
        crop.clear_failures(self._params)

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, AllocationQuery]:
        if self._output_size is None:
            self._take_whole_images()
        shape, dtype = (3, *self.output_size), np.dtype("u1")
        return replace(previous_state, jit_mode=True, shape=shape, dtype=dtype), AllocationQuery(shape, dtype)

    def generate_code(self) -> Callable:
        # Numba makes constants of what it captures: only the address goes in, and `self` keeps the array alive.
        params = self._params.ctypes.data
        kernel, read, sample_range = self._kernel, self.memory_read, Compiler.get_iterator()

        def decode(batch_indices, destination, metadata, storage_state):
            for slot in sample_range(len(batch_indices)):
                index = batch_indices[slot]
                field = metadata[index]
                data = read(field["data_ptr"], storage_state)
                out = destination[slot]
                kernel(
                    params,
                    data.ctypes.data,
                    data.size,
                    field["mode"],
                    field["height"],
                    field["width"],
                    index,
                    out.ctypes.data,
                    out.shape[1],
                    out.shape[2],
                )
            return destination[: len(batch_indices)]

        decode.is_parallel = True  # type: ignore[attr-defined]  # FFCV's way of asking for it
        return decode


class CropDecodeRandomResizedCrop(CropDecode):
    """Random resized crop and horizontal flip of JPEG, raw and packed samples, decoding the crop only.

    The box is torchvision's `RandomResizedCrop`, resized as Pillow's antialiased BILINEAR does. Box and flip are
    functions of (seed, epoch, sample index): the number of threads and the order of the samples do not matter.

    Args:
        output_size: side, or (height, width), in pixels.
        scale: fraction of the image's area, (low, high).
        ratio: width / height of the box, (low, high).
        hflip: mirror half of the samples, or the probability of it.
        seed: of boxes and flips.

    A sample that cannot be decoded becomes zeros and is counted in `errors`.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        scale: tuple[float, float] = (0.2, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        hflip: bool | float = True,
        seed: int = 0,
    ) -> None:
        super().__init__(output_size, crop.random_resized_crop(scale, ratio, hflip, seed))

    def set_epoch(self, epoch: int) -> None:
        """Take the boxes and flips of `epoch`, from the next sample decoded. Call it between epochs."""
        self._params["epoch"] = epoch


class CropDecodeCenterCrop(CropDecode):
    """The evaluation crop: resize the shorter side to `output_size / ratio`, then cut the middle, in one step.

    `CropDecodeCenterCrop(224, 224 / 256)` is torchvision's Resize(256) and CenterCrop(224), rounding included.
    (FFCV's own CenterCropRGBImageDecoder rounds the box to whole source pixels.)

    Args:
        output_size: side, or (height, width), in pixels.
        ratio: output side / side that the image's shorter side is resized to, in (0, 1].

    A sample that cannot be decoded becomes zeros and is counted in `errors`.
    """

    def __init__(self, output_size: int | tuple[int, int], ratio: float = 224 / 256) -> None:
        super().__init__(output_size, crop.center_crop(ratio))

    def set_epoch(self, epoch: int) -> None:
        """The same for every epoch."""
