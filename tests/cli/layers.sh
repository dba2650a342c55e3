# The one direction: tools -> libcommon -> formats -> formats/stream, and inside libcommon base <- audio, dsp, nn, tensor <- models <- train,
# dsp, nn <- teachers <- probe; models and teachers do not know each other.
# Each library from outside is known to one room only, and a program links FFmpeg only if it opens audio files.
. tests/shell

# Prints what breaks the rules below a root folder: FILE: includes WHAT (WHY).
violations() {
    (cd "$1" && find formats libcommon tools plugins -name '*.[ch]' 2>/dev/null | sort | xargs awk '
    BEGIN {
        level["formats/stream"] = 1; level["formats"] = 2; level["libcommon/base"] = 3
        level["libcommon/audio"] = level["libcommon/dsp"] = level["libcommon/nn"] = level["libcommon/tensor"] = 4
        level["libcommon/models"] = level["libcommon/teachers"] = 5; level["libcommon/train"] = level["libcommon/probe"] = 6; level["tools"] = level["plugins"] = 7
        owner["libav"] = owner["libsw"] = "libcommon/audio"; owner["cblas"] = "libcommon/nn"; owner["openblas"] = "libcommon/nn"
        owner["fftw3"] = "libcommon/dsp"; owner["zstd"] = "formats/stream"; owner["jansson"] = "formats"; owner["mpi"] = "plugins"
    }
    function folder(path) { sub(/\/[^\/]*$/, "", path); return path }
    function room(path) {
        path = folder(path)
        if (path ~ /^formats\/stream/) return "formats/stream"
        if (path ~ /^libcommon\//) { split(path, part, "/"); return "libcommon/" part[2] }
        sub(/\/.*/, "", path)
        return path
    }
    function resolve(from, to) { # "a/b/c.c" and "../d/e.h": "a/d/e.h"
        to = folder(from) "/" to
        while (match(to, /[^\/.]+\/\.\.\//)) to = substr(to, 1, RSTART - 1) substr(to, RSTART + RLENGTH)
        return to
    }
    function bad(why) { printf "%s: includes %s (%s)\n", FILENAME, what, why }
    match($0, /^[ \t]*#[ \t]*include[ \t]*["<][^">]+/) {
        what = substr($0, RSTART, RLENGTH); here = room(FILENAME)
        own = what ~ /"/
        sub(/^[^"<]*["<]/, "", what)
        if (!(here in level)) bad("a room that the rules do not know: " here)
        if (own) {
            there = room(resolve(FILENAME, what))
            if (!(there in level)) bad("no such room: " there)
            else if (there != here && level[there] >= level[here]) bad(here " must not know " there)
            else if (there != here && here == "formats/stream") bad("the stream library stands alone")
        } else {
            for (prefix in owner)
                if (index(what, prefix) == 1 && owner[prefix] != here) bad("only " owner[prefix] " knows it")
        }
    }')
}

check_none() { violations . > "$TEST_TMP/found"; cat "$TEST_TMP/found"; [ ! -s "$TEST_TMP/found" ]; }
check includes_go_one_way check_none

# The rules hold themselves to account: each line is a file and an include that must be found out.
found_out() {
    rm -rf "$TEST_TMP/house"; mkdir -p "$TEST_TMP/house/$(dirname "$1")"
    printf '#include <stdio.h>\n%s\n' "$2" > "$TEST_TMP/house/$1"
    violations "$TEST_TMP/house" | grep -q "^$1: "
}
allowed() { ! found_out "$@"; }
check formats_must_not_know_libcommon found_out formats/a.c '#include "../libcommon/base/log.h"'
check stream_stands_alone found_out formats/stream/a.c '#include "../error.h"'
check library_must_not_know_tools found_out libcommon/base/a.c '  #  include "../../tools/x.h"'
check base_is_below found_out libcommon/base/a.h '#include "../nn/ops.h"'
check neighbours_do_not_meet found_out libcommon/dsp/a.c '#include "../nn/ops.h"'
check models_must_not_know_train found_out libcommon/models/a.c '#include "../train/trainer.h"'
check teachers_and_models_do_not_meet found_out libcommon/teachers/a.c '#include "../models/encoder.h"'
check ffmpeg_stays_in_audio found_out tools/mert-x.c '#include <libavformat/avformat.h>'
check blas_stays_in_nn found_out libcommon/models/a.c '#include <cblas.h>'
check fftw_stays_in_dsp found_out libcommon/train/a.c '#include <fftw3.h>'
check mpi_stays_in_its_plugin found_out libcommon/train/a.c '#include <mpi.h>'
check zstd_stays_in_stream found_out formats/a.c '#include <zstd.h>'
check a_new_room_needs_a_rule found_out libcommon/attic/a.c '#include "b.h"'
check downwards_is_fine allowed libcommon/train/a.c '#include "../../formats/labels.h"'
check ones_own_room_is_fine allowed libcommon/nn/a.c '#include "ops.h"'

# What the linker took: FFmpeg only where audio files are opened.
links_ffmpeg() { ldd "$OUT/bin/$1" | grep -qE 'libav(codec|format|util)|libswresample'; }
check_links() {
    for tool in tools/mert-*.c; do
        tool=$(basename "$tool" .c)
        [ -x "$OUT/bin/$tool" ] || { echo "$tool is not built"; return 1; }
        case $tool in
        mert-decode|mert-manifest) links_ffmpeg "$tool" || { echo "$tool does not link FFmpeg"; return 1; } ;;
        *) ! links_ffmpeg "$tool" || { echo "$tool links FFmpeg"; return 1; } ;;
        esac
    done
}
check only_decode_and_manifest_link_ffmpeg check_links
