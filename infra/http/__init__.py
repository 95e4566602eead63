"""Fetching files over HTTP without trusting the address, the name service or the server."""
