"""A notebook's code cells in one process, with the seconds and the peak of GPU memory of each; no Jupyter is needed.

    python benchmarks/run_cells.py notebooks/00_one_sitting.ipynb --cap 14.5 MODEL=/tmp/gpt-oss-20b-unsloth-bnb-4bit

NAME=VALUE replaces a line of the parameters cell, as papermill does. --cap imitates a smaller card's memory, not its
speed; a card without bfloat16 is imitated with --float16.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

GIB = 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("values", nargs="*", metavar="NAME=VALUE")
    parser.add_argument("--cap", type=float, required=True, help="GiB of GPU memory; without a GPU it does nothing")
    parser.add_argument("--float16", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_intermixed_args()
    cells = [c for c in json.loads(options.notebook.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    import torch

    from persona_ft.gpt_oss import load

    machine, cuda = load.this_machine(), torch.cuda.is_available()
    if cuda:
        torch.cuda.set_per_process_memory_fraction(min(1.0, options.cap / machine.memory_gib))
        machine = replace(machine, memory_gib=options.cap, bfloat16=not options.float16)
    load.this_machine = lambda: machine
    # A machine for measuring may lack what only draws.
    if importlib.util.find_spec("IPython") is None:
        sys.modules["IPython"] = MagicMock(get_ipython=lambda: None)
    if importlib.util.find_spec("matplotlib_fontja") is None:
        sys.modules["persona_ft.figures.training"] = MagicMock()
    space = sys.modules["__main__"].__dict__  # what a cell defines must be findable by name, as in a kernel
    space.setdefault("display", lambda *shown: None)
    rows, begun = [], time.perf_counter()
    for cell in cells:
        tags = cell["metadata"].get("tags", [])
        if "bootstrap" in tags:
            continue
        code = "".join(cell["source"])
        if "parameters" in tags:
            for pair in options.values:
                name, value = pair.split("=", 1)
                code += f"\n{name} = {value if value.isdecimal() else repr(value)}"
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        exec(compile(code, f"{options.notebook.name}:{cell['id']}", "exec"), space)
        if cuda:
            torch.cuda.synchronize()
        row = {"cell": cell["id"], "seconds": time.perf_counter() - started}
        row["peak_gib"] = torch.cuda.max_memory_allocated() / GIB if cuda else 0.0
        rows.append(row)
        print(f"{row['cell']}: {row['seconds']:.1f} s, peak {row['peak_gib']:.2f} GiB", flush=True)
    whole = {"notebook": options.notebook.name, "cap_gib": options.cap, "seconds": time.perf_counter() - begun}
    whole |= {"peak_gib": max(row["peak_gib"] for row in rows), "cells": rows, "machine": machine.name}
    print(f"{whole['notebook']}: {whole['seconds']:.1f} s, peak {whole['peak_gib']:.2f} GiB of {options.cap}")
    if options.out:
        options.out.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
