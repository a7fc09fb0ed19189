"""docs/packed-dct.md in Python: a second reading of the specification, against which the kernel's is tested."""

from dataclasses import dataclass

import numpy as np

LONG_COUNTS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 17, 20, 26, 36, 63)
GROUP = 8


def _zigzag() -> list[int]:
    """Natural positions (row * 8 + column) in zigzag order: diagonals, alternately up and down."""
    cells = [(row, column) for row in range(8) for column in range(8)]
    cells.sort(key=lambda rc: (sum(rc), rc[1] if sum(rc) % 2 == 0 else rc[0]))
    return [row * 8 + column for row, column in cells]


ZIGZAG = _zigzag()


@dataclass
class Packed:
    """A packed sample, taken apart. Tables are (64,) in natural order, blocks int (high, wide, 64) in zigzag order."""

    width: int
    height: int
    color: int
    sampling: list[tuple[int, int]]
    tables: list[np.ndarray]
    blocks: list[np.ndarray]

    @property
    def shapes(self) -> list[tuple[int, int]]:
        mcu_width, mcu_height = (8 * max(factors) for factors in zip(*self.sampling, strict=True))
        return [(-(-self.height * v // mcu_height), -(-self.width * h // mcu_width)) for h, v in self.sampling]


def _int16(low: int, high: int) -> int:
    value = low | high << 8
    return value - 65536 if value >= 32768 else value


def _decode_group(data: bytes, wide_dc: bool, count: int) -> np.ndarray:
    headers = data[:count]
    dc_end = count + (2 * count if wide_dc else 2 + count)
    dc = data[count:dc_end]
    blocks = np.zeros((count, 64), np.int64)
    lengths = [header & 15 for header in headers]
    at = dc_end
    bitmaps = []
    for length in lengths:
        bitmaps.append(int.from_bytes(data[at : at + length], "little"))
        at += length
    for i, bitmap in enumerate(bitmaps):
        blocks[i, 0] = _int16(dc[2 * i], dc[2 * i + 1]) if wide_dc else _int16(dc[0], dc[1]) + dc[2 + i]
        positions = [k for k in range(1, 64) if bitmap >> k & 1]
        longs = min(LONG_COUNTS[headers[i] >> 4], len(positions))
        if bitmap & 1:
            values = [_int16(data[at + k], data[at + longs + k]) for k in range(longs)]
            at += 2 * longs
        else:
            values = [(b ^ 128) - 128 for b in data[at : at + longs]]
            at += longs
        for k in range(len(positions) - longs):
            nibble = data[at + k // 2] >> 4 * (k % 2) & 15
            values.append(nibble + 1 if nibble < 8 else nibble - 16)
        at += (len(positions) - longs + 1) // 2
        blocks[i, positions] = values
    assert at == len(data), "a group has the length that its parts add up to"
    return blocks


def decode(data: bytes) -> Packed:
    """Take a packed sample apart."""
    assert data[:4] == b"DCT\x01"
    width, height = (int.from_bytes(data[i : i + 2], "little") for i in (4, 6))
    color, count, tables = data[8:11]
    described = data[12 : 12 + 2 * count]
    at = 12 + 2 * count
    found = []
    for _ in range(tables):
        size = data[at]
        values = np.frombuffer(data[at + 1 : at + 1 + 64 * size], "<u2" if size == 2 else "u1")
        natural = np.zeros(64, np.int64)
        natural[ZIGZAG] = values
        found.append(natural)
        at += 1 + 64 * size
    packed = Packed(width, height, color, [(b >> 4, b & 15) for b in described[::2]], [], [])
    packed.tables = [found[t] for t in described[1::2]]
    for high, wide in packed.shapes:
        rows = []
        for y in range(high):
            start = int.from_bytes(data[at + 4 * y : at + 4 * y + 4], "little")
            groups = -(-wide // GROUP)
            place, row = start + 2 * groups, []
            for g in range(groups):
                size = int.from_bytes(data[start + 2 * g : start + 2 * g + 2], "little")
                group = data[place : place + (size & 0x7FFF)]
                row.append(_decode_group(group, bool(size & 0x8000), min(GROUP, wide - GROUP * g)))
                place += size & 0x7FFF
            rows.append(np.concatenate(row))
        packed.blocks.append(np.stack(rows))
        at += 4 * high
    return packed


def _encode_group(blocks: np.ndarray) -> tuple[bytes, bool]:
    dc, ac = blocks[:, 0], blocks[:, 1:]
    wide_dc = int(dc.max() - dc.min()) > 255
    headers, bitmaps, values = b"", b"", b""
    for block in ac:
        positions = np.flatnonzero(block) + 1
        kept = [int(v) for v in block[positions - 1]]
        needed = max((i + 1 for i, v in enumerate(kept) if not -8 <= v <= 8), default=0)
        code = next(c for c, n in enumerate(LONG_COUNTS) if n >= needed)
        longs, wide = min(LONG_COUNTS[code], len(kept)), any(not -128 <= v <= 127 for v in kept)
        length = int(positions[-1]) // 8 + 1 if len(positions) else 0
        headers += bytes([code << 4 | length])
        bitmaps += (sum(1 << int(k) for k in positions) | int(wide)).to_bytes(8, "little")[:length]
        values += bytes(v & 255 for v in kept[:longs]) + bytes(v >> 8 & 255 for v in kept[:longs] if wide)
        nibbles = [v - 1 if v > 0 else v + 16 for v in kept[longs:]]
        nibbles += [0] * (len(nibbles) % 2)
        values += bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))
    base = b"" if wide_dc else int(dc.min()).to_bytes(2, "little", signed=True)
    means = dc if wide_dc else dc - dc.min()
    rest = b"".join(int(v).to_bytes(2 if wide_dc else 1, "little", signed=wide_dc) for v in means)
    return headers + base + rest + bitmaps + values, wide_dc


def encode(packed: Packed) -> bytes:
    """Put a packed sample together; every component has a table of its own."""
    head = b"DCT\x01" + packed.width.to_bytes(2, "little") + packed.height.to_bytes(2, "little")
    head += bytes([packed.color, len(packed.blocks), len(packed.tables), 0])
    head += b"".join(bytes([h << 4 | v, i]) for i, (h, v) in enumerate(packed.sampling))
    for table in packed.tables:
        size = 2 if table.max() > 255 else 1
        head += bytes([size]) + table[ZIGZAG].astype("<u2" if size == 2 else "u1").tobytes()
    offsets, body = b"", b""
    start = len(head) + 4 * sum(len(blocks) for blocks in packed.blocks)
    for row in (row for blocks in packed.blocks for row in blocks):
        groups = [_encode_group(row[i : i + GROUP]) for i in range(0, len(row), GROUP)]
        offsets += (start + len(body)).to_bytes(4, "little")
        body += b"".join((len(g) | (0x8000 if wide else 0)).to_bytes(2, "little") for g, wide in groups)
        body += b"".join(g for g, _ in groups)
    return head + offsets + body


def extreme_sample(seed: int, color: int = 1, largest: int = 32767) -> tuple[bytes, Packed]:
    """Coefficients and tables as no image has them: what a damaged or malicious file may say."""
    random = np.random.default_rng(seed)
    high, wide = 5, 13
    density = random.uniform(0, 1, (high, wide, 1))
    magnitude = 10 ** random.uniform(0, np.log10(largest), (high, wide, 64))
    blocks = (magnitude * random.choice([-1, 1], (high, wide, 64))).astype(np.int64)
    blocks[random.uniform(0, 1, blocks.shape) > density] = 0
    table = random.integers(1, 65536 if seed % 2 else 256, 64)
    packed = Packed(8 * wide - 3, 8 * high - 2, color, [(1, 1)], [table], [blocks])
    return encode(packed), packed
