"""Retrievers for other frameworks: each module is one thin class around a `Searcher`.

Each needs its framework, which is an extra: ``pip install 'tamis[langchain]'``.
"""
