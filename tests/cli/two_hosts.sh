# mert-train on two hosts: namespaces for names, processes, files and the network, with a network between them that can be
# cut. mpirun starts the second process by sshd, or without one by a pipe. TCP is all that the hosts share besides files.
. tests/shell
without() { skip "training on two hosts" "$1"; exit 0; }

# ---- everything in namespaces of its own: the kernel ends and removes all of it with this process, killed or not ----

if [ "${1:-}" != inside ]; then
    [ "$(id -u)" -eq 0 ] || without "only root makes hosts"
    for p in ip mpirun unshare nsenter mount; do command -v $p > "$TEST_TMP/found" || without "there is no $p"; done
    mpirun --version | grep -q '^mpirun (Open MPI) 4\.' || without "mpirun is not of Open MPI 4"
    [ -e "$OUT/lib/mert/exchange-mpi.so" ] || without "there was no MPI to build the plugin with"
    case $TEST_TMP in /dev/shm/* | /run/*) without "$TEST_TMP is hidden on the hosts" ;; esac
    separate="unshare --mount --uts --net --pid --fork --kill-child --mount-proc"
    $separate sh -c 'mount -t tmpfs none /run && ip link add to1 type veth peer name eth0 && echo 1 > /proc/sys/net/ipv4/ip_forward' 2> "$TEST_TMP/refused" ||
        without "no namespaces: $(head -n 1 "$TEST_TMP/refused")"
    exec $separate sh "$0" inside
fi
trap 'exit 1' HUP INT TERM
. tests/training
sed -i 's/^total_updates.*/total_updates = 20/; s/^validate_interval.*/validate_interval = 0/' micro
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_pml=ob1 OMPI_MCA_btl=tcp,self OMPI_MCA_plm_rsh_agent=/run/agent OMPI_MCA_orte_tmpdir_base="$PWD/sessions"
[ -z "${MERT_SANITIZED:-}" ] || export ASAN_OPTIONS="detect_leaks=0:$ASAN_OPTIONS" # MPI's own

# ---- hosts; this process is the router between them ----

cat > as-host <<'FIN'
hostname "$1"
mount --bind names /etc/hosts && mount -t tmpfs none /dev/shm && mount -t tmpfs none /run && mkdir /run/sshd && cp agent /run && ip link set lo up || exit
exec 3<> "$1.commands"
echo > "$1.up"
[ -z "$2" ] || exec "$2" -D -e -f "$PWD/sshd-config" 3>&-
while read -r line <&3; do sh -c "$line" < /dev/null 3>&- & done
FIN
sshd=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd) && grep -q '^sshd:' /etc/passwd && ! grep -q '^root:!' /etc/shadow || sshd= # it refuses a root that is locked
if [ "$sshd" ]; then
    by="ssh"
    ssh-keygen -q -t ed25519 -N '' -f key
    ssh-keygen -q -t ed25519 -N '' -f host-key
    printf '%s\n' "HostKey $PWD/host-key" "AuthorizedKeysFile $PWD/key.pub" 'StrictModes no' 'UsePAM no' 'PermitRootLogin yes' 'PidFile none' > sshd-config
    printf '#!/bin/sh\nexec ssh -q -F none -i "%s/key" -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "$@"\n' "$PWD" > agent
else
    by="a pipe"
    printf '#!/bin/sh\nhost=$1; shift; echo "$*" > "%s/$host.commands"\n' "$PWD" > agent
fi
chmod +x agent
echo 1 > /proc/sys/net/ipv4/ip_forward
printf '127.0.0.1 localhost\n' > names
for n in 1 2 3 4; do echo "10.77.$n.2 host$n" >> names; done
init() { cat "host$1.init"; }
host() { # N
    mkfifo "host$1.commands"
    unshare --mount --uts --net --pid --fork --kill-child --mount-proc sh as-host "host$1" "$sshd" > "host$1.log" 2>&1 & started=$!
    while [ ! -e "host$1.up" ]; do kill -0 $started || return; sleep 0.05; done
    tr -d ' ' < "/proc/$started/task/$started/children" > "host$1.init"
    ip link add "to$1" type veth peer name eth0 netns "$(init "$1")" && ip address add "10.77.$1.1/24" dev "to$1" && ip link set "to$1" up &&
        nsenter -t "$(init "$1")" -n sh -c "ip address add 10.77.$1.2/24 dev eth0 && ip link set eth0 up && ip route add default via 10.77.$1.1"
}
on() { init=$(init "$1"); shift; nsenter -t "$init" -m -u -n -p --wd=. "$@" < /dev/null; } # N COMMAND...
pass() { echo "$2" > "/proc/sys/net/ipv4/conf/to$1/forwarding"; } # what host N sends. 0: it is dropped, and nobody is told
mpi() { # FROM TO PROGRAM...
    printf 'host%d slots=1\n' "$1" "$2" > "hosts$1"
    from=$1; shift 2
    on "$from" timeout 180 mpirun ${MERT_SANITIZED:+-x ASAN_OPTIONS} --hostfile "hosts$from" -n 2 "$@"
}
micro="$(command -v mert-train) -q --recipe micro --manifest train.tsv --labels train.q_%d --pcm train.mts --threads 1"
same() { for f in model.safetensors optimizer.safetensors state.json; do cmp "two/checkpoint-20/$f" "$1/checkpoint-20/$f" || return; done; }
begun() { while [ ! -d "$1/checkpoint-1" ]; do kill -0 "$2" || return; sleep 0.02; done; } # SAVE PID

hosts() { for n in 1 2 3 4; do host $n || { cat host*.log; return 1; }; done; [ "$(mpi 1 2 hostname | sort | tr '\n' ' ')" = 'host1 host2 ' ]; }
check "hosts, and mpirun by $by" hosts
check "one host with two processes" train two --processes 2 --threads 1

# ---- a link that is cut for 20 seconds, while the rest is done ----

mpi 3 4 $micro --save healed --set save_interval=1 > healed.said 2>&1 & healed=$!
heal() { begun healed $healed; pass 3 0; pass 4 0; sleep 20; ls -d healed/checkpoint-* > while-cut; pass 3 1; pass 4 1; }
heal & heal=$!

over() { mpi 1 2 $micro --save over && same over; }
check "two hosts: the same bytes" over

# ---- a link that is cut for good ----

cut() {
    mpi 1 2 $micro --save cut --set save_interval=1 --hang-after 8s > cut.said 2>&1 & pid=$!
    begun cut $pid; pass 1 0; pass 2 0
    wait $pid; rc=$?
    pass 1 1; pass 2 1
    cat cut.said
    [ $rc -ne 0 ] && [ $rc -ne 124 ] && grep -q 'no answer for 8 s (--hang-after) from process 1 (host2) of 2: hung, stopped or lost; cut/checkpoint-.* is whole: --resume goes on' cut.said && [ ! -d cut/checkpoint-20 ]
}
check "cut: the process and its host are named, and mpirun ends" cut
resumed() { train cut --processes 2 --threads 1 --resume && same cut; }
check "... and the run goes on, on one host" resumed

# ---- a host that dies ----

dies() {
    mpi 1 2 $micro --save died --set save_interval=1 > died.said 2>&1 & pid=$!
    begun died $pid; kill -9 "$(init 2)"
    wait $pid; rc=$?
    cat died.said
    [ $rc -ne 0 ] && [ $rc -ne 124 ] && grep -q 'host2' died.said && [ ! -d died/checkpoint-20 ]
}
check "a host that dies is named, and mpirun ends" dies
other() { mpi 1 3 $micro --save died --resume && same died; }
check "... and the run goes on with another host" other

goes_on() { wait $heal; wait $healed; rc=$?; cat while-cut healed.said; [ $rc -eq 0 ] && ! grep -q checkpoint-20 while-cut && same healed; }
check "cut for 20 seconds: the run goes on, and gives the same bytes" goes_on
