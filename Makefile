# make book     install, execute the notebooks, render the pages
# make test     install, run the tests and compare every notebook with its committed outputs
# make pdf      the whole book as one PDF, printed by Chromium from the built pages
# make study    recompute the stored rows; of one study alone:  make study STUDY=few_shot
# make check    compute a few stored rows again, drawn anew each time, and compare
# make bench    measure training steps on this machine
# make notebooks  execute the notebooks in place, so that their outputs can be committed
# make address  carry the repository address of _config.yml to every other file that names it
# make format   put the code into the house style
# make clean    delete what make book built
.DELETE_ON_ERROR:
.PHONY: book pdf test study check bench notebooks address format clean install

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PROFILE ?= quick
# Every study that the package describes.
STUDY ?= $(shell sed -n 's/^\[\([a-z_]*\)\]$$/\1/p' qllm_helpers/data/studies.toml)
BIN := .venv/bin
# Named after what is installed: a checkout that only changes file times installs nothing again.
INSTALLED := .venv/installed-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)

# One thread: two cores share better between processes than within one small matrix product, and
# sums come out in the same order on every machine.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= $(OMP_NUM_THREADS)
export MKL_NUM_THREADS ?= $(OMP_NUM_THREADS)
export TOKENIZERS_PARALLELISM ?= false
export JUPYTER_PREFER_ENV_PATH := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1

# Sentences, for those who keep the corpora beside the checkout; without them the shipped
# embeddings are enough for every page.
ifneq ($(wildcard ../shared/datasets/*.csv),)
export QLLM_DATA_DIR ?= $(abspath ../shared/datasets)
endif

book: $(INSTALLED)
	@$(BIN)/python book/execute.py --profile $(PROFILE)
	@$(BIN)/python book/render.py

pdf: book
	@$(BIN)/python book/pdf.py

# The tests read no model and no corpus from the network, so that they say the same everywhere.
test: export HF_HUB_OFFLINE ?= 1
test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile tests --nbval notebooks

study: $(INSTALLED)
	for name in $(STUDY); do $(BIN)/qllm study $$name || exit 1; done

# The draw is printed, so that a failure can be repeated: make check DRAW=...
DRAW ?= $(shell date +%s)
# Studies whose rows are shipped, but for end_to_end: one of its rows trains a language model for minutes.
# `make check CHECKED=end_to_end` computes one.
SHIPPED = $(basename $(notdir $(wildcard qllm_helpers/data/predictions/*.safetensors)))
CHECKED ?= $(filter-out end_to_end,$(filter $(SHIPPED),$(STUDY)))
# Half of the rows of finetune and screen want a body tuned first, which takes a minute or two, and a fit with
# fourteen qubits as long.
check: $(INSTALLED)
	@echo "not checked: $(filter-out $(CHECKED),$(STUDY))"
	@printf '%s\n' $(CHECKED) | xargs -P 2 -I{} sh -c ' \
		case {} in finetune | end_to_end | qubits | screen) rows=1 ;; *) rows=3 ;; esac; \
		told=$$($(BIN)/qllm study {} --check $$rows --draw $(DRAW) --quiet --jobs 1 2>&1); \
		code=$$?; echo "$$told"; exit $$code'

bench: $(INSTALLED)
	$(BIN)/qllm bench

notebooks: $(INSTALLED)
	@$(BIN)/python book/execute.py --in-place

address: $(INSTALLED)
	@$(BIN)/python book/address.py

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(INSTALLED)

$(INSTALLED):
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed: make PYTHON=path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	@echo "Installing into .venv (some minutes the first time: PyTorch is large)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check \
		--editable ".[book,test]" --constraint constraints.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --constraint constraints.txt \
		$$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["body"])')
	@rm -f .venv/installed-* && touch $@

clean:
	rm -rf _build
