"""Downloads files over HTTP without trusting the URL, the DNS or the server."""
