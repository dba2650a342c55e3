# Which folder may include which: tools -> libcommon -> formats, and within them by the numbers below: a folder may
# include folders with lower numbers. Folders with the same tens digit (models and teachers, probe and plot) may not
# include each other, but sub-folders of one folder may include lower ones. Each external library may be used by one
# folder only, and a program links FFmpeg only if it opens audio files, and cairo only if it draws.
. tests/shell

# Prints the violations below a root folder: FILE: includes WHAT (WHY).
violations() {
    (cd "$1" && find formats libcommon tools \( -name '*.[ch]' -o -name '*.cu' \) 2>/dev/null | sort | xargs awk '
    BEGIN {
        split("formats/stream 10  formats 20  formats/labels 21  formats/checkpoint 21  libcommon/base 30" \
              "  libcommon/audio/container 40  libcommon/audio 41  libcommon/dsp 40  libcommon/tensor 40  libcommon/nn 40  libcommon/nn/cpu 41" \
              "  libcommon/models/config 50  libcommon/models/weights 51  libcommon/models 52  libcommon/models/encoder 53  libcommon/models/inference 53" \
              "  libcommon/teachers 50  libcommon/teachers/kmeans 51  libcommon/teachers/rvq 52  libcommon/teachers/encodec 53" \
              "  libcommon/probe 60  libcommon/plot 60" \
              "  libcommon/train/data 70  libcommon/train/recipe 71  libcommon/train/parallel 71  libcommon/train/task 71  libcommon/train 72  libcommon/train/monitor 73" \
              "  libcommon/program 80  libcommon/plugins 90  tools 90", plan, " +")
        for (i = 1; i in plan; i += 2) level[plan[i]] = plan[i + 1]
        owner["libav"] = owner["libsw"] = "libcommon/audio"; owner["cblas"] = owner["openblas"] = "libcommon/nn/cpu"
        owner["fftw3"] = "libcommon/dsp"; owner["cairo"] = "libcommon/plot"; owner["zstd"] = "formats/stream"; owner["jansson"] = "formats"; owner["mpi"] = owner["cuda"] = owner["cublas"] = owner["nccl"] = "libcommon/plugins"
    }
    function folder(path) { sub(/\/[^\/]*$/, "", path); return path }
    function room(path) { # a folder; of tools and of plugins, whichever program it is
        path = folder(path)
        if (path ~ /^tools/) return "tools"
        if (path ~ /^libcommon\/plugins/) return "libcommon/plugins"
        if (path ~ /^formats\/stream/) return "formats/stream"
        return path
    }
    function house(at,    part) { return split(at, part, "/") > 1 ? part[1] "/" part[2] : at } # "libcommon/train/data": "libcommon/train"
    function bad(why) { printf "%s: includes %s (%s)\n", FILENAME, what, why }
    match($0, /^[ \t]*#[ \t]*include[ \t]*["<][^">]+/) {
        what = substr($0, RSTART, RLENGTH); here = room(FILENAME)
        own = what ~ /"/
        sub(/^[^"<]*["<]/, "", what)
        if (!(here in level)) bad("a room that the rules do not know: " here)
        if (own) {
            if (index(what, "/") == 0) what = folder(FILENAME) "/" what
            there = room(what)
            if (!(there in level)) bad("no such room: " there)
            else if (there == here) ;
            else if (here == "formats/stream" || here == "libcommon/base") bad(here " stands alone")
            else if (level[there] >= level[here]) bad(here " must not know " there)
            else if (int(level[there] / 10) == int(level[here] / 10) && house(there) != house(here) && !(here ~ /^formats/)) bad("neighbours do not meet")
        } else {
            for (prefix in owner)
                if (index(what, prefix) == 1 && index(here "/", owner[prefix] "/") != 1) bad("only " owner[prefix] " knows it")
        }
    }')
}

check_none() { violations . > "$TEST_TMP/found"; cat "$TEST_TMP/found"; [ ! -s "$TEST_TMP/found" ]; }
check includes_go_one_way check_none

# Tests of the rules: each line is a file and an include that must be a violation.
found_out() {
    rm -rf "$TEST_TMP/house"; mkdir -p "$TEST_TMP/house/$(dirname "$1")"
    printf '#include <stdio.h>\n%s\n' "$2" > "$TEST_TMP/house/$1"
    violations "$TEST_TMP/house" | grep -q "^$1: "
}
allowed() { ! found_out "$@"; }
check formats_must_not_know_libcommon found_out formats/a.c '#include "libcommon/program/log.h"'
check stream_stands_alone found_out formats/stream/a.c '#include "formats/error.h"'
check base_stands_alone found_out libcommon/base/a.c '#include "formats/error.h"'
check labels_and_checkpoints_do_not_meet found_out formats/labels/a.c '#include "formats/checkpoint/zip.h"'
check library_must_not_know_tools found_out libcommon/base/a.c '  #  include "tools/x.h"'
check library_must_not_know_programs found_out libcommon/train/a.c '#include "libcommon/program/log.h"'
check base_is_below found_out libcommon/base/a.h '#include "libcommon/nn/ops.h"'
check neighbours_do_not_meet found_out libcommon/dsp/a.c '#include "libcommon/nn/ops.h"'
check a_sub_room_is_no_way_round found_out libcommon/teachers/kmeans/a.c '#include "libcommon/models/config/config.h"'
check operations_must_not_know_the_cpu found_out libcommon/nn/a.c '#include "libcommon/nn/cpu/cpu.h"'
check models_must_not_know_train found_out libcommon/models/a.c '#include "libcommon/train/trainer.h"'
check encoder_must_not_know_inference found_out libcommon/models/encoder/a.c '#include "libcommon/models/inference/forward.h"'
check probes_know_no_training found_out libcommon/probe/a.c '#include "libcommon/train/trainer.h"'
check training_knows_probes allowed libcommon/train/task/a.c '#include "libcommon/probe/table.h"'
check a_recipe_knows_no_trainer found_out libcommon/train/recipe/a.h '#include "libcommon/train/trainer.h"'
check teachers_and_models_do_not_meet found_out libcommon/teachers/a.c '#include "libcommon/models/config/config.h"'
check ffmpeg_stays_in_audio found_out tools/mert-x.c '#include <libavformat/avformat.h>'
check blas_stays_in_the_cpu_backend found_out libcommon/models/a.c '#include <cblas.h>'
check fftw_stays_in_dsp found_out libcommon/train/a.c '#include <fftw3.h>'
check cairo_stays_in_plot found_out tools/mert-x.c '#include <cairo.h>'
check mpi_stays_in_its_plugin found_out libcommon/train/a.c '#include <mpi.h>'
check cuda_stays_in_its_plugin found_out libcommon/nn/a.c '#include <cuda_runtime.h>'
check a_kernel_must_not_know_tools found_out libcommon/plugins/cuda/a.cu '#include "tools/x.h"'
check zstd_stays_in_stream found_out formats/a.c '#include <zstd.h>'
check a_new_room_needs_a_rule found_out libcommon/attic/a.c '#include "b.h"'
check downwards_is_fine allowed libcommon/train/a.c '#include "formats/labels/labels.h"'
check down_within_a_room_is_fine allowed libcommon/train/monitor/a.c '#include "libcommon/train/trainer.h"'
check ones_own_room_is_fine allowed libcommon/nn/a.c '#include "libcommon/nn/ops.h"'

# Linked libraries: FFmpeg only in programs that open audio files, cairo only in the one that draws.
links_cairo() { readelf -d "$OUT/bin/$1" | grep -q 'NEEDED.*libcairo'; } # itself: FFmpeg's libraries may, too
links_ffmpeg() { ldd "$OUT/bin/$1" | grep -qE 'libav(codec|format|util)|libswresample'; }
check_links() {
    for tool in tools/mert-*.c; do
        tool=$(basename "$tool" .c)
        [ -x "$OUT/bin/$tool" ] || { echo "$tool is not built"; return 1; }
        case $tool in
        mert-decode|mert-manifest) links_ffmpeg "$tool" || { echo "$tool does not link FFmpeg"; return 1; } ;;
        *) ! links_ffmpeg "$tool" || { echo "$tool links FFmpeg"; return 1; } ;;
        esac
        case $tool in
        mert-plot) links_cairo "$tool" || { echo "$tool does not link cairo"; return 1; } ;;
        *) ! links_cairo "$tool" || { echo "$tool links cairo"; return 1; } ;;
        esac
    done
}
check only_decode_and_manifest_link_ffmpeg_and_only_plot_cairo check_links
