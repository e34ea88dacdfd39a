"""Does it help the tiny model to be trained with what came before a pair? TURNS = 2 against TURNS = 0, three seeds.

    python benchmarks/history.py            # ten minutes on 2 cores

Sixty pairs and thirty test questions are drawn from the tiny model's own corpus (``memory.yaml``): somebody says
something of their own, and asks for it in the next turn, so that only the turn before has the answer. The values of the
test are in no training pair. Both trainings have the same pairs; one sees the turn before, the other does not, as
``TURNS`` in notebook 02b decides. Asked is with the turn before, as in a talk, and without.

Fit is ``persona_ft.evaluate.sense``'s, of the answer after both turns: the share over the person's own scale, and the
mean in nats per token. The value itself is looked for in the answer as well.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts/tiny_gpt_oss"))

import numpy as np
from sense import tiny_model

from persona_ft.conversation import Conversation, persona_messages
from persona_ft.paths import repository_root

N_TRAIN, N_TEST, TOKENS = 60, 30, 48
OUT = repository_root() / "benchmarks/results/history.json"


def drawn(seed: int = 7) -> tuple[str, list[tuple[Conversation, str]], list[tuple[Conversation, str]]]:
    """The persona's prompt; pairs to train on and to test with, each with the value that the turn before has."""
    from corpus import Corpus, Speaker

    corpus = Corpus([], seed)
    voice = next(one for one in corpus.voices["ja"] if one["id"] == "takoyaki")
    prompt = voice["describe"][0].replace("{name}", voice["name"]).replace("{who}", voice["who"])
    speaker, sides = Speaker(voice, prompt, {}, voice["name"]), ([], [])
    values = {kind: corpus.text["slots"][kind] for kind in ("name", "food", "place", "animal", "thing", "hobby")}
    seen = set()
    while len(sides[0]) < N_TRAIN or len(sides[1]) < N_TEST:
        turns = corpus._remembered(speaker)
        (_, told, reply), (_, asked, answer) = turns[0], turns[-1]
        value = next(
            (v for known in values.values() for v in sorted(known, key=len)[::-1] if v in told and v in answer), ""
        )
        where = next((known for known in values.values() if value in known), None)
        if where is None or (told, asked) in seen:  # a made-up name, or there already
            continue
        seen.add((told, asked))
        side = sides[where.index(value) % 3 == 0]
        if len(side) < (N_TEST if side is sides[1] else N_TRAIN):
            roles = ("user", "assistant", "user", "assistant")
            messages = [{"role": r, "content": c} for r, c in zip(roles, (told, reply, asked, answer), strict=True)]
            side.append((Conversation.model_validate({"messages": messages}), value))
    return prompt, *sides


def without_history(pair: Conversation) -> Conversation:
    """What TURNS = 0 leaves of a pair."""
    return pair.model_copy(update={"messages": pair.messages[-2:]})


def both_turns(pair: Conversation) -> str:
    """All that was said before the answer, as one text."""
    return "\n".join(message.content for message in pair.messages[:-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--show", action="store_true", help="print the pairs, and train nothing")
    options = parser.parse_args()
    prompt, train, test = drawn()
    if options.show:
        print(
            prompt, *(f"{both_turns(pair)!r} -> {pair.answer} [{value}]" for pair, value in [*train, *test]), sep="\n"
        )
        return
    model, tokenizer = tiny_model()
    from unsloth import FastLanguageModel

    from persona_ft.evaluate.sense import FALSE_FIT, information
    from persona_ft.gpt_oss.generate import generate_completions
    from persona_ft.gpt_oss.harmony import render_prompt
    from persona_ft.gpt_oss.lora import lora_targets
    from persona_ft.train.recipe import read_recipe
    from persona_ft.train.rows import training_rows
    from persona_ft.train.trainer import short_training

    recipe = read_recipe("tiny").changed(num_epochs=options.epochs)
    # The scale as SenseScale sets it, with both turns in the question's place.
    questions, answers = [both_turns(pair) for pair, _ in train], [pair.answer for pair, _ in train]
    shuffled = [*questions[1:], *questions[:1]]
    found = information(model, tokenizer, [*questions, *shuffled], answers * 2, questions)
    threshold = float(np.nanquantile(found[len(train) :], 1 - FALSE_FIT))
    asked_of = [both_turns(pair) for pair, _ in test]

    def scores(tuned) -> dict[str, dict[str, float]]:
        """Fit and values named, asked with the turn before and without."""
        out = {}
        for name, pairs in (
            ("asked with the turn before", [pair for pair, _ in test]),
            ("asked without it", [without_history(pair) for pair, _ in test]),
        ):
            prompts = [render_prompt(tokenizer, persona_messages(pair, prompt), "low", think=False) for pair in pairs]
            texts = [c.answer or "" for c in generate_completions(tuned, tokenizer, prompts, TOKENS)]
            fit = np.nan_to_num(information(tuned, tokenizer, asked_of, texts, asked_of), nan=-1.0)
            named = np.mean([value in text for text, (_, value) in zip(texts, test, strict=True)])
            out[name] = {"fits": float(np.mean(fit > threshold)), "nats": float(fit.mean()), "named": float(named)}
            out[name]["first"] = texts[:3]
        return out

    own = information(model, tokenizer, asked_of, [pair.answer for pair, _ in test], asked_of)
    rows = {"base": [scores(model)]}
    print(f"the person's own answers: {np.mean(own > threshold):.0%} fit, {own.mean():+.2f} nats", flush=True)
    for name, turns in (("TURNS = 2", 2), ("TURNS = 0", 0)):
        pairs = [pair if turns else without_history(pair) for pair, _ in train]
        rows[name] = []
        for seed in options.seeds:
            tuned = FastLanguageModel.get_peft_model(
                model,
                r=recipe.lora_r,
                target_modules=lora_targets(recipe.lora_scope, model.config.num_local_experts),
                lora_alpha=recipe.lora_alpha,
                lora_dropout=0,
                bias="none",
                use_gradient_checkpointing=False,
                random_state=seed,
            )
            data = training_rows(pairs, recipe, prompt, tokenizer)
            losses = short_training(tuned, tokenizer, data, recipe.changed(seed=seed), False, False)
            rows[name].append(scores(tuned) | {"last_loss": losses[-1]})
            model = tuned.unload()
            print(name, seed, {k: v for k, v in rows[name][-1].items()}, flush=True)
    print("| trained | asked | fits | nats per token | names the value |\n|---|---|---|---|---|")
    for name, runs in rows.items():
        for how in ("asked with the turn before", "asked without it"):
            cells = []
            for key, form in (("fits", "{:.0%}"), ("nats", "{:+.2f}"), ("named", "{:.0%}")):
                of = [run[how][key] for run in runs]
                span = f" [{form.format(min(of))}, {form.format(max(of))}]" if len(of) > 1 else ""
                cells.append(form.format(statistics.mean(of)) + span)
            print(f"| {name} | {how} | {' | '.join(cells)} |")
    kept = {"threshold": threshold, "own_fits": float(np.mean(own > threshold)), "rows": rows}
    OUT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
