# What can be set: on the command line (make CC=clang PREFIX=/opt/mert) or here.

VERSION = 0.1.0

PREFIX  = /usr/local
BINDIR  = $(PREFIX)/bin
# LIBDIR has the plugins, unless $MERT_PLUGINS names another folder; DATADIR has pipelines and recipes. Programs find
# both by the relative path from BINDIR, so they work with DESTDIR, and after the installation is moved.
LIBDIR  = $(PREFIX)/lib/mert
MANDIR  = $(PREFIX)/share/man
DATADIR = $(PREFIX)/share/mert
# the stream library for other programs: mts.h; libmts.a and pkgconfig/mts.pc
INCLUDEDIR = $(PREFIX)/include
ARCHIVEDIR = $(PREFIX)/lib
# completion of options and commands for bash, for zsh
COMPDIR = $(PREFIX)/share/bash-completion/completions
ZSHDIR  = $(PREFIX)/share/zsh/site-functions

CC     ?= cc
CLANG  ?= clang
# -ffp-contract=fast is set in the Makefile: it is gcc's default outside ISO mode, but clang's is "on", and both must fuse alike.
CFLAGS ?= -O3 -g
WARN    = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith

# Debian packages that `make deps` installs: to build, and to run the demo and the tests.
DEPS_BUILD = pkg-config libavformat-dev libavcodec-dev libavutil-dev libswresample-dev \
             libfftw3-dev libopenblas-pthread-dev libzstd-dev libjansson-dev libcairo2-dev libopenmpi-dev
# For make fuzz: libFuzzer for the clang of this Debian.
DEPS_FUZZ  = clang $(shell apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$$/libclang-rt-\1-dev/p')
# For make lint.
DEPS_LINT  = clang mandoc
# For make bench-check.
DEPS_BENCH = valgrind
# For make deb.
DEPS_DEB   = build-essential debhelper lintian
DEPS_RUN   = zstd ffmpeg fluidsynth fluid-soundfont-gm openmpi-bin iproute2
