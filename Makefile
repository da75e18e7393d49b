# make demo and make test need nothing but a Debian machine with Rust: what is missing is installed (as root).
# Every target is one script or one cargo command; `make help` lists them.

PREFIX  ?= /usr/local
DESTDIR ?=
ROUNDS  ?= 60
# The runtime that demo and bench use; another one's path may be given (DAVIT=/usr/sbin/runc make demo).
DAVIT   ?= target/release/davit

.PHONY: all help demo test test-vm test-callers test-seccomp bench bench-callers bench-seccomp lint deps musl gnu install uninstall deb clean

all: ## the release binary, target/release/davit: static, with musl where Rust has that target, else with glibc
	@scripts/build auto

musl: ## the same, with musl or not at all (the fastest start; docs/building.md)
	@scripts/build musl

gnu: ## the same, with glibc
	@scripts/build gnu

demo: deps ## run a container, show what it sees, explain it, remove everything
	@test "$(DAVIT)" != target/release/davit || scripts/build auto
	@DAVIT="$(DAVIT)" scripts/demo

test: deps ## unit and integration tests, with totals
	@scripts/test

test-vm: deps ## the same tests in virtual machines: cgroup v2 and v1 with systemd, AppArmor, SELinux (ONLY=v1: one of them)
	@scripts/test-vm $(ONLY)

test-callers: deps ## real Docker, containerd, Podman and Buildah with Davit as their runtime; installs them (ONLY=docker_run::: some)
	@scripts/deps callers
	@scripts/test --test callers -- --test-threads 2 $(ONLY)

bench: deps ## Davit, crun, runc and the kernel's floor side by side (ROUNDS=60 DAVIT= CRUN= RUNC= ARGS=--details)
	@test "$(DAVIT)" != target/release/davit || scripts/build auto
	@DAVIT="$(DAVIT)" CRUN="$(CRUN)" RUNC="$(RUNC)" scripts/bench --rounds $(ROUNDS) $(ARGS)

bench-callers: all ## ctr run, docker run, docker exec and podman run, each with Davit and with others in turns (ROUNDS=12)
	@scripts/deps callers
	DAVIT_TEST_RUNTIME="$(abspath $(DAVIT))" BENCH_ROUNDS=$(ROUNDS) cargo test --locked --test callers -- --ignored --nocapture timings

test-seccomp: ## the seccomp compiler against libseccomp's, a million random calls (CALLS=1200000)
	@scripts/test-seccomp

bench-seccomp: ## Docker's seccomp profile: compiling and loading it, beside libseccomp (ROUNDS=300)
	@ROUNDS="$(ROUNDS)" scripts/bench-seccomp

lint: ## formatting, clippy, and cargo-deny where it is installed
	cargo fmt --all -- --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --test callers -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then \
		cargo deny --all-features check --hide-inclusion-graph licenses bans sources; \
	else \
		echo "lint: cargo-deny is not installed; deny.toml is not checked"; \
	fi

deps: ## install what building, demo, tests and bench need (root), or name it
	@scripts/deps

# Not built again when it is there: under sudo there often is no cargo.
target/release/davit:
	@scripts/build auto

install: target/release/davit ## the program, manual pages, completions, contrib (PREFIX=/usr/local DESTDIR=)
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" scripts/install

uninstall: ## what install has installed
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" scripts/install --uninstall

deb: all ## a Debian package, target/davit_VERSION_ARCHITECTURE.deb
	@scripts/deb

clean:
	cargo clean

help:
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{printf "%-12s %s\n", $$1, $$2}'
