"""An export in each format to a trained adapter, through notebooks 02 and 03, on the tiny model.

    python benchmarks/export_to_adapter.py              # some minutes on 2 cores
    python benchmarks/export_to_adapter.py --only slack.zip

``data/chats`` has the same made-up chat as each app would export it, so the data sets should be the same to the byte,
and on one machine the adapters too.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from persona_ft.io import file_digest
from persona_ft.notebook.run import execute
from persona_ft.paths import resolve

SAMPLES = {path.name: path for path in sorted(resolve("data/chats").iterdir())}
ME = "まさき"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(SAMPLES), choices=list(SAMPLES))
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        persona = Path(folder, "me")
        persona.mkdir()
        (persona / "persona.yaml").write_text(f"name: {ME}\nsystem_prompt: あなたは{ME}です。\n", encoding="utf-8")
        for name in options.only:
            run, started = Path(folder, name.replace(".", "_")), time.perf_counter()
            run.mkdir()
            given = {"MODEL": "tiny", "PERSONA": str(persona), "CHAT": str(SAMPLES[name]), "ME": ME, "N_TEST": 20}
            execute(["02b_from_chats", "03_train_qlora"], run, given)
            training = json.loads((run / "training.json").read_text(encoding="utf-8"))
            pairs = len((run / "train.jsonl").read_text(encoding="utf-8").splitlines())
            files = (run / "train.jsonl", run / "adapter/adapter_model.safetensors")
            data, adapter = (file_digest(path)[:12] for path in files)
            rows.append((name, pairs, data, adapter, training["log"]["train"][-1][1], time.perf_counter() - started))
    print("\n| export | training pairs | train.jsonl | adapter | last loss | seconds |\n|---|---|---|---|---|---|")
    for name, pairs, data, adapter, loss, seconds in rows:
        print(f"| {name} | {pairs} | {data} | {adapter} | {loss:.4f} | {seconds:.0f} |")
    if len({row[2:4] for row in rows}) > 1:
        sys.exit("the exports did not give the same data set and adapter")
    print("the same data set and adapter from each")


if __name__ == "__main__":
    main()
