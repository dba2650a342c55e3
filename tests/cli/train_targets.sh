# The CQT target's form, mean and deviation, and valid_sample_size, through mert-train: measured, trained, kept with the model, compared by
# --resume and --init; names, values and ranges that are refused.
. tests/shell
golden=$(cd "$golden" && pwd)
. tests/training

# The mean and deviation of a corpus are those of all its values.
measured() {
    mert-cqt --form log-power --bins 28 --bins-per-octave 4 --per-crop 24000 train.mts | mert-tensor stat > stat && numbers=$(awk -F'\t' 'END {print $7, $8}' stat) && mean=${numbers% *} std=${numbers#* } &&
        awk -v m="$mean" -v s="$std" 'BEGIN {exit !(m > 0.1 && m < 8 && s > 0.1 && s < 4)}'
}
check "mean and deviation are printed" measured
numbers=$(awk -F'\t' 'END {print $7, $8}' stat); mean=${numbers% *} std=${numbers#* }
standard() { train "$@" --threads 1 --set audio_cqt_form=log-power --set audio_cqt_mean="$mean" --set audio_cqt_std="$std"; }
column() { awk -F'\t' -v name="$2" 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == name) c = i; next} {printf "%s ", $c}' "$1"; }
learns() { standard run && column run/valid.tsv cqt_mse > mse && awk '{exit !($1 > 0.5 && $1 < 2 && $3 < 0.95 * $1)}' mse; }
check "the standardised target has about variance 1, and is learnt" learns
told() { mert-model info run/model | grep -q 'standardised log-power CQT of 28 bins' && grep -q '"cqt_target_form": "log-power"' run/model/config.json; }
check "the model says so" told
same() { for f in model.safetensors optimizer.safetensors state.json; do cmp "run/checkpoint-10/$f" "$1/checkpoint-10/$f" || return; done; }
resumed() { standard resumed --set max_update=4 && standard resumed --resume && same resumed; }
check "an interrupted run goes on to the same bytes" resumed
guarded() { standard guarded --device guard && same guarded; }
check "and on a device that the host cannot look into" guarded
other() { train run --threads 1 --resume --set max_update=12 --set audio_cqt_form=log-power --set audio_cqt_mean="$mean" --set audio_cqt_std=2; }
check_fails "a resumed run with another deviation" 1 'audio_cqt_std' other
plain() { train run --threads 1 --resume --set max_update=12; }
check_fails "a resumed run with another form" 1 'audio_cqt_form' plain
fresh() { mert-train --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save "$1" --threads 1 --init run/model --set max_update=1 --set audio_cqt_form=log-power --set audio_cqt_mean="$mean" --set audio_cqt_std="$2" > said 2>&1; }
taken() { fresh kept "$std" && ! grep -q encoder_cqt_model said && fresh anew 2 && grep -q 'encoder_cqt_model.fc' said; }
check "--init takes the head over only for the same target" taken

# ---- what is refused ----

recipe() { mert-train --recipe micro --check "$@"; }
no() { name=$1 pattern=$2; shift 2; check_fails "$name" 1 "$pattern" recipe "$@"; }
no "no such form" "audio_cqt_form: 'log10' is none of: magnitude log log-power" --set audio_cqt_form=log10
no "a deviation of 0" 'audio_cqt_std: 0 is outside 1e-06 to 1000000' --set audio_cqt_std=0
no "a mean that is no number" "audio_cqt_mean: 'x' is not a number" --set audio_cqt_mean=x
no "a form without the target" 'audio_cqt_form: means nothing with audio_cqt_loss_m = no' --set audio_cqt_form=log --set audio_cqt_loss_m=no
no "a mean without the target" 'audio_cqt_mean: means nothing' --set audio_cqt_mean=1 --set audio_cqt_loss_m=no
no "validation's crops without room for a mask" 'valid_sample_size 1000: 2 frames have no room' --set valid_sample_size=1000
no "validation's crops longer than a batch" 'not even one crop of valid_sample_size 100000' --set valid_sample_size=100000
no "a part of a sample" "valid_sample_size: '1.5' is not a whole number" --set valid_sample_size=1.5
too_long() { train none --threads 1 --set valid_sample_size=90000; }
check_fails "items that are all shorter" 1 'none of its 2 items is as long as valid_sample_size .90000' too_long

# Runs with other crops validate on the same.
unlike() { # the first validation, of the same weights
    train short --threads 1 --set max_update=1 --set valid_sample_size=22000 && train long --threads 1 --set max_update=1 --set valid_sample_size=22000 --set max_sample_size=44000 --set min_sample_size=21000 &&
        train free --threads 1 --set max_update=1 && train more --threads 1 --set max_update=1 --set max_sample_size=44000 &&
        for f in short long free more; do sed -n 2p $f/valid.tsv | cut -f 1-9 > $f.first; done && cmp short.first long.first && ! cmp -s free.first more.first
}
check "with valid_sample_size, other crops in training change no validation" unlike
