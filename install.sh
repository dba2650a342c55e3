#!/bin/sh
# install.sh install|uninstall: what goes where, for the Makefile, whose variables come by the environment. The folders bindir, libdir,
# mandir, datadir, includedir and archivedir stand under DESTDIR here.
#
# Uninstall takes away what install puts there: the files by their names; then the folders that install had to make, if nothing else
# has come to be in them. Which ones those are stands in a file of datadir, so that the same is known later.
#
# A relative folder is one of the working directory, unless there is a DESTDIR: what would it be relative to then?
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
case $DESTDIR in "" | /*) ;; *) DESTDIR=$PWD/$DESTDIR ;; esac
while :; do case $DESTDIR in */) DESTDIR=${DESTDIR%/} ;; *) break ;; esac; done
bindir=$DESTDIR$BINDIR libdir=$DESTDIR$LIBDIR mandir=$DESTDIR$MANDIR datadir=$DESTDIR$DATADIR
includedir=$DESTDIR$INCLUDEDIR archivedir=$DESTDIR$ARCHIVEDIR
note=$datadir/.mert-folders
made=

folder() { # with all those above it
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

# Programs know the way from their own folder (libcommon/base/install_paths.c). Where that is reached by a link, the way leads elsewhere.
leads_to() { # NAME FOLDER: the folder as it was given
    way=$(realpath -sm --relative-to="$BINDIR" -- "$2")
    looked=$(realpath -m -- "$bindir") && looked=$(realpath -m -- "$looked/$way")
    [ "$looked" = "$(realpath -m -- "$DESTDIR$2")" ] ||
        refuse "$1=$2: programs in $BINDIR, which a link leads to, would look for it in $looked: name BINDIR, or PREFIX, without the link"
}

# What another program needs to read and write streams.
put_library() {
    put 644 formats/stream/mts.h "$includedir"
    put 644 "$OUT/libmts.a" "$archivedir"
    for f in SPECIFICATION.md example/gain.c; do put 644 "formats/stream/$f" "$datadir/stream"; done
    folder "$archivedir/pkgconfig"
    pc() { printf '%s\n' "$1" | sed 's/[ "'\''\\$#]/\\&/g'; } # as pkg-config reads it
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

pipelines() { find pipelines -type f | LC_ALL=C sort; }

install_all() {
    leads_to LIBDIR "$LIBDIR"
    leads_to DATADIR "$DATADIR"
    folder "$datadir"
    for f in $TOOLS; do put 755 "$OUT/bin/$f" "$bindir"; done
    for f in $PLUGINS; do put 644 "$OUT/lib/mert/$f.so" "$libdir"; done
    for f in $MAN; do put 644 "$f" "$mandir/man${f##*.}"; done
    put_library
    pipelines | { # a shell of its own: it writes the note
        while read -r f; do
            mode=644
            [ -x "$f" ] && mode=755
            put $mode "$f" "$datadir/$(dirname "$f")"
        done
        if [ -n "$made" ]; then
            { [ -f "$note" ] && cat "$note"; printf '%s' "$made"; } | LC_ALL=C sort -ru > "$note.new"
            mv -- "$note.new" "$note"
        fi
    }
}

uninstall_all() {
    for f in $TOOLS; do rm -f -- "$bindir/$f"; done
    for f in $PLUGINS; do rm -f -- "$libdir/$f.so"; done
    for f in $MAN; do rm -f -- "$mandir/man${f##*.}/${f##*/}"; done
    rm -f -- "$includedir/mts.h" "$archivedir/libmts.a" "$archivedir/pkgconfig/mts.pc" "$datadir/stream/SPECIFICATION.md" "$datadir/stream/gain.c"
    pipelines | while read -r f; do rm -f -- "$datadir/$f"; done
    [ -f "$note" ] || return 0
    folders=$(cat "$note")
    rm -f -- "$note"
    # the deepest first: the note is sorted that way
    printf '%s\n' "$folders" | while read -r d; do rmdir -- "$DESTDIR$d" 2> /dev/null || true; done
}

case $what in
install) install_all ;;
uninstall) uninstall_all ;;
esac
