# What can be set: on the command line (make CC=clang PREFIX=/opt/mert) or here.

VERSION = 0.1.0

PREFIX  = /usr/local
BINDIR  = $(PREFIX)/bin
# plugins, where $MERT_PLUGINS does not say where they are; pipelines and recipes. Programs find both by the way that leads there from
# their own folder, so that DESTDIR and another PREFIX, even later, are all the same to them
LIBDIR  = $(PREFIX)/lib/mert
MANDIR  = $(PREFIX)/share/man
DATADIR = $(PREFIX)/share/mert
# the stream library for other programs: mts.h; libmts.a and pkgconfig/mts.pc
INCLUDEDIR = $(PREFIX)/include
ARCHIVEDIR = $(PREFIX)/lib

CC     ?= cc
CLANG  ?= clang
# -ffp-contract=fast is gcc's default outside ISO mode and clang's is "on": named, so that both fuse alike.
CFLAGS ?= -O3 -g
WARN    = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith

# Debian packages that `make deps` installs: to build, and to run the demo and the tests.
DEPS_BUILD = pkg-config libavformat-dev libavcodec-dev libavutil-dev libswresample-dev \
             libfftw3-dev libopenblas-pthread-dev libzstd-dev libjansson-dev libopenmpi-dev
# ... and for make fuzz, libFuzzer of the clang that this Debian has.
DEPS_FUZZ  = clang $(shell apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$$/libclang-rt-\1-dev/p')
# ... and for make lint.
DEPS_LINT  = clang mandoc
DEPS_RUN   = zstd ffmpeg fluidsynth fluid-soundfont-gm openmpi-bin
