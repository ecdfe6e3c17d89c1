"""The first stage of a search: queries to vectors, vectors to documents, pages and groups."""
