# `make demo` and `make test` start from a bare Debian or Ubuntu machine; PYTHON=... picks the interpreter (3.11+).
python := .venv/bin/python
demo   := outputs/demo
# Every choice that accelerate would otherwise warn about: one process, which takes the GPU where there is one.
launch := .venv/bin/accelerate launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no

.PHONY: install demo demo-stock demo-downstream test test-compat lint native bench gpu wheels fuzz fuzz-on faults
install:
	@bash scripts/bootstrap.sh

demo: $(demo)/validation.beton
	$(launch) recipes/pretrain.py recipes/configs/demo.yaml --overwrite_output_dir true
	@$(python) scripts/demo_summary.py $(demo) --beside $(demo)-stock

# The same run from the weights that transformers' class draws, to be held against the demo's.
demo-stock: $(demo)/validation.beton
	$(launch) recipes/pretrain.py recipes/configs/demo.yaml --initialization stock --output_dir $(demo)-stock --overwrite_output_dir true
	@$(python) scripts/demo_summary.py $(demo)-stock

# The demo's checkpoint through nearest neighbours, linear probe, fine-tuning, segmentation and compression shift.
demo-downstream: $(demo)/model.safetensors $(demo)-stock/model.safetensors
	$(python) -m scripts.demo_downstream $(demo) --stock $(demo)-stock

$(demo)/model.safetensors:
	$(MAKE) demo

$(demo)-stock/model.safetensors:
	$(MAKE) demo-stock

$(demo)/validation.beton: scripts/demo_photographs.py | install
	$(python) scripts/demo_photographs.py $(demo)/photographs
	.venv/bin/dailymae write $(demo)/photographs/train $(demo)/train.beton
	.venv/bin/dailymae write $(demo)/photographs/validation $(demo)/validation.beton

# PYTEST_ARGS="tests/native -x" and the like
test: install
	$(python) -m pytest $(PYTEST_ARGS)

# Checkpoints between us and transformers 4.57 and 5.23, each alone in an environment of its own in .compat, and timm.
test-compat: install
	@bash tests/compat/environments.sh $(CURDIR)/.compat
	COMPAT_ENVIRONMENTS=$(CURDIR)/.compat $(python) -m pytest tests/compat tests/export $(PYTEST_ARGS)

lint: install
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	.venv/bin/clang-format --dry-run --Werror $$(find dailymae_hf/_native tests/native benchmarks -name '*.[ch]')
	$(python) -m mypy
	.venv/bin/lint-imports --no-cache

# The kernel alone, after a change to its sources; `make install` does it as well.
native: install
	$(python) setup.py --quiet build_ext --inplace --force

bench: install
	@bash scripts/bench_contenders.sh
	$(python) benchmarks/bench_loader.py --out benchmarks/results/loader.json
	$(python) benchmarks/bench_sharp.py ours --out benchmarks/results/sharp.json
	$(python) benchmarks/bench_sharp.py others --out benchmarks/results/sharp.json
	$(python) benchmarks/plot_sharp.py benchmarks/results/sharp.json docs/images/sharp.png
	$(python) benchmarks/bench_footprint.py --out benchmarks/results/footprint.json
	$(python) benchmarks/bench_kernel.py --loader --out benchmarks/results/kernel.json
	$(python) benchmarks/bench_shapes.py --out benchmarks/results/shapes.json
	$(python) benchmarks/bench_write.py --out benchmarks/results/write.json
	$(python) benchmarks/fidelity.py --out benchmarks/results/fidelity.json

# Everything that wants a GPU, in pieces of under nine minutes, into outputs/gpu: say it until nothing is left. Needs torch
# and transformers and a built kernel or a wheel in dist/; REAL_DATA=folder adds twenty minutes of training on its images.
gpu:
	$(if $(wildcard $(python)),$(python),python3) -m benchmarks.gpu $(GPU_ARGS)

# The wheels of dist/: no compiler, root or libjpeg is needed where they are installed.
wheels:
	@bash scripts/build_wheels.sh

# Faults injected into real runs: kills, signals, NaN, damaged files, full disks, ranks that differ (docs/reliability.md).
# Kills are kept as they are done: said again, it goes on until there are FAULT_KILLS of them.
FAULT_KILLS ?= 40
faults: install
	$(python) benchmarks/fault_bench.py --kills $(FAULT_KILLS) --record benchmarks/results/kills.json \
	    --out benchmarks/results/faults.json --page docs/reliability.md

# The kernel under sanitizers: a million damaged samples, or FUZZ_RUNS of them; another FUZZ_SEED makes others.
FUZZ_RUNS ?= 1000000
FUZZ_SEED ?= 1
fuzz: install
	@mkdir -p build/fuzz
	$(python) -m tests.native.fuzz_seeds build/fuzz/corpus
	$(CC) -std=c11 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -Idailymae_hf/_native \
	    dailymae_hf/_native/*.c dailymae_hf/_native/*/*.c tests/native/fuzz_body.c tests/native/fuzz_driver.c -ljpeg -lm -lpthread -o build/fuzz/fuzz
	cd build/fuzz && ./fuzz corpus $(FUZZ_RUNS) $(FUZZ_SEED)

# Kernel, .beton files and recipes, in pieces, from where benchmarks/results/fuzz.json ends until ten million inputs.
fuzz-on:
	$(MAKE) fuzz FUZZ_RUNS=0
	$(python) scripts/fuzz_on.py
