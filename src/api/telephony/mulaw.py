"""G.711 mu-law, which telephones speak: 8 000 samples a second of 8 bits, for PCM of 16 bits.

Source of the rule: ITU-T G.711, table 2. Both ways are a look into a table.
"""

from __future__ import annotations

import struct

SAMPLE_RATE = 8_000

_BIAS, _CLIP = 0x84, 32_635


def _decoded(code: int) -> int:
    code = ~code & 0xFF
    size = (((code & 0x0F) << 3) + _BIAS) << ((code & 0x70) >> 4)
    return _BIAS - size if code & 0x80 else size - _BIAS


def _encoded(sample: int) -> int:
    sign, size = (0x80, -sample) if sample < 0 else (0, sample)
    size = min(size, _CLIP) + _BIAS
    segment = size.bit_length() - 8
    return ~(sign | segment << 4 | size >> (segment + 3) & 0x0F) & 0xFF


_PCM = [struct.pack("<h", _decoded(code)) for code in range(256)]
_CODES = bytes(_encoded(sample) for sample in range(-32_768, 32_768))


def decode(codes: bytes) -> bytes:
    """Return the sound as PCM of 16 bits, little-endian."""
    return b"".join(map(_PCM.__getitem__, codes))


def encode(pcm: bytes) -> bytes:
    """Return PCM of 16 bits, little-endian, as mu-law."""
    samples = struct.unpack(f"<{len(pcm) // 2}h", pcm)
    return bytes([_CODES[sample + 32_768] for sample in samples])
