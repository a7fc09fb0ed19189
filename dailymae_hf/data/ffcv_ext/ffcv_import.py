"""The one door to ffcv: importing this module imports ffcv, or says how to install it.

Every room that needs ffcv imports this module first. Importing ffcv sets torch's thread count to 1 for the whole
process, which would slow down everything that the model computes on the CPU; the count is put back here.
"""

import torch

from dailymae_hf.errors import MissingDependencyError

_threads = torch.get_num_threads()
try:
    import ffcv  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        f"ffcv cannot be imported ({error}). Loading a .beton does not need it: the native engine reads one alone "
        "(`engine='native'`, `loader_engine: native`). For FFCV's engine and operations, install what it is built "
        "with (Debian: `apt-get install build-essential pkg-config libopencv-dev libturbojpeg0-dev`), then "
        "`pip install 'dailymae-hf[ffcv]'`."
    ) from error
finally:
    torch.set_num_threads(_threads)
