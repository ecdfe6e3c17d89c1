"""A broker: shards on other servers, searched and written as one index."""
