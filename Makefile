# make            builds everything into build/
# make help       lists the other targets

include config.mk

# Another one is an argument: make OUT=... In the environment it would make build/bin/x a file without a rule.
OUT = build
PKGS       = fftw3f fftw3 openblas libzstd jansson
PKGS_AUDIO = libavformat libavcodec libavutil libswresample
PKGS_PLOT  = cairo
# Only targets that compile need the list of libraries. The others work on a machine where nothing is installed yet.
ifneq ($(filter-out check check-invariance race soak asan tsan fuzz lint demo reference probe deps uninstall dist clean help,$(or $(MAKECMDGOALS),all)),)
include $(OUT)/features.mk
endif

CPPFLAGS_ALL = -I. -D_POSIX_C_SOURCE=200809L -D_FILE_OFFSET_BITS=64 -DMERT_VERSION='"$(VERSION)"' $(FEATURE_CPPFLAGS) $(CPPFLAGS)
CFLAGS_ALL   = -std=c11 -ffp-contract=fast -fno-math-errno -fno-trapping-math -pthread $(WARN) $(CFLAGS)
LDFLAGS_ALL  = -pthread -Wl,--as-needed $(LDFLAGS)
LDLIBS_ALL   = $(FEATURE_LIBS) -lm -ldl $(LDLIBS)

STREAM_SRC  = $(wildcard formats/stream/*.c)
FORMATS_SRC = $(wildcard formats/*.c formats/labels/*.c formats/checkpoint/*.c)
COMMON_SRC  = $(filter-out libcommon/plugins/% $(WITHOUT),$(wildcard libcommon/*/*.c libcommon/*/*/*.c))
TOOLS       = $(patsubst tools/%.c,%,$(filter-out $(WITHOUT),$(wildcard tools/mert-*.c)))
UNIT        = $(patsubst tests/unit/%.c,%,$(filter-out $(WITHOUT),$(wildcard tests/unit/*.c)))
PROGRAMS    = $(patsubst tests/programs/%.c,%,$(filter-out tests/programs/fail-nth.c $(WITHOUT),$(wildcard tests/programs/*.c)))
BENCH       = $(patsubst tests/bench/%.c,%,$(wildcard tests/bench/*.c))
FUZZ        = $(filter-out replay,$(patsubst tests/fuzz/%.c,%,$(filter-out $(WITHOUT),$(wildcard tests/fuzz/*.c))))
MAN         = $(wildcard man/*.[157])

# Vectorised loops are compiled once for each instruction set; one of them is chosen at run time (libcommon/base/cpu.h).
KERNEL_SRC  = $(filter %.kernels.c,$(COMMON_SRC))
COMMON_ONCE = $(filter-out $(KERNEL_SRC),$(COMMON_SRC))
KERNEL_OBJ  = $(foreach isa,$(ISAS),$(KERNEL_SRC:%.kernels.c=$(OUT)/%.kernels.$(isa).o))

LIBMTS     = $(OUT)/libmts.a
LIBFORMATS = $(OUT)/libmertformats.a
LIBCOMMON  = $(OUT)/libmert.a
LIBS       = $(LIBCOMMON) $(LIBFORMATS) $(LIBMTS)
BIN        = $(TOOLS:%=$(OUT)/bin/%)
UNIT_BIN   = $(UNIT:%=$(OUT)/tests/unit/%)
PROG_BIN   = $(PROGRAMS:%=$(OUT)/tests/%) $(OUT)/tests/fail-nth.so
FUZZ_BIN   = $(FUZZ:%=$(OUT)/tests/fuzz/%)
BENCH_BIN  = $(BENCH:%=$(OUT)/bench/%)
PLUGIN_BIN = $(PLUGINS:%=$(OUT)/lib/mert/%.so)

# The CUDA plugin's sources, and what stands for CUDA where tests run them on the CPU. RACE: with the detector.
CUDA_SRC     = $(wildcard libcommon/plugins/cuda/*.cu)
EMULATED_SRC = $(filter-out %/blas_cublas.cu %/comm_load.cu,$(CUDA_SRC)) $(wildcard tests/cuda/*.cpp)
EMULATED     = $(if $(CXX_EMULATED),$(OUT)/lib/mert/device-emulated.so)
CUDA_PROGRAMS = faults fragments
RACE         = $(if $(CXX_EMULATED),$(OUT)/tests/race/device-emulated.so $(CUDA_PROGRAMS:%=$(OUT)/tests/race/%) $(CUDA_PROGRAMS:%=$(OUT)/tests/%))

all: $(BIN) $(PLUGIN_BIN)

# ---- compiler, libraries, instruction sets: found and printed once ----

$(OUT)/features.mk: config.mk tests/features $(OUT)/compiler
	@CC='$(CC)' sh tests/features '$(PKGS)' '$(PKGS_AUDIO)' '$(PKGS_PLOT)' $@

# Each of these files contains a command line, and changes only when that changes. Objects depend on them, so other
# flags or another compiler compile everything again.
remember = @mkdir -p $(OUT); printf '%s\n' '$(subst ','\'',$(1))' > $@.new; if cmp -s $@.new $@; then rm -f $@.new; else mv $@.new $@; fi
$(OUT)/compiler: FORCE
	$(call remember,$(CC))
$(OUT)/flags: FORCE
	$(call remember,$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL))
$(OUT)/link-flags: FORCE
	$(call remember,$(CC) $(LDFLAGS_ALL) $(LDLIBS_ALL) $(FUZZ_LINK))

# Prints one short line for each file; with V=1 make prints the whole command.
say = $(if $(V),,@printf '%-8s%s\n' $(1) $(or $(2),$@);)

# ---- compiling ----

$(OUT)/%.o: %.c $(OUT)/features.mk $(OUT)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

define kernel_rule
$(OUT)/%.kernels.$(1).o: %.kernels.c $(OUT)/features.mk $(OUT)/flags
	@mkdir -p $$(@D)
	$$(call say,CC,"$$< ($(1))")$(CC) $(CPPFLAGS_ALL) -DMERT_ISA=$(1) $(CFLAGS_ALL) $(ISA_FLAGS_$(1)) -MMD -MP -c -o $$@ $$<
endef
$(foreach isa,$(ISAS),$(eval $(call kernel_rule,$(isa))))

$(LIBMTS): $(STREAM_SRC:%.c=$(OUT)/%.o)
$(LIBFORMATS): $(FORMATS_SRC:%.c=$(OUT)/%.o)
$(LIBCOMMON): $(COMMON_ONCE:%.c=$(OUT)/%.o) $(KERNEL_OBJ)
$(LIBS):
	@rm -f $@
	$(call say,AR)$(AR) rcs $@ $^

# Where plugins and recipes are, relative to the folder of the programs. So they are found with every PREFIX and
# DESTDIR, and after the whole installation is moved.
$(OUT)/places.h: FORCE
	@mkdir -p $(OUT)
	@{ for d in "LIBDIR $$LIBDIR" "DATADIR $$DATADIR"; do \
	  echo "#define MERT_$${d%% *} \"$$(realpath -sm --relative-to="$$BINDIR" -- "$${d#* }" | sed 's/["\\]/\\&/g')\""; \
	done; \
	echo "#define MERT_TREE \"$$(realpath -m --relative-to='$(OUT)/bin' . | sed 's/["\\]/\\&/g')\""; } > $@.new
	@if cmp -s $@.new $@; then rm -f $@.new; else mv $@.new $@; fi
$(OUT)/libcommon/base/install_paths.o: $(OUT)/places.h
$(OUT)/libcommon/base/install_paths.o: CPPFLAGS_ALL += -include $(OUT)/places.h
FORCE:

# The commands of a program may be in a folder of its name: tools/mert-tensor/*.c.
.SECONDEXPANSION:
$(OUT)/bin/%: $(OUT)/tools/%.o $$(addprefix $(OUT)/,$$(addsuffix .o,$$(basename $$(wildcard tools/$$*/*.c)))) $(LIBS) $(OUT)/link-flags
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(LIBS) $(LDLIBS_ALL)

# A plugin is a shared object for a library that not every machine has. It is loaded when it is needed, from
# ../lib/mert beside the folder of the programs. Its source is in a folder of its name. (cuda-nccl exchanges between
# devices; it is apart from device-cuda, because its library is large.)
$(OUT)/lib/mert/%.so: $$(wildcard libcommon/plugins/$$*/*.c) $(OUT)/features.mk $(OUT)/flags
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(CPPFLAGS_ALL) $(PLUGIN_CPPFLAGS_$*) $(CFLAGS_ALL) $(LDFLAGS_ALL) -fPIC -shared -MMD -MP -MF $(@:.so=.d) -o $@ $(filter %.c,$^) $(PLUGIN_LIBS_$*)

# ---- the CUDA plugin ----

$(OUT)/cuda/random.o: libcommon/base/random.c $(OUT)/features.mk $(OUT)/flags
	@mkdir -p $(@D)
	$(call say,CC,"$< (plugin)")$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -fPIC -fvisibility=hidden -MMD -MP -c -o $@ $<

# Nothing in the kernels needs more than sm_80, so one compilation serves all; newer devices than these compile the PTX.
NVCC_FLAGS = -std=c++17 -O3 --extended-lambda -cudart static -I. -gencode 'arch=compute_80,code=[sm_80,sm_90,sm_100,compute_80]' \
             -Xcompiler -fPIC,-fvisibility=hidden
NVCC_AGAIN = $(filter ccache,$(CC))
$(OUT)/cuda/%.o: libcommon/plugins/cuda/%.cu $(wildcard libcommon/plugins/cuda/*.h) libcommon/nn/ops.h $(wildcard libcommon/nn/operations*.h) $(OUT)/features.mk
	@mkdir -p $(@D)
	$(call say,NVCC,$<)$(NVCC_AGAIN) $(NVCC) $(NVCC_FLAGS) -Xptxas -v -c -o $@ $< 2> $(@:.o=.log) || { cat $(@:.o=.log); exit 1; }
$(OUT)/lib/mert/device-cuda.so: $(CUDA_SRC:libcommon/plugins/cuda/%.cu=$(OUT)/cuda/%.o) $(OUT)/cuda/random.o
	@mkdir -p $(@D)
	$(call say,LD)$(NVCC) $(NVCC_FLAGS) -shared -o $@ $^ -lcublasLt

# The same on the CPU: tests/cuda/emulator has the headers in the place of NVIDIA's. Kernels under the detector are compiled
# with -fsanitize=thread, whose calls the emulator answers itself.
EMULATED_FLAGS = -std=c++17 -O2 -g -fPIC -fvisibility=hidden -pthread -Wall -Wextra -Wshadow -Wno-unknown-pragmas -Wno-pass-failed $(filter -fsanitize=address% -fno-sanitize-recover=% -Werror,$(CFLAGS)) \
                 -DMERT_CUDA_NAME='"emulated"' -Itests/cuda/emulator -I.
EMULATOR  = core memory streams
EMULATED_OBJ = $(patsubst %,$(OUT)/emulated/%.o,$(basename $(EMULATED_SRC))) $(EMULATOR:%=$(OUT)/emulated/tests/cuda/emulator/%.o)
RACE_OBJ     = $(filter-out $(OUT)/emulated/libcommon/%,$(EMULATED_OBJ)) $(patsubst $(OUT)/emulated/%,$(OUT)/emulated/race/%,$(filter $(OUT)/emulated/libcommon/%,$(EMULATED_OBJ)))
NO_DETECTOR  = $(OUT)/emulated/tests/cuda/emulator/no_detector.o
DETECTOR     = $(OUT)/emulated/tests/cuda/emulator/detector.o
$(OUT)/emulated-flags: FORCE
	$(call remember,$(CXX_EMULATED) $(EMULATED_FLAGS))
define emulated_rule
$(OUT)/emulated/$(1)%.o: %.$(2) $(OUT)/features.mk $(OUT)/emulated-flags
	@mkdir -p $$(@D)
	$$(call say,CXX,"$$< $(3)")$(CXX_EMULATED) $(EMULATED_FLAGS) $(4) -MMD -MP -x c++ -c -o $$@ $$<
endef
$(eval $(call emulated_rule,,cpp,,))
$(eval $(call emulated_rule,,cu,(emulated),))
$(eval $(call emulated_rule,race/,cu,(race),-O1 -fno-sanitize=all -fsanitize=thread))
$(OUT)/lib/mert/device-emulated.so: $(EMULATED_OBJ) $(NO_DETECTOR) $(OUT)/cuda/random.o
$(OUT)/tests/race/device-emulated.so: $(RACE_OBJ) $(DETECTOR) $(OUT)/cuda/random.o
$(OUT)/lib/mert/device-emulated.so $(OUT)/tests/race/device-emulated.so:
	@mkdir -p $(@D)
	$(call say,LD)$(CXX_EMULATED) $(EMULATED_FLAGS) -shared -o $@ $^ -ldl
# Things done wrong, which the emulator must find; and products of fragments: without and with the detector.
$(CUDA_PROGRAMS:%=$(OUT)/tests/%): $(OUT)/tests/%: $(OUT)/emulated/tests/cuda/%.o $(filter $(OUT)/emulated/tests/%,$(EMULATED_OBJ)) $(NO_DETECTOR)
$(CUDA_PROGRAMS:%=$(OUT)/tests/race/%): $(OUT)/tests/race/%: $(OUT)/emulated/race/tests/cuda/%.o $(filter $(OUT)/emulated/tests/%,$(EMULATED_OBJ)) $(DETECTOR)
$(CUDA_PROGRAMS:%=$(OUT)/tests/%) $(CUDA_PROGRAMS:%=$(OUT)/tests/race/%):
	@mkdir -p $(@D)
	$(call say,LD)$(CXX_EMULATED) $(EMULATED_FLAGS) -o $@ $^ -ldl

$(OUT)/tests/unit/%: $(OUT)/tests/unit/%.o $(LIBS) $(OUT)/link-flags
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $< $(LIBS) $(LDLIBS_ALL)

# A fuzz target has a main that replays its corpus, or for make fuzz that of libFuzzer.
FUZZ_MAIN = $(OUT)/tests/fuzz/replay.o
$(OUT)/tests/fuzz/%: $(OUT)/tests/fuzz/%.o $(FUZZ_MAIN) $(LIBS) $(OUT)/link-flags
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) $(FUZZ_LINK) -o $@ $< $(FUZZ_MAIN) $(LIBS) $(LDLIBS_ALL)

$(OUT)/bench/%: $(OUT)/tests/bench/%.o $(LIBS) $(OUT)/link-flags
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $< $(LIBS) $(LDLIBS_ALL)

$(OUT)/tests/%: $(OUT)/tests/programs/%.o $(LIBS) $(OUT)/link-flags
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $< $(LIBS) $(LDLIBS_ALL)

# Loaded before a program, it takes memory from it.
$(OUT)/tests/fail-nth.so: tests/programs/fail-nth.c
	@mkdir -p $(@D)
	$(call say,LD)$(CC) -std=c11 -O1 -g $(WARN) -fPIC -shared -pthread -o $@ $< -ldl

.SECONDARY:

# ---- checking ----

# Installs missing packages, builds, and runs all tests. DEPS=skip installs nothing.
check: deps
	@$(MAKE) --no-print-directory tests
	@OUT='$(OUT)' sh tests/run

tests: all $(UNIT_BIN) $(PROG_BIN) $(FUZZ_BIN) $(EMULATED) $(RACE) $(OUT)/bench/train

fuzz_targets: $(FUZZ_BIN)

# Builds everything with clang, where a warning is an error, and checks the manual pages with mandoc.
lint: deps
	@sh pipelines/deps '$(DEPS)' $(DEPS_LINT)
	@$(MAKE) --no-print-directory OUT='$(OUT)/lint' CC='$(CLANG)' NVCC=none CFLAGS='-O1 -Werror' tests lint_programs
	@mandoc -T lint -W warning $(MAN)
lint_programs: $(BENCH_BIN) $(OUT)/demo/score

# The fake stack of GCC 14 (detect_stack_use_after_return) does not align variables of 64 bytes, so AVX-512 fails in it.
ASAN_SETTINGS = allocator_may_return_null=1:detect_stack_use_after_return=0
asan: deps
	@OUT='$(OUT)/asan' $(MAKE) --no-print-directory OUT='$(OUT)/asan' NVCC=none \
	  CFLAGS='-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer' tests
	@OUT='$(OUT)/asan' MERT_SANITIZED=1 ASAN_OPTIONS=$(ASAN_SETTINGS) \
	  LSAN_OPTIONS="suppressions='$(CURDIR)/tests/leaks':print_suppressions=0" sh tests/run

# The programs and modules that have threads, with ThreadSanitizer of clang.
TSAN_TESTS = tests/unit/pool.c tests/unit/forward.c tests/unit/cqt.c tests/unit/mel.c tests/unit/log_mel.c tests/unit/kmeans.c tests/unit/rvq.c \
             tests/unit/encodec.c tests/unit/windows.c tests/unit/guard.c tests/unit/train_data.c tests/unit/exchange.c \
             tests/unit/probe.c tests/cli/encode.sh tests/cli/conformer.sh tests/cli/rvq.sh tests/cli/kmeans.sh \
             tests/cli/decode.sh tests/cli/dsp.sh tests/cli/train_again.sh tests/cli/train_processes.sh
tsan: deps
	@sh pipelines/deps '$(DEPS)' $(DEPS_FUZZ)
	@$(MAKE) --no-print-directory OUT='$(OUT)/tsan' CC='$(CLANG)' NVCC=none \
	  CFLAGS='-O1 -g -fsanitize=thread -fno-omit-frame-pointer' tests
	@OUT='$(OUT)/tsan' MERT_SANITIZED=1 TSAN_OPTIONS=allocator_may_return_null=1 sh tests/run $(TSAN_TESTS)

# Runs the kernels of the CUDA plugin under the detector of races and of memory that is not theirs, in several orders.
SEEDS ?= 0 1 2
race: deps
	@$(MAKE) --no-print-directory tests
	@OUT='$(OUT)' sh tests/cuda/race $(SEEDS)

# Checks that every stage gives the same bytes with other threads, shards, chunks, batches and orders.
check-invariance: deps
	@$(MAKE) --no-print-directory tests
	@OUT='$(OUT)' sh tests/run tests/invariance

# Runs all stages in a loop for MINUTES with injected faults, and beside them endless pipes whose memory must not grow.
MINUTES ?= 60
soak: deps
	@$(MAKE) --no-print-directory tests
	@OUT='$(OUT)' sh tests/soak '$(MINUTES)'

# Runs the parsers of foreign bytes under libFuzzer (clang), TIME seconds each: make fuzz TIME=600 TARGETS='stream npy'
TIME    ?= 60
TARGETS ?= $(FUZZ)
fuzz: deps
	@sh pipelines/deps '$(DEPS)' $(DEPS_FUZZ)
	@$(MAKE) --no-print-directory OUT='$(OUT)/fuzz' CC='$(CLANG)' FUZZ_MAIN= FUZZ_LINK=-fsanitize=fuzzer \
	  CFLAGS='-O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer' fuzz_targets
	@OUT='$(OUT)/fuzz' sh tests/fuzz/run '$(TIME)' $(TARGETS)

bench: all $(BENCH_BIN)
	@OUT='$(OUT)' sh tests/bench/run

# Compares the instructions that small pieces of work take with a kept table. QUICK=1: the shortest ones; ROWS='NAME ...';
# KEEP=1: writes the table.
bench-check: all $(OUT)/bench/inputs $(OUT)/bench/train
	@sh pipelines/deps '$(DEPS)' $(DEPS_BENCH)
	@OUT='$(OUT)' CC='$(CC)' CFLAGS='$(CFLAGS)' QUICK='$(QUICK)' ROWS='$(ROWS)' KEEP='$(KEEP)' TABLE='$(TABLE)' \
	  sh tests/bench/check

# ---- the kit for a machine with a GPU ----

# All that tests/cuda/gpu needs there: programs, the plugin, reference folders, and the libraries that such a machine may
# not have. CUDA's own are not among them, nor those of the C and C++ compiler.
KIT = $(OUT)/gpu-kit
KIT_PROGRAMS = $(addprefix $(OUT)/bin/,mert-encode mert-rvq mert-tensor mert-model mert-train) $(addprefix $(OUT)/tests/,train-parity hidden-near device-check) \
               $(patsubst tests/unit/%.c,$(OUT)/tests/unit/%,$(wildcard tests/unit/cuda_*.c)) $(OUT)/bench/train $(OUT)/bench/inputs
gpu-kit: $(KIT_PROGRAMS) $(PLUGIN_BIN)
	@OUT='$(OUT)' sh tests/cuda/pack '$(KIT)' $(KIT_PROGRAMS)

# ---- packages, demo, probes, installation ----

deps:
	@sh pipelines/deps '$(DEPS)' $(DEPS_BUILD) $(DEPS_RUN)

demo: deps
	@$(MAKE) --no-print-directory all $(OUT)/demo/score
	@OUT='$(OUT)' sh pipelines/demo/run

# Makes pipelines/reference/tiny.tsv again: the log that the demo compares a run of the recipe `tiny` with (mert-train
# --compare).
reference: deps
	@$(MAKE) --no-print-directory all $(OUT)/demo/score
	@OUT='$(OUT)' MERT_DEMO_RENEW='$(CURDIR)/pipelines/reference/tiny.tsv' sh pipelines/demo/run

# The models to probe. The default is the demo's model, if there is one.
MODELS ?= $(addprefix demo=,$(wildcard $(OUT)/demo/model/model))
probe: deps
	@$(MAKE) --no-print-directory all $(OUT)/demo/score
	@PATH="$(abspath $(OUT))/bin:$(abspath $(OUT))/demo:$$PATH" MERT_PROBE_RECIPE=pipelines/recipes/tiny sh pipelines/probe '$(OUT)/probe' $(MODELS)

$(OUT)/demo/score: $(patsubst %.c,$(OUT)/%.o,$(wildcard pipelines/demo/*.c))
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^

# Passed by the environment, so that they may contain blanks and quotes.
export DESTDIR BINDIR LIBDIR MANDIR DATADIR INCLUDEDIR ARCHIVEDIR COMPDIR ZSHDIR VERSION
install: all
	@OUT='$(OUT)' TOOLS='$(TOOLS)' PLUGINS='$(PLUGINS)' MAN='$(MAN)' sh install.sh install

# All plugins, because those that were installed may not be those that this machine can build.
uninstall:
	@TOOLS='$(TOOLS)' PLUGINS='$(notdir $(wildcard libcommon/plugins/exchange-*)) device-cuda cuda-nccl' MAN='$(MAN)' sh install.sh uninstall

# The sources of the last commit, the same bytes wherever it is packed.
DIST = $(OUT)/mert-$(VERSION).tar.gz
dist:
	@mkdir -p $(OUT)
	@git archive --format=tar --prefix=mert-$(VERSION)/ HEAD > $(DIST).new || { rm -f $(DIST).new; exit 1; }
	@gzip -9n < $(DIST).new > $(DIST) && rm $(DIST).new
	@git diff --quiet HEAD || echo 'dist: $(DIST) has the last commit, without what was changed since' >&2

# Debian packages of the last commit, in $(OUT)/deb.
deb: deps
	@sh pipelines/deps '$(DEPS)' $(DEPS_DEB)
	@OUT='$(OUT)' DEPS_BUILD='$(DEPS_BUILD)' NVCC='$(NVCC)' sh pipelines/packages/deb

clean:
	rm -rf $(OUT)

help:
	@echo 'make            builds the programs into $(OUT)/bin; V=1 prints whole commands'
	@echo 'make deps       installs the Debian packages for building, testing and the demo (DEPS=skip: none)'
	@echo 'make check      installs packages, builds, runs all tests; the last line is "N passed, N failed, N skipped"'
	@echo 'make asan       runs the same tests with AddressSanitizer and UndefinedBehaviorSanitizer'
	@echo 'make race       runs the CUDA kernels on the emulated device under its detector, in the orders of SEEDS="0 1 2"'
	@echo 'make gpu-kit    packs what a machine with a GPU needs to run tests/cuda/gpu, into $(OUT)/gpu-kit.tar.gz'
	@echo 'make lint       builds everything with clang, where a warning is an error, and checks the manual pages'
	@echo 'make tsan       runs the tests of programs that have threads with ThreadSanitizer'
	@echo 'make check-invariance  checks that other threads, shards, chunks, batches and orders give the same bytes'
	@echo 'make soak       runs all stages in a loop with injected faults, for MINUTES=60; memory and descriptors must not grow'
	@echo 'make fuzz       runs the parsers under libFuzzer (clang), TIME=60 seconds each, TARGETS="stream npy ..."'
	@echo 'make demo       renders music, makes labels, trains a small model, and prints what it learned'
	@echo 'make reference  makes the log again that the demo compares its run with'
	@echo 'make probe      probes models (MODELS="NAME=MODEL ...") for key, chords, instruments and tempo of rendered music'
	@echo 'make bench      measures the speed of each stage against the limits of this machine'
	@echo 'make bench-check  counts the instructions of small work under valgrind, and names rows that take more than before'
	@echo 'make install    installs into PREFIX=$(PREFIX) (DESTDIR is respected); make uninstall removes the files'
	@echo 'make dist       packs the sources of the last commit into $(DIST)'
	@echo 'make deb        makes Debian packages of the last commit, in $(OUT)/deb'
	@echo 'make CC=clang CFLAGS=... OUT=...   uses another compiler, flags or build folder'

.PHONY: FORCE all check check-invariance race gpu-kit soak tests asan tsan fuzz fuzz_targets lint lint_programs bench bench-check deps demo reference probe install uninstall dist deb clean help
-include $(shell find $(OUT) -name '*.d' -not -path '$(OUT)/asan/*' -not -path '$(OUT)/tsan/*' -not -path '$(OUT)/fuzz/*' -not -path '$(OUT)/lint/*' 2>/dev/null)
