"""One function an operation of the API, and the table of them."""
