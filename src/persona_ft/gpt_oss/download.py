"""A model from the Hugging Face Hub: whole, with room for it, with nothing in it that runs, and a clear word when it
does not come."""

from __future__ import annotations

import errno
import shutil
import time
from pathlib import Path
from typing import Any

from persona_ft.errors import PersonaError
from persona_ft.gpt_oss.load import GPT_OSS_20B, this_machine
from persona_ft.io import read_json

SMALL, WEIGHTS = ["*.json", "*.jinja", "*.model", "*.txt"], ["*.safetensors"]
# Other formats of the same weights, which some repositories hold beside them.
OTHERS = ["original/*", "metal/*", "onnx/*"]
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
# Left free beside a download: a run writes its checkpoints too.
SPARE = 1_000_000_000
# Bytes under which a download is done before anybody has read about it.
WORTH_A_WORD = 50_000_000
TOKEN = "HF_TOKEN"


def colab_secret(name: str) -> str | None:
    """A secret of Colab's (the key symbol on the left); None elsewhere, and where it is missing or not allowed."""
    try:
        from google.colab import userdata  # type: ignore[import-not-found]

        return userdata.get(name) or None
    except Exception:  # not on Colab, no such secret, or no access to it
        return None


def check_model(folder: Path, weights: bool = True) -> None:
    """PersonaError, which names the file, where a model would run code of its own, is no gpt-oss, or is not whole;
    ``weights=False`` looks at the small files only."""
    small = {path.name: _fields(path) for path in sorted(folder.glob("*config.json"))}
    for name, fields in small.items():
        if "auto_map" in fields:
            remedy = "take a model that transformers has the code of: no model's own code is run here"
            raise PersonaError("the model asks to run code of its own (auto_map)", remedy, folder / name)
    kind = small.get("config.json", {}).get("model_type", "nothing known")
    if kind != "gpt_oss":
        raise PersonaError(f"the model is {kind}, and the lessons are for gpt_oss", 'try MODEL = "tiny"', folder)
    if weights:
        index = folder / "model.safetensors.index.json"
        parts = _fields(index).get("weight_map", {}).values() if index.exists() else ["model.safetensors"]
        for part in sorted(set(parts)):
            _check_whole(folder / Path(part).name)


def _fields(path: Path) -> dict[str, Any]:
    try:
        return {**read_json(path)}
    except (OSError, ValueError, TypeError) as error:
        raise PersonaError("the file is cut off or damaged: it is no JSON object", "fetch it again", path) from error


def _check_whole(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy"):  # reads the header, and holds its sizes against the file's
            return
    except FileNotFoundError as error:
        reason, remedy = "the weights are missing", f"fetch them again, as {path.name}"
        if any(name for pattern in PICKLES for name in path.parent.glob(pattern)):
            reason = "the weights are pickles, which can run any code when they are opened"
            remedy = f"convert them to {path.name}"
        raise PersonaError(reason, remedy, path.parent) from error
    except (SafetensorError, OSError) as error:
        reason = f"the weights are cut off or damaged ({error})"
        raise PersonaError(reason, "fetch the file again: it was copied or downloaded in part", path) from error


def fetch_model(name: str, weights: bool = True) -> str:
    """The folder of a model: ``name`` when it is one, else the files of that ``owner/name`` on the Hub in the local
    cache, downloaded if needed; ``weights=False`` fetches config and tokenizer alone, a few MB. The token is Colab's
    secret, else the environment's or an earlier login's; gpt-oss-20b needs none. A broken download is taken up where it
    was, and without a network a model that is whole in the cache is used as it is. PersonaError, which says what to do,
    where gpt-oss-20b is asked for without a GPU, the Hub, the disk or the token will not have it, the download broke
    off, or :func:`check_model` refuses it."""
    if Path(name).is_dir():
        check_model(Path(name), weights)
        return name
    if weights and name in GPT_OSS_20B and not this_machine().cuda:
        remedy = 'on Colab: Runtime, Change runtime type; or take the small model: MODEL = "tiny"'
        raise PersonaError(f"{name} wants a CUDA GPU, and there is none here", remedy)
    import httpx
    from huggingface_hub import get_token, snapshot_download
    from huggingface_hub.errors import DryRunError, LocalEntryNotFoundError

    patterns = [*SMALL, *WEIGHTS] if weights else SMALL
    wanted: dict[str, Any] = {"allow_patterns": patterns, "ignore_patterns": OTHERS}
    wanted["token"] = colab_secret(TOKEN) or get_token()
    try:
        files = snapshot_download(name, dry_run=True, **wanted)
    except Exception as error:
        wraps = isinstance(error, (DryRunError, LocalEntryNotFoundError))  # what the Hub, or the network, said
        problem = _problem(name, (wraps and error.__cause__) or error)
        if problem is None:
            raise
        try:  # the Hub is out of reach; what is here may be all that is needed
            folder = snapshot_download(name, local_files_only=True, **wanted)
            check_model(Path(folder), weights)
        except Exception:
            raise problem from None
        print(f"{name}: from the local cache, the Hub was not asked")
        return folder
    missing = [file for file in files if file.will_download]
    if not missing:
        return snapshot_download(name, local_files_only=True, **wanted)
    size, whole = (sum(file.file_size or 0 for file in some) for some in (missing, files))
    cache = next(folder for folder in Path(missing[0].local_path).absolute().parents if folder.is_dir())
    free = shutil.disk_usage(cache).free
    if free < size + SPARE:
        reason = f"{name} wants {(size + SPARE) / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free"
        remedy = "free some room, or set HF_HUB_CACHE to a folder on a larger disk before you start Python"
        raise PersonaError(reason, remedy)
    if size > WORTH_A_WORD:
        print(f"{name}: downloading {size / 1e9:.1f} of {whole / 1e9:.1f} GB; {free / 1e9:.0f} GB are free", flush=True)
    started = time.monotonic()
    try:
        folder = snapshot_download(name, **wanted)
    except (OSError, httpx.HTTPError, RuntimeError) as error:  # hf-xet raises RuntimeError
        lacking = [file.file_size or 0 for file in missing if not Path(file.local_path).exists()]
        raise _problem(name, error, lacking) from error
    check_model(Path(folder), weights)
    if size > WORTH_A_WORD:
        print(f"{name}: here after {time.monotonic() - started:.0f} s")
    return folder


def _problem(name: str, error: BaseException, lacking: list[int] | None = None) -> PersonaError | None:
    """What to tell of an error; None where it is not the Hub's or the network's. ``lacking``: missing files' bytes."""
    import httpx
    from huggingface_hub import errors

    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    gated, kind = isinstance(error, errors.GatedRepoError), type(error).__name__
    unknown = isinstance(error, (errors.RepositoryNotFoundError, errors.HFValidationError))
    network = isinstance(error, (httpx.HTTPError, OSError))
    missing = f"{len(lacking or [])} files are still missing, {sum(lacking or []) / 1e9:.1f} GB"
    token = f"put a token of yours into {TOKEN} (on Colab: the key symbol on the left; else the environment)"
    hub, room = "the Hugging Face Hub", "free some room and run the cell again"
    agree = f"agree at https://huggingface.co/{name}, then {token}"
    spelling = f"check the spelling; for a private one, {token}"
    kept = "run the cell again: files that are whole are kept"
    tiny = 'check the network and run the cell again, or take the small model that needs none: MODEL = "tiny"'
    cases = [  # the first that holds; a gated repository is an unknown one too
        (gated, f"{name} is gated: its owners want your agreement", agree),
        (unknown, f"{hub} has no model {name}, or it is private", spelling),
        (status == 401, f"{hub} does not accept your token", f"{token}, or take the old one out"),
        (status == 403, f"{hub} does not let you have {name}", f"ask its owners, then {token}"),
        (status == 429, f"{hub} has had too many requests from here", f"wait some minutes, or {token}"),
        (getattr(error, "errno", None) == errno.ENOSPC, f"the disk is full: {name} did not fit", room),
        (lacking is not None, f"the download of {name} broke off ({kind}): {missing}", kept),
        (network, f"{hub} cannot be reached ({kind}), and {name} is not here whole", tiny),
    ]
    return next((PersonaError(reason, remedy) for holds, reason, remedy in cases if holds), None)
