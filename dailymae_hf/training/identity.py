"""What a run is made of: its data, settings and code, as digests that ranks compare and that a resume compares.

Data are told apart by what is in the files, not by their names: count, sizes, all tables, and blocks of the samples'
bytes at places that depend on the file's length alone.
"""

import hashlib
import json
import os
import platform
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

import dailymae_hf
from dailymae_hf.data.beton import Beton
from dailymae_hf.errors import RankError

_BLOCKS = 64
_BLOCK_BYTES = 4096
_LIBRARIES = ("torch", "transformers", "accelerate", "safetensors", "numpy", "ffcv")


@dataclass(frozen=True)
class FileDigest:
    """One .beton file's content: `tables` of all of its tables, `sampled` of blocks of its bytes."""

    samples: int
    bytes: int
    tables: str
    sampled: str


@dataclass(frozen=True)
class Identity:
    """What one rank was given. `data` has the files of each role ("train", "eval"), in their order."""

    rank: int
    host: str
    data: Mapping[str, Sequence[FileDigest]]
    settings: Mapping[str, Any]
    code: str
    versions: Mapping[str, str | None]

    @classmethod
    def of_this_process(
        cls, rank: int, data: Mapping[str, Sequence[FileDigest]], settings: Mapping[str, Any]
    ) -> "Identity":
        return cls(rank, socket.gethostname(), data, settings, code_digest(), library_versions())

    def flat(self) -> dict[str, Any]:
        """Every fact by a name that says where it is from: `train_beton file 0: tables`, `seed`, `torch`."""
        facts: dict[str, Any] = {}
        for role, files in self.data.items():
            facts[f"{role}: files"] = len(files)
            for number, file in enumerate(files):
                facts |= {f"{role}, file {number}: {name}": value for name, value in asdict(file).items()}
        facts |= {name: plain(value) for name, value in self.settings.items()}
        return facts | {"code of dailymae_hf": self.code} | {f"version of {k}": v for k, v in self.versions.items()}


def digest_data(beton: Beton) -> list[FileDigest]:
    """The digest of each file of an opened .beton, or of several read as one."""
    return [_digest_file(file) for file in getattr(beton, "files", (beton,))]


def digest_source(source: Any) -> list[FileDigest]:
    """The digest of an open .beton, of a loader's, or of what has a length and a fingerprint as `datasets` give it."""
    source = getattr(source, "dataset", source)
    if isinstance(source, Beton):
        return digest_data(source)
    length = len(source) if hasattr(source, "__len__") else 0
    return [FileDigest(length, 0, str(getattr(source, "_fingerprint", "")), "")]


def _digest_file(file: Beton) -> FileDigest:
    tables = hashlib.sha256()
    for table in (file.metadata, file.table_ptrs, file.table_sizes):
        tables.update(table.tobytes())
    tables.update(json.dumps(dict(file.facts), sort_keys=True, default=str).encode())
    sampled = hashlib.sha256()
    with open(file.path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        last = max(0, size - _BLOCK_BYTES)
        for number in range(_BLOCKS):  # evenly spread, each at another place within its stretch
            stretch = last / _BLOCKS
            within = int.from_bytes(hashlib.sha256(f"{size} {number}".encode()).digest()[:4], "big") / 2**32
            sampled.update(os.pread(stream.fileno(), _BLOCK_BYTES, int((number + within) * stretch)))
    return FileDigest(len(file), size, tables.hexdigest()[:16], sampled.hexdigest()[:16])


@cache
def code_digest() -> str:
    """Of the package's own source files and kernel, wherever they are installed."""
    root = Path(dailymae_hf.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def library_versions() -> dict[str, str | None]:
    return {name: _version(name) for name in _LIBRARIES} | {"python": platform.python_version()}


def require_equal_ranks(own: Identity) -> None:
    """Compare what all ranks were given. Called on every rank; all of them raise.

    Raises:
        RankError: a rank differs from the first one; the message names it, its machine and the first difference.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return
    gathered: list[Identity | None] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, own)
    ranks = [identity for identity in gathered if identity is not None]
    problem = difference(ranks)
    if problem is not None:
        raise RankError(problem)


def difference(ranks: Sequence[Identity]) -> str | None:
    """The first thing that two ranks were not given alike, as a sentence; None where all were."""
    first, expected = ranks[0], ranks[0].flat()
    others = [(rank, rank.flat()) for rank in ranks[1:]]
    for rank, found in others:
        for name in expected | found:
            if expected.get(name) != found.get(name):
                alike = sum(facts == found for _, facts in others)
                return (
                    f"rank {rank.rank} on {rank.host} was given something else than rank {first.rank} on "
                    f"{first.host}: {name} is {found.get(name)} there and {expected.get(name)} here"
                    + (f" ({alike} ranks have the former)" if alike > 1 else "")
                )
    return None


def plain(value: Any) -> Any:
    """What JSON makes of a value, so that one that was stored compares equal to one in memory."""
    return json.loads(json.dumps(value, default=str))


def _version(package: str) -> str | None:
    if package == "torch":
        return torch.__version__
    try:
        return version(package)
    except PackageNotFoundError:
        return None
