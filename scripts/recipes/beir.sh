#!/usr/bin/env bash
# From nothing to BEIR's table: fetches the collections that are not there yet, checks them, and
# evaluates BM25, a dense bi-encoder, Tamis and hybrids of them. Finished results are kept, so a
# stopped run goes on.
#
#   scripts/recipes/beir.sh [OUT]
#
# OUT         folder of results; default results/beir
# TAMIS_DATA  folder of collections; default data/beir
# DATASETS    which ones; default all public BEIR collections but MS MARCO (see msmarco.sh)
# SUITE       systems and measures; default the TOML file beside this script
# TAMIS       the command; default tamis
#
# Without a network it evaluates the collections that TAMIS_DATA holds already:
#   TAMIS_DATA=my-collections DATASETS="scifact my-own" scripts/recipes/beir.sh results/mine
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-results/beir}
export TAMIS_DATA=${TAMIS_DATA:-data/beir}
tamis=${TAMIS:-tamis}
source_url=https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets

# MD5 of each archive as the BEIR project publishes it
md5s="
trec-covid       ce62140cb23feb9becf6270d0d1fe6d1
nfcorpus         a89dba18a62ef92f7d323ec890a0d38d
nq               d4d3d2e48787a744b6f6e691ff534307
hotpotqa         f412724f78b0d91183a0e86805e16114
fiqa             17918ed23cd04fb15047f73e6c3bd9d9
arguana          8ad3e3c2a5867cdced806d6503f29b99
webis-touche2020 46f650ba5a527fc69e0a6521c5a23563
cqadupstack      4e41456d7df8ee7760a7f866133bda78
quora            18fb154900ba42a600f84b839c173167
dbpedia-entity   c2a39eb420a3164af735795df012ac2c
scidocs          38121350fc3a4d2f48850f6aff52e4a9
fever            5a818580227bfb4b35bb6fa46d9b6c03
climate-fever    8b66f0a9126c521bae2bde127b4dc99d
scifact          5f7d1de60b170fc8027bb7898e2efca1
"
datasets=${DATASETS:-$(awk '{ print $1 }' <<<"$md5s")}

fetch() {
  local name=$1 md5
  md5=$(awk -v name="$name" '$1 == name { print $2 }' <<<"$md5s")
  if [[ -d $TAMIS_DATA/$name || -d $TAMIS_DATA/eval/$name || -z $md5 ]]; then
    return # there already, or a collection of one's own: `tamis eval` says where it is missing
  fi
  mkdir -p "$TAMIS_DATA"
  curl --fail --location --continue-at - --output "$TAMIS_DATA/$name.zip" "$source_url/$name.zip"
  echo "$md5  $TAMIS_DATA/$name.zip" | md5sum --check --quiet
  unzip -q "$TAMIS_DATA/$name.zip" -d "$TAMIS_DATA/.unpacking-$name"
  mv "$TAMIS_DATA/.unpacking-$name/$name" "$TAMIS_DATA/$name"
  rm -r "$TAMIS_DATA/.unpacking-$name" "$TAMIS_DATA/$name.zip"
}

for name in $datasets; do
  fetch "${name%%:*}"
done
mkdir -p "$out"
# shellcheck disable=SC2086  # one argument a dataset
"$tamis" eval $datasets --suite "${SUITE:-$here/public.toml}" --out "$out" --html "$out/report.html"
