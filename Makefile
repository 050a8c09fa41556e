# make demo | make demo-samsod | make demo-stable-sam | make demo-unirgb-ir | make demo-mca-sam | make demo-detection | make test | make test-fast | make check | make install
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   := demo
CONFIG := configs/demo/tasseg_mfnet.yaml
STAMP  := $(VENV)/.installed

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export SAM2_BUILD_CUDA = 0

.PHONY: install demo demo-ablation demo-samsod demo-stable-sam demo-unirgb-ir demo-mca-sam demo-detection test test-fast check clean
install: $(STAMP)

# torch first: sam2 is built from source against the torch that is installed, not a second one
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet setuptools wheel torch torchvision
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --no-build-isolation -e '.[dev]'
	touch $@

# one thread: more only wait for each other on a model this small
demo demo-ablation demo-samsod demo-stable-sam demo-unirgb-ir demo-mca-sam demo-detection: export OMP_NUM_THREADS = 1
NEWEST = $$(ls -td $(DEMO)/runs/tasseg_mfnet/version_*/checkpoints/best.ckpt | head -1)

demo: install
	$(BIN)/rgbx make-demo-data --layout mfnet --root $(DEMO)/MFNet --force
	$(BIN)/rgbx check-data --config $(CONFIG) --output $(DEMO)/check
	$(BIN)/rgbx fit --config $(CONFIG)
	$(BIN)/rgbx test --config $(CONFIG) --ckpt_path $(NEWEST) \
	    --save_predictions true --output $(DEMO)/result
	@echo "scores: $(DEMO)/result/test.json   images: $(DEMO)/result/sheet.png, overlays/, masks/"

# the same training with the thermal camera blanked, after `make demo`: what is X worth?
demo-ablation: install
	$(BIN)/rgbx fit --config $(CONFIG) --data.blank x
	$(BIN)/rgbx test --config $(CONFIG) --data.blank x --output $(DEMO)/result_without_x \
	    --ckpt_path $(NEWEST)
	@$(BIN)/python -c "import json; \
	    miou = lambda f: json.load(open(f))['numbers']['test']['all']['miou']; \
	    print('miou with both cameras %.4f, with X blanked %.4f' % \
	          (miou('$(DEMO)/result/test.json'), miou('$(DEMO)/result_without_x/test.json')))"

# salient objects: fit and test SAMSOD in the layouts of VT5000, VT1000 and VT821
SALIENT = configs/demo/samsod_vt5000.yaml
demo-samsod: install
	$(BIN)/rgbx make-demo-data --layout vt5000 --root $(DEMO)/VT --force
	$(BIN)/rgbx fit --config $(SALIENT)
	run=$$(ls -td $(DEMO)/runs/samsod_vt5000/version_* | head -1) && \
	    $(BIN)/rgbx test --config $(SALIENT) --ckpt_path $$run/checkpoints/best.ckpt \
	        --save_predictions true --output $(DEMO)/result_samsod && \
	    echo "gradients: $$run/surgery.png   maps: $(DEMO)/result_samsod/sheet.png, maps/"

# prompts: fit and test Stable-SAM in the layout of HQSeg-44K, and draw where it looks
PROMPTED = configs/demo/stable_sam.yaml
demo-stable-sam: install
	$(BIN)/rgbx make-demo-data --layout hqseg --root $(DEMO)/HQSeg --force
	$(BIN)/rgbx fit --config $(PROMPTED)
	run=$$(ls -td $(DEMO)/runs/stable_sam/version_* | head -1) && \
	    $(BIN)/rgbx test --config $(PROMPTED) --ckpt_path $$run/checkpoints/best.ckpt \
	        --save_predictions true --visualize_attention true --output $(DEMO)/result_stable_sam && \
	    echo "masks: $(DEMO)/result_stable_sam/sheet.png   attention: .../attention/"

# both tasks of UniRGB-IR; then the classes once more with noise for the infrared image
demo-unirgb-ir: install
	$(BIN)/rgbx make-demo-data --layout mfnet --root $(DEMO)/MFNet --force
	$(BIN)/rgbx make-demo-data --layout vt5000 --root $(DEMO)/VT --force
	for data in mfnet vt5000; do \
	    config=configs/demo/unirgb_ir_$$data.yaml; \
	    $(BIN)/rgbx fit --config $$config || exit 1; \
	    run=$$(ls -td $(DEMO)/runs/unirgb_ir_$$data/version_* | head -1); \
	    $(BIN)/rgbx test --config $$config --ckpt_path $$run/checkpoints/best.ckpt \
	        --save_predictions true --output $(DEMO)/result_unirgb_ir_$$data || exit 1; \
	done
	run=$$(ls -td $(DEMO)/runs/unirgb_ir_mfnet/version_* | head -1) && \
	    $(BIN)/rgbx test --config configs/demo/unirgb_ir_mfnet.yaml --data.blank x \
	        --data.blank_with noise --ckpt_path $$run/checkpoints/best.ckpt \
	        --output $(DEMO)/result_unirgb_ir_noise
	@echo "images: $(DEMO)/result_unirgb_ir_mfnet/sheet.png, $(DEMO)/result_unirgb_ir_vt5000/sheet.png"

# boxes: held-out AP50, then once more with noise for the infrared image
BOXES = configs/demo/unirgb_ir_flir.yaml
demo-detection: install
	$(BIN)/rgbx make-demo-data --layout flir --root $(DEMO)/FLIR --force
	$(BIN)/rgbx fit --config $(BOXES)
	run=$$(ls -td $(DEMO)/runs/unirgb_ir_flir/version_* | head -1) && \
	    $(BIN)/rgbx test --config $(BOXES) --ckpt_path $$run/checkpoints/best.ckpt \
	        --save_predictions true --output $(DEMO)/result_detection && \
	    $(BIN)/rgbx test --config $(BOXES) --ckpt_path $$run/checkpoints/best.ckpt \
	        --data.blank x --data.blank_with noise --output $(DEMO)/result_detection_noise
	@echo "boxes: $(DEMO)/result_detection/sheet.png, detections.json"

# RGB alone: camouflaged objects
HIDDEN = configs/demo/mca_sam_cod.yaml
demo-mca-sam: install
	$(BIN)/rgbx make-demo-data --layout cod --root $(DEMO)/COD --force
	$(BIN)/rgbx fit --config $(HIDDEN)
	run=$$(ls -td $(DEMO)/runs/mca_sam_cod/version_* | head -1) && \
	    $(BIN)/rgbx test --config $(HIDDEN) --ckpt_path $$run/checkpoints/best.ckpt \
	        --save_predictions true --output $(DEMO)/result_mca_sam
	@echo "maps: $(DEMO)/result_mca_sam/sheet.png, maps/"

# compiled tests are kept from one run to the next, also where Python was told to keep nothing
test test-fast: export PYTHONDONTWRITEBYTECODE =

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# what can be known in a minute: no training of more than a few steps, no processes
test-fast: install
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow'

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(DEMO) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
