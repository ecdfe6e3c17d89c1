"""One immutable set of documents: its lists, records, documents, ids and columns."""
