# Every target sets up what it needs; the first call of any takes some minutes, later ones nothing.
SHELL := /bin/bash
BIN := .venv/bin
# Ray and vLLM tests share one worker (their group), the rest runs beside them.
# One more than the two cores that the tests are meant for: one of them mostly waits for engines and for Ray.
PYTEST_ARGS ?= -n 3 --dist loadgroup
# Arguments of the bench-* targets, for instance: make bench-capture ARGS="--models small"
ARGS ?=
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup tools demo test check format fast plain clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-18s %s\n", $$1, $$2}' Makefile

setup: ## make .venv with pinned versions (vLLM for CUDA where a GPU is found, else for CPU)
	@.ci/setup.sh

tools: ## add what tests and checks need to .venv
	@.ci/setup.sh tests

demo: setup ## the main job: tournament, activations, probe, report.html (about 3 minutes on 2 cores)
	@$(BIN)/wolfscope demo

test: tools ## lint, types, import contracts and the whole test suite; all are run whatever fails
	@# beside the checks, which leave a core free, what pytest would compile in each of its processes
	@[ -e tests/agents/__pycache__ ] || $(BIN)/python -m pytest -q --collect-only >/dev/null 2>&1 & \
	status=0; $(MAKE) --no-print-directory check || status=1; wait; \
	echo "$(BIN)/python -m pytest $(PYTEST_ARGS)"; $(BIN)/python -m pytest $(PYTEST_ARGS) || status=1; exit $$status

check: tools ## lint, format, types and import contracts side by side, without running tests
	@pids=; status=0; for command in "ruff check ." "ruff format --check ." mypy "lint-imports --cache-dir .cache/imports"; do \
	(said=$$($(BIN)/$$command 2>&1); code=$$?; printf '%s\n%s\n' "$(BIN)/$$command" "$$said"; exit $$code) & pids="$$pids $$!"; done; \
	for pid in $$pids; do wait $$pid || status=1; done; exit $$status

real-models: setup ## build folders of real pretrained models for the tests, once (ARGS="smollm2 gemma"; 100 to 350 MB)
	@$(BIN)/python .ci/real_models.py $(ARGS)

test-real-models: tools real-models ## run the tests of real pretrained models
	$(BIN)/python -m pytest tests/harness/test_real_models.py tests/harness/language

peers: setup ## build environments with nnsight, TransformerLens, Inspect and Scout, once (ARGS="readers inspect"; 800 MB)
	@$(BIN)/python .ci/peers.py $(ARGS)

test-peers: tools peers ## run the tests that hold these tools to what is stored and exported here
	$(BIN)/python -m pytest tests/harness/features/test_peers.py

format: tools ## rewrite the sources in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-games: setup ## measure rules, rendering and logging: games a second
	$(BIN)/python tests/benchmarks/bench_games.py $(ARGS)

bench-capture: setup ## measure activation capture: tokens and rows a second
	$(BIN)/python tests/benchmarks/bench_capture.py $(ARGS)

bench-probes: setup ## measure probes: fits a second
	$(BIN)/python tests/benchmarks/bench_probes.py $(ARGS)

bench-training: setup ## measure a step of training the small model: tokens a second
	$(BIN)/python tests/benchmarks/bench_training.py $(ARGS)

bench-selfplay: setup ## measure rollouts of self-play against a tournament of the same model on vLLM: games a second
	$(BIN)/python tests/benchmarks/bench_selfplay.py $(ARGS)

bench-tournament: setup ## measure a whole tournament: games and tokens a second
	$(BIN)/python tests/benchmarks/bench_tournament.py $(ARGS)

bench-waiting: tools ## measure what a user waits for: first games, small tournaments, help; check, report, view of a run (ARGS="--run RUN --before REVISION")
	$(BIN)/python tests/benchmarks/bench_waiting.py $(ARGS)

bench-experiment: setup ## measure experiments: moments and arms against one pass each, continuations against games
	$(BIN)/python tests/benchmarks/bench_experiment.py $(ARGS)

bench-gpu: setup ## measure tournaments, capture, self-play and training on a GPU, with models of random weights (8 minutes)
	$(BIN)/python tests/benchmarks/bench_gpu.py $(ARGS)

bench-scale: tools ## measure how check, view, report and others grow with games: time, memory, exponent
	$(BIN)/python tests/benchmarks/bench_scale.py $(ARGS)

fast: setup ## compile the rules after a change to games/, as set-up does where it finds a C compiler: 1.6 times as many games a second
	@$(BIN)/python .ci/compile_games.py

plain: ## the rules as plain Python again
	rm -rf .cache/compiled

clean: ## remove the environment and the caches (never runs/)
	rm -rf .venv .venv.lock .cache .ruff_cache .pytest_cache .hypothesis *.egg-info
