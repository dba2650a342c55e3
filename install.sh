#!/bin/sh
# install.sh install|uninstall: installs all files, or removes them. Called by the Makefile, with its variables in the
# environment.
#
# Uninstall removes the files by their names, then the folders that install created, if they are empty. Install stores
# the names of these folders in a file in datadir.
#
# A relative folder is relative to the working directory. With a DESTDIR it is refused.
set -eu
what=$1
refuse() { echo "$what: $*" >&2; exit 2; }
absolute() { # NAME VALUE
    case $2 in
    /*) printf '%s\n' "$2" ;;
    *) [ -z "$DESTDIR" ] || refuse "$1=$2: below a DESTDIR it begins with a slash"; printf '%s\n' "$PWD/$2" ;;
    esac
}
DESTDIR=${DESTDIR:-}
BINDIR=$(absolute BINDIR "$BINDIR")
LIBDIR=$(absolute LIBDIR "$LIBDIR")
MANDIR=$(absolute MANDIR "$MANDIR")
DATADIR=$(absolute DATADIR "$DATADIR")
INCLUDEDIR=$(absolute INCLUDEDIR "$INCLUDEDIR")
ARCHIVEDIR=$(absolute ARCHIVEDIR "$ARCHIVEDIR")
COMPDIR=$(absolute COMPDIR "$COMPDIR")
ZSHDIR=$(absolute ZSHDIR "$ZSHDIR")
case $DESTDIR in "" | /*) ;; *) DESTDIR=$PWD/$DESTDIR ;; esac
while :; do case $DESTDIR in */) DESTDIR=${DESTDIR%/} ;; *) break ;; esac; done
# With DESTDIR: where files are put.
bindir=$DESTDIR$BINDIR libdir=$DESTDIR$LIBDIR mandir=$DESTDIR$MANDIR datadir=$DESTDIR$DATADIR
includedir=$DESTDIR$INCLUDEDIR archivedir=$DESTDIR$ARCHIVEDIR compdir=$DESTDIR$COMPDIR zshdir=$DESTDIR$ZSHDIR
# Pipelines that are commands as well.
COMMANDS='mert-features=features mert-prepare=prepare mert-pipeline-train=train'
note=$datadir/.mert-folders
made=

folder() { # creates it and its parents
    at=$1
    while [ ! -d "$at" ] && [ "$at" != "$DESTDIR" ]; do
        made=$made${at#"$DESTDIR"}'
'
        at=$(dirname -- "$at")
    done
    mkdir -p -- "$1"
}

put() { # MODE FILE FOLDER
    folder "$3"
    install -m "$1" -- "$2" "$3/"
}

# Programs find folders by a path relative to their own (libcommon/base/install_paths.c). If BINDIR is below a link, that
# path can be wrong.
leads_to() { # NAME FOLDER: the folder as given
    way=$(realpath -sm --relative-to="$BINDIR" -- "$2")
    looked=$(realpath -m -- "$bindir") && looked=$(realpath -m -- "$looked/$way")
    [ "$looked" = "$(realpath -m -- "$DESTDIR$2")" ] ||
        refuse "$1=$2: programs in $BINDIR, which a link leads to, would look for it in $looked: name BINDIR, or PREFIX, without the link"
}

pc() { printf '%s\n' "$1" | sed 's/[ "'\''\\$#]/\\&/g'; } # quoted for pkg-config
put_pkgconfig() {
    folder "$archivedir/pkgconfig"
    cat > "$archivedir/pkgconfig/mts.pc" <<END
includedir=$(pc "$INCLUDEDIR")
libdir=$(pc "$ARCHIVEDIR")

Name: mts
Description: tensor streams of mert (.mts)
Version: $VERSION
Requires: libzstd
Cflags: -I\${includedir}
Libs: -L\${libdir} -lmts
END
}

# All files but mts.pc: calls COMMAND MODE FILE FOLDER for each.
each() { # COMMAND
    for f in $TOOLS; do "$1" 755 "${OUT-}/bin/$f" "$bindir"; done
    for f in $PLUGINS; do "$1" 644 "${OUT-}/lib/mert/$f.so" "$libdir"; done
    for f in $MAN; do "$1" 644 "$f" "$mandir/man${f##*.}"; done
    "$1" 644 formats/stream/mts.h "$includedir"
    "$1" 644 "${OUT-}/libmts.a" "$archivedir"
    "$1" 644 LICENSE "$datadir"
    for f in SPECIFICATION.md example/gain.c python/mts.py; do "$1" 644 "formats/stream/$f" "$datadir/stream"; done
    for f in man/model.md $(find man/course -name '*.md' -o -path '*/pictures/*' | LC_ALL=C sort); do
        "$1" 644 "$f" "$datadir/$(dirname "$f")"
    done
    for f in $(find pipelines -type f ! -path 'pipelines/packages/*' | LC_ALL=C sort); do
        mode=644
        [ ! -x "$f" ] || mode=755
        "$1" $mode "$f" "$datadir/$(dirname "$f")"
    done
}

install_all() {
    leads_to LIBDIR "$LIBDIR"
    leads_to DATADIR "$DATADIR"
    folder "$datadir"
    each put
    put_pkgconfig
    for c in $COMMANDS; do
        ln -sf -- "$(realpath -sm --relative-to="$BINDIR" -- "$DATADIR/pipelines/${c#*=}")" "$bindir/${c%=*}"
    done
    folder "$compdir" # bash looks for a file of each program's name
    for f in $TOOLS mert-features; do install -m 644 -- pipelines/completion/mert.bash "$compdir/$f"; done
    put 644 pipelines/completion/_mert "$zshdir"
    [ -n "$made" ] || return 0
    { [ ! -f "$note" ] || cat "$note"; printf '%s' "$made"; } | LC_ALL=C sort -ru > "$note.new"
    mv -- "$note.new" "$note"
}

remove() { rm -f -- "$3/${2##*/}"; } # MODE FILE FOLDER

uninstall_all() {
    each remove
    for c in $COMMANDS; do rm -f -- "$bindir/${c%=*}"; done
    for f in $TOOLS mert-features; do rm -f -- "$compdir/$f"; done
    rm -f -- "$zshdir/_mert"
    rm -f -- "$archivedir/pkgconfig/mts.pc"
    rm -f -- "$datadir/stream/__pycache__"/mts.*.pyc # what Python wrote beside mts.py
    rmdir -- "$datadir/stream/__pycache__" 2> /dev/null || true
    [ -f "$note" ] || return 0
    folders=$(cat "$note")
    rm -f -- "$note"
    # the note is sorted so that the deepest folders come first
    printf '%s\n' "$folders" | while read -r d; do rmdir -- "$DESTDIR$d" 2> /dev/null || true; done
}

case $what in
install) install_all ;;
uninstall) uninstall_all ;;
esac
