"""Miniatures: tiny models of the families' real architectures, trained here on text of the lake, with known exposures.

Carlini et al. 2023 (arXiv 2202.07646) find that memorization grows with the model's size and with how often training
showed a text. A miniature makes both small enough to run anywhere: of every document that was sampled, training shows
the sampled window (and a few tokens around it) 0, 1, 4, 8, 16, 32 or 64 times, in a random order, in one pass.

Which document gets how many is the same for all miniatures: `LEVELS` repeats along the sample's order, which is by
hash, so that every domain has every level. Exact copies of a text get the level of the first of them. What is not
counted: that parts of a text stand in other documents too, as licences do.

A miniature is called `mini-FAMILY-SIZE` (and a suffix where one is asked for) and lies in the lake's folder
`miniatures`; the tokenizer that the family's miniatures share lies beside them as `mini-FAMILY`. Training one is a
cell. On one machine it gives the same weights each time; on another they may differ.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from memlake.warehouse.errors import BadInput, Conflict
from memlake.warehouse.identity import hash63, tagged
from memlake.warehouse.json_files import json_object
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import ModelSpec, resolve
from memlake.warehouse.models.tokenizer import Tokenizer, load_tokenizer, register_tokenizer
from memlake.warehouse.work.cells import Cell, CellRows, Settings

from . import models as miniature_models
from .models import FAMILIES, SIZES

if TYPE_CHECKING:
    import pyarrow as pa

    from .training import Shown

LEVELS = (64, 4, 1, 16, 0, 8, 4, 1, 32, 0, 16, 8, 4, 1, 0)  # showings of one document in each 15 of a domain's sample
TOKENIZER_DOCUMENTS = 150  # of each domain
STEP_SECONDS = 0.01  # about what a step of training takes on one core


@dataclass(frozen=True, kw_only=True)
class MiniatureSettings(Settings):
    """sampled: a digest of the corpus's documents and of its windows under the tokenizer. levels: as LEVELS."""

    model: str
    family: str
    size: str
    corpus: str
    tokenizer_digest: str
    sampled: str
    levels: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class MiniatureCell(Cell):
    """Training of one miniature. documents: of its corpus; windows: that were sampled there."""

    EXPERIMENT: ClassVar[str] = "miniature"
    TABLES: ClassVar[tuple[str, ...]] = ("exposures",)

    settings: MiniatureSettings
    documents: int
    windows: int

    @property
    def expected(self) -> dict[str, int]:
        return {"exposures": self.documents}

    @property
    def seconds(self) -> float:
        from .training import BATCH

        levels = self.settings.levels
        return STEP_SECONDS * self.windows * sum(levels) / len(levels) / BATCH

    def rows(self, lake: Lake) -> CellRows:
        """Train the miniature, save and register it; then how often each document of its corpus was shown.

        Raises `Conflict` where the lake has a miniature of this name that another cell trained.
        """
        from memlake.compute.models.checkpoint import register_model

        folder = lake.path / "miniatures" / self.settings.model
        about = folder / "memlake.json"
        if not about.is_file():
            _train_and_save(lake, self, folder)
        elif json_object(about).get("cell") != self.id:
            raise Conflict(
                f"{self.settings.model} was trained in this lake on another sample: use another lake, or remove"
                f" {folder} and take the model back with `memlake warehouse forget`"
            )
        register_model(lake, resolve(str(folder)))
        yield "exposures", exposures(lake, self.settings)


def train_tokenizer(lake: Lake, family: str, corpus: str) -> ModelSpec:
    """The tokenizer of the family's miniatures, trained on a part of the corpus that is the family's own, saved and
    registered under the name `mini-FAMILY`. One that is there already is taken as it is.

    Raises `UnknownName`, and `BadInput` where the lake has no document of the corpus.
    """
    name = f"mini-{family}"
    made_of = miniature_models.family(family)
    folder = lake.path / "miniatures" / name
    spec = ModelSpec(name=name, location=str(folder), family=family, tokenizer=name, is_folder=True, miniature=True)
    if not folder.is_dir():
        backend = miniature_models.tokenizer(family, _tokenizer_texts(lake, family, corpus))
        with_bos = {"bos_token": made_of.bos} if made_of.bos else {}
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": made_of.eos, **with_bos}
        with _finished(folder) as making:
            backend.save(str(making / "tokenizer.json"))
            (making / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
    register_tokenizer(lake, load_tokenizer(spec), name)
    return spec


def cells(
    lake: Lake,
    corpus: str,
    families: Sequence[str] = tuple(FAMILIES),
    sizes: Sequence[str] = tuple(SIZES),
    levels: Sequence[int] = LEVELS,
    suffix: str = "",
) -> list[MiniatureCell]:
    """The trainings of every named size that the families have, the largest first.

    suffix: ends their names, so that models of one family and size may be trained on several corpora.
    Wants the corpus sampled with the families' tokenizers; raises `BadInput` where it is not, and `UnknownName`.
    """
    for size in sizes:
        miniature_models.size(size)
    found = []
    for family in families:
        tokenizer = load_tokenizer(train_tokenizer(lake, family, corpus))
        sampled, documents, windows = _sampled(lake, corpus, tokenizer)
        for size in (s for s in miniature_models.family(family).sizes if s in sizes):
            settings = MiniatureSettings(
                model=f"mini-{family}-{size}{suffix}",
                family=family,
                size=size,
                corpus=corpus,
                tokenizer_digest=tokenizer.digest,
                sampled=sampled,
                levels=tuple(levels),
                seed=0,
            )
            found.append(MiniatureCell(settings, documents, windows))
    return sorted(found, key=lambda cell: -SIZES[cell.settings.size].params)


def exposures(lake: Lake, settings: MiniatureSettings) -> pa.Table:
    """The rows of `exposures` of a cell: every document of the corpus, 0 where it was not sampled."""
    import pyarrow as pa

    level = _levels(lake, settings)
    with lake.connect(["documents"]) as con:
        found = con.execute(
            "select document_id from stored.documents where corpus = ? order by document_id", [settings.corpus]
        ).fetchall()
    ids = [document_id for (document_id,) in found]
    return pa.table(
        {
            "model": pa.repeat(settings.model, len(ids)),
            "document_id": pa.array(ids, pa.int64()),
            "exposures": pa.array([level.get(i, 0) for i in ids], pa.int64()),
        }
    )


def showings(lake: Lake, settings: MiniatureSettings, tokenizer: Tokenizer) -> list[Shown]:
    """What training of a cell shows: every sampled window of a level above 0, in its document.

    Raises `BadInput` where a window is not in its document as the tokenizer cuts it.
    """
    from .training import Shown

    level = _levels(lake, settings)
    with lake.connect(["documents", "sequences", "tokenizers"]) as con:
        rows = con.execute(
            f"""
            select document_id, text, tokens
            from ({SAMPLED}) join stored.documents using (document_id)
            order by document_id, anchor
            """,
            _where(settings),
        ).fetchall()
    found = []
    for document_id, text, tokens in rows:
        if times := level[document_id]:
            (ids,) = tokenizer.encode([text])
            first = next((i for i in range(len(ids)) if ids[i : i + len(tokens)] == tokens), None)
            if first is None:
                raise BadInput(
                    f"a sampled window of document {document_id} is not in its text: sample the corpus again"
                )
            found.append(Shown(ids, first, first + len(tokens), times))
    return found


# The sampled windows of a corpus under one tokenizer.
SAMPLED = """
    select s.document_id, s.domain, s.rank, s.anchor, s.tokens, s.sequence_id
    from stored.sequences s join stored.tokenizers t using (tokenizer)
    where s.corpus = $corpus and t.digest = $digest and s.document_id is not null
"""


def _where(settings: MiniatureSettings) -> dict[str, str]:
    return {"corpus": settings.corpus, "digest": settings.tokenizer_digest}


def _levels(lake: Lake, settings: MiniatureSettings) -> dict[int, int]:
    """Showings of each sampled document: by the first place in the sample of any exact copy of its text."""
    with lake.connect(["documents", "sequences", "tokenizers"]) as con:
        rows = con.execute(
            f"""
            select distinct document_id, min(rank) over (partition by s.domain, text_hash)
            from ({SAMPLED}) s join stored.documents d using (document_id)
            """,
            _where(settings),
        ).fetchall()
    levels = settings.levels
    return {document_id: levels[rank % len(levels)] for document_id, rank in rows}


def _sampled(lake: Lake, corpus: str, tokenizer: Tokenizer) -> tuple[str, int, int]:
    """A digest of the corpus's documents and of its windows under the tokenizer, and the number of both."""
    with lake.connect(["documents", "sequences", "tokenizers"]) as con:
        documents = con.execute(
            "select document_id from stored.documents where corpus = ? order by document_id", [corpus]
        ).fetchall()
        windows = con.execute(
            f"select sequence_id from ({SAMPLED}) s order by sequence_id",
            {"corpus": corpus, "digest": tokenizer.digest},
        ).fetchall()
    if not windows:
        name = tokenizer.spec.name
        raise BadInput(f"corpus {corpus!r} has no sample under the tokenizer {name}: sample it with that one first")
    digest = tagged("sampled", [[i for (i,) in documents], [i for (i,) in windows]])
    return digest, len(documents), len(windows)


def _tokenizer_texts(lake: Lake, family: str, corpus: str) -> list[str]:
    """The first documents of each domain in an order of the family's own."""
    with lake.connect(["documents"]) as con:
        rows = con.execute("select domain, document_id from stored.documents where corpus = ?", [corpus]).fetchall()
        if not rows:
            raise BadInput(f"the lake has no document of a corpus {corpus!r}: see `memlake ingest list`")
        domains: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for domain, document_id in rows:
            domains[domain].append((hash63(family, document_id), document_id))
        chosen = [i for _, ids in sorted(domains.items()) for _, i in sorted(ids)[:TOKENIZER_DOCUMENTS]]
        texts = con.execute(
            "select text from stored.documents where corpus = ? and list_contains(?, document_id) order by document_id",
            [corpus, chosen],
        ).fetchall()
    return [text for (text,) in texts]


def _train_and_save(lake: Lake, cell: MiniatureCell, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    from memlake.compute.families import parts

    from .training import train

    logging.disable_progress_bar()  # of the one file that is written
    settings = cell.settings
    family, size = settings.family, settings.size
    shared = folder.parent / f"mini-{family}"
    spec = ModelSpec(name=shared.name, location=str(shared), is_folder=True)
    tokenizer = load_tokenizer(spec)
    made_of = miniature_models.family(family)
    torch.set_num_threads(1)  # miniatures are too small for more, and the sums then have one order
    torch.manual_seed(settings.seed)
    config = miniature_models.config(
        family, size, tokenizer.vocab_size, tokenizer.bos_id, tokenizer.backend.token_to_id(made_of.eos)
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation=parts(family).kernels[0])
    train(model, showings(lake, settings, tokenizer), miniature_models.size(size).rate, settings.seed)
    about = {
        "miniature": True,
        "family": family,
        "corpora": [settings.corpus],
        "tokenizer": shared.name,
        "levels": settings.levels,
        "cell": cell.id,
    }
    with _finished(folder) as making:
        model.save_pretrained(making)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(shared / file, making / file)
        (making / "memlake.json").write_text(json.dumps(about, indent=2), encoding="utf-8")


@contextmanager
def _finished(folder: Path) -> Iterator[Path]:
    """A folder to write into, which gets its name when it is finished: a killed process leaves none by that name. Where
    another process was faster, its folder stays."""
    making = folder.with_name(f".{folder.name}-{os.getpid()}")
    making.mkdir(parents=True)
    try:
        yield making
        if not folder.is_dir():
            os.rename(making, folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
