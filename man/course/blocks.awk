# Cuts the chapters of the course into its blocks: awk -v out=DIR -f blocks.awk README.md 01-*.md 02-*.md ...
#
# The commands of a block "```sh" are typed in one shell, in the order of the chapters; the last command of a block
# "```sh fails" has an exit status other than 0. A block "```text" is what the block of commands before it prints, on
# standard output and standard error: exactly, or with numbers that differ by at most P percent if it begins with
# "```text P%". A line "..." stands for any lines.
#
#     DIR/N.sh      the commands of block N, numbered from 001
#     DIR/N.text    what it prints, if a block of text follows
#     DIR/list      a line for each block: N, FILE:LINE, "fails" or "works", P
function refuse(what) { printf "%s:%d: %s\n", FILENAME, FNR, what > "/dev/stderr"; bad = 1; exit 1 }
function begin(name) { into = out "/" name; printf "" > into }
/^```/ && into != "" { close(into); into = ""; next }
/^```sh( fails)?$/ {
    if (n) print line > (out "/list")
    line = sprintf("%03d %s:%d %s 0", ++n, FILENAME, FNR, $2 == "" ? "works" : "fails"); printed = 0
    begin(sprintf("%03d.sh", n)); next
}
/^```text( [0-9]+%)?$/ {
    if (!n || printed++) refuse("text without commands before it")
    if ($2 != "") sub(/0$/, $2 + 0, line)
    begin(sprintf("%03d.text", n)); next
}
/^```/ { refuse("a block that is neither sh nor text") }
into != "" { print > into }
END { if (!bad && n) print line > (out "/list") }
