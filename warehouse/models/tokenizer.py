"""Tokenizers of checkpoints, without torch: a row of `tokenizers` for each, told apart by digest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memlake.warehouse.errors import BadInput, Conflict, one_line
from memlake.warehouse.identity import canonical, sha256
from memlake.warehouse.json_files import json_object
from memlake.warehouse.publishing.register import register

from . import hub, piece_model, special_tokens
from .registry import ModelSpec

if TYPE_CHECKING:
    import tokenizers
    from sentencepiece import SentencePieceProcessor

    from memlake.warehouse.lake import Lake

CLASSES = {"gpt_neox": "GPTNeoXTokenizer", "olmo": "GPTNeoXTokenizer"}  # of transformers; else GPT-2's
AS_IT_IS = ("PreTrainedTokenizerFast", "TokenizersBackend")  # classes of transformers that only read tokenizer.json


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer as it is used here: no padding, no truncation.

    pieces: sentencepiece's reading, where the checkpoint ships a tokenizer.model. own: that reading decides; otherwise
    `backend` does, and the two are compared.
    """

    backend: tokenizers.Tokenizer
    digest: str  # sha256 of its canonical serialized form
    vocab_size: int  # tokens it can produce
    bos_id: int | None  # the beginning-of-sequence token; None where it has none
    spec: ModelSpec
    pieces: SentencePieceProcessor | None = None
    own: bool = False

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of whole texts, nothing added."""
        if self.own and self.pieces:
            return self.pieces.encode(list(texts))
        return [e.ids for e in self.backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def agreed(self, texts: Sequence[str]) -> Iterator[list[int] | None]:
        """The same; None for a text that the libraries read differently: under sentencepiece alone one in which a
        special or added token is written out (it takes the letters, transformers the token), else one that it cuts
        otherwise."""
        ids = self.encode(texts)
        if not self.pieces:
            yield from ids
        elif self.own:
            yield from (None if self._special.search(t) else i for t, i in zip(texts, ids, strict=True))
        else:
            others = self.pieces.encode(list(texts))
            yield from (i if i == other else None for i, other in zip(ids, others, strict=True))

    @cached_property
    def _special(self) -> re.Pattern[str]:
        """Finds tokens that sentencepiece does not read in a text."""
        added = self.backend.get_added_tokens_decoder().items()
        pieces = self.pieces
        known = range(pieces.get_piece_size()) if pieces else ()
        read = {i for i in known if pieces and not pieces.is_control(i) and not pieces.is_unknown(i)}
        return re.compile("|".join(re.escape(t.content) for i, t in added if i not in read) or "(?!)")


def load_tokenizer(spec: ModelSpec) -> Tokenizer:
    """The tokenizer of a checkpoint, with every token that its files declare. Raises `BadInput` where there is none, or
    the hub cannot be reached."""
    pieces = own = None
    said = special_tokens.settings(spec)
    prefix_space = said.get("add_prefix_space")
    if path := hub.find(spec, "tokenizer.json"):
        backend = _from_json(path, None if said.get("tokenizer_class") in AS_IT_IS else prefix_space)
        pieces = _beside(spec, prefix_space)
    elif (vocab := hub.find(spec, "vocab.json")) and hub.find(spec, "merges.txt"):
        backend = _from_merges(spec, vocab.parent, said)
    elif path := hub.find(spec, "tokenizer.model"):
        own, pieces = piece_model.read(path, prefix_space)
        backend = piece_model.convert(own)
    else:
        raise BadInput(
            f"{spec.location} holds no tokenizer: none of tokenizer.json, vocab.json + merges.txt, tokenizer.model"
            " (`save_pretrained` of transformers' tokenizers writes the first)"
        )
    _add(backend, special_tokens.declared(spec, said))
    backend.no_padding()
    backend.no_truncation()
    bits = [own.SerializeToString(deterministic=True)] if own else []
    form = json.loads(backend.to_str())
    return Tokenizer(
        backend=backend,
        # of a sentencepiece model without how it is converted: what is made of it does not decide what it cuts
        digest=sha256([*bits, canonical(form["added_tokens"] if own else form).encode()]),
        vocab_size=backend.get_vocab_size(),
        bos_id=_bos(said, backend, own),
        spec=spec,
        pieces=pieces,
        own=own is not None,
    )


def load_same(spec: ModelSpec, digest: str) -> Tokenizer:
    """The tokenizer of a checkpoint, which was loaded before; raises `Conflict` where it is not that of `digest`."""
    tokenizer = load_tokenizer(spec)
    if tokenizer.digest != digest:
        raise Conflict(f"the tokenizer of {spec.location} has changed since the work was planned: run it again")
    return tokenizer


def registered(lake: Lake) -> dict[str, str]:
    """The names of the lake's tokenizers by their digests."""
    with lake.connect(["tokenizers"]) as con:
        return dict(con.execute("select digest, tokenizer from stored.tokenizers").fetchall())


def register_tokenizer(lake: Lake, tokenizer: Tokenizer, name_hint: str | None = None) -> str:
    """The tokenizer's name in this lake: the one its digest has already, else the hint, else hint-DIGEST. The hint is
    by default what the registry calls the tokenizer, else the checkpoint's name."""
    spec = tokenizer.spec
    name_hint = name_hint or spec.tokenizer or spec.name
    names = registered(lake)
    if tokenizer.digest in names:
        return names[tokenizer.digest]
    name = name_hint
    if name in names.values():
        name = f"{name_hint}-{tokenizer.digest.removeprefix('sha256:')[:8]}"
    register(
        lake,
        "tokenizers",
        [
            {
                "tokenizer": name,
                "source": lake.relative(spec.location) if spec.is_folder else spec.location,
                "digest": tokenizer.digest,
                "vocab_size": tokenizer.vocab_size,
            }
        ],
    )
    return name


def _from_json(path: Path, prefix_space: object) -> tokenizers.Tokenizer:
    """prefix_space: whether a space is put before the text, where the checkpoint says so beside the file."""
    from tokenizers import Tokenizer as Backend

    try:
        read = Backend.from_file(str(path))
        form = json.loads(read.to_str())
        if isinstance(prefix_space, bool) and _put_space(form, prefix_space):
            return Backend.from_str(json.dumps(form))
        return read
    except Exception as error:  # the Rust parser raises bare Exception
        raise BadInput(f"cannot read the tokenizer {path}: {error}") from error


def _put_space(form: dict[str, Any], space: bool) -> bool:
    """Let the tokenizer of this serialized form put a space before the text, or none; whether that is a change."""
    before = canonical(form)
    for step in steps(form["pre_tokenizer"]):
        if step["type"] == "ByteLevel":
            step["add_prefix_space"] = space
        elif step["type"] == "Metaspace" and space == (step["prepend_scheme"] == "never"):
            step["prepend_scheme"] = "first" if space else "never"
    kept = [step for step in steps(form["normalizer"]) if space or step["type"] != "Prepend"]
    if len(kept) < len(list(steps(form["normalizer"]))):
        form["normalizer"] = {"type": "Sequence", "normalizers": kept}
    return canonical(form) != before


def steps(form: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """The steps that a normalizer, pre-tokenizer or decoder is made of, as they are serialized."""
    if form and form["type"] == "Sequence":
        for part in next(form[k] for k in ("normalizers", "pretokenizers", "decoders") if k in form):
            yield from steps(part)
    elif form:
        yield form


def _from_merges(spec: ModelSpec, folder: Path, said: dict[str, Any]) -> tokenizers.Tokenizer:
    """By the tokenizer class of transformers that the checkpoint names, else by that of its architecture.
    (AutoTokenizer would do the same, and import torch.)"""
    import transformers

    hub.find(spec, "added_tokens.json")  # where the class will look for it; what is `said` lies there
    path = hub.find(spec, "config.json")
    config = json_object(path) if path else {}
    named = said.get("tokenizer_class") or config.get("tokenizer_class")
    name = str(named or CLASSES.get(str(config.get("model_type")), "GPT2Tokenizer")).removesuffix("Fast")
    try:
        return getattr(transformers, name).from_pretrained(folder, local_files_only=True).backend_tokenizer
    except Exception as error:  # of many kinds: no such class, one that reads other files, a line of merges.txt
        raise BadInput(
            f"{spec.location}: {name} of transformers cannot read vocab.json and merges.txt ({one_line(error)})"
        ) from error


def _beside(spec: ModelSpec, prefix_space: bool | None) -> SentencePieceProcessor | None:
    """sentencepiece's reading of a checkpoint that also ships a tokenizer.json; other formats have that file's name,
    too (tiktoken)."""
    path = hub.find(spec, "tokenizer.model")
    try:
        return piece_model.read(path, prefix_space)[1] if path else None
    except BadInput:
        return None


def _add(backend: tokenizers.Tokenizer, tokens: Sequence[tokenizers.AddedToken]) -> None:
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    for token in tokens:
        if token.content not in known:
            (backend.add_special_tokens if token.special else backend.add_tokens)([token])
            known.add(token.content)


def _bos(said: dict[str, Any], backend: tokenizers.Tokenizer, own: Any) -> int | None:
    if token := said.get("bos_token"):
        return backend.token_to_id(special_tokens.content(token))
    return own.trainer_spec.bos_id if own and own.trainer_spec.bos_id >= 0 else None  # a model may have none: -1
