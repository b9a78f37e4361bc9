# Runs one server and ends it when standard input closes: that is how its parent's death is seen, however it dies.
# Arguments: the signal that stops the server, seconds until KILL, the log file, the command. Prints the server's pid.
signal=$1 grace=$2 log=$3
shift 3
exec 3<&0 </dev/null
(exec 3<&- && exec "$@" >>"$log" 2>&1) &
server=$!
echo "$server"
exec >/dev/null 2>&1
(
    read -r _ <&3
    kill -s "$signal" "$server"
    kill -s CONT "$server" # a stopped process handles no other signal
    while [ "$grace" -gt 0 ]; do
        sleep 1
        grace=$((grace - 1))
    done
    kill -s KILL "$server"
) &
watcher=$!
wait "$server"
status=$?
kill "$watcher"
exit "$status"
