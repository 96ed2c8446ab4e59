# Foretoken. `make help` lists the chores.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PREFIX ?= /usr/local
LIBDIR ?= lib
DESTDIR ?=
VERSION := $(shell awk '/define FTK_VERSION_(MAJOR|MINOR|PATCH)/ { v = v s $$3; s = "." } END { print v }' include/foretoken/foretoken.h)
ABI := $(shell awk '/define FTK_ABI_VERSION/ { print $$3 }' include/foretoken/foretoken.h)
# The prefix as seen from the folder of foretoken.pc.
UP := $(shell echo '$(LIBDIR)/pkgconfig' | sed 's|[^/]*|..|g')
RELEASE := .build/release
STAGE := $(CURDIR)/.build/stage
MODELS := bindings/python/foretoken/models
TARGET := $(MODELS)/foretoken-tiny-target-Q8_0.gguf
DRAFT := $(MODELS)/foretoken-tiny-draft-Q8_0.gguf
PYTHON ?= python3
RUFF := .build/ruff/bin/ruff
# matplotlib, for the tests of the report's pictures.
PICTURES := .build/pictures/installed

.PHONY: help build demo test soak lint format bench bench-policies bench-gates install wheel fuzz clean stage tools

help: ## list the chores
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# What a chore needs and the machine lacks is installed (Debian; as root, or with sudo).
need = @for pair in $(1); do command -v $${pair%%=*} >/dev/null || missing="$$missing $${pair\#\#*=}"; done; \
	if [ -n "$$missing" ]; then echo "installing:$$missing"; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	$$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq $$missing >/dev/null; fi

tools:
	@command -v swift >/dev/null || { echo "A Swift 6.3 toolchain is needed; see the README."; exit 1; }
	$(call need,gcc=gcc git=git)

build: tools ## build .build/release/ftk and .build/release/libforetoken.so
	swift build -c release
	@ln -sf libforetoken.so $(RELEASE)/libforetoken.so.$(ABI)

demo: build ## complete a piece of Python, plain and with speculation, side by side
	@$(RELEASE)/ftk compare -m $(TARGET) -d $(DRAFT) -n 96 --draft-length 4 -p "$$(cat Tests/Demo/prompt.txt)"

test: build ## run every test
	$(call need,python3=python3 pkg-config=pkg-config valgrind=valgrind cc=gcc g++=g++ \
		qemu-x86_64=qemu-user)
	swift build -c release --build-tests
	@# What failed is said again at the end, where a log that is cut off still shows it.
	set -o pipefail; swift test -c release --skip-build 2>&1 | tee .build/tests.txt || { grep -a '✘' .build/tests.txt; exit 1; }
	$(MAKE) --no-print-directory stage
	FTK_PREFIX=$(STAGE) FTK_LIBRARY=$(CURDIR)/$(RELEASE)/libforetoken.so $(PYTHON) -m unittest discover -s Tests/ABITests
	FORETOKEN_LIBRARY=$(CURDIR)/$(RELEASE)/libforetoken.so $(PYTHON) -m unittest discover -s bindings/python/tests
	@$(MAKE) --no-print-directory $(PICTURES) || echo "matplotlib cannot be installed here: pictures are not tested"
	[ ! -e $(PICTURES) ] || $(dir $(PICTURES))bin/python -m unittest discover -s bindings/python/tests -p test_report.py

soak: tools ## let 64 threads use one engine under ThreadSanitizer: make soak SECONDS=60
	swift build -c release --build-tests --sanitize thread --build-path .build/soak
	FTK_SOAK_SECONDS=$(or $(SECONDS),60) swift test -c release --sanitize thread --build-path .build/soak --skip-build \
		--filter SoakTests

stage: build
	@rm -rf $(STAGE)
	@$(MAKE) --no-print-directory install DESTDIR= PREFIX=$(STAGE) >/dev/null

lint: $(RUFF) tools ## check style, imports and Python
	swift format lint --strict --recursive Sources Tests Package.swift
	swift build --build-tests --explicit-target-dependency-import-check error
	$(RUFF) check bindings Tests

format: tools ## bring the sources into the project's style
	swift format --in-place --recursive Sources Tests Package.swift

$(RUFF):
	$(call need,python3=python3)
	@$(PYTHON) -m venv .build/ruff 2>/dev/null || { apt-get install -y -qq python3-venv >/dev/null && $(PYTHON) -m venv .build/ruff; }
	@.build/ruff/bin/pip install -q ruff==0.17.5

$(PICTURES):
	$(call need,python3=python3)
	@$(PYTHON) -m venv $(@D) 2>/dev/null || { apt-get install -y -qq python3-venv >/dev/null && $(PYTHON) -m venv $(@D); }
	@$(@D)/bin/pip install -q matplotlib==3.11.2
	@touch $@

bench: build ## measure passes, the tokenizer and generation with and without speculation: make bench MODEL=FILE
	FTK_COMMIT=$$(git rev-parse --short HEAD) $(RELEASE)/ftk bench model -m $(or $(MODEL),$(TARGET))
	$(RELEASE)/ftk bench tokenizer -m $(or $(MODEL),$(TARGET))
	$(RELEASE)/ftk compare -m $(TARGET) -d $(DRAFT) -n 128 --repeats 5 -p "$$(cat Tests/Demo/prompt.txt)"

bench-policies: build ## compare policies under load: make bench-policies MODEL=FILE DRAFT=FILE PROMPTS=FILE OPTIONS=...
	FTK_COMMIT=$$(git rev-parse --short HEAD) $(RELEASE)/ftk bench policies -m $(or $(MODEL),$(TARGET)) -d $(DRAFT) \
		--prompts $(or $(PROMPTS),$(error PROMPTS must name a file of JSON lines with a text "prompt" each)) $(OPTIONS)

bench-gates: build ## check the policy's promises, on this machine too with: make bench-gates MODEL=FILE DRAFT=FILE PROMPTS=FILE
ifdef MODEL
	FTK_COMMIT=$$(git rev-parse --short HEAD) $(RELEASE)/ftk bench policies -m $(MODEL) -d $(or $(DRAFT),$(error DRAFT is missing)) \
		--prompts $(or $(PROMPTS),$(error PROMPTS must name a file of JSON lines with a text "prompt" each)) \
		--policies again,static:1,static:2,static:4,static:8,smartspec,turbospec,adaspec,goodput \
		--concurrency 1,4,16 -n 48 --repeats 2 --json $(OPTIONS) > .build/gates.json
endif
	$(RELEASE)/ftk bench gates $(if $(MODEL),--measured .build/gates.json)

install: build ## install the library, its headers, foretoken.pc and ftk: make install PREFIX=/usr/local DESTDIR=
	install -Dm644 -t $(DESTDIR)$(PREFIX)/include/foretoken include/foretoken/foretoken.h include/foretoken/controller.h
	install -Dm755 $(RELEASE)/libforetoken.so $(DESTDIR)$(PREFIX)/$(LIBDIR)/libforetoken.so.$(VERSION)
	strip --strip-unneeded $(DESTDIR)$(PREFIX)/$(LIBDIR)/libforetoken.so.$(VERSION)
	ln -sf libforetoken.so.$(VERSION) $(DESTDIR)$(PREFIX)/$(LIBDIR)/libforetoken.so.$(ABI)
	ln -sf libforetoken.so.$(ABI) $(DESTDIR)$(PREFIX)/$(LIBDIR)/libforetoken.so
	install -Dm755 $(RELEASE)/ftk $(DESTDIR)$(PREFIX)/bin/ftk
	strip $(DESTDIR)$(PREFIX)/bin/ftk
	install -d $(DESTDIR)$(PREFIX)/$(LIBDIR)/pkgconfig
	sed -e '/^#/d' -e 's|@VERSION@|$(VERSION)|' -e 's|@ABI_VERSION@|$(ABI)|' -e 's|@SIMD@|avx512-bf16 avx512-vnni avx-vnni avx2 portable|' \
		-e 's|@LIBDIR_FROM_PREFIX@|$(LIBDIR)|' -e 's|@PREFIX_FROM_PCFILEDIR@|$(UP)|' \
		bindings/c/foretoken.pc.in > $(DESTDIR)$(PREFIX)/$(LIBDIR)/pkgconfig/foretoken.pc

wheel: stage ## build a Python wheel with the library inside into .build/wheel
	$(call need,python3=python3)
	@mkdir -p .build/wheel
	$(PYTHON) bindings/python/build_wheel.py --library $(STAGE)/lib/libforetoken.so.$(ABI) --output .build/wheel

fuzz: build ## feed damaged files and texts to the library: make fuzz SECONDS=60 SEED=1
	$(RELEASE)/ftk-fuzz $(or $(SECONDS),60) $(or $(SEED),1) .build/fuzz Tests/ModelTests/Fixtures

clean: ## remove everything that was built
	rm -rf .build
