# Many failed items: lines, counts, exit status.
. tests/shell
t=$TEST_TMP
piped() { sh -c "$*"; }
mkdir -p "$t/music"
wavs "$t/music" 0 4
mv "$t"/music/*/*.wav "$t/music/"
cd "$t/music" || exit 1

# ---- repeated reasons ----
many=$(seq -f '%02g.wav' 25)
# shellcheck disable=SC2086
ten_and_a_count() {
    mert-decode -q $many 0000.wav > ../many.mts 2> ../said
    [ $? -eq 1 ] && [ "$(wc -l < ../said)" -eq 11 ] && [ "$(grep -c '^mert-decode: [01][0-9].wav: No such file or directory$' ../said)" -eq 10 ] &&
        tail -n 1 ../said | grep -qx 'mert-decode: and 15 more items failed for the same reason: No such file or directory'
}
check ten_lines_and_a_count ten_and_a_count
ls_names_all() { mert-tensor ls ../many.mts > ../ls 2> /dev/null; [ "$(grep -c 'wav.failed.*No such file' ../ls)" -eq 25 ]; }
check all_of_them_are_in_the_stream ls_names_all
echo none > odd.wav
# shellcheck disable=SC2086
other_reasons() { mert-decode -q $many odd.wav > /dev/null 2> ../said; [ "$(wc -l < ../said)" -eq 12 ] && grep -q '^mert-decode: odd.wav: ' ../said; }
check another_reason_is_told other_reasons
ten() { mert-decode -q $(seq -f '%02g.wav' 10) > /dev/null 2> ../said; [ "$(wc -l < ../said)" -eq 10 ]; }
check ten_are_ten_lines ten
eleven() { mert-decode -q $(seq -f '%02g.wav' 11) > /dev/null 2> ../said; [ "$(wc -l < ../said)" -eq 11 ] && grep -q 'and 1 more item failed for the same reason' ../said; }
check the_eleventh_is_a_count eleven

# ---- --max-failed: one of four, then two of five ----
share() { mert-decode -q --max-failed "$1" 0000.wav 0001.wav 0002.wav $2 > ../share.mts 2> ../said; }
check a_quarter_of_four share 25% none.wav
less() { share 24.9% none.wav; [ $? -eq 1 ]; }
check a_quarter_is_more_than_less less
check two_fifths share 40% 'none.wav no.wav'
fewer() { share 39% 'none.wav no.wav'; [ $? -eq 1 ]; }
check two_fifths_are_more_than_less fewer
passed_on() { share 100% 'none.wav no.wav' && mert-cqt -q --max-failed 40% ../share.mts > ../x.mts && ! mert-cqt -q --max-failed 39% ../share.mts > ../x.mts; }
check what_failed_before_counts passed_on
counts() { for n in 0 4 5.0 0% .5% 99.9% 100% 100.0%; do share "$n" '' || { echo "$n"; return 1; }; done; }
check counts_and_shares counts
no_counts() {
    for n in '' % -1 5.5 1e3 0x5 nan% inf% ' 5' '5 %' 1.2.3% 5%% 99999999999999999; do
        share "$n" ''; [ $? -eq 2 ] && grep -q "^mert-decode: --max-failed: '$n' is neither a count nor a percentage" ../said || { echo "$n"; cat ../said; return 1; }
    done
}
check neither_counts_nor_shares no_counts
more_than_all() {
    for program in decode encode cqt mel kmeans\ train rvq\ train tensor\ ls train probe manifest; do
        # shellcheck disable=SC2086
        for n in 101% 100.01%; do mert-$program --max-failed $n > ../x 2> ../said < /dev/null; [ $? -eq 2 ] && grep -q -- "--max-failed: $n are more than all" ../said || { echo "$program"; return 1; }; done
    done
}
check a_share_of_more_than_all more_than_all
none_wrong() { mert-decode -q --max-failed 0% 0000.wav > ../x.mts; }
check none_of_none none_wrong

# ---- the last line of -v (contract P4): one of three items fails, and the others have 0.1 s or more each ----
closing() {
    mert-decode -v --max-failed 1 0000.wav none.wav 0001.wav > ../x.mts 2> ../said &&
        tail -n 1 ../said | grep -qxE 'mert-decode: 3 items, 1 failed, [0-9]+\.[0-9] s of audio in [0-9]+\.[0-9]+ s, [0-9.]+ times real time, peak [1-9][0-9.]* MB'
}
check the_closing_line closing
