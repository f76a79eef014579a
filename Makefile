# Everything a person or CI needs. `make test` and `make demo` install what is missing on Debian and Ubuntu.

CARGO ?= cargo
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: help demo test lint deps build clean

help:
	@echo "make demo   rehearse the incident: lab up, run deploy-fix, before/after table, lab down"
	@echo "make test   formatting, lints, every test, the lab included"
	@echo "make lint   formatting and lints only"
	@echo "make build  the release binary"

# The rehearsal lab needs a real MariaDB server and git, and perl comes with git.
deps:
	@if ! command -v git >/dev/null || ! { command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ]; }; then \
		echo "installing MariaDB server and git"; \
		$(SUDO) apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq mariadb-server git; \
	fi

build:
	$(CARGO) build --release --locked

demo: deps build
	./target/release/runbook lab run deploy-fix

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings

test: deps lint
	$(CARGO) test --locked

clean:
	$(CARGO) clean
