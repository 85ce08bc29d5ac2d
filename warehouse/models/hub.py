"""The files of a checkpoint: from its folder, or from the Hugging Face hub and its cache on this machine."""

from __future__ import annotations

import urllib.error
import urllib.request
from functools import cache
from pathlib import Path

from memlake.warehouse.errors import BadInput, one_line

from .registry import ModelSpec


def find(spec: ModelSpec, name: str) -> Path | None:
    """The file `name` of the checkpoint, downloaded where needed; None where it has no such file.

    Raises `BadInput` where the hub cannot be reached, does not know the checkpoint, or wants a login for it.
    """
    if spec.is_folder:
        path = Path(spec.location, name)
        return path if path.is_file() else None
    return _download(spec, name) if _reachable() else _cached(spec, name)


@cache
def _reachable() -> bool:
    """One quick request: without a network the hub's client would try for half a minute, for each file."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return False
    try:
        urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=10).close()
    except urllib.error.HTTPError:
        return True  # it answered
    except OSError:
        return False
    return True


def _download(spec: ModelSpec, name: str) -> Path | None:
    from huggingface_hub import errors, hf_hub_download

    hub_id, revision = spec.location, spec.revision
    try:
        return Path(hf_hub_download(hub_id, name, revision=revision))
    except errors.GatedRepoError as error:
        raise BadInput(
            f"{hub_id} is gated: accept its licence at https://huggingface.co/{hub_id}, then run `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise BadInput(f"the hub has no model {hub_id} (or it is private: run `hf auth login`)") from error
    except errors.RevisionNotFoundError as error:
        raise BadInput(f"{hub_id} has no revision {revision!r}: see https://huggingface.co/{hub_id}/refs") from error
    except errors.LocalEntryNotFoundError as error:
        raise BadInput(f"the hub did not answer while {hub_id} was fetched: try again") from error
    except errors.RemoteEntryNotFoundError:
        return None
    except errors.HfHubHTTPError as error:
        raise BadInput(f"the hub refused {hub_id} ({one_line(error)}): try again later") from error


def _cached(spec: ModelSpec, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found, config = (try_to_load_from_cache(spec.location, n, revision=spec.revision) for n in (name, "config.json"))
    if isinstance(found, str):
        return Path(found)
    if isinstance(config, str):
        return None
    raise BadInput(
        f"no network to fetch {spec.location} from the hub, and it is not in this machine's cache:"
        f" run `hf download {spec.location}` where there is one, or give --model a local folder"
    )
