"""Tokenizers of checkpoints, without torch: a row of `tokenizers` for each, told apart by digest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import hub
from .errors import BadInput, Conflict
from .identity import canonical, sha256
from .registry import Source

if TYPE_CHECKING:
    import tokenizers

    from .lake import Lake


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer as it is used here: no padding, no truncation."""

    backend: tokenizers.Tokenizer
    digest: str  # sha256 of its canonical serialized form
    vocab_size: int  # tokens it can produce
    bos_id: int | None  # the beginning-of-sequence token; None where it has none
    source: Source


def load_tokenizer(source: Source) -> Tokenizer:
    """The tokenizer of a checkpoint. Raises `BadInput` where there is none, or the hub cannot be reached."""
    backend = _backend(source)
    backend.no_padding()
    backend.no_truncation()
    return Tokenizer(
        backend=backend,
        digest=sha256([canonical(json.loads(backend.to_str())).encode()]),
        vocab_size=backend.get_vocab_size(),
        bos_id=_bos(source, backend),
        source=source,
    )


def load_same(source: Source, digest: str) -> Tokenizer:
    """The tokenizer of a checkpoint, which was loaded before; raises `Conflict` where it is not that of `digest`."""
    tokenizer = load_tokenizer(source)
    if tokenizer.digest != digest:
        raise Conflict(f"the tokenizer of {source.location} has changed since the work was planned: run it again")
    return tokenizer


def registered(lake: Lake) -> dict[str, str]:
    """The names of the lake's tokenizers by their digests."""
    with lake.connect(["tokenizers"]) as con:
        return dict(con.execute("select digest, tokenizer from stored.tokenizers").fetchall())


def register_tokenizer(lake: Lake, tokenizer: Tokenizer, name_hint: str | None = None) -> str:
    """The tokenizer's name in this lake: the one its digest has already, else the hint, else hint-DIGEST. The hint is
    by default what the registry calls the tokenizer, else the checkpoint's name."""
    source = tokenizer.source
    name_hint = name_hint or source.tokenizer or source.name
    names = registered(lake)
    if tokenizer.digest in names:
        return names[tokenizer.digest]
    name = name_hint
    if name in names.values():
        name = f"{name_hint}-{tokenizer.digest.removeprefix('sha256:')[:8]}"
    lake.register(
        "tokenizers",
        [
            {
                "tokenizer": name,
                "source": lake.relative(source.location) if source.is_folder else source.location,
                "digest": tokenizer.digest,
                "vocab_size": tokenizer.vocab_size,
            }
        ],
    )
    return name


def _backend(source: Source) -> tokenizers.Tokenizer:
    """tokenizer.json as it is; older checkpoints are converted by the tokenizer classes of transformers that need no
    torch (AutoTokenizer imports it)."""
    if path := hub.find(source, "tokenizer.json"):
        from tokenizers import Tokenizer as Backend

        try:
            return Backend.from_file(str(path))
        except Exception as error:  # the Rust parser raises bare Exception
            raise BadInput(f"cannot read the tokenizer {path}: {error}") from error
    if (vocab := hub.find(source, "vocab.json")) and (merges := hub.find(source, "merges.txt")):
        from transformers import GPT2Tokenizer

        return GPT2Tokenizer(vocab=str(vocab), merges=str(merges)).backend_tokenizer
    if path := hub.find(source, "tokenizer.model"):
        from transformers import LlamaTokenizer

        try:
            return LlamaTokenizer.from_pretrained(path.parent).backend_tokenizer
        except ImportError as error:
            raise BadInput(
                f"the tokenizer of {source.location} is a sentencepiece model: `pip install sentencepiece protobuf`"
            ) from error
    raise BadInput(
        f"{source.location} holds no tokenizer: none of tokenizer.json, vocab.json + merges.txt, tokenizer.model"
    )


def _bos(source: Source, backend: tokenizers.Tokenizer) -> int | None:
    path = hub.find(source, "tokenizer_config.json")
    settings = json.loads(path.read_text(encoding="utf-8")) if path else {}
    token = settings.get("bos_token")
    if isinstance(token, dict):  # older files write an AddedToken out
        token = token["content"]
    return backend.token_to_id(token) if token else None
