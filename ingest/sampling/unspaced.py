"""Where an anchor may stand in text that is written without spaces between words.

Between two letters of such a script, at a boundary of grapheme clusters (Unicode Standard Annex 29, section 3): never
before a mark that belongs to the letter, nor inside a conjunct. Boundaries of words would need a dictionary for each
language (UAX 29, section 4, on Thai, Lao, Khmer and Myanmar; its default rules part every two ideographs, as here). The
tables stand here and do not follow the Unicode version of a library, so that a text has the same anchors everywhere.
"""

from __future__ import annotations

from functools import cache

import numpy as np

LEAD = 0xE0  # the letters of these scripts have three bytes or four in UTF-8, and begin with this byte or a higher one

# Letters that begin a cluster, and may follow one: ranges of code points, both ends included.
LETTERS = {
    "Han": [(0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAD9), (0x20000, 0x3FFFD)],
    "Hiragana": [(0x3041, 0x3096)],
    "Katakana": [(0x30A1, 0x30FA), (0x31F0, 0x31FF), (0xFF66, 0xFF6F), (0xFF71, 0xFF9D)],
    "Bopomofo": [(0x3105, 0x312F), (0x31A0, 0x31BF)],
    "Yi": [(0xA000, 0xA48C)],
    "Thai": [(0x0E01, 0x0E2E)],
    "Lao": [(0x0E81, 0x0E82), (0x0E84, 0x0E84), (0x0E86, 0x0E8A), (0x0E8C, 0x0EA3), (0x0EA5, 0x0EA5), (0x0EA7, 0x0EAE)],
    "Khmer": [(0x1780, 0x17B3)],
    "Myanmar": [(0x1000, 0x102A), (0x103F, 0x103F)],
    "Tibetan": [(0x0F40, 0x0F47), (0x0F49, 0x0F6C)],
    "Tai Le": [(0x1950, 0x196D), (0x1970, 0x1974)],
    "New Tai Lue": [(0x1980, 0x19AB)],
    "Tai Tham": [(0x1A20, 0x1A54)],
    "Javanese": [(0xA984, 0xA9B2)],
    "Balinese": [(0x1B05, 0x1B33)],
}
# A cluster may begin with these vowels, which are written before their consonant, but none follows them.
LEADING = [(0x0E40, 0x0E44), (0x0EC0, 0x0EC4)]
# A cluster may also follow these: marks and vowels after their letter, the long mark of kana, iteration marks, the dot
# between Tibetan syllables. In Khmer and Myanmar only marks that take room: coeng and virama stack the next letter, and
# do so past a mark above or below, too.
ENDING = [
    *[(0x3005, 0x3007), (0x303B, 0x303B), (0x3099, 0x309A), (0x309D, 0x309F), (0x30FC, 0x30FF), (0xFF70, 0xFF70)],
    *[(0xFF9E, 0xFF9F), (0x0E2F, 0x0E3A), (0x0E45, 0x0E4E), (0x0EB0, 0x0EBD), (0x0EC6, 0x0ECE)],
    *[(0x17B6, 0x17B6), (0x17BE, 0x17C5), (0x17C7, 0x17C8), (0x102B, 0x102C), (0x1031, 0x1031), (0x1038, 0x1038)],
    *[(0x103B, 0x103C), (0x0F0B, 0x0F0B)],
]


@cache
def tables() -> tuple[np.ndarray, np.ndarray]:
    """For each code point: may a cluster at which an anchor stands begin with it, and may one follow it."""
    begins, follows = np.zeros(0x110000, dtype=bool), np.zeros(0x110000, dtype=bool)
    letters = [(script, part) for script, ranges in LETTERS.items() for part in ranges]
    for script, (first, last) in letters:
        begins[first : last + 1] = True
        follows[first : last + 1] = script != "Tibetan"  # whose syllables, not letters, are divided: at the dot
    for first, last in LEADING:
        begins[first : last + 1] = True
    for first, last in ENDING:
        follows[first : last + 1] = True
    return begins, follows


def boundaries(data: np.ndarray) -> np.ndarray:
    """Every byte of a text in UTF-8 (uint8) at which such a letter follows another, ascending."""
    if not len(data) or data.max() < LEAD:
        return np.empty(0, dtype=np.int64)
    begins, follows = tables()
    starts = np.flatnonzero((data & 0xC0) != 0x80)
    points = np.frombuffer(data.tobytes().decode().encode("utf-32-le"), dtype=np.uint32)
    found: np.ndarray = starts[1:][begins[points[1:]] & follows[points[:-1]]]
    return found
