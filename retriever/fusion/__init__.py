"""Several rankings made one: of one query by several systems, or of several indexes."""
