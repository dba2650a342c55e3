# pipelines/datasets: each script on a folder that is laid out like the dataset; its keys are those of mert-manifest, and
# mert-probe reads its table.
. tests/shell
t=$TEST_TMP
wavs "$t/wavs" 0 1
wav=$(find "$t/wavs" -name '*.wav')
has() { # FOLDER FILE...: audio files of these names
    folder=$1; shift
    for f; do mkdir -p "$folder/$(dirname "$f")" && ln "$wav" "$folder/$f" || return; done
}
script() { dataset=$1; shift; sh "pipelines/datasets/$dataset" "$@"; }
is() { # SCRIPT ARGUMENTS...: prints what is in $t/expected
    script "$@" > "$t/table" && cmp "$t/table" "$t/expected" || { cat "$t/table"; return 1; }
}
tabs() { tr '|' '\t' > "$t/expected"; }
keys() { # FOLDER: every key of the table is one of the manifest
    mert-manifest -q --valid-percent 0 --out "$t/m" "$1" && sed 1d "$t/m/train.tsv" | cut -f 1 | sort > "$t/a" && sed 1d "$t/table" | cut -f 1 | sed 's/%25/%/g' | sort > "$t/b" && [ -s "$t/b" ] && [ -z "$(comm -13 "$t/a" "$t/b")" ]
}
reads() { # OPTIONS: mert-probe takes the table, with features of chance
    sed 1d "$t/table" | cut -f 1 | awk '{ printf "%s", $1; for (i = 0; i < 3; i++) printf " %d", (NR * (i + 7)) % 11; print "" }' | text-stream emb 1 3 0 | mert-probe -q --seeds 1 --folds 3 -l "$t/table" "$@" > "$t/scores" && [ -s "$t/scores" ]
}

# ---- GTZAN ----

for g in blues jazz rock; do for i in 0 1 2 3 4; do has "$t/gtzan" "genres/$g/$g.0000$i.wav"; done; done
has "$t/gtzan" genres/other/stray.wav
{ echo 'key|label'; for g in blues jazz rock; do for i in 0 1 2 3 4; do echo "genres/$g/$g.0000$i.wav|$g"; done; done; } | tabs
check "GTZAN" is gtzan "$t/gtzan"
check "GTZAN: keys" keys "$t/gtzan"
check "GTZAN: mert-probe" reads
for i in 0 1 2; do printf 'blues/blues.0000%d.wav\r\njazz/jazz.0000%d.au\n' $i $i; done > "$t/gtzan/train_filtered.txt"
printf 'rock/rock.00000.wav\njazz/jazz.00003.wav\nblues/blues.00003.wav' > "$t/gtzan/valid_filtered.txt"
printf 'rock/rock.00004.wav\njazz/jazz.00004.wav\n' > "$t/gtzan/test_filtered.txt"
{ echo 'key|label|split'; for g in blues jazz; do for i in 0 1 2; do echo "genres/$g/$g.0000$i.wav|$g|train"; done; echo "genres/$g/$g.00003.wav|$g|valid"; [ $g = blues ] || echo "genres/$g/$g.00004.wav|$g|test"; done; echo 'genres/rock/rock.00000.wav|rock|valid'; echo 'genres/rock/rock.00004.wav|rock|test'; } | tabs
check "GTZAN without faults, with its split" is gtzan "$t/gtzan"
check "GTZAN with a split: mert-probe" reads

# ---- GiantSteps ----

gs=$t/gs/giantsteps-key-dataset mtg=$t/gs/giantsteps-mtg-key-dataset
mkdir -p "$gs/annotations/key" "$mtg/annotations"
printf 'E major' > "$gs/annotations/key/846900.LOFI.key"; echo 'Db minor' > "$gs/annotations/key/10089.LOFI.key"; echo 'A minor' > "$gs/annotations/key/77.LOFI.key"
has "$gs" audio/846900.LOFI.mp3 audio/10089.LOFI.mp3 audio/5.LOFI.mp3
printf 'ID\tMANUAL KEY\tC\n5061\tD# minor\t2\n5881\tA major\t2\n102\tA minor\t1\n103\tF major\t2\n104\tC minor / F# minor\t2\n105\t-\t0\n106\te minor\t2\n' > "$mtg/annotations/annotations.txt"
for i in 5061 5881 102 103 104 105 106; do has "$mtg" "audio/$i.LOFI.mp3"; done
{ echo 'key|label|split'; for i in '10089.LOFI.mp3|C# minor' '846900.LOFI.mp3|E major'; do echo "giantsteps-key-dataset/audio/$i|test"; done; for i in '103.LOFI.mp3|F major' '106.LOFI.mp3|E minor' '5061.LOFI.mp3|D# minor' '5881.LOFI.mp3|A major'; do echo "giantsteps-mtg-key-dataset/audio/$i|train"; done; } | tabs
check "GiantSteps: keys of two datasets" is giantsteps "$t/gs"
check "GiantSteps: keys of the manifest" keys "$t/gs"
weighted() { reads && grep -q 'weighted_key_score' "$t/scores"; }
check "GiantSteps: mert-probe" weighted
printf 'key\tlabel\naudio/10089.LOFI.mp3\tC# minor\naudio/846900.LOFI.mp3\tE major\n' > "$t/expected"
check "GiantSteps alone" is giantsteps "$gs"

# ---- MagnaTagATune ----

mkdir "$t/mtt"
{ printf '"clip_id"\t"no voice"\t"slow"\t"a, b"\t"rare"\t"mp3_path"\n'
  n=1; for row in '1 0 0 1 0/x-0-29' '0 1 0 0 2/y%z-0-29' '1 1 0 0 b/x-29-58' '0 0 0 0 3/none-0-29' '0 0 0 1 4/rare-0-29' '0 1 0 0 c/v-0-29' '1 0 0 0 d/t-0-29' '0 1 0 0 f/u-0-29' '1 1 0 0 e/gone-0-29'; do
      echo "$row" | awk -v n=$((n = n + 1)) '{ printf "\"%d\"\t\"%s\"\t\"%s\"\t\"%s\"\t\"%s\"\t\"%s.mp3\"\n", n, $1, $2, $3, $4, $5 }'
  done; } > "$t/mtt/annotations_final.csv"
has "$t/mtt" mp3/0/x-0-29.mp3 mp3/2/y%z-0-29.mp3 mp3/b/x-29-58.mp3 mp3/3/none-0-29.mp3 mp3/4/rare-0-29.mp3 mp3/c/v-0-29.mp3 mp3/d/t-0-29.mp3 mp3/f/u-0-29.mp3
printf '%s\n' 'key|label|split' 'mp3/0/x-0-29.mp3|no voice|train' 'mp3/2/y%25z-0-29.mp3|slow|train' 'mp3/b/x-29-58.mp3|no voice,slow|train' 'mp3/c/v-0-29.mp3|slow|valid' 'mp3/d/t-0-29.mp3|no voice|test' 'mp3/f/u-0-29.mp3|slow|test' | tabs
check "MagnaTagATune: the most frequent tags" is mtt "$t/mtt" 2
check "MagnaTagATune: keys" keys "$t/mtt"
check "MagnaTagATune: mert-probe" reads --task multilabel
all_tags() { script mtt "$t/mtt" > "$t/table" && grep -q "$(printf 'mp3/4/rare-0-29.mp3\trare\ttrain')" "$t/table" && [ "$(wc -l < "$t/table")" -eq 8 ]; }
check "MagnaTagATune: all tags, if there are fewer than 50" all_tags

# ---- MTG-Jamendo ----

splits=$t/jamendo/data/splits/split-0; mkdir -p "$splits"
list() { printf 'TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n'; cat; }
printf 'track_0786434\tartist_368880\talbum_092222\t34/786434.mp3\t460.8\tgenre---rock\tmood/theme---deep\ntrack_0000214\tartist_000014\talbum_000031\t14/214.mp3\t124.6\tgenre---punk\n' | list > "$splits/autotagging_top50tags-train.tsv"
printf 'track_0000215\tartist_000014\talbum_000031\t15/215.mp3\t151.4\tgenre---rock\n' | list > "$splits/autotagging_top50tags-validation.tsv"
printf 'track_0000216\tartist_000015\talbum_000031\t16/216.mp3\t234.9\tgenre---punk\tgenre---rock\ntrack_0000217\tartist_000015\talbum_000031\t17/217.mp3\t1\tgenre---punk\n' | list > "$splits/autotagging_top50tags-test.tsv"
has "$t/jamendo" audio/34/786434.low.mp3 audio/14/214.low.mp3 audio/15/215.low.mp3 audio/16/216.mp3 audio/18/218.mp3
printf '%s\n' 'key|label|split|artist|album' 'audio/34/786434.low.mp3|genre---rock,mood/theme---deep|train|artist_368880|album_092222' 'audio/14/214.low.mp3|genre---punk|train|artist_000014|album_000031' 'audio/15/215.low.mp3|genre---rock|valid|artist_000014|album_000031' 'audio/16/216.mp3|genre---punk,genre---rock|test|artist_000015|album_000031' | tabs
check "MTG-Jamendo" is mtg-jamendo "$t/jamendo"
check "MTG-Jamendo: keys" keys "$t/jamendo"
check "MTG-Jamendo: mert-probe" reads --task multilabel
check_fails "MTG-Jamendo: lists that are not there" 1 'mtg-jamendo: .*split-1/autotagging_genre-train.tsv: not there' script mtg-jamendo "$t/jamendo" genre 1

# ---- EmoMusic ----

mkdir -p "$t/emo/annotations"
{ printf 'song_id,file_name,Artist,Song title,start of the segment (min.sec),Genre,Mediaeval 2013 set\n'; for i in 2 3 4 5 7; do printf '%d,%d.mp3,"The %d, and others","A ""song""\t",1.12,Pop\t,development\r\n' $i $i $i; done; for i in 10 11 12; do printf '%d,%d.mp3,Them,Title,0.01,Rock,evaluation\n' $i $i; done; } > "$t/emo/annotations/songs_info.csv"
{ echo 'song_id,mean_arousal,std_arousal,mean_valence,std_valence'; for i in 2 3 4 5 7 10 11 12; do echo "$i,$i.5,1,3.$i,2"; done; } > "$t/emo/annotations/static_annotations.csv"
for i in 2 3 4 5 7 10 11 12 13; do has "$t/emo" "clips_45seconds/$i.mp3"; done
{ echo 'key|label|split|arousal|valence'; for i in 2 3 4 5 7; do echo "clips_45seconds/$i.mp3|$i.5,3.$i|train|$i.5|3.$i"; done; for i in 10 11 12; do echo "clips_45seconds/$i.mp3|$i.5,3.$i|test|$i.5|3.$i"; done; } | tabs
check "EmoMusic" is emo "$t/emo"
check "EmoMusic: keys" keys "$t/emo"
both() { reads --task regress && grep -q r2_2 "$t/scores" && reads --task regress --column valence && ! grep -q r2_2 "$t/scores"; }
check "EmoMusic: mert-probe" both

# ---- NSynth ----

for part in train valid test; do has "$t/nsynth" "nsynth-$part/audio/bass_synthetic_068-049-025.wav" "nsynth-$part/audio/synth_lead_electronic_011-100-127.wav" "nsynth-$part/audio/guitar_acoustic_000-021-050.wav"; : > "$t/nsynth/nsynth-$part/examples.json"; done
has "$t/nsynth" nsynth-test/audio/unknown.wav
{ echo 'key|label|split|pitch|velocity|source|instrument'; for p in test train valid; do echo "nsynth-$p/audio/bass_synthetic_068-049-025.wav|bass|$p|49|25|synthetic|bass_synthetic_068"; echo "nsynth-$p/audio/guitar_acoustic_000-021-050.wav|guitar|$p|21|50|acoustic|guitar_acoustic_000"; echo "nsynth-$p/audio/synth_lead_electronic_011-100-127.wav|synth_lead|$p|100|127|electronic|synth_lead_electronic_011"; done; } | tabs
check "NSynth" is nsynth "$t/nsynth"
check "NSynth: keys" keys "$t/nsynth"
pitch() { reads && reads --column pitch; }
check "NSynth: mert-probe" pitch

# ---- VocalSet ----

v=$t/vocalset
for s in female1 female2 male3; do n=${s%male*}; n=${n:+f}; n=${n:-m}${s#*male}; has "$v" "FULL/$s/scales/belt/${n}_scales_belt_a.wav" "FULL/$s/arpeggios/vocal_fry/${n}_arpeggios_vocal_fry_e.wav" "FULL/$s/long_tones/messa/${n}_long_messa_a.wav"; done
has "$v" __MACOSX/FULL/female1/scales/belt/._f1_scales_belt_a.wav
rows() { # path and what belongs to it, of the files with the ten techniques
    for s in female1 female2 male3; do n=${s%male*}; n=${n:+f}; n=${n:-m}${s#*male}; echo "FULL/$s/arpeggios/vocal_fry/${n}_arpeggios_vocal_fry_e.wav|vocal_fry|$s|arpeggios"; echo "FULL/$s/scales/belt/${n}_scales_belt_a.wav|belt|$s|scales"; done
}
{ echo 'key|label|group|singer|context'; rows | awk -F'|' '{ print $1 "|" $2 "|" $3 "|" $3 "|" $4 }'; } | tabs
check "VocalSet without lists of singers" is vocalset "$v"
check "VocalSet: keys" keys "$v"
check "VocalSet: mert-probe" reads
printf 'female1\r\nm3' > "$v/train_singers_technique.txt"; echo female2 > "$v/test_singers_technique.txt"
{ echo 'key|label|split|singer|context'; rows | awk -F'|' '{ print $1 "|" $2 "|" ($3 == "female2" ? "test" : "train") "|" $3 "|" $4 }'; } | tabs
check "VocalSet: techniques, by singers" is vocalset "$v" technique
check "VocalSet with a split: mert-probe" reads
singers() { script vocalset "$v" singer > "$t/table" && [ "$(head -n 1 "$t/table")" = "$(printf 'key\tlabel\ttechnique\tcontext')" ] && [ "$(sed 1d "$t/table" | cut -f 2 | sort | uniq -c | tr -s ' \n' ' ')" = ' 3 female1 3 female2 3 male3 ' ] && reads; }
check "VocalSet: singers" singers

# ---- refusals ----

mkdir "$t/nothing"
refusals() {
    for d in gtzan giantsteps nsynth vocalset; do
        script $d "$t/nothing" > "$t/said" 2> "$t/err.$d"; [ $? -eq 1 ] && grep -q "^$d: .*nothing: no audio file with a label" "$t/err.$d" && [ ! -s "$t/said" ] || { cat "$t/err.$d"; return 1; }
    done
    for d in mtt mtg-jamendo emo; do script $d "$t/nothing" > "$t/said" 2> "$t/err.$d"; [ $? -eq 1 ] && grep -q "^$d: .*: not there: is this the folder" "$t/err.$d" || { cat "$t/err.$d"; return 1; }; done
    for d in gtzan giantsteps nsynth vocalset mtt mtg-jamendo emo; do
        script $d > "$t/said" 2> "$t/err.$d"; [ $? -eq 2 ] && grep -q "^$d: usage: $d DIR" "$t/err.$d" || { cat "$t/err.$d"; return 1; }
        script $d "$t/none" > "$t/said" 2> "$t/err.$d"; [ $? -eq 2 ] && grep -q "^$d: .*none: no such folder" "$t/err.$d" || return
    done
}
check "folders of something else" refusals
check_fails "no number of tags" 2 "'many' is no number" script mtt "$t/mtt" many
check_fails "neither technique nor singer" 2 "'vowel' is neither" script vocalset "$v" vowel
if command -v shellcheck > /dev/null; then
    check "shellcheck" sh -c 'cd pipelines/datasets && shellcheck -x -s sh gtzan giantsteps mtt mtg-jamendo emo nsynth vocalset'
else skip "shellcheck" "not installed"; fi
