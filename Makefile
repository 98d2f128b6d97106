# Two commands: `make demo` runs the main job, `make test` all checks. Both need Python 3.11 or newer
# and a network for pip, nothing else.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Without a pin, pip may take a torch whose CUDA libraries are gigabytes more.
TORCH ?= torch==2.13.0
OUT ?= runs/demo
PACK = demo/images

# Two generators are held out to choose on, two others to test on.
UNKNOWN_VAL = vqvae,wgan-gp
UNKNOWN = $(UNKNOWN_VAL),flow-matching,pixelcnn
RUN = $(OUT)/efficientnet_lite0/images

# Tools that look after what whichgen is installed with, in an environment of their own.
SUPPLY = $(VENV)-supply
LOCKS = $(wildcard tools/locks/*.txt)

.PHONY: demo test lint bench docs locks audit sbom clean

demo: $(VENV)/ready
	$(BIN)/whichgen linear --data $(PACK) --groups demo/groups.tsv --unknown $(UNKNOWN) \
	    --unknown-val $(UNKNOWN_VAL) --backbone efficientnet_lite0 --output-dir $(OUT)
	$(BIN)/whichgen attribute $(PACK)/real/0022.webp $(PACK)/dcgan/0006.webp \
	    $(PACK)/ddpm/0030.webp $(PACK)/flow-matching/0002.webp $(PACK)/pixelcnn/0002.webp -m $(RUN)
	@echo "The report: $(RUN)/report.md; the plots: $(RUN)/plots/"

test: lint
	$(BIN)/pytest --numprocesses auto --dist worksteal

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# How fast it is, as ratios of one run: benchmarks/RESULTS.md.
bench: $(VENV)/ready
	$(BIN)/python benchmarks/speed

# The documentation site, into site/.
docs: $(VENV)/ready-dev
	$(BIN)/mkdocs build --strict

# A lock file for every extra; versions that a lock has stay, so delete it for newer ones.
locks: $(SUPPLY)/ready
	PATH="$(abspath $(SUPPLY))/bin:$$PATH" python tools/locks/make.py '$(TORCH)'

# Known vulnerabilities of what the locks name. Asks a public service: what it can't tell is an error.
audit: $(SUPPLY)/ready
	status=0; for lock in $(LOCKS); do echo $$lock; \
	    $(SUPPLY)/bin/pip-audit --disable-pip --require-hashes --strict --requirement $$lock || status=1; \
	    done; exit $$status

# What each installation consists of, as CycloneDX, into dist/: it is made of the locks at a release.
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

$(VENV)/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "whichgen needs Python 3.11 or newer: make PYTHON=python3.11 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet '$(TORCH)'
	$(BIN)/pip install --quiet --editable '.[lite]'
	touch $@

$(VENV)/ready-dev: $(VENV)/ready
	$(BIN)/pip install --quiet --editable '.[lite,dev]'
	touch $@

clean:
	rm -rf $(VENV) $(SUPPLY) runs
