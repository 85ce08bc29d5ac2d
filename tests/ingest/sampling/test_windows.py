"""Tokens as bytes, and windows of them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from memlake.ingest.sampling.windows import Cut, Encoder, Tokens, Window, cut_at, cut_start
from memlake.tests.ingest import tokenizers
from memlake.warehouse.errors import BadInput
from memlake.warehouse.models.registry import ModelSpec
from memlake.warehouse.models.tokenizer import Tokenizer as Loaded


def loaded(backend: Tokenizer) -> Loaded:
    return Loaded(backend, "sha256:0", backend.get_vocab_size(), None, ModelSpec("t", "here"))


KINDS = {
    "byte_level": tokenizers.byte_level,
    "prefix_space": lambda: tokenizers.byte_level(prefix_space=True),
    "neox": lambda: tokenizers.byte_level(nfc=True),
    "llama": tokenizers.sentencepiece,
}


@cache
def encoder(kind: str) -> Encoder:
    return Encoder(loaded(KINDS[kind]()))


TEXTS = st.one_of(
    st.text(max_size=60).filter(lambda t: not has_surrogate(t)),
    st.text(alphabet=" \tab.é▁\n", max_size=40),
    st.sampled_from(["", " ", "  ", " a", "a<|endoftext|>b", "<0x41>", "The fox 🦆 jumps", "e\u0301"]),
)


def has_surrogate(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS)
def test_the_bytes_of_the_tokens_are_the_document(kind, text):
    (tokens,) = encoder(kind).encode([text])
    data = text.encode()
    if kind == "byte_level":
        assert tokens is not None
    if tokens is None:
        return
    # Each token's text, decoded on its own, from the backend itself: bytes that are whole characters must agree.
    starts = [0, *tokens.ends[:-1].tolist()] if len(tokens.ids) else []
    assert (tokens.ends[-1] if len(tokens.ids) else 0) == len(data)
    assert all(a <= b for a, b in zip(starts, tokens.ends.tolist(), strict=True))
    assert encoder(kind)._tokenizer.backend.encode(text, add_special_tokens=False).ids == tokens.ids.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_of_each_token_are_what_it_decodes_to(kind):
    backend = KINDS[kind]()
    text = "The quick brown fox, añb"
    (tokens,) = encoder(kind).encode([text])
    assert len(tokens.ids) > 5
    for k in range(1, len(tokens.ids) + 1):
        head = text.encode()[: tokens.ends[k - 1]]
        try:
            head = head.decode()
        except UnicodeDecodeError:
            continue  # in the middle of a character
        assert backend.decode(tokens.ids[:k].tolist(), skip_special_tokens=False).lstrip(" ") == head.lstrip(" ")


@pytest.mark.parametrize(
    ("kind", "text", "taken"),
    [
        ("neox", "e\u0301", False),  # NFC makes one character of the two
        ("neox", "\u00e9", True),
        ("byte_level", "e\u0301", True),
        ("llama", "e\u0301 🦆", True),  # by their bytes
        ("llama", "a▁b", False),  # is a space to it
        ("llama", " a", True),
        ("prefix_space", " a", True),
    ],
)
def test_a_text_that_the_tokenizer_changes_is_not_taken(kind, text, taken):
    (tokens,) = encoder(kind).encode([text])
    assert (tokens is not None) == taken


def test_unknown_characters_change_the_text():
    no_bytes = Encoder(loaded(tokenizers.sentencepiece(byte_fallback=False)))
    (tokens, known) = no_bytes.encode(["the 🦆", "the fox"])
    assert tokens is None and known is not None


def test_a_space_that_is_put_first_has_no_byte():
    (tokens,) = encoder("llama").encode(["a b"])  # "▁a", "▁b" or smaller pieces: never four bytes
    assert tokens.ends[-1] == 3
    assert 1 in tokens.ends.tolist()  # the space begins a token


def test_another_kind_of_tokenizer_is_refused():
    backend = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    backend.decoder = decoders.WordPiece()
    with pytest.raises(BadInput, match="decodes by WordPiece"):
        Encoder(loaded(backend))


# Ten tokens of 3 bytes each: token i is bytes [3i, 3i + 3).
TEN = Tokens(np.arange(10, dtype=np.int32), np.arange(3, 33, 3, dtype=np.int64))


@pytest.mark.parametrize(
    ("anchor", "window", "expected"),
    [
        (12, "2+3", (2, 4, 7)),  # token 4 begins at byte 12
        (13, "2+3", (2, 4, 7)),  # byte 13 lies within token 4: cut before the anchor
        (14, "2+3", (2, 4, 7)),
        (15, "2+3", (3, 5, 8)),
        (6, "2+3", (0, 2, 5)),  # the whole beginning
        (5, "2+3", None),  # one token before it
        (21, "2+3", (5, 7, 10)),  # up to the very end
        (24, "2+3", None),
        (29, "2+3", None),
        (30, "2+3", None),  # after the document
        (12, "bytes:6+6", (2, 4, 6)),
        (14, "bytes:7+7", (2, 4, 6)),  # tokens inside [5, 19): 2 and 3, 4 and 5
        (12, "bytes:12+18", (0, 4, 10)),
        (12, "bytes:13+3", None),  # the document has 12 bytes before
        (12, "bytes:3+19", None),  # and 18 after
        (12, "bytes:2+6", None),  # no whole token in 2 bytes
    ],
)
def test_windows_around_an_anchor(anchor, window, expected):
    cut = cut_at(TEN, anchor, Window.parse(window))
    assert cut == (expected and Cut(*expected, anchor))


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("4+6", (0, 4, 10, 12)),  # the anchor is where the 4th token ends
        ("4+7", None),
        ("bytes:12+6", (0, 4, 6, 12)),
        ("bytes:13+6", (0, 4, 6, 13)),  # byte 13 lies within token 4, which begins at 12
        ("bytes:12+19", None),
        ("bytes:2+9", None),  # byte 2 lies within the first token: nothing is left to be the prefix
    ],
)
def test_windows_at_the_start(window, expected):
    assert cut_start(TEN, Window.parse(window)) == (expected and Cut(*expected))


def test_no_window_in_an_empty_document():
    empty = Tokens(np.empty(0, np.int32), np.empty(0, np.int64))
    for window in (Window(1, 1), Window(1, 1, "bytes")):
        assert cut_start(empty, window) is None
        assert cut_at(empty, 0, window) is None


@pytest.mark.parametrize("text", ["32", "32+", "0+32", "32+0", "bits:3+3", "-1+3", "32+32 ", "1.5+2"])
def test_a_bad_window_is_one_clear_line(text):
    with pytest.raises(BadInput, match=r"give tokens before and after the anchor, 32\+32"):
        Window.parse(text)


@pytest.mark.parametrize("text", ["32+32", "bytes:128+64"])
def test_a_window_prints_as_it_is_typed(text):
    assert str(Window.parse(text)) == text
