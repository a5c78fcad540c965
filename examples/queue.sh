#!/bin/sh
# The queue of the command line: work that waits for its moment, and outlives this shell.
#
#     sh examples/queue.sh FOLDER
#
# The queue is the file that DEFERPOWER_QUEUE names, else one in your data directory. Usually a
# worker runs all the time (deferpower worker --print-unit prints a unit for systemd); this script
# runs one itself, until the queue is empty.
set -eu
folder=${1:?which folder? sh examples/queue.sh FOLDER}

# Each prints the number of the task. The second runs only when the first has succeeded.
pack=$(deferpower submit --charging --priority high -- tar czf "$folder.tar.gz" "$folder")
check=$(deferpower submit --after "$pack" --max-attempts 3 -- tar tzf "$folder.tar.gz")

deferpower list
deferpower why "$check"

deferpower worker --drain

deferpower show "$pack"
echo "files in the archive: $(deferpower logs "$check" | wc -l)"
