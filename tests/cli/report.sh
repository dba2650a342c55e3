# mert-plot report: one page about a run. Its structure, its figures against the logs, what is refused; and, where there
# is one, in a browser.
. tests/shell
t=$TEST_TMP
command -v mert-plot > "$t/found" || { skip "mert-plot report" "built without cairo"; exit; }
run="$t/a <b> & c"; mkdir "$run"
{ printf 'update\tepoch\tloss\tce\tce_0\tce_1\tlr\teta\n'
  for i in 1 2 3 4; do printf '%d\t1\t%d.5\t6\t%d.25\t%d.75\t0.00%d\t1\n' $((50 * i)) $((60 - i)) $((8 - i)) $((9 - i)) $i; done; } > "$run/log.tsv"
{ printf 'update\tloss\tce_0\tce_1\taccuracy_0\taccuracy_1\tunigram_0\tunigram_1\tneighbours_0\tneighbours_1\n'
  printf '0\t25.7563\t8.26586\t8.39499\t0.007\t0.001\t7.67831\t7.76283\t5.13889\t5.15924\n'
  printf '200\t20.5\t3.839155\t7.1\t0.25\t0.5\t7.67831\t7.76283\t5.13889\t5.15924\n'; } > "$run/valid.tsv"
printf '# ---- the model ----\n# Hz; <b>audio</b> (24000)\nsample_rate = 16000\n\n# layers\nencoder_layers = 4\n' > "$run/recipe"
awk 'BEGIN { for (k = 0; k < 3; k++) { printf "<i>%d&.wav", k; for (i = 0; i < 24; i++) printf " %d", (i * 7 + k) % 5; print "" } }' > "$t/items"
text-stream mel 1 4 10 < "$t/items" > "$t/mel.mts"
for k in 0 1 2; do echo '0 1 2 3 3 3'; done > "$t/km"
printf '/\n<i>0&.wav\t2400\n<i>1&.wav\t2400\n<i>2&.wav\t2400\n' > "$t/manifest"
mert-tensor from-labels --classes 6 --frame-rate 10 --manifest "$t/manifest" "$t/km" > "$t/codes.mts"
printf 'layer\tmetric\tmean\tmin\tmax\tn\nprior\tf1\t0.1\t0\t1\t5\n0\tf1\t0.4321\t0\t1\t5\n' > "$t/task<1>.tsv"
head -c 1000 "$golden/cqt/audio_24k.npy" > "$t/tone & hiss.wav"
page=$t/r.html
whole() {
    mert-plot report -o "$page" --items 2 --stream "$t/mel.mts" --stream "$t/codes.mts" --scores "$t/task<1>.tsv" --sound "$t/tone & hiss.wav" "$run" 2> "$t/said"
}
check "a page with everything" whole

balanced() { # each tag is closed by its own, nothing is left open
    tr '\n' ' ' < "$1" | grep -oE '<[^>]*>' | awk '
        /^<!DOCTYPE html>$/ || /\/>$/ { next }
        /^<\// { gsub(/[<\/> ]/, ""); if (open[n--] != $0) { print "closed without being open: " $0; exit bad = 1 } next }
        { sub(/^</, "", $1); sub(/>.*/, "", $1); open[++n] = $1 }
        END { if (!bad && n) { print "not closed: " open[n]; bad = 1 } exit bad }'
}
check "every tag is closed" balanced "$page"
printf '<p><b></p></b>' > "$t/wrong.html"
unbalanced() { ! balanced "$t/wrong.html"; }
check "a wrong page is noticed" unbalanced
alone() { ! grep -oE '(https?:)?//[a-z][^"]*|(src|href)="[^d][^"]*' "$page" | grep -v '^//[a-zA-Z0-9+/=]*$'; }
check "nothing from elsewhere" alone
has() { for w; do grep -qF -- "$w" "$page" || { echo "not there: $w"; return 1; }; done; }
lacks() { for w; do ! grep -qF -- "$w" "$page" || { echo "there: $w"; return 1; }; done; }
check "language, encoding, narrow screens" has '<html lang="en">' '<meta charset="utf-8"/>' 'width=device-width'
check "names are escaped" has '<title>'"$t"'/a &lt;b&gt; &amp; c</title>' '&lt;b&gt;audio&lt;/b&gt;' '&lt;i&gt;0&amp;.wav' 'task&lt;1&gt;' 'tone &amp; hiss.wav'
check "no name is taken as HTML" lacks '<b>' '<i>'
alt() { [ "$(grep -c '^<svg' "$page")" -ge 7 ] && [ "$(grep -c '^<svg .*role="img"' "$page")" -eq "$(grep -c '^<svg' "$page")" ] && [ "$(grep -A 1 '^<svg' "$page" | grep -c '^<title>.')" -eq "$(grep -c '^<svg' "$page")" ]; }
check "each picture has a name" alt
check "figures of the logs are as they are there" has '<td class="number">8.26586</td>' '<td class="number">3.839155</td>' '<td class="number">58.5</td>' '<td class="number">0.4321</td>'
check "figures under the pointer" has 'update 200: valid ce_0 3.839' 'update 50: train ce_0 7.25' 'update 200: valid unigram_1 7.763' 'update 100: lr 0.002'
codebooks() { # below unigram: 1 - 3.839155 / 7.67831 = 50.0 %, 1 - 7.1 / 7.76283 = 8.5 %
    has '<th scope="row">0</th><td class="number">7.678</td><td class="number">5.139</td><td class="number">8.266</td><td class="number">3.839</td><td class="number">50.0 %</td><td class="number">25.0 %</td>' '<td class="number">8.5 %</td><td class="number">50.0 %</td>'
}
check "what each codebook costs" codebooks
check "settings with their meaning" has '<th scope="row">sample_rate</th><td>16000</td><td>Hz; &lt;b&gt;audio&lt;/b&gt; (24000)</td>' '<th scope="row">encoder_layers</th><td>4</td><td>layers</td>'
check "use of classes" has 'use of classes, 18 frames: 4 of 6, 1.79 bits'
grouped() { # the first two items, each with both streams; not the third
    [ "$(grep -c '&lt;i&gt;0&amp;.wav: ' "$page")" -eq 2 ] && [ "$(grep -c '&lt;i&gt;1&amp;.wav: ' "$page")" -eq 2 ] && lacks '2&amp;.wav: '
}
check "the streams of an item stand together" grouped
sound() { sed -n 's/.*src="data:audio\/wav;base64,\([^"]*\)".*/\1/p' "$page" | base64 -d | cmp - "$t/tone & hiss.wav"; }
check "a sound is in it" sound
small() { mert-plot report -o "$t/s.html" "$run" && balanced "$t/s.html" && [ "$(wc -c < "$t/s.html")" -lt 100000 ]; }
check "a run alone" small
demo() { mkdir -p "$t/demo" && cp -r "$run" "$t/demo/model" && mert-plot report -o "$t/d.html" "$t/demo" && grep -q 'demo/model</title>' "$t/d.html"; }
check "the folder of the demo" demo
rows() { # of a long run the last rows, and a page that is not long
    { printf 'update\tloss\n'; awk 'BEGIN { for (i = 1; i <= 30000; i++) print i "\t" i % 7 }'; } > "$t/demo/model/log.tsv" && mert-plot report -o "$t/d.html" "$t/demo" &&
        grep -q 'the last 200 of 30000 rows' "$t/d.html" && [ "$(wc -c < "$t/d.html")" -lt 200000 ]
}
check "a long run" rows

begun() { # stopped after the first validation, before the first row of the log
    mkdir -p "$t/begun" && head -n 1 "$run/log.tsv" > "$t/begun/log.tsv" && head -n 2 "$run/valid.tsv" > "$t/begun/valid.tsv" &&
        mert-plot report -o "$t/b.html" "$t/begun" && balanced "$t/b.html" && grep -q 'update 0: ce_0 8.266' "$t/b.html" && ! grep -q 'log.tsv' "$t/b.html"
}
check "a run that has just begun" begun
no_rows() { head -n 1 "$run/valid.tsv" > "$t/begun/valid.tsv"; mert-plot report -o "$t/x.html" "$t/begun"; }
check_fails "a run without any row" 1 'neither log.tsv nor valid.tsv with a row: .* just begun$' no_rows
check_fails "scores without a row" 1 'none.tsv: no rows in this table' sh -c "head -n 1 '$t/task<1>.tsv' > '$t/none.tsv'; mert-plot report -o '$t/x.html' --scores '$t/none.tsv' '$run'"
check_fails "not a run" 1 'neither log.tsv nor valid.tsv' mert-plot report -o "$t/x.html" "$t"
check_fails "no folder" 2 'one folder of a run' mert-plot report -o "$t/x.html"
check_fails "no output" 2 '-o FILE.html is needed' mert-plot report "$run"
check_fails "too large" 1 'than the 0.01 of --max-size' mert-plot report --max-size 0.01 -o "$t/x.html" "$run"
head -c 20000 /dev/zero > "$t/large.wav"
check_fails "sounds that are too large" 1 'max-size' mert-plot report --max-size 0.02 -o "$t/x.html" --sound "$t/large.wav" "$run"
check_fails "a sound of no known type" 2 'its end is none of' mert-plot report --sound "$t/km" -o "$t/x.html" "$run"
check_fails "a log as scores" 1 'not a table of mert-probe' mert-plot report --scores "$run/log.tsv" -o "$t/x.html" "$run"
check_fails "a stream that is none" 1 'km' mert-plot report --stream "$t/km" -o "$t/x.html" "$run"
nothing() { [ ! -e "$t/x.html" ]; }
check "no page is left" nothing

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -n "$browser" ] && [ -z "${MERT_SANITIZED:-}" ]; then
    browse() { HOME=$t timeout 300 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$t/chrome" --window-size=400,800 --enable-logging=stderr "$@" "file://$page" 2> "$t/browser"; }
    opened() {
        browse --dump-dom > "$t/dom" && ! grep CONSOLE "$t/browser" && [ "$(grep -o '<svg' "$t/dom" | wc -l)" -eq "$(grep -o '<svg' "$page" | wc -l)" ] &&
            grep -q '<footer>Made by mert-plot' "$t/dom" && grep -qF 'update 200: valid ce_0 3.839' "$t/dom"
    }
    check "a browser reads the same, without an error" opened
    narrow() { # a script in a copy compares the widths: nothing makes the page itself wider than the screen
        sed 's|</body>|<script>document.title = "wide by " + (document.documentElement.scrollWidth - document.documentElement.clientWidth);</script></body>|' "$page" > "$t/n.html" &&
            page=$t/n.html && browse --dump-dom > "$t/dom" && page=$t/r.html && grep -q '<title>wide by 0</title>' "$t/dom"
    }
    check "a narrow screen has no need to scroll sideways" narrow
else skip "in a browser" "no Chromium"; fi
