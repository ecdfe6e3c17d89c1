"""Words: analysis, stop words and the lexical channel."""
