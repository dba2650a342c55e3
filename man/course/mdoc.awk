# Turns the Markdown of the course into mdoc: headings, paragraphs, lists, blocks, pictures, links, `code`. What the
# course does not use is not known.
function text(s,    out, i) { # a paragraph, one sentence per line
    gsub(/\\/, "\\e", s)
    while (match(s, /\[[^]]*\]\([^)]*\)/)) { # a link: its words
        i = substr(s, RSTART, RLENGTH); sub(/^\[/, "", i); sub(/\]\(.*/, "", i)
        s = substr(s, 1, RSTART - 1) i substr(s, RSTART + RLENGTH)
    }
    while (match(s, /`[^`]*`/))
        s = substr(s, 1, RSTART - 1) "\\fB" substr(s, RSTART + 1, RLENGTH - 2) "\\fR" substr(s, RSTART + RLENGTH)
    while (match(s, /[A-Za-z)0-9][.?!:] [A-Z`\\]/) && RLENGTH == 4) { # where a sentence ends
        out = out line(substr(s, 1, RSTART + 1)) "\n"
        s = substr(s, RSTART + 3)
    }
    return out line(s)
}
function line(s) { return (s ~ /^[.']/ ? "\\&" : "") s }
function flush() { if (held != "") print text(held); held = "" }
function literal(s) { gsub(/\\/, "\\e", s); return line(s) }
function close_list() { flush(); if (list) print ".El"; list = 0 }
function paragraph() { if (!fresh) print ".Pp"; fresh = 0 }
function head(s) { gsub(/`/, "", s); return toupper(substr(s, 1)) }

FNR == 1 { close_list() }
# Blocks: fenced, or indented by four blanks.
/^```/ { close_list(); print fenced ? ".Ed" : ".Bd -literal -offset indent"; fenced = !fenced; fresh = 0; next }
fenced { print literal($0); next }
/^    / && !list {
    if (!indented) { flush(); print ".Bd -literal -offset indent" }
    indented = 1; print literal(substr($0, 5)); next
}
indented { print ".Ed"; indented = 0; fresh = 0 }

/^# / { close_list(); print ".Sh " (FILENAME ~ /README/ ? "DESCRIPTION" : head(substr($0, 3))); fresh = 1; next }
/^## / { close_list(); print ".Ss " substr($0, 4); fresh = 1; next }
/^!\[/ {
    close_list(); paragraph()
    i = index($0, "]"); name = substr($0, i + 2); sub(/\)$/, "", name)
    print "The picture in \\fB$mert/man/course/" name "\\fR:"
    print text(substr($0, 3, i - 3)) "."
    next
}
/^[0-9]+\. / {
    flush()
    if (!list) print ".Bl -enum"
    list = 1; print ".It"; sub(/^[0-9]+\. /, ""); held = $0; next
}
/^$/ { flush(); gap = 1; next }
{
    if (list && !/^   / && gap) close_list()
    sub(/^   /, "")
    if (gap && held == "") { if (list) print ".Pp"; else paragraph() }
    gap = 0
    held = held (held == "" ? "" : " ") $0
}
END { close_list() }
