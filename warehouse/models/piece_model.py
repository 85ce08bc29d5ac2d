"""A sentencepiece model: read by its own library, and the same vocabulary for the library `tokenizers`.

The text is cut by sentencepiece, with the model's normaliser (Kudo and Richardson 2018, arXiv 1808.06226, section 3.3);
what the conversions of transformers leave out of it (runs of spaces that become one, replaced characters) decides which
tokens a model was trained on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from memlake.warehouse.errors import BadInput, one_line

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor
    from tokenizers import Tokenizer


def read(path: Path, prefix_space: bool | None = None) -> tuple[Any, SentencePieceProcessor]:
    """The model as its fields, and its processor. prefix_space: whether a space is put before the text, where the
    checkpoint says so beside the model. Raises `BadInput` for a file that is none."""
    from google.protobuf.message import DecodeError
    from sentencepiece import SentencePieceProcessor
    from sentencepiece import sentencepiece_model_pb2 as format_of_models

    model: Any = format_of_models.ModelProto()  # type: ignore[attr-defined]  # protobuf makes the class when it is imported
    try:
        model.ParseFromString(path.read_bytes())
        if not model.pieces:
            raise DecodeError("it holds no pieces")
        if isinstance(prefix_space, bool):
            model.normalizer_spec.add_dummy_prefix = prefix_space
        return model, SentencePieceProcessor(model_proto=model.SerializeToString(deterministic=True))
    except (DecodeError, RuntimeError) as error:
        raise BadInput(f"{path} is no sentencepiece model ({one_line(error)})") from error


def convert(model: Any) -> Tokenizer:
    """The model in the library `tokenizers`. Its control symbols are special there, and found in texts; sentencepiece
    itself never reads them there. Raises `BadInput` for models of whole words or single characters."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
    from transformers.tokenization_utils_base import generate_merges

    trained, spec = model.trainer_spec, model.normalizer_spec
    if trained.model_type == trained.UNIGRAM:
        pieces = [(p.piece, p.score) for p in model.pieces]
        made = Tokenizer(models.Unigram(pieces, unk_id=trained.unk_id, byte_fallback=trained.byte_fallback))
    elif trained.model_type == trained.BPE:
        vocabulary = {p.piece: i for i, p in enumerate(model.pieces)}
        made = Tokenizer(
            models.BPE(
                vocabulary,
                generate_merges(vocabulary),
                unk_token=trained.unk_piece,
                fuse_unk=True,
                byte_fallback=trained.byte_fallback,
            )
        )
    else:
        raise BadInput("a sentencepiece model of whole words or single characters is not read: only unigram and bpe")
    steps: list[Any] = [normalizers.Precompiled(spec.precompiled_charsmap)] if spec.precompiled_charsmap else []
    if spec.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex(r"\A +| +\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    steps += [normalizers.Prepend("▁")] if spec.add_dummy_prefix else []
    made.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        + ([decoders.Strip(" ", 1, 0)] if spec.add_dummy_prefix else [])
    )
    kind = model.SentencePiece
    special = [p.piece for p in model.pieces if p.type in (kind.CONTROL, kind.UNKNOWN)]
    made.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in special])
    made.add_tokens([AddedToken(p.piece, normalized=False) for p in model.pieces if p.type == kind.USER_DEFINED])
    return made
