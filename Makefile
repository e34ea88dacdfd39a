# `make` lists what a first reader wants, `make commands` the rest, `make benchmarks` what measures the project. Each target
# makes .venv when it is missing. demo, lessons, run and lab take NOTEBOOKS=notebooks/ja. On Linux without an NVIDIA GPU,
# PyTorch's CPU index saves gigabytes: make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
.DEFAULT_GOAL := help
define HELP
make demo                        the whole way in one notebook on the tiny model (2 minutes on 2 cores)
make new PERSONA=data/me         your own persona: a few questions about you, then the interview
make check PERSONA=data/me       what can be known before anything is loaded, in seconds
make run RUN=runs/me PERSONA=data/me [CHAT=chat.txt ME=name]    train on it and compare
make lab RUN=runs/me PERSONA=data/me    the notebooks in JupyterLab, as copies in RUN
make talk RUN=runs/me            talk to the result at a terminal
make compare RUNS="runs/a runs/b"    several runs side by side
make test                        the tests
make commands                    the other commands: improve, serve, export, many runs, the site
make benchmarks                  what measures the project
endef
define COMMANDS
make lessons            notebooks 01 to 04 on the tiny model, and a report
make experiments RUN=runs/me    fewer pairs, other ranks and learning rates
make more PERSONA=data/me BEFORE=runs/me RUN=runs/me2 [N=20]    20 more answers, train again, compare with the earlier run
make edit PERSONA=data/me FROM=changes.jsonl    correct, add or take back answers
make undo PERSONA=data/me       the answers before the last change
make remove PERSONA=data/me [QUESTION="…"]    take an answer back, and say which runs hold it, or the person
make talk-web RUN=runs/me       talk in the browser, on this machine only
make serve RUN=runs/me [PORT=8000]    the run behind an OpenAI-compatible endpoint on this machine
make export RUN=runs/me TO=adapter    or merged, gguf, hub, friend: a run in a form for elsewhere
make grid GRID=grid.yaml        many runs from one file, several at once where Ray is installed
make grid-report GRID=grid.yaml    one table over all of them
make site               READMEs and notebooks of both languages as HTML, in site/
make colab              dist/colab/*.ipynb, each self-contained: upload one to Colab
endef
define BENCHMARKS
make ablation           from the article's recipe to ours, a change at a time, on the tiny model (40 minutes on 2 cores)
make kill-test          notebook 03 killed at ten random moments and run again (8 minutes)
make lost-sessions      a session lost after each notebook and in the middle of 02, 03 and 04 (9 minutes)
make bench-evaluation   the comparison's own errors: false alarms, planted differences, the judge of facts
make bench-gpu          the 20B's shapes on a CUDA GPU: speed, memory, where a step's time goes (25 minutes)
make bench-grid         what a grid costs beside the work: 300 and 3,000 cells that write a file
make real-tokenizer     prompts, labels and parsing with gpt-oss-20b's own tokenizer, beside openai-harmony
make colab-check        the standalone notebooks on Colab's own versions (some minutes; set TORCH_INDEX)
make notebooks          executes the notebooks on the tiny model and stores their outputs in notebooks/
make twins              brings notebooks/ja in step with notebooks/, and names the prose that is behind
make links REPO=owner/name    the repository's address, wherever it is needed
make licences           docs/licences.md, out of what is installed
make tiny-model         rebuilds data/tiny-gpt-oss
endef
export HELP COMMANDS BENCHMARKS

PYTHON ?= python3
RUN ?= runs/demo
NOTEBOOKS ?= notebooks
TORCH_INDEX ?=
VENV_PYTHON = .venv/bin/python
READY = .venv/.ready
TEST_READY = .venv/.test-ready
SITE_READY = .venv/.site-ready
USE_READY = .venv/.use-ready

# A name that no rule here reads is a misspelt one: without a word it would change nothing.
GIVEN_HERE = $(filter-out -% MAKE%,$(foreach name,$(.VARIABLES),$(if $(filter command%,$(origin $(name))),$(name))))
KNOWN = $(sort $(shell grep -v '^\#' $(firstword $(MAKEFILE_LIST)) | grep -oE '[A-Z][A-Z_]*'))
ifneq ($(filter-out $(KNOWN),$(GIVEN_HERE)),)
CLOSE = $(shell $(PYTHON) -c 'import difflib, sys; print(*difflib.get_close_matches(sys.argv[1], sys.argv[2:], 1, 0.7))' $(UNKNOWN) $(KNOWN))
UNKNOWN = $(firstword $(filter-out $(KNOWN),$(GIVEN_HERE)))
$(error $(UNKNOWN) is not a variable of this Makefile. What to do: did you mean $(or $(CLOSE),one of its first lines)? A parameter of a notebook is given as ARGS="-p NAME value")
endif

.PHONY: $(filter-out clean,$(shell grep -oE '^[a-z-]+( [a-z-]+)*:' $(firstword $(MAKEFILE_LIST)) | tr -d ':')) clean

help:
	@echo "$$HELP"

commands:
	@echo "$$COMMANDS"

benchmarks:
	@echo "$$BENCHMARKS"

demo: $(READY)
	@$(VENV_PYTHON) -m persona_ft.notebook.run --run $(RUN) --notebooks $(NOTEBOOKS) --only 00_one_sitting -p MODEL tiny

lessons: $(READY)
	@$(VENV_PYTHON) -m persona_ft.notebook.run --run $(RUN) --notebooks $(NOTEBOOKS) -p MODEL tiny

# make run RUN=runs/me PERSONA=data/me MODEL=gpt-oss-20b PROFILE=L4 ARGS="-p SAMPLES 5"
# Taken from make's command line only: an environment may have a MODEL or a LANGUAGE of its own.
given = $(if $(filter command%,$(origin $(1))),$($(1)))
GIVEN = $(foreach name,PERSONA MODEL PROFILE RECIPE QUESTIONS CHAT ME NAMES PERSIST,$(if $(call given,$(name)),-p $(name) "$(call given,$(name))"))
run: $(READY)
	@$(VENV_PYTHON) -m persona_ft.notebook.run --run $(RUN) --notebooks $(NOTEBOOKS) $(GIVEN) $(ARGS)

experiments: $(READY)
	@$(VENV_PYTHON) -m persona_ft.notebook.run --run $(RUN) --notebooks $(NOTEBOOKS) --only 05_experiments $(ARGS)

talk: $(READY)
	@$(VENV_PYTHON) -m persona_ft.use.talk $(RUN) $(ARGS)

talk-web: $(USE_READY)
	@$(VENV_PYTHON) -m persona_ft.use.web $(RUN) $(ARGS)

serve: $(USE_READY)
	@$(VENV_PYTHON) -m persona_ft.use.serve $(RUN) $(if $(PORT),--port $(PORT)) $(ARGS)

# make export RUN=runs/me TO=hub REPO=owner/name CONSENT="…"
TO ?= adapter
export: $(if $(filter gguf,$(TO)),$(USE_READY),$(READY))
	@$(VENV_PYTHON) -m persona_ft.use.export $(RUN) $(TO) $(if $(REPO),--repo "$(REPO)") $(if $(CONSENT),--consent "$(CONSENT)") $(ARGS)

licences: $(READY)
	@$(VENV_PYTHON) scripts/licences.py

# Opens copies of the notebooks in the run folder, which git ignores: what you type stays out of the tracked ones.
lab: $(READY)
	@$(VENV_PYTHON) -m persona_ft.notebook.run --copy --run "$(RUN)" --notebooks $(NOTEBOOKS) $(GIVEN)
	@.venv/bin/jupyter lab "$(RUN)"

new: $(READY)
	@$(VENV_PYTHON) -m persona_ft.use.new --persona "$(call given,PERSONA)" --language "$(call given,LANGUAGE)"

check: $(READY)
	@$(VENV_PYTHON) -m persona_ft.use.check $(if $(call given,PERSONA),--persona "$(PERSONA)") $(if $(call given,CHAT),--chat "$(CHAT)" --me "$(call given,ME)" --names "$(call given,NAMES)") $(if $(call given,RUN),--run "$(RUN)")

# If the interview is stopped early (exit code 3), it resumes next time; every answer is kept.
more: $(READY)
	@test -n "$(BEFORE)" || { echo "BEFORE is missing. What to do: make more PERSONA=data/me BEFORE=runs/me RUN=runs/me2"; exit 2; }
	@test "$(RUN)" != "$(BEFORE)" || { echo "RUN and BEFORE are the same. What to do: take a new folder, RUN=runs/me2"; exit 2; }
	@$(VENV_PYTHON) -m persona_ft.use.new --persona "$(call given,PERSONA)" --more $(or $(N),20); code=$$?; \
	if [ $$code = 3 ]; then exit 0; elif [ $$code != 0 ]; then exit $$code; fi; \
	$(VENV_PYTHON) -m persona_ft.notebook.run --run "$(RUN)" --notebooks $(NOTEBOOKS) $(GIVEN) $(ARGS) && \
	$(VENV_PYTHON) -m persona_ft.report.compare "$(BEFORE)" "$(RUN)"

edit undo remove: $(READY)
	@$(VENV_PYTHON) -m persona_ft.use.answers --persona "$(call given,PERSONA)" \
	  $(if $(filter edit,$@),--from "$(FROM)",$(if $(filter undo,$@),--undo,$(if $(QUESTION),--remove "$(QUESTION)",--who)))

compare: $(READY)
	@$(VENV_PYTHON) -m persona_ft.report.compare $(RUNS) $(if $(call given,REPORT_LANGUAGE),--language $(REPORT_LANGUAGE)) $(ARGS)

GRID ?= grid.yaml
grid: $(READY)
	@$(VENV_PYTHON) -m persona_ft.use.grid "$(GRID)" $(ARGS)

grid-report: $(READY)
	@$(VENV_PYTHON) -m persona_ft.use.grid "$(GRID)" --report

bench-grid: $(READY)
	@$(VENV_PYTHON) benchmarks/grid_overhead.py $(ARGS)

test: $(TEST_READY)
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m ruff format --check .
	@$(VENV_PYTHON) -m pytest $(ARGS)

ablation: $(READY)
	@$(VENV_PYTHON) benchmarks/ablation.py $(ARGS)

kill-test: $(READY)
	@$(VENV_PYTHON) benchmarks/kill_and_resume.py $(ARGS)

lost-sessions: $(READY)
	@$(VENV_PYTHON) benchmarks/lost_sessions.py $(ARGS)

bench-evaluation: $(READY)
	@$(VENV_PYTHON) benchmarks/judge_facts.py
	@$(VENV_PYTHON) benchmarks/evaluate_evaluation.py $(ARGS)

bench-gpu: $(READY)
	@$(VENV_PYTHON) benchmarks/train_20b.py $(ARGS)
	@$(VENV_PYTHON) benchmarks/conditions_20b.py
	@$(VENV_PYTHON) benchmarks/conditions_20b.py --weights mxfp4
	@$(VENV_PYTHON) benchmarks/mxfp4_correct.py

notebooks: $(READY)
	@$(VENV_PYTHON) scripts/store_outputs.py $(ARGS)

twins: $(READY)
	@$(VENV_PYTHON) scripts/twins.py $(ARGS)

site: $(SITE_READY)
	@$(VENV_PYTHON) scripts/build_site.py $(ARGS)

links: $(READY)
	@$(VENV_PYTHON) scripts/links.py $(REPO)
	@touch $(READY)  # an address is nothing to install for

colab: $(READY)
	@$(VENV_PYTHON) scripts/standalone.py

colab-check: $(READY)
	@$(VENV_PYTHON) scripts/colab_check.py $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX)) $(ARGS)

# Prompts, labels and parsing with gpt-oss-20b's own tokenizer: from the Hub, or FOLDER=… with its tokenizer.json.
real-tokenizer: $(READY)
	@$(VENV_PYTHON) scripts/real_tokenizer.py $(if $(FOLDER),--folder "$(FOLDER)")

# Rebuilds data/tiny-gpt-oss; data/README.md says how long that takes.
tiny-model: $(READY)
	@$(VENV_PYTHON) scripts/tiny_gpt_oss/build.py $(ARGS)

$(READY): requirements.txt pyproject.toml scripts/install.py
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	@test -x $(VENV_PYTHON) || $(PYTHON) -m venv .venv
	@$(VENV_PYTHON) scripts/install.py --torch-index "$(TORCH_INDEX)"
	@touch $@

$(TEST_READY): $(SITE_READY) $(USE_READY)
	@$(VENV_PYTHON) scripts/install.py --only test
	@touch $@

$(SITE_READY): $(READY)
	@$(VENV_PYTHON) scripts/install.py --only site
	@touch $@

$(USE_READY): $(READY)
	@$(VENV_PYTHON) scripts/install.py --only use
	@touch $@

clean:
	rm -rf .venv
