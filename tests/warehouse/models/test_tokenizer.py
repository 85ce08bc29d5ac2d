"""Tokenizers as checkpoints store them, against the libraries that read them."""

from __future__ import annotations

import io
import json

import pytest
import sentencepiece
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from memlake.ingest.counting.scan import tokenized
from memlake.ingest.sampling.windows import Encoder
from memlake.warehouse.errors import BadInput
from memlake.warehouse.models.registry import ModelSpec
from memlake.warehouse.models.tokenizer import load_tokenizer

LINES = [
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on.",
    "a cafe, a café, the quick fox: 12 345 (lazy) dogs",
    "the fox and the dog jumps over and over again",
] * 5
TEXTS = [
    "The quick fox",
    "the  quick   fox",  # runs of spaces
    " the fox",
    "the fox ",
    "the\tfox\n\nand the\r\ndog\n",
    "the \n dog",
    "the 🦆 and the 狐",  # byte fallback
    "cafe\u0301 café",  # a combining mark
    "ﬁve ½ ²",  # what NFKC replaces
    "the</s>fox",
    "the <|im_start|> fox",
    "the<mark>fox <mark> dog",
    "the\u00a0fox\u200b",
    "a▁b",
    "",
    "  ",
    "x",
]
FLAGS = {
    "llama": {"normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    "open_llama": {"normalization_rule_name": "identity", "remove_extra_whitespaces": True},
    "nfkc": {"normalization_rule_name": "nmt_nfkc", "remove_extra_whitespaces": True},
    "no_prefix": {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "add_dummy_prefix": False},
    "unigram": {"model_type": "unigram", "normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    "no_bytes": {"normalization_rule_name": "identity", "byte_fallback": False},
    "symbols": {"normalization_rule_name": "identity", "user_defined_symbols": ["<mark>"]},
}


def trained(name: str) -> bytes:
    """A sentencepiece model of that kind."""
    made, flags = io.BytesIO(), {"model_type": "bpe", "byte_fallback": True, "vocab_size": 330} | FLAGS[name]
    flags["vocab_size"] = 330 if flags["byte_fallback"] else 70
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES), model_writer=made, minloglevel=2, hard_vocab_limit=False, **flags
    )
    return made.getvalue()


@pytest.fixture(scope="module")
def piece_models() -> dict[str, bytes]:
    return {name: trained(name) for name in FLAGS}


def folder(path, **files) -> ModelSpec:
    """A checkpoint's folder with these files: bytes, or what is written as JSON or text."""
    path.mkdir()
    files = {"config.json": {"model_type": "llama"}} | {k.replace("__", "."): v for k, v in files.items()}
    for name, held in files.items():
        data = held if isinstance(held, bytes) else (held if isinstance(held, str) else json.dumps(held)).encode()
        (path / name).write_bytes(data)
    return ModelSpec(name=path.name, location=str(path), is_folder=True)


@pytest.mark.parametrize("kind", FLAGS)
def test_a_sentencepiece_model_cuts_as_sentencepiece_does(kind, tmp_path, piece_models):
    own = sentencepiece.SentencePieceProcessor(model_proto=piece_models[kind])
    loaded = load_tokenizer(folder(tmp_path / "m", tokenizer__model=piece_models[kind]))
    assert loaded.encode(TEXTS) == [own.encode(t) for t in TEXTS]
    assert loaded.bos_id == own.bos_id() == 1
    ids, lengths = tokenized(loaded, TEXTS)  # what a corpus is counted by
    assert ids.tolist() == [i for t in TEXTS for i in own.encode(t)] and lengths.sum() == len(ids)
    taken = {}
    for text, tokens in zip(TEXTS, Encoder(loaded).encode(TEXTS), strict=True):
        # Not taken: what sentencepiece does not give back (its decoder drops one space that it may have put first), and
        # a special token written out, which transformers would read as the token
        back = own.decode(own.encode(text))
        assert (tokens is not None) == (text.removeprefix(" ") == back.removeprefix(" ") and "</s>" not in text), text
        taken[text] = tokens is not None
        if tokens is not None:
            assert tokens.ids.tolist() == own.encode(text)
            assert (tokens.ends[-1] if len(tokens.ends) else 0) == len(text.encode())
    assert taken["The quick fox"] and not taken["the</s>fox"] and not taken["a▁b"]
    assert taken["the  quick   fox"] == (kind in ("llama", "no_prefix", "unigram"))
    assert taken["the 🦆 and the 狐"] == (kind != "no_bytes")
    assert taken["ﬁve ½ ²"] == (kind not in ("nfkc", "no_bytes"))


@pytest.mark.parametrize("kind", FLAGS)
def test_the_converted_model_is_the_same_on_plain_text(kind, tmp_path, piece_models):
    """What benchmarks run with: `tokenizers` with the model's normaliser."""
    own = sentencepiece.SentencePieceProcessor(model_proto=piece_models[kind])
    backend = load_tokenizer(folder(tmp_path / "m", tokenizer__model=piece_models[kind])).backend
    special = ("</s>", "<|im_start|>", "<mark>")
    for text in (t for t in TEXTS if not any(s in t for s in special)):
        if kind != "no_bytes" or own.unk_id() not in own.encode(text):
            assert backend.encode(text, add_special_tokens=False).ids == own.encode(text), text


def test_different_models_have_different_digests(tmp_path, piece_models):
    def digest(name, **files):
        return load_tokenizer(folder(tmp_path / name, **files)).digest

    # One vocabulary, other rules: only the normaliser tells them apart
    found = {k: digest(k, tokenizer__model=piece_models[k]) for k in ("llama", "open_llama", "nfkc", "no_prefix")}
    found["added"] = digest("added", tokenizer__model=piece_models["llama"], added_tokens__json={"<|im_start|>": 330})
    no_space = {"add_prefix_space": False}
    found["said"] = digest("said", tokenizer__model=piece_models["llama"], tokenizer_config__json=no_space)
    assert len(set(found.values())) == len(found)
    assert found["llama"] == digest("again", tokenizer__model=piece_models["llama"])


def test_a_prefix_space_is_put_where_the_config_says(tmp_path, piece_models):
    for kind in ("llama", "no_prefix"):
        for said in (True, False):
            config = {"add_prefix_space": said, "tokenizer_class": "LlamaTokenizer", "legacy": False}
            spec = folder(
                tmp_path / f"{kind}{said}", tokenizer__model=piece_models[kind], tokenizer_config__json=config
            )
            ours = load_tokenizer(spec).encode(["the fox"])
            assert ours == [AutoTokenizer.from_pretrained(spec.location)("the fox", add_special_tokens=False).input_ids]


def test_added_tokens_beside_a_sentencepiece_model(tmp_path, piece_models):
    added = {"<|im_start|>": 330, "<|im_end|>": 331}
    spec = folder(
        tmp_path / "m",
        tokenizer__model=piece_models["llama"],
        added_tokens__json=added,
        tokenizer_config__json={"tokenizer_class": "LlamaTokenizer", "bos_token": "<|im_start|>"},
    )
    loaded, auto = load_tokenizer(spec), AutoTokenizer.from_pretrained(spec.location)
    size = sentencepiece.SentencePieceProcessor(model_proto=piece_models["llama"]).get_piece_size()
    assert loaded.backend.token_to_id("<|im_end|>") == auto.convert_tokens_to_ids("<|im_end|>") == size + 1
    assert (loaded.vocab_size, loaded.bos_id) == (len(auto), auto.bos_token_id)
    (tokens,) = Encoder(loaded).encode(["the <|im_start|> fox"])
    assert tokens is None  # sentencepiece reads letters, transformers the token


@pytest.mark.parametrize("held", [b"version https://git-lfs.github.com/spec/v1\n", b"IQ== 0\nIg== 1\n", b""])
def test_a_file_that_is_no_sentencepiece_model_is_one_line(held, tmp_path):
    with pytest.raises(BadInput, match="is no sentencepiece model"):
        load_tokenizer(folder(tmp_path / "m", tokenizer__model=held))


def byte_level() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False))
    return made


BESIDE = {
    "nothing": {},
    "added_tokens": {"added_tokens__json": {"<|im_start|>": 321, "<mark>": 320}},
    "decoder": {
        "tokenizer_config__json": {
            "added_tokens_decoder": {
                "320": {"content": "<mark>", "normalized": False, "lstrip": True, "rstrip": False, "special": False},
                "321": {"content": "<|im_start|>", "normalized": False, "special": True, "single_word": False},
            }
        }
    },
    "map": {"special_tokens_map__json": {"bos_token": "<|im_start|>", "additional_special_tokens": ["<mark>"]}},
    "role": {
        "tokenizer_config__json": {
            "bos_token": {"__type": "AddedToken", "content": "<mark>", "rstrip": True},
            "image_token": "</s>",
        }
    },
    "prefix_space": {"tokenizer_config__json": {"add_prefix_space": True}},
}


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize(("model_type", "named"), [("gpt_neo", None), ("gpt_neox", None), ("gpt_neo", "GPT2Tokenizer")])
def test_vocabulary_and_merges_as_auto_tokenizer_reads_them(beside, model_type, named, tmp_path):
    config = BESIDE[beside].get("tokenizer_config__json", {}) | ({"tokenizer_class": named} if named else {})
    spec = folder(
        tmp_path / "m", config__json={"model_type": model_type}, **BESIDE[beside] | {"tokenizer_config__json": config}
    )
    byte_level().model.save(spec.location)
    loaded, auto = load_tokenizer(spec), AutoTokenizer.from_pretrained(spec.location)
    assert loaded.encode(TEXTS) == [auto(t, add_special_tokens=False).input_ids for t in TEXTS]
    assert loaded.vocab_size == len(auto)
    for text, tokens in zip(TEXTS, Encoder(loaded).encode(TEXTS), strict=True):
        assert (tokens is None) == (
            auto.backend_tokenizer.decode(loaded.encode([text])[0], False).lstrip(" ") != text.lstrip(" ")
        )


@pytest.mark.parametrize("beside", [b for b in BESIDE if b != "prefix_space"])  # tokenizer.json says that itself
def test_tokens_declared_beside_tokenizer_json(beside, tmp_path):
    config = {"tokenizer_class": "PreTrainedTokenizerFast"} | BESIDE[beside].get("tokenizer_config__json", {})
    files = BESIDE[beside] | {"tokenizer_config__json": config, "tokenizer__json": byte_level().to_str()}
    spec = folder(tmp_path / "m", **files)
    loaded, auto = load_tokenizer(spec), AutoTokenizer.from_pretrained(spec.location)
    assert loaded.encode(TEXTS) == [auto(t, add_special_tokens=False).input_ids for t in TEXTS]
    assert loaded.vocab_size == len(auto)
    alone = load_tokenizer(folder(tmp_path / "alone", tokenizer__json=byte_level().to_str()))
    assert (loaded.digest == alone.digest) == (beside == "nothing")
    auto.save_pretrained(tmp_path / "saved")  # where all of them stand in tokenizer.json, the files beside add nothing
    written = (tmp_path / "saved" / "tokenizer.json").read_text()
    config = json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())
    both = load_tokenizer(folder(tmp_path / "both", tokenizer__json=written, tokenizer_config__json=config))
    only = load_tokenizer(folder(tmp_path / "only", tokenizer__json=written))
    assert both.digest == only.digest


def test_a_text_that_the_two_files_cut_differently_is_not_taken(tmp_path, piece_models):
    one = load_tokenizer(folder(tmp_path / "one", tokenizer__model=piece_models["llama"]))
    one.backend.normalizer = None
    one.backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    form = one.backend.to_str()
    alone = load_tokenizer(folder(tmp_path / "json", tokenizer__json=form))
    both = load_tokenizer(folder(tmp_path / "both", tokenizer__json=form, tokenizer__model=piece_models["open_llama"]))
    assert both.digest == alone.digest
    texts = ["the fox", "the  fox", "the</s> fox"]
    assert [t is not None for t in Encoder(alone).encode(texts)] == [True, True, True]
    assert [t is not None for t in Encoder(both).encode(texts)] == [True, False, False]
    tiktoken = load_tokenizer(folder(tmp_path / "tik", tokenizer__json=form, tokenizer__model=b"IQ== 0\n"))
    assert [t is not None for t in Encoder(tiktoken).encode(texts)] == [True, True, True]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"vocab__txt": "a\nb"}, "none of tokenizer.json, vocab.json"),
        (
            {"vocab__json": {"a": 0}, "merges__txt": "#version: 0.2\na b c\n"},
            "GPT2Tokenizer of transformers cannot read",
        ),
        (
            {"vocab__json": {"a": 0}, "merges__txt": "", "tokenizer_config__json": {"tokenizer_class": "Mine"}},
            "Mine of transformers cannot read",
        ),
        ({"tokenizer__json": "{}"}, "cannot read the tokenizer"),
    ],
)
def test_what_cannot_be_read_is_one_line(files, message, tmp_path):
    with pytest.raises(BadInput, match=message) as error:
        load_tokenizer(folder(tmp_path / "m", **files))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "files",
    [
        {"added_tokens__json": {"<a>": "x"}},
        {"tokenizer_config__json": {"added_tokens_decoder": {"1": "<a>"}}},
        {"tokenizer_config__json": {"added_tokens_decoder": [1]}},
        {"special_tokens_map__json": {"bos_token": {"lstrip": True}}},
    ],
)
def test_declared_nonsense_is_one_line(files, tmp_path):
    with pytest.raises(BadInput, match="declares tokens that cannot be read"):
        load_tokenizer(folder(tmp_path / "m", tokenizer__json=byte_level().to_str(), **files))


@pytest.mark.parametrize(
    "named", ["GPT2Tokenizer", "GPTNeoXTokenizerFast", "Qwen2Tokenizer", "PreTrainedTokenizerFast"]
)
@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("said", [True, False])
def test_a_prefix_space_is_put_before_what_tokenizer_json_cuts(named, held, said, tmp_path):
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(add_prefix_space=held)])
    if named != "Qwen2Tokenizer":  # whose own is a sequence, too
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=held)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=330, show_progress=False))
    config = {"tokenizer_class": named, "add_prefix_space": said}
    spec = folder(tmp_path / "m", tokenizer__json=made.to_str(), tokenizer_config__json=config)
    auto = AutoTokenizer.from_pretrained(spec.location)
    texts = ["the fox", "fox and dog", " the dog"]
    assert load_tokenizer(spec).encode(texts) == [auto(t, add_special_tokens=False).input_ids for t in texts]


@pytest.mark.parametrize("form", ["metaspace", "prepend"])
def test_no_prefix_space_before_what_tokenizer_json_of_a_llama_cuts(form, tmp_path, piece_models):
    config = {"tokenizer_class": "LlamaTokenizer"}
    stored = folder(tmp_path / "m", tokenizer__model=piece_models["llama"], tokenizer_config__json=config)
    AutoTokenizer.from_pretrained(stored.location).save_pretrained(tmp_path / "saved")
    made = json.loads((tmp_path / "saved" / "tokenizer.json").read_text())
    if form == "prepend":
        replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
        made["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]}
        made["pre_tokenizer"] = None
    texts = ["the fox", "the  dog", "  fox"][: 3 if form == "metaspace" else 2]  # Prepend puts one before a space, too
    for said in (False, True, None):
        config = {"tokenizer_class": "LlamaTokenizer", "add_prefix_space": said}
        spec = folder(tmp_path / str(said), tokenizer__json=made, tokenizer_config__json=config)
        auto = AutoTokenizer.from_pretrained(spec.location)
        assert load_tokenizer(spec).encode(texts) == [auto(t, add_special_tokens=False).input_ids for t in texts]
