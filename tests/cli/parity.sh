# The trainer against reference training: both norm orders, on the CPU and on the guard backend; and that the comparison can fail.
. tests/shell
for d in train-post-ln train-pre-ln; do
    check "$d" train-parity "$golden/$d"
    check "$d on the guard backend" train-parity --device guard "$golden/$d"
done
check "one thread gives the same" train-parity --threads 1 "$golden/train-post-ln"
cp -r "$golden/train-post-ln" "$TEST_TMP/wrong"
sed -i 's/"lr": 0.0005/"lr": 0.0006/' "$TEST_TMP/wrong/expect.json"
wrong() { ! train-parity "$TEST_TMP/wrong"; }
check "another learning rate is noticed" wrong
