# make demo | make test | make check | make install
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   := demo
STAMP  := $(VENV)/.installed

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export SAM2_BUILD_CUDA = 0

.PHONY: install demo test check clean
install: $(STAMP)

# torch first: sam2 is built from source against the torch that is installed, not a second one
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet setuptools wheel torch torchvision
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --no-build-isolation -e '.[dev]'
	touch $@

demo: install
	$(BIN)/rgbx make-demo-data --layout mfnet --root $(DEMO)/MFNet --force
	$(BIN)/rgbx check-data --config configs/demo/tasseg_mfnet.yaml --output $(DEMO)/check
	$(BIN)/rgbx fit --config configs/demo/tasseg_mfnet.yaml
	$(BIN)/rgbx test --config configs/demo/tasseg_mfnet.yaml --save_predictions true \
	    --ckpt_path $$(ls -td $(DEMO)/runs/tasseg_mfnet/version_*/checkpoints/best.ckpt | head -1) \
	    --output $(DEMO)/result
	@echo "table and scores: $(DEMO)/result/test.json   pictures: $(DEMO)/result/overlays"

test: install
	$(BIN)/python -m pytest

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(DEMO) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
