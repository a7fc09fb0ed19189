"""Tensor names: the ones in files (those of `facebook/vit-mae-base`, transformers 4.x) and the ones in modules (5.x).

Files always carry the 4.x names, because 4.57 and 5.x both read those exactly. Stock `save_pretrained` of 5.17 and
later does not write them: its reverse mapping also hits the decoder (`decoder.decoder_encoder.layer.N`), after which
4.57 silently keeps a random decoder.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

from torch import nn
from transformers.conversion_mapping import WeightRenaming, register_checkpoint_conversion_mapping

T = TypeVar("T")

# In order: `attention.output.dense` has to go before `output.dense`. The first pair also reads the broken name above.
_FILE_TO_MODULE = (
    (r"encoder\.layer\.", "layers."),
    (r"attention\.attention\.query\.", "attention.q_proj."),
    (r"attention\.attention\.key\.", "attention.k_proj."),
    (r"attention\.attention\.value\.", "attention.v_proj."),
    (r"attention\.output\.dense\.", "attention.o_proj."),
    (r"intermediate\.dense\.", "mlp.fc1."),
    (r"output\.dense\.", "mlp.fc2."),
)
_MODULE_TO_FILE = (
    (r"^vit\.layers\.", "vit.encoder.layer."),
    (r"\.attention\.q_proj\.", ".attention.attention.query."),
    (r"\.attention\.k_proj\.", ".attention.attention.key."),
    (r"\.attention\.v_proj\.", ".attention.attention.value."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)


def _renamed(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in pairs:
        name = re.sub(pattern, replacement, name, count=1)
    return name


def module_name(name: str) -> str:
    """Name in a file -> name in the module; a module's name stays as it is."""
    return _renamed(name, _FILE_TO_MODULE)


def file_name(name: str) -> str:
    """Name in the module -> name in a file; a file's name stays as it is."""
    return _renamed(name, _MODULE_TO_FILE)


def to_file_names(state_dict: Mapping[str, T]) -> dict[str, T]:
    """The same tensors under the names that files carry."""
    return {file_name(name): tensor for name, tensor in state_dict.items()}


def rename_on_load(module: nn.Module, state_dict: dict[str, T], prefix: str, *_: object) -> None:
    """`load_state_dict` pre-hook: accept a file's names in place, so that a Trainer's resume finds every tensor."""
    for name in [name for name in state_dict if name.startswith(prefix)]:
        renamed = prefix + module_name(name[len(prefix) :])
        if renamed != name:
            state_dict[renamed] = state_dict.pop(name)


def register(class_name: str) -> None:
    """Make `class_name.from_pretrained` read files with 4.x names as well as 5.x names."""
    renamings = [WeightRenaming(source, target) for source, target in _FILE_TO_MODULE]
    register_checkpoint_conversion_mapping(class_name, renamings, overwrite=True)
