"""Token boundaries as bytes of the document, and the windows that are cut there.

Boundaries come from the bytes of the tokens, never from offset mappings, which differ by a byte between tokenizers. A
document is taken only if the bytes of its tokens, put together, are the bytes of its text (SentencePiece may put a
space before it): where a tokenizer changes the text (NFC, runs of spaces that become one, unknown characters), no byte
of it has a certain token; nor where the two libraries that read a checkpoint's files cut it differently.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from memlake.warehouse.errors import BadInput
from memlake.warehouse.models.tokenizer import Tokenizer, steps


@dataclass(frozen=True)
class Tokens:
    """A tokenized document: `ids` int32 and `ends` int64, the byte after each token, both of shape (tokens,)."""

    ids: np.ndarray
    ends: np.ndarray


class Encoder:
    """A tokenizer that knows the bytes of its tokens."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._bytes = token_bytes(tokenizer)
        self._lengths = np.array([len(b) for b in self._bytes], dtype=np.int64)

    def encode(self, texts: Sequence[str]) -> Iterator[Tokens | None]:
        """The tokens of whole documents, nothing added; None where they are not the text, or the libraries disagree."""
        for text, ids in zip(texts, self._tokenizer.agreed(texts), strict=True):
            if ids is None:
                yield None
                continue
            data, joined = text.encode(), b"".join([self._bytes[i] for i in ids])
            added = len(joined) - len(data)  # a space that the tokenizer put first
            if joined == data or joined == b" " + data:
                yield Tokens(np.array(ids, dtype=np.int32), np.cumsum(self._lengths[ids]) - added)
            else:
                yield None


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The bytes of each token, by its id. Raises `BadInput` for a tokenizer that is neither byte-level nor
    SentencePiece-like."""
    backend = tokenizer.backend
    kinds = {step["type"] for step in steps(json.loads(backend.to_str())["decoder"])}
    if "ByteLevel" in kinds:
        to_bytes: Callable[[str], bytes] = _from_alphabet
    elif kinds & {"Metaspace", "ByteFallback"}:
        to_bytes = _from_pieces("ByteFallback" in kinds)
    else:
        raise BadInput(
            f"the tokenizer of {tokenizer.spec.location} decodes by {', '.join(sorted(kinds)) or 'nothing'}:"
            " only byte-level and SentencePiece-like ones say which bytes a token stands for"
        )
    vocabulary = backend.get_vocab(with_added_tokens=True)
    added = backend.get_added_tokens_decoder()
    found = [b""] * (max(vocabulary.values()) + 1)
    for token, i in vocabulary.items():
        found[i] = added[i].content.encode() if i in added else to_bytes(token)
    return found


def _from_alphabet(token: str) -> bytes:
    alphabet = byte_alphabet()
    return bytes(alphabet[c] for c in token) if all(c in alphabet for c in token) else token.encode()


def _from_pieces(byte_fallback: bool) -> Callable[[str], bytes]:
    def to_bytes(token: str) -> bytes:
        if byte_fallback and re.fullmatch(r"<0x[0-9A-F]{2}>", token):
            return bytes([int(token[3:5], 16)])
        return token.replace("▁", " ").encode()

    return to_bytes


@cache
def byte_alphabet() -> dict[str, int]:
    """The character that stands for each byte in byte-level BPE (Radford et al. 2019): printable ones for themselves,
    the others from U+0100 on."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}


@dataclass(frozen=True)
class Window:
    """How much is cut before and after the anchor, in 'tokens' or 'bytes'."""

    before: int
    after: int
    unit: str = "tokens"

    @classmethod
    def parse(cls, text: str) -> Window:
        """`32+32` or `bytes:128+128`; raises `BadInput`."""
        found = re.fullmatch(r"(bytes:)?(\d{1,6})\+(\d{1,6})", text)
        if not found or not int(found[2]) or not int(found[3]):
            raise BadInput(f"--window {text!r}: give tokens before and after the anchor, 32+32, or bytes:128+128")
        return cls(int(found[2]), int(found[3]), "bytes" if found[1] else "tokens")

    def __str__(self) -> str:
        return f"{'bytes:' if self.unit == 'bytes' else ''}{self.before}+{self.after}"


@dataclass(frozen=True)
class Cut:
    """Places in a document's tokens: the prefix is [first, middle), the continuation [middle, last)."""

    first: int
    middle: int
    last: int
    anchor: int  # byte at which the continuation was asked to begin


def cut_at(tokens: Tokens, anchor: int, window: Window) -> Cut | None:
    """The window around a byte: the continuation begins with the token that holds it. None where the document has too
    little before or after."""
    starts = _starts(tokens)
    middle = int(np.searchsorted(tokens.ends, anchor, side="right"))
    if middle == len(tokens.ids):
        return None
    if window.unit == "tokens":
        first, last = middle - window.before, middle + window.after
    else:
        cut = starts[middle]
        if cut < window.before or cut + window.after > tokens.ends[-1]:
            return None
        first = int(np.searchsorted(starts, cut - window.before, side="left"))
        last = int(np.searchsorted(tokens.ends, cut + window.after, side="right"))
    return _whole(tokens, Cut(first, middle, last, anchor))


def cut_start(tokens: Tokens, window: Window) -> Cut | None:
    """The window at the document's start: the prefix is its first tokens, and the anchor is where they end (or, cut in
    bytes, that byte of the document). None where the document is too short."""
    if window.unit == "tokens":
        if len(tokens.ids) < window.before + window.after:
            return None
        return Cut(0, window.before, window.before + window.after, int(tokens.ends[window.before - 1]))
    if not len(tokens.ids) or window.before + window.after > tokens.ends[-1]:
        return None
    middle = int(np.searchsorted(tokens.ends, window.before, side="right"))
    end = _starts(tokens)[middle] + window.after
    last = int(np.searchsorted(tokens.ends, end, side="right"))
    return _whole(tokens, Cut(0, middle, last, window.before))


def _starts(tokens: Tokens) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int64), tokens.ends[:-1]])


def _whole(tokens: Tokens, cut: Cut) -> Cut | None:
    """The cut, if it lies within the document and neither side is empty."""
    return cut if 0 <= cut.first < cut.middle < cut.last <= len(tokens.ids) else None
