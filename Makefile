# `make pusher` and `make test` do their own set-up: .venv is made once and used again.
#   ARGS                flags for the job: make pusher ARGS='--run_index 1', make test ARGS='-k foo'
#   PYTHON              the Python to make .venv with; otherwise the first of 3.11 or newer
#   PIP_INSTALL_FLAGS   flags for every `pip install`

ARGS ?=
PYTHON ?=
VENV := .venv
OLDEST := .venv-oldest
PEERS := .venv-peers
ENVS := .venv-envs
LEROBOT := .venv-lerobot
RUN := $(VENV)/bin/python

# torch from the default index brings gigabytes of CUDA on Linux. Where there is no NVIDIA GPU, and
# the machine has no wheels of its own (PIP_FIND_LINKS), offer the build for processors as well:
# pip prefers it, because 2.13.0+cpu counts as newer than 2.13.0.
CPU_INDEX := https://download.pytorch.org/whl/cpu
GPU = $(shell nvidia-smi -L 2>/dev/null | grep '^GPU')
PIP_INSTALL_FLAGS ?= $(if $(PIP_FIND_LINKS)$(GPU),,--extra-index-url $(CPU_INDEX))
PIP = -m pip install --disable-pip-version-check $(PIP_INSTALL_FLAGS)
INSTALL = $(RUN) $(PIP)
# What depends on the versions of others: simulators, drawing, SB3's agents, a run of each method.
OLDEST_TESTS := tests/enviroment tests/models tests/train_teacher tests/common/test_tracking.py \
	tests/distillation/runs/test_run.py tests/distillation/runs/test_run_cloning.py

# Packages of environments that people bring, in groups that one virtual environment can hold.
ENV_GROUPS := $(patsubst install/environments/%.txt,%,$(wildcard install/environments/*.txt))

.DEFAULT_GOAL := help
.PHONY: help pusher demo test test-slow test-oldest test-envs test-lerobot soak check format bench
.PHONY: bench-skill bench-peers results gpu-check docs release clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

pusher: $(VENV)/.gl ## train a student of Pusher from pixels, a few minutes on 2 cores
	$(RUN) Distillation/Pusher.py --PPD --mode ImpaalaSmall $(ARGS)

demo: $(VENV)/.gl ## play a shipped student beside its teacher, without training
	$(RUN) -m Evaluation.demo $(ARGS)

test: $(VENV)/.dev $(VENV)/.gl ## the quick tests
	$(RUN) -m pytest -n auto --dist loadfile $(ARGS)

test-slow: $(VENV)/.dev $(VENV)/.gl ## the tests that take longer
	$(RUN) -m pytest -m slow $(ARGS)

test-oldest: $(OLDEST)/.installed ## the quick tests that need it, with the oldest packages allowed
	$(OLDEST)/bin/python -m pytest $(OLDEST_TESTS) $(ARGS)

test-envs: $(VENV)/.gl $(ENV_GROUPS:%=$(ENVS)/%/.installed) ## try the environments of docs/environments.md
	@failed=; for group in none $(ENV_GROUPS); do \
		python=$(ENVS)/$$group/bin/python; [ $$group != none ] || python=$(RUN); \
		$$python -m benchmarks.environments --packages $$group --record $(ARGS) || failed=yes; \
	done; [ -z "$$failed" ]
	$(RUN) -m benchmarks.environments --table

test-lerobot: $(VENV)/.dev $(LEROBOT)/.installed ## exported datasets in LeRobot's own reader, 6 GB
	LEROBOT_PYTHON=$(LEROBOT)/bin/python $(RUN) -m pytest \
		tests/enviroment/dataset/test_lerobot_reader.py $(ARGS)

soak: $(VENV)/.dev $(VENV)/.gl ## the long tests of faults: kills, leaks, full disks
	$(RUN) -m pytest -m soak $(ARGS)

check: $(VENV)/.dev ## lint, format and types, without changing anything
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyright

format: $(VENV)/.dev ## fix lint, sort imports, format
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: $(VENV)/.gl ## the benchmarks, each a ratio in one run
	@set -e; for script in benchmarks/*.py; do \
		echo "$$script"; $(RUN) "$$script" $(ARGS); \
	done

bench-skill: $(VENV)/.gl ## seconds and steps to a skill of 0.90 and 0.95, about 15 minutes
	$(RUN) -m benchmarks.time_to_skill $(ARGS)

bench-peers: $(PEERS)/.installed $(VENV)/.gl ## other libraries on the same frames, about 30 minutes
	$(PEERS)/bin/python -m benchmarks.peers $(ARGS)

results: $(VENV)/.gl ## every table and figure of the results: its command, its data, a check
	$(RUN) -m Evaluation.evidence $(ARGS)

gpu-check: $(VENV)/.dev $(VENV)/.gl ## check and measure on a GPU, 8 minutes: Results/GPU
	$(RUN) -m benchmarks.gpu_check $(ARGS)

docs: $(VENV)/.dev $(VENV)/.gl ## pages of every public class and function: docs/api
	$(RUN) install/api_pages.py $(ARGS)

release: $(VENV)/.installed ## build the wheel, and try it with each Python on this machine
	$(RUN) install/release.py $(ARGS)

clean: ## remove environments and caches; results stay
	rm -rf $(VENV) $(OLDEST) $(PEERS) $(ENVS) $(LEROBOT) build .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is touched last, so an interrupted set-up goes on at the next call.
$(VENV)/.installed: requirements.txt pyproject.toml
	@$(RUN) -m pip --version >/dev/null 2>&1 || { \
		python=$$(install/python.sh "$(PYTHON)") && \
		echo "Making $(VENV) with $$python" && \
		"$$python" -m venv --clear $(VENV); }
	$(INSTALL) -r requirements.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(INSTALL) -e '.[dev]'
	@touch $@

$(OLDEST)/.installed: install/oldest.txt pyproject.toml
	@python=$$(install/python.sh "$(PYTHON)") && \
		echo "Making $(OLDEST) with $$python" && \
		"$$python" -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python $(PIP) -c install/oldest.txt -e . pytest pytest-timeout scipy onnx onnxruntime
	@install/gl.sh $(OLDEST)/bin/python
	@touch $@

# Decoding videos needs the libraries of FFmpeg, such as those of Debian's package `ffmpeg`.
$(LEROBOT)/.installed: install/lerobot.txt
	@command -v ffmpeg >/dev/null || { \
		echo "LeRobot decodes videos with FFmpeg. As root: apt-get install ffmpeg" >&2; exit 1; }
	@python=$$(install/python.sh "$(PYTHON)") && "$$python" -m venv --clear $(LEROBOT)
	$(LEROBOT)/bin/python $(PIP) -r install/lerobot.txt
	$(LEROBOT)/bin/python $(PIP) --no-deps lerobot==0.4.4
	@touch $@

$(VENV)/.gl: $(VENV)/.installed install/gl.sh
	@install/gl.sh $(RUN)
	@touch $@

# Packages of others lie over those of .venv, so that all run with the same torch and SB3.
OVER_VENV = base=$$($(RUN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
	own=$$($(1)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
	echo "import site; site.addsitedir('$$base')" > "$$own/base.pth"

$(PEERS)/.installed: $(VENV)/.installed benchmarks/peers/requirements.txt benchmarks/peers/no_deps.txt
	$(RUN) -m venv --clear $(PEERS)
	@$(call OVER_VENV,$(PEERS))
	$(PEERS)/bin/python -m pip install --disable-pip-version-check -r benchmarks/peers/requirements.txt
	$(PEERS)/bin/python -m pip install --disable-pip-version-check --no-deps \
		-r benchmarks/peers/no_deps.txt
	@touch $@

# A group's packages whose own requirements do not fit are in a second file.
$(ENVS)/%/.installed: install/environments/%.txt $(VENV)/.installed
	$(RUN) -m venv --clear $(ENVS)/$*
	@$(call OVER_VENV,$(ENVS)/$*)
	$(ENVS)/$*/bin/python $(PIP) -r $<
	if [ -e install/environments/$*.no-deps ]; then \
		$(ENVS)/$*/bin/python $(PIP) --no-deps -r install/environments/$*.no-deps; fi
	@touch $@
