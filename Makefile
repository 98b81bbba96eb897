# make          build ./vpnpush
# make test     the tests; as root on Debian also those that need a lab of hosts (their
#               random faults are others each day: CHAOS_SEED)
# make test-rest what make test leaves out: those on the true lab, whose hosts have kernels
#               of their own, and what it does with one of two backends or releases
# make test-all both, and those on the true lab once more on Debian 13 and 11, and
#               all on the lab with swanctl in the place of ipsec.conf, CHAOS_ROUNDS faults
# make race     the tests that need no lab under the race detector (RACE: of which packages)
# make cover    all tests with coverage: what was reached, and what by nothing,
#               of the apply script too
# make lint     gofmt, go.mod, vet for Linux and for a Mac, staticcheck, shellcheck
# make demo     the main job, on a lab of three hosts, as a session to read
# make chaos    faults in the middle of an apply: the known ones, and CHAOS_ROUNDS random ones
# make prove    every fault at every command of an apply, on each host; goes on where it was
#               ended, and ends with a table. PROVE is the folder of its results; choose with
#               PROVE_SCENARIO, PROVE_FAULTS and PROVE_TIER, by commas; PROVE_JOBS labs (8) at a
#               time, PROVE_FOR=60m
# make bench    benchmarks
# make bench-peers  vpnpush beside OpenSSH, and Ansible plain, with pipelining and with Mitogen,
#               on 20 hosts: the tables of docs/speed.md, in 13 minutes (PARTS: some of them)
# make fuzz     every fuzz target, FUZZTIME each
# make install  the program, its manual, completions, documents and the drift timer, below
#               PREFIX (/usr/local), in DESTDIR; make uninstall takes them away again
# make deb      a Debian package of the same, in dist (GOARCH=arm64 for another architecture)
# make clean    remove what these made, the lab's artefacts too

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
FUZZTIME    ?= 10s
CHAOS_ROUNDS ?= 30
# others each day, and the same for all that is run on it
CHAOS_SEED   ?= $(shell date -u +%Y%m%d)
PROVE        ?= $(HOME)/.cache/vpnpush-prove
PROVE_JOBS   ?= 8
# empty without git: the program then tells what the build knows of itself
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null)
STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
LAB         := testdata/lab
PREFIX      ?= /usr/local
INTO        := $(DESTDIR)$(PREFIX)
PROGRAM     := ./vpnpush
RACE        ?= ./...
TRUELAB     := L2TP|NewSecrets|PolicyTable|MSS|DoctorKernel|ComebackKernel|AdminsL2TPUser|KindsLeaveNothing
# these too, though they are nothing else with another release on their hosts, or choose it
TRUEONCE    := L2TPRelease|LibreswanPeers|RehearseInTheKernel|VMLab
# the longest on the fast lab
LONG        := Comeback|Move|MoveHub
# What costs most and shows least that is new: make test-rest has it. Of what is tried by
# either backend make test keeps mostly the half with ipsec.conf, and of what is tried with
# either release on the hub, or with each, one.
REST        := ^TestE2E($(TRUELAB)|$(TRUEONCE)|$(LONG))$$|^TestE2E(Network|Drift|Pair|RotateKey)$$/^swanctl$$
REST        := $(REST)|^TestE2ENetwork$$/^ipsec.conf$$/^trixie_hub$$|^TestE2EReleases$$/^hub_11$$

.PHONY: build install uninstall deb test test-rest test-all lab cover race lint demo chaos prove bench bench-peers fuzz clean

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o vpnpush ./cmd/vpnpush

# root may have no Go: what was built before is installed
install:
	test -x $(PROGRAM) || $(MAKE) build
	cmd/vpnpush/packaging/install.sh $(PROGRAM) "$(DESTDIR)" "$(PREFIX)"

uninstall:
	rm -f "$(INTO)/bin/vpnpush" "$(INTO)"/share/man/man1/vpnpush.1 "$(INTO)"/share/man/man1/vpnpush-*.1
	rm -f "$(INTO)/share/bash-completion/completions/vpnpush" "$(INTO)/share/zsh/site-functions/_vpnpush" "$(INTO)/share/fish/vendor_completions.d/vpnpush.fish"
	rm -f "$(INTO)/lib/systemd/system/vpnpush-drift.service" "$(INTO)/lib/systemd/system/vpnpush-drift.timer"
	rm -rf "$(INTO)/share/doc/vpnpush"

deb:
	cmd/vpnpush/packaging/deb.sh "$(VERSION)"

test: lab
	-$(LAB)/setup.sh browser
	NOT_RUN='$(words $(subst |, ,$(TRUELAB)|$(TRUEONCE))) tests on the true lab, $(words $(subst |, ,$(LONG))) long ones, and a part of 5 more: make test-rest' \
		VPNPUSH_E2E=1 CHAOS_SEED=$(CHAOS_SEED) testdata/tests.sh -timeout 60m -skip '$(REST)' ./...

# two at a time: hosts with kernels of their own take the processor, and do not wait
test-rest: lab
	PARALLEL=2 VPNPUSH_E2E=1 testdata/tests.sh -timeout 75m -run '$(REST)' ./cmd/vpnpush ./cmd/vpnpush/internal/lab

# those on the true lab once more, on hosts with Debian 13 where they would have 12;
# and that of one that has 11; the Debian package; a laptop with what export wrote; a network
# by hand with L2TP; then all with swanctl
test-all: test test-rest
	PARALLEL=2 LAB_SUITE=trixie VPNPUSH_E2E=1 testdata/tests.sh -count=1 -timeout 75m -run '^TestE2E($(TRUELAB))$$' ./cmd/vpnpush
	LAB_SUITE=bullseye VPNPUSH_E2E=1 testdata/tests.sh -count=1 -run '^TestE2EL2TPRelease$$' ./cmd/vpnpush
	LAB_DEB=1 VPNPUSH_E2E=1 testdata/tests.sh -count=1 -run '^TestE2EPackage$$' ./cmd/vpnpush
	LAB_EXPORT=1 VPNPUSH_E2E=1 testdata/tests.sh -count=1 -run '^TestE2EExport$$' ./cmd/vpnpush
	LAB_ADOPT=1 VPNPUSH_E2E=1 testdata/tests.sh -count=1 -run '^TestE2EAdopt$$' ./cmd/vpnpush
	VPNPUSH_E2E=1 VPNPUSH_LAB_BACKEND=swanctl CHAOS_ROUNDS=$(CHAOS_ROUNDS) testdata/tests.sh -timeout 4h -count 1 -run '^TestE2E' ./cmd/vpnpush

# what the tests' labs are made of
lab:
	$(LAB)/setup.sh
	@if why=$$($(LAB)/check.sh ns); then for s in bookworm trixie; do $(LAB)/ns/build.sh $$s; done; $(LAB)/check.sh ns bullseye || :; else echo "$$why"; fi
	@if why=$$($(LAB)/check.sh vm); then for s in bookworm trixie; do $(LAB)/vm/build.sh $$s; done; else echo "$$why"; fi

# COVER_RUN=REGEXP runs only these tests; a $ in it is its own, not the start of a variable
cover: lab
	COVER_RUN='$(value COVER_RUN)' CHAOS_SEED=1 testdata/cover/cover.sh

# a minute on 2 cores, and one more for the first build
race:
	$(LAB)/setup.sh race
	@if command -v "$$(go env CC)" >/dev/null; then \
		VPNPUSH_E2E= CGO_ENABLED=1 go test -race -timeout 20m $(RACE); \
	else \
		echo "make race: SKIPPED: no C compiler ($$(go env CC)), which the race detector needs" >&2; \
	fi

lint:
	@out=$$(gofmt -l .); [ -z "$$out" ] || { echo "not gofmt-ed: $$out" >&2; exit 1; }
	go mod verify
	go mod tidy -diff
	go vet ./...
	GOOS=darwin go vet ./...
	go vet -tags shellcover ./tasks/host
	$(STATICCHECK) ./...
	shellcheck .ci/run .ci/touched cmd/vpnpush/packaging/scripts/* $$(find testdata cmd -name '*.sh')

demo: build
	$(LAB)/setup.sh
	$(LAB)/demo.sh

# CHAOS_SEED=N repeats a run; VPNPUSH_LAB_BACKEND=swanctl runs strongSwan by that
chaos:
	$(LAB)/setup.sh
	VPNPUSH_E2E=1 CHAOS_ROUNDS=$(CHAOS_ROUNDS) CHAOS_SEED=$(CHAOS_SEED) go test -timeout 2h -count 1 -run '^TestE2E(Prove|Faults.*)$$|^TestLives$$' -v ./cmd/vpnpush

prove:
	$(LAB)/setup.sh
	VPNPUSH_E2E=1 PROVE="$(PROVE)" PROVE_JOBS=$(PROVE_JOBS) nice -n 10 go test -C cmd/vpnpush -timeout 0 -count 1 -parallel $$(($(PROVE_JOBS) + 1)) -run '^TestE2EProve$$'

bench:
	testdata/bench/bench.sh

bench-peers:
	$(LAB)/setup.sh
	testdata/bench/peers.sh $(PARTS)

fuzz:
	@go list ./... | while read -r pkg; do \
		for target in $$(go test -list "^Fuzz" $$pkg </dev/null | grep '^Fuzz' || true); do \
			echo "== $$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg </dev/null; \
		done; \
	done

clean:
	rm -rf vpnpush dist
	. $(LAB)/common.sh && rm -rf "$$CACHE"
