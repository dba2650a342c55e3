# mert-train: the names that a run writes in SAVE exist already, as something else than a file. Opening a FIFO would
# wait, and a folder would make the first save fail: both are errors before anything is opened or packed, in the run and
# in its plan.
. tests/shell
. tests/training

try() { timeout 120 mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --save run "$@"; }
put() { # KIND NAME
    mkdir -p run
    case $1 in
    FIFO) mkfifo "run/$2" ;;
    folder) mkdir "run/$2" ;;
    file) echo text > "run/$2" ;;
    device) mknod "run/$2" c 1 3 ;;
    link) ln -s nowhere "run/$2" ;;
    esac
}
untouched() { [ "$(ls -A run)" = "$1" ] || { ls -A run; return 1; }; }
refused() { # KIND NAME 'PATTERN'
    put "$1" "$2" || return
    for how in --device=cpu --plan --resume; do
        try $how > said.out 2> said; rc=$?
        [ $rc -eq 1 ] && [ "$(wc -l < said)" -eq 1 ] && grep -qE "run/$2: is $3: move it away, or name another --save$" said || { echo "$how: exit $rc"; cat said; return 1; }
        untouched "${2%%/*}" || return
    done
    rm -r run
}
kinds='FIFO folder'
mknod probe c 1 3 2> mknod.err && kinds="$kinds device"
for own in recipe log.tsv valid.tsv log.jsonl lock train.pcm.mts valid.pcm.mts train_0_2.pcm.mts; do
    for kind in $kinds; do check "$own: a $kind" refused $kind $own "a $kind, where a run has a regular file"; done
done
for own in model checkpoint-3 checkpoint-3.new model.old; do
    check "$own: a FIFO" refused FIFO $own 'a FIFO, where a run has a folder'
    check "$own: a file" refused file $own 'a regular file, where a run has a folder'
    check "$own: a link that leads nowhere" refused link $own 'a link, where a run has a folder'
done
for kind in FIFO file folder; do
    case $kind in file) is='a regular file' ;; *) is="a $kind" ;; esac
    check "last: a $kind" refused $kind last "$is, where a run has a link"
done
check "last.new: a folder" refused folder last.new 'a folder, where a run has a temporary file'

# ---- inside an existing SAVE ----

inside() { # NAME
    mkdir -p "run/${1%/*}" && refused FIFO "$1" 'a FIFO, where a run has a regular file'
}
for own in model/config.json checkpoint-2/state.json checkpoint-2/hashes model.new/anything; do check "$own: a FIFO" inside $own; done

# ---- SAVE itself ----

mkfifo fifo; ln -s nowhere/at/all link; echo text > file
check_fails "SAVE is a FIFO" 1 'fifo: cannot make the folder: fifo is a FIFO$' try --save fifo
check_fails "SAVE is a file" 1 'file: cannot make the folder: file is a regular file$' try --save file
check_fails "SAVE below a file" 1 'file/run: cannot make the folder: file is a regular file$' try --save file/run
check_fails "SAVE is a link that leads nowhere" 1 'link: cannot make the folder: link is a link to nowhere/at/all: No such file or directory$' try --save link

# ---- files that are only read ----

check_fails "packed audio: a FIFO" 1 'fifo: is a FIFO, not a regular file$' try --pcm fifo
check_fails "packed audio of validation: a FIFO" 1 'fifo: is a FIFO, not a regular file$' try --pcm train.mts --valid-pcm fifo
check_fails "a manifest that is a FIFO, to be packed" 1 'fifo: is a FIFO, not a regular file$' try --manifest fifo --valid-manifest valid.tsv
mkfifo train.f_0 codes.mts
check_fails "labels that are a FIFO" 1 'train.f_0: is a FIFO, not a regular file$' try --labels 'train.f_%d' --valid-labels 'valid.q_%d'
check_fails "codes that are a FIFO" 1 'codes.mts: is a FIFO, not a regular file$' try --labels codes.mts --valid-labels 'valid.q_%d'

# ---- valid links are followed; their targets are not lost ----

elsewhere() {
    train run --set max_update=1 --set save_interval=1 --set keep=1 && mkdir far && mv run/log.tsv run/model run/checkpoint-1 far/ &&
        for f in log.tsv model checkpoint-1; do ln -s ../far/$f run/$f || return; done
    train run --resume --set max_update=2 --set save_interval=1 --set keep=1 && [ -L run/log.tsv ] && [ "$(wc -l < far/log.tsv)" -gt 1 ] &&
        [ ! -e run/checkpoint-1 ] && [ -e far/checkpoint-1/state.json ] && [ -e far/model/config.json ] && [ -e run/model/config.json ]
}
check "links to another disk" elsewhere
