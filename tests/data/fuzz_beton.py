"""Seeded damage to the header, the tables and the facts of a .beton: opening it answers or raises BetonError.

    python -m tests.data.fuzz_beton --count 1000000 --seed 0

One body, two callers: the tests run a few thousand inputs, this command as many as a night allows.
"""

import json
import os
import random
import zlib
from pathlib import Path

from dailymae_hf.data.beton import FACTS_DTYPE, FACTS_MAGIC, FIELD_DTYPE, HEADER_DTYPE, MODE_JPG, MODE_RAW, open_beton
from dailymae_hf.data.beton_writer import BetonOutput
from dailymae_hf.data.inspect import inspect_beton
from dailymae_hf.errors import BetonError
from tests.support.fuzz_command import fuzz_command

FACTS = {
    "class_names": ["a", "b", "c"],
    "shard": [0, 2],
    "mean": [0.4, 0.5, 0.6],
    "std": [0.1, 0.2, 0.3],
    "quality": 90,
    "measured_images": 3,
    "measured_pixels": 300,
    "measured_sums": {"totals": [1, 2, 3], "squares": [1, 2, 3]},
    "skipped_images": [[1, "broken"]],
}
_TOKENS = [b"null", b"NaN", b"-1", b"1e999", b'""', b"[]", b"{}", b"0", b"true", b"1e400", b"[" * 3000, b"\xff\xfe"]
_NUMBERS = [0, 1, 2, 2**16 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
_FACTS_END = HEADER_DTYPE.itemsize + FIELD_DTYPE.itemsize  # the pointer to the facts ends the first field


class Target:
    """A small file and where its tables lie; damage is done in place and undone."""

    def __init__(self, folder: Path, *, packed: bool) -> None:
        self.path = folder / f"target-{packed}.beton"
        with BetonOutput(self.path, 4, field_magic=b"DMAEDCT" if packed else None, with_labels=True) as output:
            for number in range(4):
                raw = number % 2
                output.append(MODE_RAW if raw else MODE_JPG, 5, 4, b"r" * (60 if raw else 100), number % 3)
            output.commit(FACTS)
        self.descriptor = os.open(self.path, os.O_RDWR)
        self.size = self.path.stat().st_size
        self.table = self.size - 4 * 24
        self.facts = self.table - len(json.dumps(FACTS, ensure_ascii=False).encode())
        front = HEADER_DTYPE.itemsize + 2 * FIELD_DTYPE.itemsize + 4 * 24
        self.places = [*range(24), *range(24, front), *range(self.table, self.size)]
        # Descriptors are mostly empty: the places that say something come up as often as all others together.
        self.weighty = [*range(42), *range(_FACTS_END - 32, _FACTS_END), *range(front - 96, front)]
        self.weighty += list(range(self.table, self.size))

    def damage(self, draw: random.Random) -> dict[int, bytes]:
        """Bytes to be put at places."""
        if draw.random() < 0.4:
            return self._forged_facts(draw)
        changes = {}
        for _ in range(draw.choice((1, 1, 2, 4))):
            place = draw.choice(self.weighty if draw.random() < 0.8 else self.places)
            width = draw.choice((1, 2, 4, 8))
            value = draw.choice(_NUMBERS) if draw.random() < 0.5 else draw.getrandbits(64)
            changes[place] = (value % (1 << 8 * width)).to_bytes(width, "little")
        return changes

    def _forged_facts(self, draw: random.Random) -> dict[int, bytes]:
        """Facts that are damaged under a checksum that fits them."""
        block = bytearray(os.pread(self.descriptor, self.table - self.facts, self.facts))
        for _ in range(draw.choice((1, 2, 3))):
            start = draw.randrange(len(block))
            token = draw.choice(_TOKENS) if draw.random() < 0.6 else bytes([draw.randrange(256)])
            end = min(len(block), start + draw.choice((0, 1, len(token), 12)))
            block[start:end] = token
        block = block[: self.table - self.facts]
        pointer = FACTS_MAGIC + self.facts.to_bytes(8, "little") + len(block).to_bytes(8, "little")
        pointer += zlib.crc32(block).to_bytes(4, "little") + (1).to_bytes(4, "little")
        assert len(pointer) == FACTS_DTYPE.itemsize
        return {_FACTS_END - len(pointer): pointer, self.facts: bytes(block)}

    def attack(self, draw: random.Random) -> bool:
        """Damage, open, undo. Whether the file was still accepted; any exception but BetonError is raised."""
        changes = self.damage(draw)
        saved = {place: os.pread(self.descriptor, len(data), place) for place, data in changes.items()}
        for place, data in changes.items():
            os.pwrite(self.descriptor, data[: self.size - place], place)
        cut = draw.randrange(self.size) if draw.random() < 0.02 else None
        try:
            if cut is not None:
                tail = os.pread(self.descriptor, self.size - cut, cut)
                os.truncate(self.descriptor, cut)
            open_beton(self.path)
            inspect_beton(self.path)
            return True
        except BetonError:
            return False
        finally:
            if cut is not None:
                os.pwrite(self.descriptor, tail, cut)
            for place, data in reversed(saved.items()):
                os.pwrite(self.descriptor, data, place)


def fuzz(count: int, seed: int, folder: Path) -> int:
    """Run `count` inputs; returns how many were accepted. Raises what is no BetonError, with the input's number."""
    targets = [Target(folder, packed=packed) for packed in (False, True)]
    accepted = 0
    for number in range(count):
        draw = random.Random(f"{seed}/{number}")
        target = targets[number % 2]
        try:
            accepted += target.attack(draw)
        except Exception as error:
            raise AssertionError(f"input {number} of seed {seed}: {type(error).__name__}: {error}") from error
    for target in targets:
        open_beton(target.path)  # all damage was undone
    return accepted


if __name__ == "__main__":
    fuzz_command(__doc__, fuzz)
