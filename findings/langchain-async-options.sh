#!/usr/bin/env bash
# LangChain drops a retriever's options when it is asked asynchronously: invoke(q, k=1) works, ainvoke(q, k=1) raises.
#
# A retriever must define _get_relevant_documents; where it defines no asynchronous twin, LangChain runs
# that one in a thread. invoke() gives it the options of the call, as documented for a method that takes
# some. ainvoke() calls the inherited _aget_relevant_documents, which takes none: a TypeError from inside
# the framework, for the very call that works synchronously. Servers ask asynchronously, tests mostly do not.
#
# What to do: where a retriever takes options, define _aget_relevant_documents too, and hand them on.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check langchain-core==1.7.2
venv/bin/python - <<'PYTHON'
import asyncio
from importlib.metadata import version

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever


class Numbers(BaseRetriever):
    def _get_relevant_documents(self, query, *, run_manager, k=2):
        return [Document(page_content=str(number)) for number in range(k)]


retriever = Numbers()
print("langchain-core", version("langchain-core"))
print("invoke(k=1):", len(retriever.invoke("red", k=1)), "document")
print("ainvoke():", len(asyncio.run(retriever.ainvoke("red"))), "documents")
try:
    asyncio.run(retriever.ainvoke("red", k=1))
except TypeError as error:
    print("ainvoke(k=1): TypeError:", error)
else:
    raise SystemExit("changed: the options of ainvoke arrive")
PYTHON
