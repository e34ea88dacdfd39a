"""Checkpoints that survive a lost session: written whole or not at all, checked before use, never of another run."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from persona_ft.errors import PersonaError
from persona_ft.io import file_digest, keep_private, move_aside, read_json, write_text
from persona_ft.paths import shown
from persona_ft.train.identity import rewrite_settings

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

# What a checkpoint says of itself: what was trained, how far, and the SHA-256 of its files.
MANIFEST = "manifest.json"
FIELDS = {"step": int, "finished": bool, "seconds": float, "identity": dict, "files": dict}
# What resuming needs. PEFT also writes a model card, which names the base model's folder.
NEEDED = {"adapter_model.safetensors", "adapter_config.json", "trainer_state.json", "rng_state.pth"}
NEEDED |= {"optimizer.pt", "scheduler.pt", "scaler.pt"}
# What would name a folder, which may be somebody's home: the base model's, and that of the best checkpoint.
PATHS = {"adapter_config.json": "base_model_name_or_path", "trainer_state.json": "best_model_checkpoint"}
# The newest, one before it in case the newest is damaged, and the best, which may be either.
KEPT = 2
# More than three checkpoints of room: two kept, the best, and the one being written.
ROOM = 4


class Checkpoint(NamedTuple):
    """A whole checkpoint. ``seconds``: training time up to it; ``finished``: nothing is left to train after it."""

    path: Path
    step: int
    finished: bool
    seconds: float


def checkpoint_bytes(n_trainable: int, optimizer: str) -> int:
    """Size of one checkpoint: a 32-bit adapter, two optimizer values a parameter (8 or 32 bit), a MB of the rest."""
    return n_trainable * (4 + 2 * (1 if "8bit" in optimizer else 4)) + 1_000_000


class Checkpoints:
    """The checkpoints of one training in a folder. ``identity`` is what is being trained (recipe, data digest, model,
    date), as flat JSON values: a folder that holds another identity's checkpoints is refused."""

    def __init__(self, folder: Path | str, identity: dict[str, Any]) -> None:
        self.folder = Path(folder)
        # The Trainer's output_dir: checkpoints are written here and moved out when they are whole.
        self.staging = self.folder / ".writing"
        # As it comes back from the file: tuples become lists, keys become text.
        self.identity = json.loads(json.dumps(identity))

    def open(self, n_bytes: int, restart: bool = False) -> None:
        """Make the folder, and sure, before anything is trained, that checkpoints of ``n_bytes`` can be written and
        belong to this run; ``restart`` moves what is there aside. PersonaError where it cannot be written to, the disk
        has too little room, or the checkpoints are of another recipe, other data or another model."""
        if restart and self.folder.exists():
            print(f"the checkpoints that were here are in {shown(move_aside(self.folder))} now")
        try:
            shutil.rmtree(self.staging, ignore_errors=True)
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.staging.mkdir(mode=0o700)
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            reason = f"checkpoints cannot be written here ({error.strerror})"
            remedy = "set RUN to a folder that you may write to, on a disk with room"
            raise PersonaError(reason, remedy, shown(self.folder)) from error
        if free < ROOM * n_bytes:
            reason = f"the disk has {free / 1e6:,.0f} MB free and checkpoints want {ROOM * n_bytes / 1e6:,.0f} MB"
            raise PersonaError(reason, "free some room, or set RUN to a folder on another disk", shown(self.folder))
        there = next(filter(None, (_manifest(path).get("identity") for _, path in self.all())), self.identity)
        if changed := [key for key in {**there, **self.identity} if there.get(key) != self.identity.get(key)]:
            values = {key: f": {there.get(key)} → {self.identity.get(key)}" for key in changed}
            what = "; ".join(key + (" changed" if key.endswith("sha256") else value) for key, value in values.items())
            remedy = "set RESTART = True to begin anew (the old ones are kept beside it), "
            remedy += "put the old values back to go on with them, or use another RUN"
            reason = f"the checkpoints in this folder are of another training ({what})"
            raise PersonaError(reason, remedy, shown(self.folder))

    def all(self) -> list[tuple[int, Path]]:
        """(step, folder) of each checkpoint that was moved here, newest first, checked or not."""
        steps = ((path.name.removeprefix("checkpoint-"), path) for path in self.folder.glob("checkpoint-*"))
        return sorted(((int(step), path) for step, path in steps if step.isdecimal()), reverse=True)

    def last_good(self) -> Checkpoint | None:
        """The newest checkpoint whose files are all as they were written, with a warning for each newer damaged one."""
        for _, path in self.all():
            try:
                return self.read(path)
            except PersonaError as error:
                print(f"warning: {shown(path)} is left out: {error.reason}")
        return None

    def read(self, path: Path) -> Checkpoint:
        """A checkpoint that is whole and of this training; raises PersonaError where it is not."""
        reason, manifest = f"it is not whole ({MANIFEST})", _manifest(path)
        if manifest and manifest["identity"] != self.identity:
            reason = "it is of another training"
        elif manifest:
            changed = [name for name, wanted in manifest["files"].items() if not _holds(path / name, wanted)]
            if not changed:
                return Checkpoint(path, manifest["step"], manifest["finished"], manifest["seconds"])
            reason = f"{changed[0]} is not what was written"
        raise PersonaError(reason, "the checkpoint before it is used; delete this folder if you like", shown(path))

    @staticmethod
    def save_adapter_alone(trainer: Trainer) -> None:
        """Let the Trainer's checkpoints hold only the adapter and what resuming needs; else it looks through the state
        of 3,264 quantised modules, and writes the tokenizer (27 MB) and a pickle of its arguments with folder names."""

        def save(output_dir: str | None = None, state_dict: dict | None = None) -> None:
            adapter = {name: value for name, value in trainer.model.named_parameters() if value.requires_grad}
            folder = output_dir or trainer.args.output_dir
            trainer.model.save_pretrained(folder, state_dict=adapter, save_embedding_layers=False)

        trainer._save = save

    def callback(self, seconds_before: float = 0.0) -> TrainerCallback:
        """A Trainer callback that moves each checkpoint out of ``staging`` once it is whole, and asks for one at each
        evaluation, so that the best step is always among them; ``seconds_before`` were spent before this session."""
        from transformers import TrainerCallback

        checkpoints = self

        class MoveWhenWhole(TrainerCallback):
            def on_train_begin(self, args, state, control, **_) -> None:
                self.started = time.monotonic() - seconds_before

            def on_evaluate(self, args, state, control, **_):
                control.should_save = args.save_strategy != "no"
                return control

            def on_save(self, args, state, control, **_) -> None:
                finished = control.should_training_stop or state.global_step >= state.max_steps
                checkpoints.keep(state.global_step, finished, time.monotonic() - self.started, state.best_global_step)

        return MoveWhenWhole()

    def keep(self, step: int, finished: bool, seconds: float, best: int | None) -> None:
        """Seal the checkpoint that was written, move it in one step to where it counts, and drop old ones."""
        written, target = self.staging / f"checkpoint-{step}", self.folder / f"checkpoint-{step}"
        for path in written.iterdir():
            if path.name not in NEEDED:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, key in PATHS.items():
            rewrite_settings(written / name, key)
        known = {"step": step, "finished": finished, "seconds": round(seconds, 3), "identity": self.identity}
        known["files"] = {path.name: file_digest(path) for path in sorted(written.iterdir())}
        write_text(written / MANIFEST, json.dumps(known, indent=1, ensure_ascii=False) + "\n")
        keep_private(written)
        for path in written.iterdir():
            _flush(path)
        shutil.rmtree(target, ignore_errors=True)
        written.replace(target)
        _flush(self.folder)
        for n, (number, path) in enumerate(self.all()):
            if n >= KEPT and number != best:
                shutil.rmtree(path)

    def finish(self, trainer: Trainer) -> dict[str, Any]:
        """Put the best step's weights into the model, or without validation pairs the last, and return the Trainer's
        record of the whole run, also of one that was finished in an earlier session."""
        last = self.last_good()
        state = read_json(last.path / "trainer_state.json") if last else asdict(trainer.state)
        best = state["best_global_step"]
        if last and (best or not trainer.state.global_step):
            wanted = self.folder / f"checkpoint-{best}" if best else last.path
            trainer._load_from_checkpoint(str(self.read(wanted).path))  # as resuming does
        shutil.rmtree(self.staging, ignore_errors=True)  # TRL's card of the model is there, with folder names
        return state

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Around ``trainer.train()``: where the disk filled up or went away while a checkpoint was written, the error
        is a PersonaError that says so; earlier checkpoints are untouched."""
        try:
            yield
        except Exception as error:
            # Whole checkpoints leave the staging folder at once: one that is still there could not be finished.
            broken = sorted(self.staging.glob("checkpoint-*"))
            if isinstance(error, PersonaError) or (self.staging.exists() and not broken):
                raise
            last = next((f"checkpoint-{step} is whole" for step, _ in self.all()), "there is none before it")
            reason = f"{broken[-1].name if broken else 'a checkpoint'} could not be written ({error})"
            remedy = f"free some room or mount the disk again, then run the notebook again to go on: {last}"
            raise PersonaError(reason, remedy, shown(self.folder)) from error


def _manifest(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself; nothing where it is damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = read_json(path / MANIFEST)
        return {key: kind(found[key]) for key, kind in FIELDS.items()}
    return {}


def _holds(path: Path, wanted: str) -> bool:
    with suppress(OSError):  # it is gone, or the disk is
        return file_digest(path) == wanted
    return False


def _flush(path: Path) -> None:
    """See a file or a folder's entries onto the disk, where the file system can do that."""
    handle = os.open(path, os.O_RDONLY)
    with suppress(OSError):  # some network file systems refuse it for folders
        os.fsync(handle)
    os.close(handle)
