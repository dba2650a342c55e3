# Every input in the corpora of the fuzz targets once more: valid ones, damaged ones, and what fuzzing has found.
. tests/shell
for target in tests/fuzz/*.c; do
    name=$(basename "$target" .c) samples=
    case $name in
    stream*) samples='formats/stream/valid formats/stream/invalid' ;;
    audio_decode) samples='tests/fuzz/corpus/audio tests/fuzz/corpus/ogg' ;;
    replay) continue ;;
    esac
    check "$name" "$OUT/tests/fuzz/$name" "tests/fuzz/corpus/$name" $samples
done
