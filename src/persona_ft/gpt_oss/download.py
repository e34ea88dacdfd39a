"""A model from the Hugging Face Hub: whole, with room for it, and a clear word when it does not come."""

from __future__ import annotations

import errno
import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_ft.errors import PersonaError
from persona_ft.gpt_oss.load import this_machine
from persona_ft.paths import is_live

if TYPE_CHECKING:
    from huggingface_hub.file_download import DryRunFileInfo
    from tqdm import tqdm

# Unsloth loads the same 4-bit file for these names. Named here, so that what is looked up, checked for room and
# downloaded is what is loaded.
FOUR_BIT = {
    "unsloth/gpt-oss-20b": "unsloth/gpt-oss-20b-unsloth-bnb-4bit",
    "openai/gpt-oss-20b": "unsloth/gpt-oss-20b-unsloth-bnb-4bit",
}
SMALL = ["*.json", "*.jinja", "*.model", "*.txt"]
WEIGHTS = ["*.safetensors"]
# Other formats of the same weights, which some repositories hold beside them.
OTHERS = ["original/*", "metal/*", "onnx/*"]
# Left free beside a download: a run writes its checkpoints too.
SPARE = 1_000_000_000
TOKEN = "HF_TOKEN"
# Bytes under which a download is done before anybody has read about it.
WORTH_A_WORD = 50_000_000


def hub_token() -> str | None:
    """The Hub's token: from Colab's secrets, else from the environment or an earlier login, else none.

    gpt-oss-20b needs none; a gated or private model does. It is never printed.
    """
    from huggingface_hub import get_token

    return colab_secret(TOKEN) or get_token()


def colab_secret(name: str) -> str | None:
    """A secret of Colab's (the key symbol on the left); None elsewhere, and where it is missing or not allowed."""
    try:
        from google.colab import userdata  # type: ignore[import-not-found]

        return userdata.get(name) or None
    except Exception:  # not on Colab, no such secret, or no access to it
        return None


def fetch_model(source: str, weights: bool = True, four_bit: bool = True) -> str:
    """The folder of a model: as given when it is one, else the Hub's files in the local cache, downloaded if needed.

    A connection that breaks is taken up where it was (huggingface_hub tries five times); when the session itself is
    lost, files that are whole are kept. Whether there is room is looked at before anything is downloaded. Without a
    network, a model that is whole in the cache is used as it is.

    Parameters
    ----------
    source : a folder, or a Hub name ``owner/name``.
    weights : False fetches config and tokenizer alone, a few MB.
    four_bit : False takes gpt-oss-20b as it is named, which stock transformers reads, and not Unsloth's 4-bit file.

    Raises
    ------
    PersonaError
        gpt-oss-20b is asked for where no GPU is, the name is misspelt, the model private or gated, the token not
        accepted, the Hub not to be reached, the disk too small, or the download broke off; the message says which and
        what to do.
    """
    if Path(source).is_dir():
        return source
    if weights and source in FOUR_BIT and not this_machine().cuda:
        raise PersonaError(
            f"{source} wants a CUDA GPU, and there is none here",
            'on Colab: Runtime, Change runtime type; or take the small model: MODEL = "tiny"',
        )
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError, HfHubHTTPError, LocalEntryNotFoundError

    name = FOUR_BIT.get(source, source) if four_bit else source
    wanted: dict[str, Any] = {
        "allow_patterns": [*SMALL, *WEIGHTS] if weights else SMALL,
        "ignore_patterns": OTHERS,
        "token": hub_token(),
    }
    try:
        files = snapshot_download(name, dry_run=True, **wanted)
    except Exception as error:
        # Both only wrap what the Hub, or the network, said.
        wrapped = isinstance(error, (DryRunError, LocalEntryNotFoundError)) and error.__cause__
        problem = _problem(name, wrapped or error)
        if problem is None:
            raise
        try:  # the Hub is out of reach; what is here may be all that is needed
            folder = snapshot_download(name, local_files_only=True, **wanted)
        except Exception:
            raise problem from None
        if not _is_whole(Path(folder), weights):
            raise problem from None
        print(f"{name}: from the local cache, the Hub was not asked")
        return folder
    missing = [file for file in files if file.will_download]
    if not missing:
        return snapshot_download(name, local_files_only=True, **wanted)
    size = sum(file.file_size or 0 for file in missing)
    free = shutil.disk_usage(_existing(missing[0])).free
    if free < size + SPARE:
        raise PersonaError(
            f"{name} wants {(size + SPARE) / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free",
            "free some room, or set HF_HUB_CACHE to a folder on a larger disk before you start Python",
        )
    if size > WORTH_A_WORD:
        whole = f" of {(size + there) / 1e9:.1f} GB" if (there := sum(f.file_size or 0 for f in files) - size) else ""
        print(f"{name}: downloading {size / 1e9:.1f} GB{whole}; {free / 1e9:.0f} GB are free", flush=True)
    started = time.monotonic()
    try:
        folder = snapshot_download(name, **wanted, tqdm_class=None if is_live() else _in_tenths(size))
    except (OSError, httpx.HTTPError, HfHubHTTPError, RuntimeError) as error:  # hf-xet raises RuntimeError
        lacking = [file for file in missing if not Path(file.local_path).exists()]
        raise _broke_off(name, error, len(lacking), sum(file.file_size or 0 for file in lacking)) from error
    if size > WORTH_A_WORD:
        print(f"{name}: here after {time.monotonic() - started:.0f} s")
    return folder


def _in_tenths(size: int) -> type[tqdm]:
    """A progress bar for a notebook that nobody watches: a word at each tenth, and none for small downloads."""
    from tqdm import tqdm

    class Tenths(tqdm):
        said = 0

        def display(self, *_: Any, **__: Any) -> None:
            tenths = 10 * int(self.n) // max(size, 1)
            if self.unit == "B" and size > WORTH_A_WORD and Tenths.said < tenths < 10:
                Tenths.said = tenths
                print(f"{tenths}0 %", end=" ", flush=True)

    return Tenths


def _is_whole(folder: Path, weights: bool) -> bool:
    """Whether a cached copy has a config, and every file that the index of its weights names."""
    if not (folder / "config.json").exists():
        return False
    if not weights:
        return True
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return (folder / "model.safetensors").exists()
    parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    return all((folder / part).exists() for part in parts)


def _existing(file: DryRunFileInfo) -> Path:
    """The nearest folder that exists above where a file will lie."""
    return next(folder for folder in Path(file.local_path).absolute().parents if folder.is_dir())


def _problem(name: str, error: BaseException) -> PersonaError | None:
    """What to tell the reader of an error that came before anything was downloaded; None when it is another kind."""
    import httpx
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    where = f"put a token of yours into {TOKEN} (on Colab: the key symbol on the left; else the environment)"
    if isinstance(error, GatedRepoError):
        return PersonaError(
            f"{name} is gated: its owners want your agreement", f"agree at https://huggingface.co/{name}, then {where}"
        )
    if isinstance(error, (RepositoryNotFoundError, HFValidationError)):
        return PersonaError(
            f"the Hugging Face Hub has no model {name}, or it is private",
            f"check the spelling; for a private one, {where}",
        )
    if status == 401:
        return PersonaError("the Hugging Face Hub does not accept your token", f"{where}, or take the old one out")
    if status == 403:
        return PersonaError(f"the Hugging Face Hub does not let you have {name}", f"ask its owners, then {where}")
    if status == 429:
        return PersonaError(
            "the Hugging Face Hub has had too many requests from here", f"wait some minutes, or {where}"
        )
    if isinstance(error, (httpx.HTTPError, HfHubHTTPError, OfflineModeIsEnabled, LocalEntryNotFoundError, OSError)):
        return PersonaError(
            f"the Hugging Face Hub cannot be reached ({type(error).__name__}), and {name} is not here whole",
            'check the network and run the cell again, or take the small model that needs none: MODEL = "tiny"',
        )
    return None


def _broke_off(name: str, error: Exception, n_lacking: int, n_bytes: int) -> PersonaError:
    """What to tell the reader of a download that began and did not end."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403, 404, 429):
        return _problem(name, error)
    if getattr(error, "errno", None) == errno.ENOSPC:
        return PersonaError(f"the disk is full: {name} did not fit", "free some room and run the cell again")
    return PersonaError(
        f"the download of {name} broke off ({type(error).__name__}): {n_lacking} files are still missing, "
        f"{n_bytes / 1e9:.1f} GB",
        "run the cell again: files that are whole are kept",
    )
