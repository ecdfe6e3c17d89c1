#!/usr/bin/env bash
# From nothing to MS MARCO's passage table (dev, TREC DL 2019 and 2020): fetches the collection of
# 8.8 million passages, checks it, and evaluates. Finished results are kept, so a stopped run goes on.
#
#   scripts/recipes/msmarco.sh [OUT]
#
# OUT         folder of results; default results/msmarco
# TAMIS_DATA  holds the folder msmarco; default data
# SPLITS      which judgements; default "dev.small dl19 dl20"
# SUITE       systems and measures; default the TOML file beside this script
# TAMIS       the command; default tamis
#
# The data is for non-commercial research: https://microsoft.github.io/msmarco/. It runs without a
# network where TAMIS_DATA/msmarco holds collection.tsv, queries.SPLIT.tsv and qrels.SPLIT.tsv.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-results/msmarco}
export TAMIS_DATA=${TAMIS_DATA:-data}
tamis=${TAMIS:-tamis}
folder=$TAMIS_DATA/msmarco
source_url=https://msmarco.z22.web.core.windows.net/msmarcoranking
archive_md5=31644046b18952c1386cd4564ba2ae69 # collectionandqueries.tar.gz, as published
splits=${SPLITS:-dev.small dl19 dl20}

get() { # URL FILE
  [[ -e $2 ]] || curl --fail --location --continue-at - --output "$2.part" "$1"
  [[ -e $2 ]] || mv "$2.part" "$2"
}

mkdir -p "$folder"
if ! compgen -G "$folder/collection.tsv*" >/dev/null; then
  get "$source_url/collectionandqueries.tar.gz" "$folder/collectionandqueries.tar.gz"
  echo "$archive_md5  $folder/collectionandqueries.tar.gz" | md5sum --check --quiet
  tar -xzf "$folder/collectionandqueries.tar.gz" -C "$folder"
  rm "$folder/collectionandqueries.tar.gz"
fi
for year in 2019 2020; do
  if [[ " $splits " == *" dl${year#20} "* ]]; then
    queries=msmarco-test$year-queries.tsv.gz
    get "$source_url/$queries" "$folder/$queries"
    get "https://trec.nist.gov/data/deep/${year}qrels-pass.txt" "$folder/${year}qrels-pass.txt"
  fi
done

mkdir -p "$out"
# shellcheck disable=SC2046,SC2086  # one argument a split
"$tamis" eval $(printf 'msmarco:%s ' $splits) --suite "${SUITE:-$here/public.toml}" \
  --out "$out" --html "$out/report.html"
