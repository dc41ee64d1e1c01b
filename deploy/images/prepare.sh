#!/bin/sh
# Make the dbt projects of a location ready to load, while its image is built: prepare.sh LOCATION
#
# What dbt writes in a run goes to /srv/freshline/.dbt, by links: the projects themselves are
# read-only in a container.
set -eu
cd "/srv/freshline/$1"
[ ! -e "src/$1/prepare.py" ] || python3 -m "$1.prepare"
for file in */dbt_project.yml; do
    [ -e "$file" ] || continue # there is no dbt project
    project=${file%/*}
    rm -rf "$project/target/runs" "$project/target/partial_parse.msgpack"
    ln -s /srv/freshline/.dbt "$project/target/runs"
    ln -s "/srv/freshline/.dbt/$project.msgpack" "$project/target/partial_parse.msgpack"
done
