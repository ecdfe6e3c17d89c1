"""Files that are whole or refused: arrays with checksums, locks, the write-ahead log."""
