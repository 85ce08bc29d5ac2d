"""Checkpoints: loading one, describing one, and its rows in a lake."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from memlake.compute.families import kv_heads, parts, sees
from memlake.warehouse.errors import BadInput, Conflict, one_line
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import ModelSpec, role
from memlake.warehouse.models.tokenizer import load_tokenizer, register_tokenizer, registered
from memlake.warehouse.publishing.register import register
from memlake.warehouse.show.terminal import say

from . import weights
from .conditions import Condition
from .config import in_transformers
from .device import free_memory, own_gpu, pick_device
from .identity import changes, end_tokens, identify, read_config

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

DTYPES = ("float32", "float16", "bfloat16")
ROLES = ("trained", "control")


@dataclass(frozen=True)
class Checkpoint:
    """A model in memory, ready to run: evaluation mode, no gradients."""

    name: str
    model: PreTrainedModel
    positions: int  # the longest sequence it can take
    sees: int | None  # tokens that its narrowest block sees; None: all
    vocab_size: int
    condition: Condition
    forbidden: tuple[int, ...] = ()  # tokens that are never decided for

    @property
    def device(self) -> torch.device:
        return self.model.device


@dataclass(frozen=True)
class ModelRow:
    """A row of `models`. What is None is not recorded: of a model of which only results were imported, for one, all
    that is read off a checkpoint."""

    model: str
    family: str
    revision: str | None
    source: str | None
    weights_digest: str | None
    checkpoint_digest: str | None
    config: str | None
    architecture: str | None
    tokenizer: str | None
    n_params: int | None
    nominal_params: int | None
    n_layers: int | None
    n_heads: int | None
    n_kv_heads: int | None
    hidden_size: int | None
    vocab_size: int | None
    base_condition: str
    miniature: bool


def load(spec: ModelSpec, condition: Condition, device: str = "auto") -> Checkpoint:
    """Load a checkpoint. `device`: auto (CUDA where there is one), cpu or cuda.

    Raises `BadInput`: no such device, no weights, an architecture that is none of ours, weights that do not fit it or
    the GPU.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # the run has one of its own
    logging.set_verbosity_error()  # and what matters of the report on loading is a line below
    files = weights.fetch(spec)
    own = read_config(spec, files)
    config = in_transformers(files.folder / "config.json", own.family)
    forbidden = end_tokens(spec, own) if condition.no_eos else ()
    if condition.no_eos and not forbidden:
        raise BadInput(f"{spec.name} names no end-of-sequence token: use --eos")
    device = own_gpu() if pick_device(device) == "cuda" else "cpu"
    dtype = getattr(torch, condition.dtype)
    too_large = BadInput(f"{spec.name} does not fit this GPU: use --dtype bfloat16, or --device cpu")
    # Asked before reading, so that a hundred cells do not each read in vain what cannot fit
    if device != "cpu" and weights.count(files.weights) * dtype.itemsize > free_memory(device):
        raise too_large
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        files.folder,
        config=config,
        dtype=dtype,
        attn_implementation=condition.attention,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are reported, as the missing ones are
    )
    model, report = loaded
    if report["missing_keys"]:
        raise BadInput(f"{spec.location} lacks weights of its architecture, such as {min(report['missing_keys'])}")
    if report["mismatched_keys"]:
        name, stored, wanted = min(report["mismatched_keys"])
        raise BadInput(
            f"{spec.location} does not fit its config.json: {name} is {list(stored)}, by the config {list(wanted)}"
        )
    try:
        model = model.to(device)
    except torch.cuda.OutOfMemoryError as error:
        raise too_large from error
    return Checkpoint(
        name=spec.name,
        model=model.eval().requires_grad_(False),
        positions=config.max_position_embeddings,
        sees=sees(own.family, config),
        vocab_size=model.get_output_embeddings().weight.shape[0],
        condition=condition,
        forbidden=forbidden,
    )


def condition_of(
    spec: ModelSpec,
    dtype: str | None = None,
    attention: str | None = None,
    bos: bool | None = None,
    no_eos: bool | None = None,
    base: Condition | None = None,
) -> Condition:
    """The condition to run a checkpoint under; what is None is as in `base`, by default the checkpoint's own: its
    stored dtype, the architecture's first kernel, BOS as in training. Raises `BadInput` for a dtype or a kernel that it
    cannot run with."""
    files = weights.fetch(spec)
    family = read_config(spec, files).family
    kernels = parts(family).kernels
    if attention is not None and attention not in kernels:
        raise BadInput(f"{spec.name} cannot run with attention {attention!r}: {family} has {', '.join(kernels)}")
    if dtype is not None and dtype not in DTYPES:
        raise BadInput(f"no dtype {dtype!r}: it is one of {', '.join(DTYPES)}")
    default = base or Condition(weights.stored_dtype(files.weights), kernels[0], bool(spec.bos))
    return replace(
        default,
        dtype=dtype or default.dtype,
        attention=attention or default.attention,
        bos=default.bos if bos is None else bos,
        no_eos=default.no_eos if no_eos is None else no_eos,
    )


def base_condition(lake: Lake, spec: ModelSpec) -> Condition | None:
    """The lake's base condition of a model; None where it has none that can be run under (results made elsewhere)."""
    with lake.connect(["models", "conditions"]) as con:
        row = con.execute(
            "select dtype, attention, bos, no_eos"
            " from stored.models join stored.conditions on base_condition = condition"
            " where model = ? and dtype is not null and attention is not null and noise = 0",
            [spec.name],
        ).fetchone()
    if row is None:
        return None
    dtype, attention, bos, no_eos = row
    return Condition(dtype, attention, bos, no_eos=bool(no_eos))


def describe(spec: ModelSpec, tokenizer: str) -> ModelRow:
    """The row of `models`. Parameters are counted on a model without memory: tied ones once, buffers not."""
    import torch
    from transformers import AutoModelForCausalLM

    files = weights.fetch(spec)
    family = read_config(spec, files).family
    config = in_transformers(files.folder / "config.json", family)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except Exception as error:  # an entry may be of the right type and yet mean nothing: an unknown activation
        raise BadInput(f"{files.folder}/config.json describes no {family} model: {one_line(error)}") from error
    return ModelRow(
        model=spec.name,
        family=_family(spec),
        revision=files.revision,
        source=spec.location,
        **asdict(identify(spec)),
        tokenizer=tokenizer,
        n_params=sum(p.numel() for p in model.parameters()),
        nominal_params=spec.nominal_params,
        n_layers=config.num_hidden_layers,
        n_heads=config.num_attention_heads,
        n_kv_heads=kv_heads(family, config),
        hidden_size=config.hidden_size,
        vocab_size=config.vocab_size,
        base_condition=condition_of(spec).name,
        miniature=spec.miniature,
    )


def register_model(lake: Lake, spec: ModelSpec) -> ModelRow:
    """Write a checkpoint's rows of `tokenizers`, `conditions`, `models` and `model_corpora`, each once, and return its
    row of `models`. Where results of the model were imported before, the checkpoint's row takes the place of theirs.
    Raises `Conflict` where the lake has another checkpoint under the same name."""
    known = known_model(lake, spec)
    if known is None or known.weights_digest is None:
        tokenizer = register_tokenizer(lake, load_tokenizer(spec))
        row = describe(spec, tokenizer)
        if spec.is_folder:
            row = replace(row, source=lake.relative(spec.location))
        condition = condition_of(spec)
        _say_dtype(spec, condition.dtype)
        register(lake, "conditions", [condition.row()])
        if known:
            row = replace(row, nominal_params=known.nominal_params, family=spec.family or known.family)
            lake.amend("models", asdict(row))
        register(lake, "models", [asdict(row)])
    else:
        row = _brought_up(lake, spec, known)
    corpora = [{"model": spec.name, "corpus": corpus, "role": "trained"} for corpus in spec.corpora]
    register(lake, "model_corpora", corpora)
    return row


def _brought_up(lake: Lake, spec: ModelSpec, known: ModelRow) -> ModelRow:
    """A model's row with what is new in it, which is written: its config and architecture, in a lake of before they
    were recorded, and the family that is asked for (there, where none is asked for, its own in place of its
    architecture's)."""
    row = replace(known, family=spec.family or known.family)
    if known.config is None:
        now = identify(spec)
        row = replace(known, family=_family(spec), config=now.config, architecture=now.architecture)
        say(
            f"{spec.name}: registered before memlake recorded configs, so its config.json is taken for the one that"
            " it was measured with. If it has been changed since, take the old rows back with `memlake warehouse"
            f" forget --model {spec.name}`, and run this again"
        )
    if row.family != known.family:
        say(f"{spec.name}: of the family {row.family!r} from now on (was {known.family!r})")
    if changed := {name: value for name, value in asdict(row).items() if value != getattr(known, name)}:
        lake.amend("models", {"model": spec.name, **changed})
    return row


def _say_dtype(spec: ModelSpec, stored: str) -> None:
    """Say where a config.json names another number format than that of the weights."""
    stated = read_config(spec, weights.fetch(spec)).dtype
    if stated and stated != stored:
        say(
            f"{spec.name}: its weights are {stored}, its config.json says {stated}: its base condition is {stored},"
            f" as stored (--dtype {stated} --base-condition makes it the other)"
        )


def _family(spec: ModelSpec) -> str:
    return spec.family or spec.name.partition("@")[0]


def known_model(lake: Lake, spec: ModelSpec, condition: Condition | None = None) -> ModelRow | None:
    """The lake's row of `models` for this checkpoint, None where it has none yet; without a weights digest where only
    its results were imported. Raises `Conflict` where the lake has other weights, another config or another tokenizer
    under its name, and other special tokens where `condition` depends on them."""
    with lake.connect(["models"]) as con:
        rows = con.execute("from stored.models where model = ?", [spec.name]).to_arrow_table().to_pylist()
    if not rows:
        return None
    known = ModelRow(**rows[0])
    if known.weights_digest is None:
        return known
    now = identify(spec)
    differ = changes(known.config, now.config, condition) if known.config else []
    if known.weights_digest != now.weights_digest:
        what = "weights"
    elif differ:
        what = f"config ({', '.join(differ)})"
    elif known.tokenizer != registered(lake).get(load_tokenizer(spec).digest):
        what = "tokenizer"
    else:
        return known
    raise Conflict(
        f"the lake has a model {spec.name!r} (from {known.source}) with another {what}: give the new one another"
        f" name, or take the old back with `memlake warehouse forget --model {spec.name}`"
    )


class Unscored(BadInput):
    """What is asked of is not scored yet."""


def unscored(name: str) -> Unscored:
    """What is wrong where the lake knows nothing yet of a model's checkpoint: results may have been imported."""
    return Unscored(f"{name} is not scored yet: run `memlake compute run scoring --model {name}` first")


def role_on(lake: Lake, spec: ModelSpec, corpus: str, said: str | None = None) -> str | None:
    """'trained' where a checkpoint trained on a corpus, 'control' where it did not: what the lake holds, else what the
    registry knows, else what the user said; None: nothing is known.

    Raises `BadInput` for no such role, `Conflict` where the user contradicts what is known.
    """
    if said not in (None, *ROLES):
        raise BadInput(f"no role {said!r}: it is {' or '.join(ROLES)}")
    with lake.connect(["model_corpora"]) as con:
        row = con.execute(
            "select role from stored.model_corpora where model = ? and corpus = ?", [spec.name, corpus]
        ).fetchone()
    known = row[0] if row else role(spec, corpus)
    if known and said not in (None, known):
        where = "the lake" if row else "its memlake.json" if spec.is_folder else "the registry"
        mend = f", or take the model back with `memlake warehouse forget --model {spec.name}`" if row else ""
        raise Conflict(f"{where} knows {spec.name} as {known} on {corpus}: leave --role {said} out{mend}")
    return known or said
