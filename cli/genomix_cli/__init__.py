"""L9: the command line: parse, call one function, print."""
