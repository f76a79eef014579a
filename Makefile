# Everything a person or CI needs. `make test` and `make demo` install what is missing on Debian and Ubuntu.

CARGO ?= cargo
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0
RUNBOOK := ./target/release/runbook

.PHONY: help demo test lint deps build crash-matrix clean

help:
	@echo "make demo   rehearse the incident: by hand for the time, then with deploy-fix; before/after table"
	@echo "make test   formatting, lints, every test, the rehearsals included"
	@echo "make crash-matrix   kills every change of the main runbooks at every point, writes docs/reliability.md"
	@echo "make lint   formatting and lints only"
	@echo "make build  the release binary"

# The rehearsals need a real MariaDB server and git, and Rust a C compiler. Of MariaDB the core packages are enough:
# they have the server's programs and start none on this machine.
deps:
	@missing=""; \
	command -v git >/dev/null || missing="$$missing git"; \
	command -v cc >/dev/null || missing="$$missing gcc libc6-dev"; \
	PATH="$$PATH:/usr/sbin:/usr/libexec:/usr/local/sbin:/usr/local/libexec"; \
	command -v mariadbd >/dev/null && command -v mariadb-install-db >/dev/null \
		&& command -v my_print_defaults >/dev/null || missing="$$missing mariadb"; \
	[ -n "$$missing" ] || exit 0; \
	if ! command -v apt-get >/dev/null; then \
		echo "error: missing:$$missing; install them (mariadb = MariaDB server) and run make again" >&2; exit 1; \
	fi; \
	if [ -n "$(SUDO)" ] && ! command -v sudo >/dev/null; then \
		echo "error: missing:$$missing; apt-get needs root and there is no sudo: run it as root once" >&2; exit 1; \
	fi; \
	echo "installing$$missing"; \
	$(APT) update && for package in $$missing; do \
		case $$package in \
		mariadb) $(APT) install -y --no-install-recommends mariadb-server-core mariadb-client-core 2>/dev/null \
			|| $(APT) install -y --no-install-recommends mariadb-server ;; \
		*) $(APT) install -y --no-install-recommends $$package ;; \
		esac || exit 1; \
	done

build: deps
	$(CARGO) build --release --locked

demo: build
	$(RUNBOOK) lab run deploy-fix --by-hand

# Licences, sources and advisories are looked at where cargo-deny is installed.
lint: deps
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --config .config/deny.toml check; \
	else echo "cargo-deny is not installed: licences and advisories were not looked at"; fi

# Rehearsals wait more than they work: three lanes of tests run side by side. What the other two said is shown whole when
# all have ended.
TESTS := $(patsubst tests/%.rs,%,$(wildcard tests/*.rs))
SECOND := faults heroku dry_run database database_faults budget lock journal record
THIRD := guide lab gates guardrails one_off notify

test: lint
	$(CARGO) test --locked --no-run
	@second=$$(mktemp); third=$$(mktemp); failed=0; \
	$(CARGO) test --locked --no-fail-fast $(SECOND:%=--test %) >"$$second" 2>&1 & beside=$$!; \
	$(CARGO) test --locked --no-fail-fast $(THIRD:%=--test %) >"$$third" 2>&1 & besides=$$!; \
	$(CARGO) test --locked --no-fail-fast --lib --bins \
		$(patsubst %,--test %,$(filter-out $(SECOND) $(THIRD),$(TESTS))) || failed=1; \
	wait $$beside || failed=1; \
	wait $$besides || failed=1; \
	cat "$$second" "$$third"; rm -f "$$second" "$$third"; \
	exit $$failed

# Ten minutes of real kills; the three that tell most are part of `make test`.
crash-matrix: deps
	RUNBOOK_UPDATE_DOCS=1 $(CARGO) test --locked --test crash -- --include-ignored --test-threads 2

clean:
	$(CARGO) clean
