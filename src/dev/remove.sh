# Removes a scratch directory once standard input has closed and the database in it has stopped.
read -r _
tries=100
while [ "$tries" -gt 0 ] && [ -e "$1/postgres/postmaster.pid" ]; do
    sleep 0.1
    tries=$((tries - 1))
done
rm -rf "${1:?}"/* && rmdir "$1"
