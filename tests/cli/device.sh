# --device: the backends of every build, and plugins. The plugin of this test is the dry backend (nn/dry.c).
. tests/shell
root=$PWD
. tests/training

mkdir -p "$t/plugins"
export MERT_PLUGINS="$t/plugins"
plugin() { # NAME 'SOURCE': device-NAME.so
    printf '%s\n' "$2" > "$t/$1.c"
    ${CC:-cc} -std=c11 -D_POSIX_C_SOURCE=200809L -I"$root" -fPIC -shared -o "$t/plugins/device-$1.so" "$t/$1.c"
}
plan() { mert-train -q --plan --recipe micro --manifest train.tsv --labels 'train.q_%d' --device "$@"; }
refused() { check_fails "$1" 1 "$3" plan "$2"; } # NAME DEVICE 'PATTERN'

refused "none of that name: the file that is missing" cuda "no device 'cuda': there are cpu and guard, and no plugin $t/plugins/device-cuda.so\$"
refused "none of that name, with a number" cuda:1 "no device 'cuda:1': there are cpu and guard, and no plugin $t/plugins/device-cuda.so\$"
for name in cpu:1 guard:0 ../x x/y x: x:y x:-1 x:99999999999 :1 '' "$(printf %070d 0)"; do
    refused "no name: '$name'" "$name" "no device '$name': there are cpu and guard, and those of plugins, as NAME or NAME:NUMBER\$"
done
check_fails "mert-encode says so, too" 1 "no device 'cuda': there are cpu and guard, and no plugin $t/plugins/device-cuda.so\$" \
    mert-encode --device cuda -m "$t" /dev/null

echo text > "$t/plugins/device-text.so"
refused "no shared object" text "device 'text': the plugin cannot be loaded: .*device-text.so"
check "a plugin without the function" plugin empty 'int nothing(void); int nothing(void) { return 0; }'
refused "is refused" empty "device 'empty': $t/plugins/device-empty.so is no plugin of this program\$"

check "a plugin that computes nothing" plugin dry '#include "libcommon/nn/dry.c"
#include <stdio.h>
mert_ops *mert_device_open(int version, int number, mert_element_type type, mert_error *e);
mert_ops *mert_device_open(int version, int number, mert_element_type type, mert_error *e)
{
    (void)type;
    if (version != MERT_OPS_VERSION || number != 2)
        return snprintf(e->text, sizeof e->text, "there is no device %d: there are 2 to 2", number), NULL;
    return mert_ops_dry(NULL);
}'
refused "its own words" dry "device 'dry': there is no device 0: there are 2 to 2\$"
planned() { plan dry:2 > plan.out && grep -q '^work and time' plan.out; }
check "it is opened by its number" planned
