# SPDX-License-Identifier: MIT
#
# `make demo` and `make test` do everything on a fresh Debian 12; `make help` lists the rest.
# CC, CFLAGS, LDFLAGS and DESTDIR from the user are added to ours. V=1 shows the commands, DEV=1 makes
# warnings errors, VARIANT=asan|tsan|coverage|debug builds into a folder of its own.

VARIANT ?= release
B := build$(if $(filter-out release,$(VARIANT)),/$(VARIANT))
O := $(B)/obj
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
Q := $(if $(V),,@)
PYTHON := /usr/bin/python3

PROGRAMS := till till-api till-worker till-scheduler till-dashboard
LIBRARIES := hiredis jansson libcurl libpq libsodium openssl

# What gcc 14 refuses by itself, since it breaks at run time: never only a warning.
MISTAKES := -Werror=implicit-function-declaration -Werror=int-conversion \
    -Werror=incompatible-pointer-types
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
    -Wmissing-prototypes -Wold-style-definition -Wformat=2 -Wundef -Wcast-qual -Wcast-align \
    -Wwrite-strings -Wpointer-arith -Wvla -Wdouble-promotion -Wnull-dereference -Wswitch-enum \
    -Wimplicit-fallthrough $(MISTAKES)
HARDENING := -fstack-protector-strong -fstack-clash-protection -fPIE -fno-common \
    -fno-strict-overflow $(if $(filter x86_64,$(shell uname -m)),-fcf-protection)
FORTIFY := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
OPTIMISE_release := -O2 -g $(FORTIFY)
OPTIMISE_debug := -Og -g3
OPTIMISE_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
OPTIMISE_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
OPTIMISE_fuzz := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all \
    -fsanitize=fuzzer-no-link
# Threads count at once. A worker's process ends by _exit(), which would drop its counts: tests/harness/
# coverage_exit.c keeps them.
OPTIMISE_coverage := -O0 -g --coverage -fprofile-update=atomic -Wl,--wrap=_exit

COMPILE := $(CC) -std=c17 -D_GNU_SOURCE -I. $(WARNINGS) $(if $(DEV),-Werror) $(HARDENING) \
    $(OPTIMISE_$(VARIANT)) $(CPPFLAGS) $(CFLAGS) -MMD -MP -pthread
LINK := $(CC) $(OPTIMISE_$(VARIANT)) -pie -pthread -Wl,-z,relro,-z,now -Wl,-z,noexecstack \
    -Wl,--as-needed $(CFLAGS) $(LDFLAGS)
INCLUDES = $(shell pkg-config --cflags $(LIBRARIES))

objects = $(patsubst %.c,$(O)/%.o,$(1))
COMMON := $(call objects,$(wildcard common/*.c)) $(O)/sql_files.o \
    $(if $(filter coverage,$(VARIANT)),$(O)/tests/harness/coverage_exit.o)
API := $(call objects,$(filter-out api/main.c,$(wildcard api/*.c))) $(O)/openapi_files.o
WORKER := $(call objects,$(filter-out worker/main.c,$(wildcard worker/*.c)))
SCHEDULER := $(call objects,$(filter-out scheduler/main.c,$(wildcard scheduler/*.c)))

LIBS_COMMON := -lpq -lhiredis -ljansson -lsodium
LIBS_API := -lcivetweb -ljwt
LIBS_WORKER := -lcurl -lesmtp -lssl -lcrypto

.PHONY: all
all: $(PROGRAMS:%=$(B)/%) ## build the programs into build/

$(B)/till: $(call objects,$(wildcard cli/*.c)) $(B)/libcommon.a
	$(call link,$(LIBS_COMMON))
$(B)/till-api: $(O)/api/main.o $(B)/libapi.a $(B)/libcommon.a
	$(call link,$(LIBS_API) $(LIBS_COMMON))
$(B)/till-worker: $(O)/worker/main.o $(B)/libworker.a $(B)/libcommon.a
	$(call link,$(LIBS_WORKER) $(LIBS_COMMON))
$(B)/till-scheduler: $(O)/scheduler/main.o $(B)/libscheduler.a $(B)/libcommon.a
	$(call link,$(LIBS_COMMON))
$(B)/till-dashboard: $(call objects,$(wildcard api/dashboard/*.c)) $(O)/dashboard_files.o \
    $(B)/libapi.a $(B)/libcommon.a
	$(call link,$(LIBS_API) $(LIBS_COMMON))

define link
	$(if $(V),,@echo "  LINK  $@")
	$(Q)$(LINK) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(1)
endef

define archive
	$(Q)rm -f $@
	$(Q)ar rcs $@ $^
endef

$(B)/libcommon.a: $(COMMON)
	$(archive)
$(B)/libapi.a: $(API)
	$(archive)
$(B)/libworker.a: $(WORKER)
	$(archive)
$(B)/libscheduler.a: $(SCHEDULER)
	$(archive)

$(O)/%.o: %.c Makefile
	$(if $(V),,@echo "  CC    $<")
	$(Q)mkdir -p $(@D)
	$(Q)$(COMPILE) $(INCLUDES) -c -o $@ $<

# Files that stand inside the programs: migrations, the dashboard's pages, what the API says of itself.
SQL_FILES := $(sort $(wildcard sql/*.sql))
DASHBOARD_FILES := $(sort $(wildcard api/dashboard/static/*))
# Their names, written when they change: a file that is gone leaves the programs, too.
$(O)/sql_files.names: NAMES = $(SQL_FILES)
$(O)/dashboard_files.names: NAMES = $(DASHBOARD_FILES)
.PHONY: look-anew
$(O)/%.names: look-anew
	$(Q)mkdir -p $(@D)
	$(Q)echo '$(NAMES)' | cmp -s - $@ || echo '$(NAMES)' > $@
$(O)/sql_files.c: $(SQL_FILES) $(O)/sql_files.names common/embed.sh
	$(Q)mkdir -p $(@D)
	$(Q)sh common/embed.sh sql_files $(SQL_FILES) > $@
$(O)/dashboard_files.c: $(DASHBOARD_FILES) $(O)/dashboard_files.names common/embed.sh
	$(Q)mkdir -p $(@D)
	$(Q)sh common/embed.sh dashboard_files $(DASHBOARD_FILES) > $@
$(O)/openapi_files.c: api/openapi.json common/embed.sh
	$(Q)mkdir -p $(@D)
	$(Q)sh common/embed.sh openapi_files api/openapi.json > $@
$(O)/%_files.o: $(O)/%_files.c
	$(Q)$(COMPILE) -c -o $@ $<

# ---- tests ----

UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))
STORE_TESTS := $(patsubst tests/integration/%.c,$(B)/tests/integration/%,$(wildcard tests/integration/test_*.c))
# Criterion's macros do not survive -Wconversion with gcc.
TEST_COMPILE := $(filter-out -Wconversion -Wsign-conversion -Wpedantic,$(COMPILE))

$(B)/tests/%: tests/%.c $(B)/libapi.a $(B)/libworker.a $(B)/libscheduler.a $(B)/libcommon.a
	$(if $(V),,@echo "  TEST  $<")
	$(Q)mkdir -p $(@D)
	$(Q)$(TEST_COMPILE) $(INCLUDES) -pie $(LDFLAGS) -o $@ $< $(filter %/libdashboard.a,$^) $(filter %.a,$^) \
	    $(LIBS_API) $(LIBS_WORKER) $(LIBS_COMMON) $(TEST_LIBS)

$(UNIT_TESTS) $(STORE_TESTS): TEST_LIBS := -lcriterion

# What the dashboard alone has stands before what it uses.
$(B)/tests/unit/test_shared $(B)/tests/unit/test_guesses: $(B)/libdashboard.a

# The programs with crash points (common/crashpoint.h): only what has some is compiled again; it stands
# before the archives, which give the rest.
CRASHING := $(shell grep -lwE 'CRASH_POINT|TILL_CRASHPOINTS' api/*.c api/dashboard/*.c cli/*.c common/*.c \
    scheduler/*.c worker/*.c)
crashing = $(patsubst %.c,$(B)/faults/obj/%.o,$(filter $(1),$(CRASHING)))
CRASHING_COMMON := $(call crashing,common/%)
CRASHING_API := $(call crashing,$(filter-out api/dashboard/%,$(filter api/%,$(CRASHING))))
CRASHING_DASHBOARD := $(call crashing,api/dashboard/%)
CRASHING_CLI := $(call crashing,cli/%)
# Tasks that no author should write stand in this build alone.
CRASHING_WORKER := $(call crashing,worker/%) $(B)/faults/obj/tests/faults/task_poison.o
CRASHING_SCHEDULER := $(call crashing,scheduler/%)
# The objects of a program that is linked from objects, but for those that are compiled again.
rest = $(filter-out $(patsubst $(B)/faults/obj/%,$(O)/%,$(1)),$(2))

$(B)/faults/obj/%.o: %.c Makefile
	$(if $(V),,@echo "  CC    $< (crash points)")
	$(Q)mkdir -p $(@D)
	$(Q)$(COMPILE) -DTILL_CRASHPOINTS $(INCLUDES) -c -o $@ $<
$(B)/faults/till: $(CRASHING_CLI) $(CRASHING_COMMON) \
    $(call rest,$(CRASHING_CLI),$(call objects,$(wildcard cli/*.c))) $(B)/libcommon.a
	$(call link,$(LIBS_COMMON))
$(B)/faults/till-api: $(CRASHING_API) $(CRASHING_COMMON) $(O)/api/main.o $(B)/libapi.a $(B)/libcommon.a
	$(call link,$(LIBS_API) $(LIBS_COMMON))
$(B)/faults/till-worker: $(CRASHING_WORKER) $(CRASHING_COMMON) $(O)/worker/main.o $(B)/libworker.a \
    $(B)/libcommon.a
	$(call link,$(LIBS_WORKER) $(LIBS_COMMON))
$(B)/faults/till-scheduler: $(CRASHING_SCHEDULER) $(CRASHING_COMMON) $(O)/scheduler/main.o \
    $(B)/libscheduler.a $(B)/libcommon.a
	$(call link,$(LIBS_COMMON))
$(B)/faults/till-dashboard: $(CRASHING_DASHBOARD) $(CRASHING_COMMON) \
    $(call rest,$(CRASHING_DASHBOARD),$(call objects,$(wildcard api/dashboard/*.c))) \
    $(O)/dashboard_files.o $(B)/libapi.a $(B)/libcommon.a
	$(call link,$(LIBS_API) $(LIBS_COMMON))

# Tries a task in a transaction that is rolled back; see tests/README.md. The linker hands what opens
# connections over to task_try.c, which counts them.
comma := ,
TASK_TRY_WRAPS := $(patsubst %,-Wl$(comma)--wrap=%,PQconnectdb PQconnectStart PQconnectdbParams \
    PQconnectStartParams PQsetdbLogin)
$(B)/tests/harness/try_task: $(call objects,tests/harness/try_task.c tests/harness/task_try.c) \
    $(B)/libworker.a $(B)/libcommon.a
	$(Q)mkdir -p $(@D)
	$(call link,$(TASK_TRY_WRAPS) $(LIBS_WORKER) $(LIBS_COMMON))

# Prints every statement, for what the tests ask PostgreSQL about them.
$(B)/tests/harness/list_statements: $(call objects,tests/harness/list_statements.c) $(B)/libcommon.a
	$(Q)mkdir -p $(@D)
	$(call link,$(LIBS_COMMON))

# What `make bench` measures with; built with the tests, so that it goes on compiling.
BENCHES := $(patsubst %.c,$(B)/%,$(wildcard tests/bench/*.c))

.PHONY: tests
tests: all $(UNIT_TESTS) $(STORE_TESTS) $(B)/tests/harness/try_task $(B)/tests/harness/list_statements \
    $(PROGRAMS:%=$(B)/faults/%) $(BENCHES)

.PHONY: deps
deps: ## install the Debian packages that building, running and testing need
	$(Q)sh etc/install-packages.sh

.PHONY: test
test: ## install what is missing, build, and pass every test
	$(Q)sh etc/install-packages.sh
	$(Q)$(MAKE) --no-print-directory tests
	$(Q)BUILD=$(B) $(PYTHON) tests/run.py

.PHONY: check
check: $(UNIT_TESTS) ## the unit tests alone: no servers, seconds
	$(Q)BUILD=$(B) $(PYTHON) tests/run.py unit

.PHONY: demo
demo: ## the whole system on this machine: one real checkout, then keeps running until Ctrl-C
	$(Q)sh etc/install-packages.sh run
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(PYTHON) tests/demo.py

.PHONY: faults
faults: ## everything broken, for an hour; TESTS=faults/test_x.py for a part; the table stays in var/faults/
	$(Q)sh etc/install-packages.sh
	$(Q)$(MAKE) --no-print-directory tests
	$(Q)BUILD=$(B) $(PYTHON) tests/run.py faults $(TESTS)

MINUTES ?= 30
.PHONY: soak
soak: ## checkouts for MINUTES while faults strike at random, SEED= repeats them; in var/soak/
	$(Q)sh etc/install-packages.sh
	$(Q)$(MAKE) --no-print-directory all
	$(Q)BUILD=$(B) $(PYTHON) tests/soak.py --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

.PHONY: asan
asan: ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(Q)$(MAKE) --no-print-directory VARIANT=asan tests
	$(Q)BUILD=build/asan $(PYTHON) tests/run.py

.PHONY: tsan
tsan: ## the four programs under ThreadSanitizer, driven by the integration, fault and browser tests
	@echo "  Criterion cannot start under ThreadSanitizer, so unit and store tests are left out: this runs"
	@echo "  till, till-api, till-worker, till-scheduler and till-dashboard under all tests that drive programs."
	$(Q)$(MAKE) --no-print-directory VARIANT=tsan all build/tsan/tests/harness/try_task \
	    build/tsan/tests/harness/list_statements \
	    $(PROGRAMS:%=build/tsan/faults/%)
	$(Q)BUILD=build/tsan $(PYTHON) tests/run.py programs

.PHONY: coverage
coverage: ## what the tests reach, line by line, in var/coverage/; TESTS="integration faults browser" for all
	$(Q)sh etc/install-packages.sh coverage
	$(Q)$(MAKE) --no-print-directory VARIANT=coverage tests
	$(Q)BUILD=build/coverage $(PYTHON) tests/line_coverage.py $(or $(TESTS),integration)

# Clang's own: only it has libFuzzer. What is found stays in tests/fuzz/corpus/ when it is copied there.
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/*.c))
FUZZ_SECONDS ?= $(if $(MINUTES),$(shell expr $(MINUTES) '*' 60 / $(words $(FUZZERS))),60)
DASHBOARD := $(call objects,$(filter-out api/dashboard/main.c,$(wildcard api/dashboard/*.c))) \
    $(O)/dashboard_files.o
$(B)/libdashboard.a: $(DASHBOARD)
	$(archive)
$(B)/fuzz/%: tests/fuzz/%.c $(B)/libdashboard.a $(B)/libapi.a $(B)/libworker.a $(B)/libcommon.a
	$(if $(V),,@echo "  FUZZ  $<")
	$(Q)mkdir -p $(@D)
	$(Q)$(COMPILE) $(INCLUDES) -DFUZZ_MAIN -fsanitize=fuzzer -pie $(LDFLAGS) -o $@ $< $(filter %.a,$^) \
	    $(LIBS_API) $(LIBS_WORKER) $(LIBS_COMMON)

# A target that finds something does not keep the others from running.
.PHONY: run-fuzzers
run-fuzzers: $(FUZZERS)
	$(Q)failed=; for fuzzer in $(FUZZERS); do name=$${fuzzer##*/}; mkdir -p $(B)/found/$$name; \
	    echo "  RUN   $$name for $(FUZZ_SECONDS) s"; \
	    $$fuzzer -max_total_time=$(FUZZ_SECONDS) -timeout=10 -artifact_prefix=$(B)/found/$$name- \
	        $(B)/found/$$name tests/fuzz/corpus/$$name >$(B)/found/$$name.log 2>&1 || \
	        { tail -n 40 $(B)/found/$$name.log; failed="$$failed $$name"; }; done; \
	    test -z "$$failed" || { echo "found something:$$failed"; exit 1; }

.PHONY: bench
bench: ## our figures beside the limits of Redis, PostgreSQL and civetweb, in one run of ROUNDS (5); also in var/bench.json
	$(Q)sh etc/install-packages.sh bench
	$(Q)$(MAKE) --no-print-directory all $(BENCHES)
	$(Q)BUILD=$(B) $(PYTHON) tests/bench/bench.py --json var/bench.json $(if $(ROUNDS),--rounds $(ROUNDS))

.PHONY: bench-memory bench-pages bench-watched
bench-memory: ## whether memory stays flat: a worker over ten million jobs, the API over ten minutes
	$(Q)sh etc/install-packages.sh bench
	$(Q)$(MAKE) --no-print-directory all
	$(Q)BUILD=$(B) $(PYTHON) tests/bench/memory_worker.py
	$(Q)BUILD=$(B) $(PYTHON) tests/bench/memory_api.py
bench-pages: ## a page of tasks among JOBS (10 million) finished ones and WAITING others (0): half an hour and 15 GB
	$(Q)sh etc/install-packages.sh bench
	$(Q)$(MAKE) --no-print-directory all
	$(Q)BUILD=$(B) $(PYTHON) tests/bench/pages.py --jobs $(or $(JOBS),10000000) --waiting $(or $(WAITING),0)
bench-watched: ## what ten open pages of the dashboard cost the workers
	$(Q)sh etc/install-packages.sh bench
	$(Q)$(MAKE) --no-print-directory all
	$(Q)BUILD=$(B) $(PYTHON) tests/bench/watched.py

.PHONY: fuzz
fuzz: ## each reader of outside text under libFuzzer, MINUTES in all or a minute each (needs clang)
	$(Q)sh etc/install-packages.sh fuzz
	$(Q)$(MAKE) --no-print-directory VARIANT=fuzz CC=clang run-fuzzers

.PHONY: lint
lint: ## formatting, static analysis, and the rules of the house
	$(Q)sh etc/install-packages.sh lint
	$(Q)$(MAKE) --no-print-directory DEV=1 VARIANT=lint OPTIMISE_lint="$(OPTIMISE_release)" tests
	$(Q)sh tests/lint.sh

.PHONY: format
format: ## format the C files in place
	$(Q)git ls-files '*.c' '*.h' | xargs clang-format -i

# ---- installing ----

UNITS := $(PROGRAMS:%=%.service)
UNITS := $(patsubst till.service,till-migrate.service,$(UNITS))
UNIT_FOLDER = $(DESTDIR)$(PREFIX)/lib/systemd/system

# Settings that are there already are the site's and stay.
.PHONY: install
install: all ## install programs, units, settings and documents below $(DESTDIR)$(PREFIX)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/doc/till $(DESTDIR)$(PREFIX)/share/till
	install -m 755 $(PROGRAMS:%=$(B)/%) $(DESTDIR)$(PREFIX)/bin
	install -m 644 etc/till.env etc/redis.conf etc/redis-users.conf etc/schedules.conf etc/nginx.conf \
	    $(DESTDIR)$(PREFIX)/share/till
	sed -i 's#^TILL_SCHEDULES_FILE=$$#&$(SYSCONFDIR)/till/schedules.conf#' $(DESTDIR)$(PREFIX)/share/till/till.env
	install -m 644 README.md SECURITY.md CHANGELOG.md common/PROTOCOL.md $(DESTDIR)$(PREFIX)/share/doc/till
	install -d $(UNIT_FOLDER)/till-.service.d
	install -m 644 etc/systemd/till-.service.d/sandbox.conf $(UNIT_FOLDER)/till-.service.d
	for unit in $(UNITS); do sed 's#@PREFIX@#$(PREFIX)#g; s#@SYSCONFDIR@#$(SYSCONFDIR)#g' \
	    etc/systemd/$$unit >$(UNIT_FOLDER)/$$unit && chmod 644 $(UNIT_FOLDER)/$$unit || exit 1; done
	install -d $(DESTDIR)$(SYSCONFDIR)/till
	install -d -m 700 $(DESTDIR)$(SYSCONFDIR)/till/secrets
	for file in till.env schedules.conf; do test -e $(DESTDIR)$(SYSCONFDIR)/till/$$file || \
	    install -m 644 $(DESTDIR)$(PREFIX)/share/till/$$file $(DESTDIR)$(SYSCONFDIR)/till || exit 1; done

.PHONY: uninstall
uninstall: ## remove what install put there, but for the settings
	rm -f $(PROGRAMS:%=$(DESTDIR)$(PREFIX)/bin/%) $(UNITS:%=$(UNIT_FOLDER)/%)
	rm -rf $(DESTDIR)$(PREFIX)/share/till $(DESTDIR)$(PREFIX)/share/doc/till $(UNIT_FOLDER)/till-.service.d

.PHONY: clean
clean: ## remove what was built (var/ of the demo stays)
	rm -rf build

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

-include $(shell find $(O) $(B)/faults/obj -name '*.d' 2>/dev/null)
