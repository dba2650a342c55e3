# Runs the fuzz targets on their corpora: valid and damaged inputs, and inputs that fuzzing has found.
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
