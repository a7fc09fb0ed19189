"""Storage modes: how an image's bytes lie in a .beton. A new one is a file here, a line in `_ALL` and its decoder in
the kernel; writing, converting, checking and inspecting follow by themselves."""

from dailymae_hf.data.modes.dct import DctMode
from dailymae_hf.data.modes.jpg import JpgMode
from dailymae_hf.data.modes.raw import RawMode
from dailymae_hf.data.modes.storage_mode import StorageMode

_ALL: tuple[StorageMode, ...] = (JpgMode(), RawMode(), DctMode())

MODES: dict[str, StorageMode] = {mode.name: mode for mode in _ALL}
MODES_BY_NUMBER: dict[int, StorageMode] = {mode.number: mode for mode in _ALL}
